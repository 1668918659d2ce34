"""LocalServer: it starts in a loop or a thread, stops at once, and leaves nothing on disk or running."""

from __future__ import annotations

import asyncio
import gc
import io
import ssl
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from openai import OpenAI

from asyncsdk.server import Fault, LocalServer, local, serve
from tests.faults.leaving import stopwatch
from tests.server.support import calling, connected, data_field, form_of, part_request, running
from tests.waiting import until

LIST = b"GET /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer a key\r\n\r\n"


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncsdk-server")]


async def test_its_address_is_known_while_it_runs_and_only_then() -> None:
    server = LocalServer()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.url
        async with server:
            assert server.url == f"http://127.0.0.1:{server.port}/v1"


async def test_it_can_not_be_started_twice_at_once() -> None:
    async with LocalServer() as server:
        with pytest.raises(RuntimeError, match="running already"):
            await server.__aenter__()
        async with calling(server) as call:
            assert (await call("GET", "files")).status == 200


async def test_a_temporary_directory_goes_with_the_server_and_a_given_one_stays(tmp_path: Path) -> None:
    async with running() as (server, call):
        await call.uploaded(b"x")
        temporary = server.directory_in_use
        assert temporary.is_dir()
    assert not temporary.exists()
    async with running(tmp_path / "new" / "one") as (server, call):
        done = await call.uploaded(b"x")
    assert server.stored(done.json["file"]["id"]).read_bytes() == b"x"


async def test_a_port_that_is_taken_is_told_and_nothing_stays() -> None:
    async with LocalServer() as first:
        second = LocalServer(port=first.port)
        with pytest.raises(OSError, match="address already in use"):
            await second.__aenter__()
        assert not second.directory_in_use.exists()


def test_a_thread_that_can_not_start_tells_why(tmp_path: Path) -> None:
    with LocalServer(tmp_path), pytest.raises(RuntimeError, match="in use by another server"), LocalServer(tmp_path):
        pass
    assert own_threads() == []


def test_a_ctrl_c_while_it_starts_in_a_thread_leaves_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Future[Any]):
        asked = 0

        def result(self, timeout: float | None = None) -> Any:
            self.asked += 1
            if self.asked == 1:
                raise KeyboardInterrupt
            return super().result(timeout)

    monkeypatch.setattr(local, "Future", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        LocalServer().__enter__()
    assert own_threads() == []


def test_in_a_thread_it_serves_a_blocking_client_and_leaves_no_thread() -> None:
    with LocalServer() as server, OpenAI(api_key="k", base_url=server.url) as client:
        assert client.files.list().data == []
        assert own_threads()
    assert own_threads() == []


async def test_in_a_loop_it_leaves_no_thread_and_no_task() -> None:
    async with running() as (_, call):
        await call.uploaded(bytes(3 * 2**20))
        assert own_threads()
    assert own_threads() == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("at", ["before", "in", "after", "done", "answering"])
async def test_it_stops_at_once_with_stalled_calls(at: Any) -> None:
    async with AsyncExitStack() as stack:
        watch = stack.enter_context(stopwatch())
        async with LocalServer(faults=[Fault("part", "stall", at, every=1)]) as server, calling(server) as call:
            upload_id = await call.created(2**24)
            for _ in range(3):
                _, writer = await stack.enter_async_context(connected(server))
                writer.write(part_request(upload_id, form_of(data_field(bytes(2**24)))))
            await until(lambda: server.calls["part"] == 3 and not server.parts_in_flight)
            watch.start()
        assert watch.seconds < 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()


async def test_it_stops_at_once_with_clients_that_read_nothing_wait_or_linger() -> None:
    size = 2**25
    async with AsyncExitStack() as stack:
        watch = stack.enter_context(stopwatch())
        async with running() as (server, call):
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", io.BytesIO(bytes(size)), filename="a")
            file_id = (await call("POST", "files", data=form)).json["id"]
            reader, writer = await stack.enter_async_context(connected(server))
            writer.write(LIST.replace(b"/v1/files", f"/v1/files/{file_id}/content".encode()))
            await reader.readline()  # and no more of what comes
            _, idle = await stack.enter_async_context(connected(server))
            idle.write(LIST)
            _, lingering = await stack.enter_async_context(connected(server))
            lingering.write(part_request("upload_1", b"", length=100))
            await until(lambda: server.calls.get("part") and server.calls.get("files.list") == 1)
            watch.start()
        assert watch.seconds < 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()


@pytest.mark.parametrize("turns", range(8))
async def test_it_stops_while_clients_connect_and_leaves_no_socket_open(turns: int) -> None:
    async with LocalServer() as server:
        clients = [asyncio.ensure_future(asyncio.open_connection("127.0.0.1", server.port)) for _ in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
    for client in clients:
        with suppress(OSError):  # refused, or reset
            _, writer = await client
            writer.transport.abort()
    await asyncio.sleep(0)
    gc.collect()


def authority() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server shows and what a client trusts."""
    root = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    root.issue_cert("127.0.0.1").configure_cert(server)
    root.configure_trust(client)
    return server, client


@pytest.mark.parametrize("kind", ["answer", "reset", "close", "stall"])
async def test_it_serves_tls_with_its_faults_and_stops_at_once(kind: Any) -> None:
    shown, trusted = authority()
    connector = aiohttp.TCPConnector(ssl=trusted)
    with stopwatch() as watch:
        async with (
            LocalServer(ssl_context=shown, faults=[Fault("files.list", kind)]) as server,
            calling(server, connector=connector, headers={"api-key": "k"}) as call,
        ):
            assert server.url.startswith("https://127.0.0.1:")
            assert (await call.uploaded(bytes(2**20))).status == 200
            try:
                async with asyncio.timeout(1 if kind == "stall" else 10):
                    # aiohttp asks again when a connection is lost
                    assert (await call("GET", "files")).status in (500, 200)
            except TimeoutError:
                assert kind == "stall"
            server.assert_all_met()
            watch.start()
        assert watch.seconds < 1
    gc.collect()


async def test_serve_tells_its_address_once_and_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    told: list[LocalServer] = []
    serving = asyncio.ensure_future(serve(LocalServer(tmp_path), told.append))
    await until(lambda: told)
    async with calling(told[0]) as call:
        assert (await call("GET", "files")).status == 200
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert len(told) == 1
    with pytest.raises(RuntimeError, match="not running"):
        _ = told[0].port


async def test_its_word_is_never_its_key() -> None:
    assert "secret" not in repr(LocalServer(api_key="secret"))
