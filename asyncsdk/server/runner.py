"""Listens with an application, and stops at once: whoever still talks to it is cut off."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection
from typing import Any

from aiohttp import web

from asyncsdk.server.door import Door

_POLITE_SECONDS = 0.05


async def start(
    app: web.Application, host: str, port: int, *, ssl_context: ssl.SSLContext | None, connections: int
) -> web.AppRunner:
    """Return when it listens, for so many connections at a time. Raises OSError where it can't."""
    runner = web.AppRunner(app, shutdown_timeout=_POLITE_SECONDS)
    try:
        await runner.setup()
        await Door(runner, host, port, connections=connections, ssl_context=ssl_context).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


async def stop(runner: web.AppRunner, under_way: Callable[[], Collection[asyncio.Task[Any]]]) -> None:
    """Take no more, cancel the calls under way, close every connection; all is gone when this returns."""
    for site in runner.sites:
        await site.stop()
    connections = [] if runner.server is None else runner.server.connections
    transports = [connection.transport for connection in connections]
    for connection in connections:
        connection.close()  # to further requests; what is under way goes on
    if calls := under_way():
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()  # cleanup closes politely: a client that reads nothing would keep it open
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # TLS takes a second turn of the loop to close its socket
