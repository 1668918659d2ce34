"""One sending of one call: the one place that speaks HTTP. Keys, redirects and time limits are minded here."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from attrs import define, field
from multidict import CIMultiDict

from asyncsdk import tasks
from asyncsdk.clock import Clock
from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    NotTheAPIError,
    RedirectError,
)
from asyncsdk.http.connection import CONNECT_SECONDS, ConnectionConfig
from asyncsdk.http.decode import is_own
from asyncsdk.http.errors import translating_errors
from asyncsdk.http.request import PreparedRequest
from asyncsdk.http.response import Response
from asyncsdk.redaction import NO_SECRETS, Redactor, is_open, redactor
from asyncsdk.settings import Key, Secret, Settings, checked_key

_MOST_REDIRECTS = 5
_MOST_KEYS = 8  # that a client remembers, so as to show none of them


@define(eq=False)
class Transport:
    """The session, opened at first use on the running loop and bound to it. A given one is never closed."""

    settings: Settings
    clock: Clock
    _way: ConnectionConfig
    _given: aiohttp.ClientSession | None = None
    _session: aiohttp.ClientSession | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _keys: tuple[str, ...] = field(default=(), init=False, repr=False)  # those in use lately, the newest first
    _guarded: tuple[Any, ...] = field(default=(), init=False, repr=False)  # that `_guard` is made for
    _guard: Redactor = field(default=NO_SECRETS, init=False)
    _is_known: bool = field(default=False, init=False)  # it has answered as the API

    async def aclose(self) -> None:
        """Close the connections, for good."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            self._check_loop()
            await session.close()

    @asynccontextmanager
    async def sending(self, call: PreparedRequest) -> AsyncIterator[Response]:
        """Send `call` and yield its good answer, to be read within the block. Raises APIError.

        An error raised by the body itself comes out as it is.
        """
        key = await _current_key(self.settings.key)
        if key not in self._keys:
            self._keys = (key, *self._keys)[:_MOST_KEYS]
        try:
            answer = await self._answered(call, key)
            try:
                await _accept(answer)
                yield answer
            except APIError as error:
                self.annotate(error)
                raise
            else:
                self._is_known = self._is_known or call.request.answer is not bytes
            finally:
                await answer.leave()
        finally:
            call.stop_watching()

    def annotate(self, error: APIError) -> None:
        """A server that answered as the API once is the API, whatever something before it says later.

        So a page from it may hide what was done; from any other server it does not, and `error` says that.
        """
        if isinstance(error, NotTheAPIError):
            error.may_have_acted, error.base_url = self._is_known, self.settings.base_url
        elif isinstance(error, APIStatusError) and is_own(error.body):
            self._is_known = True

    async def _answered(self, call: PreparedRequest, key: str) -> Response:
        for _ in range(_MOST_REDIRECTS):
            answer = await self._sent(call, key)
            location = answer.location
            if answer.status not in {301, 302, 303, 307, 308} or location is None:
                return answer
            await answer.leave()
            call.redirect(location, shown=answer.shown(location))
        raise RedirectError(f"{call.name}: redirected {_MOST_REDIRECTS} times and still not there", request=call.name)

    async def _sent(self, call: PreparedRequest, key: str) -> Response:
        session = self._open_session()
        secrets = _credentials(self.settings, key)
        for_proxy = {} if self._way.proxy is None else self._way.proxy.headers
        tunnelled = call.url.scheme == "https"
        headers = CIMultiDict(secrets if tunnelled else secrets | for_proxy)
        headers.update(call.headers)
        body = call.new_body()
        # with a body it is the watch that minds the time: aiohttp's clock runs while the kernel still sends
        silence = call.answer_limit if body is None else None
        with call.abort_on_failure(), translating_errors(call):
            response = await session.request(
                call.request.method,
                call.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                raise_for_status=False,
                auto_decompress=False,  # aiohttp's knows no limit
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence),
                proxy_headers=for_proxy if tunnelled else None,
            )
        answer = Response(call, response, self._redactor(call, response.request_info.headers))
        call.heard(answer.status, answer.headers)
        self.clock.observe(answer.headers.get("Date"))
        return answer

    def _redactor(self, call: PreparedRequest, sent: Mapping[str, str]) -> Redactor:
        """For the secrets of `call`; those of a given session are in the headers that were `sent`."""
        query = {name: value for name, value in call.target.query.items() if name not in call.request.query}
        guarded = (
            CIMultiDict((name, value) for name, value in sent.items() if not is_open(name)),
            query,
            {} if self._way.proxy is None else dict(self._way.proxy.headers),
            self._keys if self.settings.auth is not None else (),
        )
        if guarded != self._guarded:  # they are nearly always those of the request before
            self._guarded, self._guard = guarded, redactor(*guarded)
        return self._guard

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("this Client is closed; make another")
        self._check_loop()
        if self._given is not None:
            return self._given
        if self._session is None:
            self._session = self._way.open_session()
        return self._session

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise RuntimeError("this Client belongs to another event loop; make one for each loop")


def _credentials(settings: Settings, key: str) -> dict[str, str]:
    if settings.auth is None:
        return {}
    return {"Authorization": Secret(f"Bearer {key}")} if settings.auth == "bearer" else {"api-key": Secret(key)}


async def _current_key(key: Key) -> str:
    if isinstance(key, str):
        return key
    current = key()
    return checked_key(await tasks.await_foreign(current) if inspect.isawaitable(current) else current)


async def _accept(answer: Response) -> None:
    call = answer.call
    call.retry.answered = True
    if call.failure is not None:
        raise call.failure
    if answer.status >= 400:
        raise await answer.error()
    if answer.status >= 300:
        raise APIResponseValidationError(
            f"{call.name}: the server answers {answer.status} without an address to go on at.",
            request=call.name,
            status_code=answer.status,
            request_id=call.request_id,
        )
    if not call.was_fully_sent():
        raise APIConnectionError(f"{call.name}: answered before it had the whole request", request=call.name)
