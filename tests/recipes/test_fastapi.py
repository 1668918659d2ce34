"""The recipe for FastAPI: uvicorn serves it, a client uploads to it, and it uploads to the embedded server."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from types import ModuleType

import aiohttp
import pytest

from asyncsdk.server import Fault, LocalServer
from tests.recipes.frameworks import needs, recipe

needs("fastapi", "multipart", "uvicorn", "websockets")

from tests.recipes.web import served  # noqa: E402 - where it is installed

MIB = 1 << 20
CONTENT = b"0123456789abcdef" * (12 * MIB // 16)  # two parts
SLOW = Fault("part", "slow", rate=8 * MIB, nth=2)


@pytest.fixture
def journal(asyncsdk_environment: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASYNCSDK_JOURNAL", str(tmp_path / "journal"))


def form() -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("file", io.BytesIO(CONTENT), filename="talk.mp4")
    return data


@pytest.mark.asyncsdk_server(faults=[SLOW])
async def test_an_upload_is_seen_on_a_web_socket_while_it_runs(
    asyncsdk_environment: LocalServer, journal: None
) -> None:
    async with served(recipe("FastAPI").app) as url, aiohttp.ClientSession(url) as session:
        async with session.ws_connect("/uploads/talk/progress") as socket:
            posting = asyncio.ensure_future(session.post("/uploads/talk", data=form()))
            seen = [message.json() async for message in socket]
        answer = await (await posting).json()
    [file] = asyncsdk_environment.files
    assert answer == {"id": file.id, "resumed": 0}
    assert asyncsdk_environment.stored(file.id).read_bytes() == CONTENT
    assert len(seen) > 1
    assert seen[-1]["done"] > 0
    assert {one["total"] for one in seen} == {len(CONTENT)}
    assert [one["done"] for one in seen] == sorted(one["done"] for one in seen)


@pytest.mark.asyncsdk_server(faults=[Fault("part", "slow", rate=MIB, nth=2)])
async def test_the_upload_ends_when_the_client_leaves_and_its_next_request_goes_on(
    asyncsdk_environment: LocalServer, journal: None
) -> None:
    app = recipe("FastAPI")
    async with served(app.app) as url, aiohttp.ClientSession(url) as session:
        posting = asyncio.ensure_future(session.post("/uploads/talk", data=form()))
        await until_a_part_is_confirmed(app)
        posting.cancel()
        async with asyncio.timeout(5):
            while app.latest:
                await asyncio.sleep(0.02)
        assert asyncsdk_environment.files == []
        answer = await (await session.post("/uploads/talk", data=form())).json()
    assert answer["resumed"] > 0
    assert len(asyncsdk_environment.files) == 1


@pytest.mark.asyncsdk_server(faults=[Fault("part", "slow", rate=MIB, nth=2)])
async def test_after_a_shutdown_another_process_goes_on(asyncsdk_environment: LocalServer, journal: None) -> None:
    app = recipe("FastAPI")
    async with served(app.app, timeout_graceful_shutdown=1) as url, aiohttp.ClientSession(url) as session:
        posting = asyncio.ensure_future(session.post("/uploads/talk", data=form()))
        await until_a_part_is_confirmed(app)
    with pytest.raises(aiohttp.ClientError):
        (await posting).raise_for_status()
    async with served(recipe("FastAPI").app) as url, aiohttp.ClientSession(url) as session:
        answer = await (await session.post("/uploads/talk", data=form())).json()
    assert answer["resumed"] > 0


@pytest.mark.asyncsdk_server(faults=[Fault("create", "answer", status=400)])
async def test_what_the_api_refuses_is_told_to_the_client(asyncsdk_environment: LocalServer, journal: None) -> None:
    async with served(recipe("FastAPI").app) as url, aiohttp.ClientSession(url) as session:
        answer = await session.post("/uploads/talk", data=form())
        assert answer.status == 422
        assert "400" in (await answer.json())["detail"]


async def test_a_watcher_that_leaves_before_anything_came_is_forgotten(
    asyncsdk_environment: LocalServer, journal: None
) -> None:
    async with (
        served(recipe("FastAPI").app) as url,
        aiohttp.ClientSession(url) as session,
        session.ws_connect("/uploads/talk/progress"),
    ):
        await asyncio.sleep(0.2)
    # and the server ends, since nothing waits any more


async def until_a_part_is_confirmed(app: ModuleType) -> None:
    async with asyncio.timeout(10):
        while not any(progress.bytes_done for progress in app.latest.values()):
            await asyncio.sleep(0.02)
