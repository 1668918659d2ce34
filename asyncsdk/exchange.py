"""One sending of one call: the one place that speaks HTTP. Keys, redirects and time limits are minded here."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from attrs import define, field

from asyncsdk.answers import status_error
from asyncsdk.call import Call
from asyncsdk.clock import Clock
from asyncsdk.connection import CONNECT_SECONDS
from asyncsdk.errors import APIConnectionError, RedirectError
from asyncsdk.lost import as_ours
from asyncsdk.settings import Key, Settings, checked_key

_MOST_REDIRECTS = 5
_LONGEST_ERROR_BODY, _ERROR_BODY_SECONDS = 1 << 20, 10.0


@define(eq=False)
class Exchange:
    """The session, opened at first use on the running loop and bound to it. A given one is never closed."""

    settings: Settings
    clock: Clock
    _new_session: Callable[[], aiohttp.ClientSession]
    _given: aiohttp.ClientSession | None = None
    _session: aiohttp.ClientSession | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def sending(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send `call` and yield its good answer, to be read with `chunks`. Raises APIError."""
        key = await _current_key(self.settings.key)
        try:
            response = await self._answered(call, key)
            async with response:
                call.retry.answered = True
                if response.status >= 400:
                    told = (await _error_body(response)).replace(key.encode(), b"[key]")
                    raise status_error(response.status, response.headers, told, request=call.name)
                if not call.went_whole():
                    raise APIConnectionError(
                        f"{call.name}: answered before it had the whole request", request=call.name
                    )
                yield response
        finally:
            call.stop_watching()

    async def _answered(self, call: Call, key: str) -> aiohttp.ClientResponse:
        for _ in range(_MOST_REDIRECTS):
            response = await self._sent(call, key)
            location = response.headers.get("Location")
            if response.status not in {301, 302, 303, 307, 308} or location is None:
                return response
            response.close()
            call.redirect(location)
        raise RedirectError(f"{call.name}: redirected {_MOST_REDIRECTS} times and still not there", request=call.name)

    async def _sent(self, call: Call, key: str) -> aiohttp.ClientResponse:
        body = call.new_body()
        secret = {"Authorization": f"Bearer {key}"} if self.settings.auth == "bearer" else {"api-key": key}
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=call.answer_limit if body is None else None
        )
        with as_ours(call):
            response = await self._open_session().request(
                call.request.method,
                call.url,
                data=body,
                headers={**secret, **call.headers},
                allow_redirects=False,
                timeout=limits,
            )
        call.heard(response.status, response.headers)
        self.clock.observe(response.headers.get("Date"))
        return response

    def _open_session(self) -> aiohttp.ClientSession:
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        if self._session is None:
            self._session, self._loop = self._new_session(), loop
        elif self._loop is not loop:
            raise RuntimeError("this Client belongs to another event loop; make one for each loop")
        return self._session


async def _current_key(key: Key) -> str:
    if isinstance(key, str):
        return key
    current = key()
    return checked_key(await current if inspect.isawaitable(current) else current)


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    try:
        async with asyncio.timeout(_ERROR_BODY_SECONDS):
            return await response.content.read(_LONGEST_ERROR_BODY)
    except (aiohttp.ClientError, TimeoutError):  # the status tells enough
        return b""


async def chunks(call: Call, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The answer's bytes as they come; each wait for more is bounded by the call's limit."""
    while True:
        with as_ours(call):
            async with asyncio.timeout(call.answer_limit):
                chunk = await response.content.readany()
        if not chunk:
            return
        yield chunk
