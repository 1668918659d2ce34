"""Sends one attempt of a request, the one place that speaks HTTP: keys, redirects and time limits."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

import aiohttp
import anyio
from attrs import define, field
from multidict import CIMultiDict

from asyncsdk import tasks
from asyncsdk.clock import Clock
from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AsyncSDKError,
    AuthenticationError,
    CredentialError,
    NotTheAPIError,
    RedirectError,
)
from asyncsdk.http.connection import ConnectionConfig
from asyncsdk.http.decode import is_own
from asyncsdk.http.errors import translating_errors
from asyncsdk.http.request import PreparedRequest
from asyncsdk.http.response import Response
from asyncsdk.http.session import Sessions
from asyncsdk.keys import CachedKey
from asyncsdk.redaction import NO_SECRETS, Redactor, is_open, redactor
from asyncsdk.settings import Secret, Settings, checked_key, hidden

_MOST_REDIRECTS = 5
_MOST_KEYS = 8  # the keys that a client remembers, to redact them


@define(eq=False)
class Transport:
    """Sends to one server, or with `settings.nobody()` to any."""

    settings: Settings
    clock: Clock
    _config: ConnectionConfig
    _sessions: Sessions
    _keys: tuple[str, ...] = field(default=(), init=False, repr=False)  # those used lately, the newest first
    _guarded: tuple[Any, ...] = field(default=(), init=False, repr=False)  # the secrets that `_guard` is made for
    _guard: Redactor = field(default=NO_SECRETS, init=False)
    _is_known: bool = field(default=False, init=False)  # it has responded as the API

    @property
    def is_closed(self) -> bool:
        """Whether no request can be sent any more."""
        return self._sessions.is_closed

    async def aclose(self) -> None:
        """Close the connections; no request can be sent afterwards."""
        await self._sessions.aclose()

    def sending(self, call: PreparedRequest) -> AbstractAsyncContextManager[Response]:
        """Send `call` and have its successful response, to be read within the block. Raises APIError.

        An error raised by the body itself is raised unchanged.
        """
        return _Sending(self, call)

    async def begin(self, call: PreparedRequest) -> Response:
        """Send `call` and return what came in response, of whatever status. Raises APIError."""
        call.key = key = await self._current_key(call)
        if key not in self._keys:
            self._keys = (key, *self._keys)[:_MOST_KEYS]
        return await self._follow_redirects(call, key)

    def succeeded(self, call: PreparedRequest) -> None:
        """Record that the server responded to `call` as the API would."""
        self._is_known = self._is_known or call.request.response_model is not bytes

    def annotate(self, error: APIError) -> None:
        """Record in `error` whether this server may have acted, and from `error` whether it is the API.

        A server that responded as the API once is the API, whatever a gateway before it sends later. So a page from it
        may hide what was done; from any other server it does not.
        """
        if isinstance(error, NotTheAPIError):
            error.may_have_acted, error.base_url = self._is_known, self.settings.base_url
        elif isinstance(error, APIStatusError) and is_own(error.body):
            self._is_known = True

    def refused(self, call: PreparedRequest) -> None:
        """Record that the server refused the key of `call`, be it by an error in a success: it is not used again."""
        if isinstance(self.settings.key, CachedKey):
            self.settings.key.refused(call.key)

    async def _current_key(self, call: PreparedRequest) -> str:
        key = self.settings.key
        if isinstance(key, str):
            return key
        failure: Exception
        try:
            current = key()
            if inspect.isawaitable(current):
                current = await tasks.await_foreign(_within(self._config.timing.key, current))
            current = hidden(current)
        except (AsyncSDKError, tasks.LeakedCancellationError):
            raise
        except TimeoutError as error:
            what, failure = "took too long", error
        except Exception as error:  # noqa: BLE001 - it is the caller's
            what, failure = f"failed ({type(error).__name__})", error  # its text may contain a key
        else:
            return checked_key(current)
        raise CredentialError(
            f"{call.name}: the function that returns the key {what}. Nothing was sent.", request=call.name, sent=False
        ) from failure

    async def _follow_redirects(self, call: PreparedRequest, key: str) -> Response:
        for _ in range(_MOST_REDIRECTS):
            response = await self._send(call, key)
            location = response.location
            if response.status not in {301, 302, 303, 307, 308} or location is None:
                return response
            await response.leave()
            call.redirect(location, shown=response.shown(location))
        raise RedirectError(f"{call.name}: redirected {_MOST_REDIRECTS} times and still not there", request=call.name)

    async def _send(self, call: PreparedRequest, key: str) -> Response:
        session = await self._sessions.get()
        secrets = _credentials(self.settings, key)
        for_proxy = {} if self._config.proxy is None else self._config.proxy.headers
        tunnelled = call.url.scheme == "https"
        headers = CIMultiDict(secrets if tunnelled else secrets | for_proxy)
        headers.update(call.headers)
        body = call.new_body()
        # with a body its StallTimer limits the time: aiohttp's timer runs while the kernel still sends
        silence = call.response_timeout if body is None else None
        with call.abort_on_failure(), translating_errors(call):
            received = await session.request(
                call.request.method,
                call.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                raise_for_status=False,
                auto_decompress=False,  # aiohttp's has no limit
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._config.timing.connect, sock_read=silence),
                proxy_headers=for_proxy if tunnelled else None,
            )
        response = Response(call, received, self._redactor(call, received.request_info.headers))
        call.response_began(response.status, response.headers)
        self.clock.observe(response.headers.get("Date"))
        return response

    def _redactor(self, call: PreparedRequest, sent: Mapping[str, str]) -> Redactor:
        """Redacts the secrets of `call`; those of a given session are in the headers that were `sent`."""
        query = {name: value for name, value in call.target.query.items() if name not in call.request.query}
        guarded = (
            CIMultiDict((name, value) for name, value in sent.items() if not is_open(name)),
            query,
            {} if self._config.proxy is None else dict(self._config.proxy.headers),
            self._keys if self.settings.auth is not None else (),
        )
        if guarded != self._guarded:  # they are nearly always those of the request before
            self._guarded, self._guard = guarded, redactor(*guarded)
        return self._guard


@define(eq=False)
class _Sending(AbstractAsyncContextManager[Response]):
    """One attempt of `call`, and the block in which its response is read. A generator would cost thrice as much."""

    _transport: Transport
    _call: PreparedRequest
    _response: Response | None = field(default=None, init=False)

    async def __aenter__(self) -> Response:
        try:
            self._response = await self._transport.begin(self._call)
            await _accept(self._response)
        except BaseException as error:
            await self._end(error)
            raise
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._transport.succeeded(self._call)
        await self._end(error)

    async def _end(self, error: BaseException | None) -> None:
        try:
            if self._response is not None:
                if isinstance(error, APIError):
                    self._transport.annotate(error)
                if isinstance(error, AuthenticationError):
                    self._transport.refused(self._call)
                await self._response.leave()
        finally:
            self._call.stop_watching()


def _credentials(settings: Settings, key: str) -> dict[str, str]:
    if settings.auth is None:
        return {}
    return {"Authorization": Secret(f"Bearer {key}")} if settings.auth == "bearer" else {"api-key": Secret(key)}


async def _within(seconds: float, key: Awaitable[str]) -> str:
    with anyio.fail_after(seconds):
        return await key


async def _accept(response: Response) -> None:
    call = response.call
    call.retry.answered = True
    if call.failure is not None:
        raise call.failure
    if response.status >= 400:
        raise await response.error()
    if response.status >= 300:
        raise APIResponseValidationError(
            f"{call.name}: the server responded with {response.status} and without a Location.",
            request=call.name,
            status_code=response.status,
            request_id=call.request_id,
        )
    if not call.was_fully_sent():
        raise APIConnectionError(f"{call.name}: responded before it had the whole request", request=call.name)
