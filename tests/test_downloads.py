"""Lists, downloads and streams: whole or not at all, and nothing left behind."""

from __future__ import annotations

import asyncio
import gzip
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from asyncsdk import (
    APIConnectionError,
    APIResponseValidationError,
    Client,
    ConfigurationError,
    PermissionDeniedError,
    RedirectError,
    api,
)
from tests.raw_server import KEY, Talk, answering, client_of, reply, serving

GET_FILE = api.retrieve_file("file-1")
FILE = {"id": "file-1", "expires_at": None, "status_details": None}


async def test_pages_walk_to_the_end_and_no_further() -> None:
    pages = [
        {"data": [{"id": "a"}, {"id": "b"}], "last_id": "b", "has_more": True},
        {"data": [{"id": "c"}], "has_more": True},
        {"data": [{"id": "d"}], "last_id": "d", "has_more": False},
    ]
    async with answering(*(reply(200, page) for page in pages)) as server, client_of(server) as client:
        found = [file.id async for file in client.pages(api.list_files(purpose="batch"))]
    assert found == ["a", "b", "c", "d"]
    assert [request.target.partition("?")[2] for request in server.requests] == [
        "purpose=batch",
        "purpose=batch&after=b",
        "purpose=batch&after=c",
    ]


@pytest.mark.parametrize("page", [{"data": []}, {"data": [], "has_more": True}])
async def test_pages_end_where_nothing_comes(page: object) -> None:
    async with answering(reply(200, page)) as server, client_of(server) as client:
        assert [file async for file in client.pages(api.list_files())] == []
    assert len(server.requests) == 1


async def test_pages_do_not_run_in_circles_on_a_server_that_ignores_the_cursor() -> None:
    async with answering(reply(200, {"data": [{"id": "a"}], "has_more": True})) as server, client_of(server) as client:
        assert len([file async for file in client.pages(api.list_files(), query={"limit": "1"})]) == 2


async def test_a_download_is_saved_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    async with answering(reply(200, content)) as server, client_of(server) as client:
        assert await client.download(api.file_content("file-1"), tmp_path / "new" / "it.bin") == len(content)
        assert await client.send(api.file_content("file-1")) == content
    assert (tmp_path / "new" / "it.bin").read_bytes() == content
    assert server.requests[0].headers["accept"] == "application/binary"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["it.bin"]


def cutting_after(cuts: int, whole: bytes) -> Callable[[Talk], Awaitable[None]]:
    """Send all but the last five bytes `cuts` times, then all of them."""

    async def handle(talk: Talk) -> None:
        nonlocal cuts
        await talk.hear()
        cuts -= 1
        await talk.say(whole if cuts < 0 else whole[:-5])

    return handle


async def test_an_answer_cut_in_the_middle_is_asked_for_again(tmp_path: Path) -> None:
    async with serving(cutting_after(1, reply(200, FILE))) as server, client_of(server) as client:
        assert (await client.send(GET_FILE)).id == "file-1"
    async with serving(cutting_after(1, reply(200, b"0123456789"))) as server, client_of(server) as client:
        await client.download(api.file_content("file-1"), tmp_path / "it")
    assert (tmp_path / "it").read_bytes() == b"0123456789"


async def test_a_download_that_stays_cut_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "it"
    target.write_bytes(b"old")
    async with serving(cutting_after(99, reply(200, b"0123456789"))) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError, match="the response was cut off"):
            await client.download(api.file_content("file-1"), target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    assert len(server.requests) == 3


async def test_a_download_that_can_not_be_saved_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    async with answering(reply(200, b"content")) as server, client_of(server) as client:
        with pytest.raises(OSError, match="Not a directory"):
            await client.download(api.file_content("file-1"), tmp_path / "file" / "below")
    assert len(server.requests) == 1


async def test_a_stream_is_retried_until_it_begins_and_not_after() -> None:
    async with (
        answering(reply(500), reply(200, b"abc")) as server,
        client_of(server) as client,
        client.stream(api.file_content("file-1")) as chunks,
    ):
        assert b"".join([chunk async for chunk in chunks]) == b"abc"
    async with serving(cutting_after(1, reply(200, b"0123456789"))) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError, match="cut off") as caught:
            async with client.stream(api.file_content("file-1")) as chunks:
                assert [chunk async for chunk in chunks]
    assert caught.value.sent
    assert len(server.requests) == 1


async def test_a_stream_left_early_leaves_no_connection_behind() -> None:
    left = asyncio.Event()

    async def endless(talk: Talk) -> None:
        await talk.hear()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)
        await talk.gone()
        left.set()

    async with serving(endless) as server, client_of(server) as client:
        async with client.stream(api.file_content("file-1")) as chunks:
            assert await anext(chunks)
        async with asyncio.timeout(20):
            await left.wait()


async def test_a_stream_tells_the_name_of_its_request() -> None:
    async with (
        answering(reply(200, b"abc", {"X-Request-ID": "req_1"})) as server,
        client_of(server) as client,
        client.stream(api.file_content("file-1")) as chunks,
    ):
        assert chunks.request_id == "req_1"
        assert b"".join([chunk async for chunk in chunks]) == b"abc"


async def test_a_picture_behind_a_url_is_fetched_without_the_key_and_as_it_is_signed() -> None:
    async with answering(reply(403), reply(500), reply(200, b"picture")) as server, client_of(server) as client:
        with pytest.raises(PermissionDeniedError, match="GET the picture's URL: 403"):
            await client.download_url(server.url)
        for name in ("/a%2Fb.png?sig=%2B%20x", "/é.png"):
            assert await client.download_url(f"{server.url}{name}") == b"picture"
    assert [request.target for request in server.requests[1:]] == [*["/v1/a%2Fb.png?sig=%2B%20x"] * 2, "/v1/%C3%A9.png"]
    assert all(KEY not in request.head.decode() for request in server.requests)
    assert all("authorization" not in request.headers for request in server.requests)


async def test_a_picture_without_end_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.client.LARGEST_DOWNLOAD", 1000)
    bomb = reply(200, gzip.compress(bytes(10**6)), {"Content-Encoding": "gzip"})
    async with answering(reply(200, bytes(1000)), reply(200, bytes(1001)), bomb) as server, client_of(server) as client:
        assert len(await client.download_url(server.url)) == 1000
        for _ in range(2):
            with pytest.raises(APIResponseValidationError, match="larger than 1000 bytes"):
                await client.download_url(server.url)


async def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.http.response.SMALL", 1000)
    async with answering(reply(200, b" " * 1001)) as server, client_of(server) as client:
        with pytest.raises(APIResponseValidationError, match="larger than 1000 bytes"):
            await client.send(api.retrieve_file("file-1"))
        assert len(await client.send(api.file_content("file-1"))) == 1001


async def test_a_picture_of_a_server_with_tls_is_fetched_with_tls_alone() -> None:
    async with answering(reply(200)) as server, Client("k", base_url="https://api.invalid/v1") as client:
        with pytest.raises(ConfigurationError, match="came by https"):
            await client.download_url(server.url)
    assert server.connections == 0


async def test_a_picture_that_is_elsewhere_is_not_looked_for_there() -> None:
    async with answering(reply(200)) as other:
        there = reply(307, "", {"Location": other.url, "Set-Cookie": "a=b"})
        async with answering(there) as server, client_of(server) as client:
            with pytest.raises(RedirectError):
                await client.download_url(server.url)
    assert other.connections == 0


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "http://", "http://[", "/otter.png", "data:image/png;base64,eA=="]
)
async def test_only_http_is_fetched(url: str) -> None:
    async with answering(reply(200)) as server, client_of(server) as client:
        with pytest.raises(ConfigurationError, match="not an http"):
            await client.download_url(url)
    assert server.connections == 0


HANGING_DISK = """
import asyncio, os, sys, time
from asyncsdk import Client, api
from asyncsdk.wal import disk
async def main():
    loop = asyncio.get_running_loop()
    def stuck(*_):
        os.write(1, b"stuck\\n")
        loop.call_soon_threadsafe(lambda: limit.reschedule(loop.time() + 0.2))
        time.sleep(60)
    setattr(disk, sys.argv[2], stuck)
    async with Client("sk-test", base_url=sys.argv[1]) as client:
        try:
            async with asyncio.timeout(20) as limit:
                await client.download(api.file_content("file-1"), "content")
        except TimeoutError:
            print("gave up", flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("at", ["write_all", "sync", "sync_directory"])
async def test_a_disk_that_hangs_delays_neither_the_end_of_a_download_nor_of_its_program(
    at: str, tmp_path: Path
) -> None:
    async with answering(reply(200, "content")) as server:
        began = time.monotonic()
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HANGING_DISK, server.url, at, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(program.communicate(), 30)
    assert out.split() == [b"stuck", b"gave", b"up"]
    assert program.returncode == 0
    assert time.monotonic() - began < 25
