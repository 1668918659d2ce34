"""A connection that waits silently is probed, so that nothing on the way forgets it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from asyncsdk import Client, api
from tests.raw_server import KEY, RawServer, Talk, client_of, serving

GET_FILE = api.retrieve_file("file-1")


async def silent(talk: Talk) -> None:
    await talk.hear_head()
    await anyio.sleep_forever()


@pytest.fixture
async def sockets(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Every socket that is connected."""
    loop, connected = asyncio.get_running_loop(), list[socket.socket]()
    connect = loop.sock_connect

    async def noting(sock: socket.socket, address: Any) -> None:
        connected.append(sock)
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", noting)
    return connected


async def ask(server: RawServer) -> None:
    async with client_of(server) as client:
        await client.send(GET_FILE)


async def ask_through_a_proxy(server: RawServer) -> None:
    proxy = server.url.removesuffix("/v1")
    async with Client(KEY, base_url="http://elsewhere.invalid/v1", proxy=proxy) as client:
        await client.send(GET_FILE)


async def fetch(server: RawServer) -> None:
    async with client_of(server) as client:
        await client.download_url(f"{server.url}/picture.png")


@pytest.mark.skipif(sys.platform == "win32", reason="the options have other names there")
@pytest.mark.parametrize("call", [ask, ask_through_a_proxy, fetch])
async def test_the_first_probe_goes_out_after_a_minute_of_silence(
    sockets: list[socket.socket], call: Callable[[RawServer], Coroutine[Any, Any, None]]
) -> None:
    async with serving(silent) as server, anyio.create_task_group() as group:
        group.start_soon(call, server)
        while not server.connections:
            await anyio.sleep(0.01)
        [used] = sockets
        idle = getattr(socket, "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE")
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert used.getsockopt(socket.IPPROTO_TCP, idle) <= 60
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) <= 30
        group.cancel_scope.cancel()
