"""The aiohttp application: its routes, and what all responses share: headers, errors, authorization."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Collection
from email.utils import formatdate

from aiohttp import web
from aiohttp.typedefs import Handler
from attrs import define

from asyncsdk.server.batches.endpoint import Batches
from asyncsdk.server.bodies import TIMING, ConnectionGone, count_call, port_of
from asyncsdk.server.browsers import is_this_machine, require_same_site
from asyncsdk.server.control import ROUTES as HEALTH
from asyncsdk.server.control import Control
from asyncsdk.server.edits.endpoint import Edits
from asyncsdk.server.errors import ApiError, not_served, too_much_of
from asyncsdk.server.fault_plan import FaultPlan
from asyncsdk.server.files import Files
from asyncsdk.server.ids import new_request_id
from asyncsdk.server.inject import FaultResponse, Injector
from asyncsdk.server.listener import ServerTiming
from asyncsdk.server.log import ACTIVE_REQUEST, ActiveRequest, RequestLog
from asyncsdk.server.model_list import Models
from asyncsdk.server.page import PageEndpoint
from asyncsdk.server.rate import TokenBucket
from asyncsdk.server.repository import Repository
from asyncsdk.server.uploads import Uploads

logger = logging.getLogger(__name__)

API_VERSION = "2020-10-01"
ORGANIZATION = "org-local"


def make_app(
    repository: Repository,
    faults: FaultPlan,
    log: RequestLog,
    *,
    uploads: Uploads,
    files: Files,
    edits: Edits,
    batches: Batches,
    api_key: str | None,
    models: Models = Models(),  # noqa: B008 - without any there is no call
    rate: TokenBucket = TokenBucket(unit="requests"),  # noqa: B008 - without a limit it has no state
    host: str = "127.0.0.1",
    hosts: Collection[str] = (),
    timing: ServerTiming = ServerTiming(),  # noqa: B008 - it is frozen
) -> web.Application:
    """Build the application. Load `repository` before it serves."""
    common = CommonMiddleware(repository, log, api_key, rate, host, frozenset(name.lower() for name in (host, *hosts)))
    injector = Injector(faults, repository)
    api = web.Application(middlewares=[common.record, injector.middleware, refuse, common.authorize, common.count])
    api.add_routes([*uploads.routes(), *files.routes(), *edits.routes(), *batches.routes(), *models.routes()])
    control = web.Application(middlewares=[common.keep_local if api_key is None else common.authorize])
    control.add_routes(Control(log, faults, edits.log, repository).routes())
    page = PageEndpoint(repository, log, faults, edits, api_key, host)
    app = web.Application(middlewares=[begin, refuse, common.guard])
    app[TIMING] = timing
    app.add_routes([*HEALTH, *edits.public_routes(), *page.routes()])
    app.add_subapp("/v1", api)
    app.add_subapp("/_control", control)
    app.on_response_prepare.append(common.stamp)
    app.on_shutdown.append(page.close)
    return app


@web.middleware
async def begin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Make the request's ActiveRequest; end the connection, without an error in the log, where the client is gone."""
    request[ACTIVE_REQUEST] = ActiveRequest.of(request)
    try:
        return await handler(request)
    except (ConnectionGone, ConnectionError):
        _cut(request)
        return web.Response()


@web.middleware
async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a response in OpenAI's shape."""
    try:
        return await handler(request)
    except (ConnectionGone, ConnectionError, FaultResponse):
        raise
    except ApiError as error:
        refusal = error
    except web.HTTPException as error:
        refusal = _not_routed(request, error)
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        refusal = ApiError(500, "The server failed; its log contains the reason.", type="server_error")
    if request.writer.output_size:  # a response has begun; another can't follow
        raise ConnectionGone
    return web.json_response(refusal.to_json(), status=refusal.status, headers=refusal.headers)


def _cut(request: web.Request) -> None:
    if request.transport is not None and not request.transport.is_closing():
        request.transport.abort()


def _not_routed(request: web.Request, error: web.HTTPException) -> ApiError:
    if error.status == 405:
        return ApiError(
            405,
            f"Not allowed: {request.method} on {request.path}. {too_much_of(request.path)}".rstrip(),
            headers={"Allow": error.headers["Allow"]},
        )
    return not_served(request.method, request.path, error.status)


@define(eq=False)
class CommonMiddleware:
    """The middlewares and headers that all endpoints share."""

    repository: Repository
    log: RequestLog
    api_key: str | None
    rate: TokenBucket
    host: str
    hosts: frozenset[str]

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        require_same_site(request.headers, self.hosts)
        return await handler(request)

    @web.middleware
    async def keep_local(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests that come, or may come, from another machine."""
        if not is_this_machine(request.remote, request.headers, name=self.host, port=port_of(request)):
            raise ApiError(
                403, "This is for programs on the server's own machine; through a proxy it needs a server with a key."
            )
        return await handler(request)

    @web.middleware
    async def record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        call = request[ACTIVE_REQUEST]
        with self.log.follow(call):
            response = await handler(request)
            call.answered(response)
            return response

    @web.middleware
    async def authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        key = _key_of(request)
        if not key:
            raise _unauthorized("No API key was given. Send it as Authorization: Bearer KEY, or as api-key: KEY.")
        if self.api_key is not None and not hmac.compare_digest(_octets(key), _octets(self.api_key)):
            raise _unauthorized("Incorrect API key provided.", "invalid_api_key")
        return await handler(request)

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a call above the limit on all calls."""
        await count_call(request, self.rate)
        return await handler(request)

    async def stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self.repository.clock(), usegmt=True)
        response.headers["openai-version"] = API_VERSION
        response.headers["openai-organization"] = ORGANIZATION
        response.headers["X-Content-Type-Options"] = "nosniff"
        call = request.get(ACTIVE_REQUEST)  # None: aiohttp refuses an unknown Expect header before any middleware
        response.headers["X-Request-ID"] = new_request_id() if call is None else call.request_id
        if call is not None:
            milliseconds = (asyncio.get_running_loop().time() - call.started) * 1000
            response.headers["openai-processing-ms"] = str(round(milliseconds))
            call.status = response.status


def _key_of(request: web.Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("api-key", "")


def _octets(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def _unauthorized(message: str, code: str | None = None) -> ApiError:
    return ApiError(401, message, code=code, headers={"WWW-Authenticate": "Bearer"})
