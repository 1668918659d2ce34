"""The application: its routes, and what all answers have in common: headers, refusals, who may ask."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Collection
from email.utils import formatdate

from aiohttp import web
from aiohttp.typedefs import Handler
from attrs import define

from asyncsdk.server.bodies import ConnectionGone, port_of
from asyncsdk.server.browsers import is_this_machine, require_no_trick
from asyncsdk.server.control import ROUTES as HEALTH
from asyncsdk.server.control import Control
from asyncsdk.server.edits.endpoint import Edits
from asyncsdk.server.errors import ApiError
from asyncsdk.server.fault_plan import Faults
from asyncsdk.server.files import Files
from asyncsdk.server.ids import new_request_id
from asyncsdk.server.inject import FaultAnswer, Injector
from asyncsdk.server.log import EXCHANGE, ActiveRequest, RequestLog
from asyncsdk.server.page import PageEndpoint
from asyncsdk.server.state import Repository
from asyncsdk.server.uploads import Uploads

logger = logging.getLogger(__name__)

API_VERSION = "2020-10-01"
ORGANIZATION = "org-local"


def make_app(
    state: Repository,
    faults: Faults,
    log: RequestLog,
    uploads: Uploads,
    edits: Edits,
    *,
    api_key: str | None,
    host: str = "127.0.0.1",
    hosts: Collection[str] = (),
) -> web.Application:
    """Put the application together. `state` is to be loaded before it serves."""
    common = Common(state, log, api_key, host, frozenset(name.lower() for name in (host, *hosts)))
    api = web.Application(middlewares=[common.record, Injector(faults, state).middleware, refuse, common.authorize])
    api.add_routes([*uploads.routes(), *Files(state).routes(), *edits.routes()])
    control = web.Application(middlewares=[common.keep_local if api_key is None else common.authorize])
    control.add_routes(Control(log, faults, edits.log).routes())
    page = PageEndpoint(state, log, faults, edits, api_key, host)
    app = web.Application(middlewares=[begin, refuse, common.guard])
    app.add_routes([*HEALTH, *edits.public_routes(), *page.routes()])
    app.add_subapp("/v1", api)
    app.add_subapp("/_control", control)
    app.on_response_prepare.append(common.stamp)
    app.on_shutdown.append(page.close)
    return app


@web.middleware
async def begin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Follow a request from here on; where nobody is to be answered the connection ends, and nobody minds."""
    request[EXCHANGE] = ActiveRequest.of(request)
    try:
        return await handler(request)
    except (ConnectionGone, ConnectionError):
        _cut(request)
        return web.Response()


@web.middleware
async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say no in OpenAI's shape, whatever the reason."""
    try:
        return await handler(request)
    except (ConnectionGone, ConnectionError, FaultAnswer):
        raise
    except ApiError as error:
        refusal = error
    except web.HTTPException as error:
        refusal = _not_routed(request, error)
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        refusal = ApiError(500, "The server failed; its log says why.", type="server_error")
    if request.writer.output_size:  # too late for words
        raise ConnectionGone
    return web.json_response(refusal.to_json(), status=refusal.status, headers=refusal.headers)


def _cut(request: web.Request) -> None:
    if request.transport is not None and not request.transport.is_closing():
        request.transport.abort()


def _not_routed(request: web.Request, error: web.HTTPException) -> ApiError:
    if error.status == 405:
        return ApiError(
            405, f"Not allowed: {request.method} on {request.path}.", headers={"Allow": error.headers["Allow"]}
        )
    return ApiError(error.status, f"Invalid URL ({request.method} {request.path})")


@define(eq=False)
class Common:
    """What stands before every endpoint of the API."""

    state: Repository
    log: RequestLog
    api_key: str | None
    host: str
    hosts: frozenset[str]

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        require_no_trick(request.headers, self.hosts)
        return await handler(request)

    @web.middleware
    async def keep_local(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keep out requests that come from elsewhere, or may."""
        if not is_this_machine(request.remote, request.headers, name=self.host, port=port_of(request)):
            raise ApiError(
                403, "This is for programs on the server's own machine; by way of a proxy it needs a server with a key."
            )
        return await handler(request)

    @web.middleware
    async def record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        exchange = request[EXCHANGE]
        with self.log.follow(exchange):
            response = await handler(request)
            exchange.answered(response)
            return response

    @web.middleware
    async def authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        key = _key_of(request)
        if not key:
            raise _unauthorized("No API key was given. Send it as Authorization: Bearer KEY, or as api-key: KEY.")
        if self.api_key is not None and not hmac.compare_digest(_octets(key), _octets(self.api_key)):
            raise _unauthorized("Incorrect API key provided.", "invalid_api_key")
        return await handler(request)

    async def stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self.state.clock(), usegmt=True)
        response.headers["openai-version"] = API_VERSION
        response.headers["openai-organization"] = ORGANIZATION
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Request-ID"] = request[EXCHANGE].request_id if EXCHANGE in request else new_request_id()
        if EXCHANGE in request:  # an unknown Expect header is answered before anything of ours is asked
            milliseconds = (asyncio.get_running_loop().time() - request[EXCHANGE].started) * 1000
            response.headers["openai-processing-ms"] = str(round(milliseconds))
            request[EXCHANGE].status = response.status


def _key_of(request: web.Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("api-key", "")


def _octets(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def _unauthorized(message: str, code: str | None = None) -> ApiError:
    return ApiError(401, message, code=code, headers={"WWW-Authenticate": "Bearer"})
