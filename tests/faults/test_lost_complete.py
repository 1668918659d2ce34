"""Complete was asked and its answer lost: the File where that can be known, else it is said; never a second upload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from asyncsdk import AsyncUploader, Client, CompletionUnknownError
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.faults.line import line_to
from tests.faults.scene import Scene
from tests.faults.support import MIB, Job, make_file, serving, start, upload

pytestmark = pytest.mark.usefixtures("waits")
NOTHING_LISTED = {"object": "list", "data": [], "has_more": False}
REPEATS, TELLS = "says the same again", 200
SERVERS: dict[str, tuple[int, list[Fault], bool]] = {
    REPEATS: (TELLS, [], True),
    "refuses the second asking with 400": (400, [], True),
    "refuses it with 404": (404, [], True),
    "refuses it with 409": (409, [], True),
    "refuses it, and lists the file late": (
        400,
        [Fault("files.list", "answer", "before", status=200, body=NOTHING_LISTED, times=3, every=1)],
        True,
    ),
    "refuses it, and its listing fails now and then": (
        400,
        [Fault("files.list", "answer", "before", status=503)],
        True,
    ),
    "refuses it, and never lists": (400, [Fault("files.list", "answer", "before", status=403, every=1)], False),
    "refuses it, and its listing does not come": (400, [Fault("files.list", "reset", "before", every=1)], False),
}


@pytest.fixture
async def scene(tmp_path: Path, kind: str) -> AsyncIterator[Scene]:
    now = 1_795_000_000
    async with (
        LocalServer(tmp_path / "server", repeated_complete=SERVERS[kind][0], clock=lambda: now) as server,
        line_to(server.port) as line,
    ):
        yield Scene(server, line, tmp_path, timing=Timing(file_search=10.0, file_search_interval=0.01))


def lose(scene: Scene, kind: str, **often: Any) -> None:
    scene.server.inject(Fault("complete", "reset", "done", **often), *SERVERS[kind][1])


def assert_one_upload(scene: Scene) -> None:
    assert scene.server.calls["create"] == 1
    assert len(scene.files) == 1


@pytest.mark.parametrize("kind", SERVERS)
async def test_the_answer_is_lost_once(scene: Scene, kind: str) -> None:
    lose(scene, kind)
    if SERVERS[kind][2]:
        scene.assert_arrived(await scene.upload())
    else:
        with pytest.raises(CompletionUnknownError) as unknown:
            await scene.upload()
        assert unknown.value.resumable
        assert unknown.value.upload_id == scene.uploads[0].id
        scene.server.clear_faults()
        scene.assert_arrived(await scene.upload())
    assert_one_upload(scene)


@pytest.mark.parametrize("kind", SERVERS)
async def test_every_answer_of_a_run_is_lost_and_a_later_run_asks(scene: Scene, kind: str) -> None:
    scene.server.inject(Fault("complete", "reset", "done", every=1))
    with pytest.raises(CompletionUnknownError):
        await scene.upload()
    scene.server.clear_faults()
    scene.server.inject(*SERVERS[kind][1])
    for _ in range(2):
        if SERVERS[kind][2]:
            scene.assert_arrived(await scene.upload())
        else:
            with pytest.raises(CompletionUnknownError, match="could not be listed"):
                await scene.upload()
    scene.server.clear_faults()
    scene.assert_arrived(await scene.upload())
    assert_one_upload(scene)


@pytest.mark.parametrize("kind", ["refuses the second asking with 400"])
@pytest.mark.parametrize("in_a_later_run", [False, True])
async def test_between_files_that_look_alike_it_never_guesses(scene: Scene, kind: str, *, in_a_later_run: bool) -> None:
    strangers = [await someone_else_sends_the_same(scene) for _ in range(2)]
    lose(scene, kind, **({"every": 1} if in_a_later_run else {}))
    if in_a_later_run:
        with pytest.raises(CompletionUnknownError, match="its response was lost"):
            await scene.upload()
        scene.server.clear_faults()
    with pytest.raises(CompletionUnknownError) as unknown:
        await scene.upload()
    assert all(stranger in str(unknown.value) for stranger in strangers)
    assert scene.server.calls["create"] == len(scene.files) == 3


async def someone_else_sends_the_same(scene: Scene) -> str:
    async with Client("sk-other", base_url=scene.server.url) as client:
        uploader = AsyncUploader(client, journal="memory")
        content = scene.path.read_bytes()
        result = await uploader.upload(content, purpose="batch", filename=scene.path.name, key=str(uuid4()))
    return result.file.id


@pytest.mark.parametrize("kind", [REPEATS])
async def test_a_complete_that_never_came_there_is_asked_again_by_the_next_run(scene: Scene, kind: str) -> None:
    scene.server.inject(Fault("complete", "reset", "before", every=1))
    with pytest.raises(CompletionUnknownError):
        await scene.upload()
    assert scene.files == []
    scene.server.clear_faults()
    scene.assert_arrived(await scene.upload())
    assert_one_upload(scene)


@pytest.mark.parametrize("kind", [REPEATS])
async def test_a_process_killed_while_it_waited_for_the_answer_leaves_that_to_the_next(
    tmp_path: Path, kind: str
) -> None:
    path = make_file(tmp_path / "data.bin", 2 * MIB)
    async with serving(tmp_path / "other-server") as server:
        job = Job(server.url, path, tmp_path / "other-journal")
        await server.inject(Fault("complete", "stall", "done"))
        waiting = start(job)
        async with asyncio.timeout(30):
            while not server.files():
                await asyncio.sleep(0.02)
        await waiting.kill()
        answer = await upload(job)
        (made,) = server.files()
        assert answer["file_id"] == made["id"]
        assert server.content(made["id"]) == path.read_bytes()
        assert len(server.uploads()) == 1
