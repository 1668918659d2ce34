"""Runs an ASGI app on a real socket, in the loop of the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[str]:
    """The URL of the app; at the end of the block it is shut down as by a SIGTERM."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", **options))
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]  # they are pytest's
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done()
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
