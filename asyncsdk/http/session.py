"""The session of a client: opened at first use, closed with its event loop, and opened again on the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
from attrs import define, field

from asyncsdk.errors import UnusableClientError
from asyncsdk.http.connection import ConnectionConfig, drop_connections
from asyncsdk.loops import PerLoop


@define(eq=False)
class _OpenSession:
    """A session within a generator, which asyncio closes before it closes the loop (`shutdown_asyncgens`).

    So no connection outlives `asyncio.run`, and none is left to the garbage collector.
    """

    config: ConnectionConfig
    session: aiohttp.ClientSession | None = None
    _generator: AsyncGenerator[aiohttp.ClientSession, None] | None = None

    async def get(self) -> aiohttp.ClientSession:
        """The session, opened if it is not."""
        if self.session is None or self.session.closed:
            self._generator = _until_the_loop_ends(self.config)
            self.session = await anext(self._generator)
        return self.session

    async def aclose(self) -> None:
        if self._generator is not None:
            await self._generator.aclose()

    def drop(self) -> None:
        """Let go of the connections without their loop: it was closed, and its generators were not."""
        if self.session is not None and not self.session.closed:
            drop_connections(self.session)


async def _until_the_loop_ends(config: ConnectionConfig) -> AsyncGenerator[aiohttp.ClientSession, None]:
    session = config.open_session()
    try:
        yield session
    finally:
        await session.close()
        await asyncio.sleep(0)  # the transports close their sockets in the next turn of the loop


@define(eq=False)
class Sessions:
    """Has the session to send with on the running loop; a given one is used as it is, and never closed."""

    _config: ConnectionConfig
    _given: aiohttp.ClientSession | None = None
    _is_closed: bool = field(default=False, init=False)
    _opened: PerLoop[_OpenSession] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._opened = PerLoop("Client", lambda: _OpenSession(self._config), _OpenSession.drop)

    @property
    def is_closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._is_closed

    async def get(self) -> aiohttp.ClientSession:
        """The session. Raises UnusableClientError after `aclose`, and where it is another loop's."""
        if self._is_closed:
            raise UnusableClientError(
                "this Client is closed, as the end of `async with` and `close` do it. Nothing was sent. Make another; "
                "where one serves a whole program, close it once, at its end."
            )
        opened = self._opened.get()
        return await opened.get() if self._given is None else _usable(self._given)

    async def aclose(self) -> None:
        """Close the connections, on their loop; no request can be sent afterwards. Raises UnusableClientError."""
        opened = self._opened.take()
        self._is_closed = True
        if opened is not None:
            await opened.aclose()


def _usable(given: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """A caller's session, unless it is closed or of another loop: aiohttp's own errors come late or name no cause."""
    if given.closed:
        raise UnusableClientError(
            "the session= that was given to this Client is closed. Nothing was sent. Make both again."
        )
    loop = getattr(given, "_loop", None)
    if loop is not None and loop is not asyncio.get_running_loop():
        raise UnusableClientError(
            f"the session= that was given to this Client belongs to another event loop, which is "
            f"{'closed' if loop.is_closed() else 'not the running one'}. Nothing was sent.\n  Make the session within "
            "the coroutine that uses it; or give none: the Client opens its own for each loop."
        )
    return given
