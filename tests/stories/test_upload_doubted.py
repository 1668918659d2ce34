"""Where it can't be known whether complete made a file, that is said: no second file, and nobody else's for ours."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, CompletionUnknownError
from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.objects import StoredFile
from asyncsdk.timing import Timing
from tests.stories.support import BRIEF_SEARCH, MIB, MakeFile

LOST = Fault("complete", "reset", "done", every=1)
NEVER_CAME = Fault("complete", "reset", "after", every=1)
DONE_BUT_409 = {
    "no more tries": (0, {}),
    "no more tries in its hour": (5, {"retry-after": "4000"}),
    "not to be tried again": (5, {"x-should-retry": "false"}),
}


@pytest.fixture
def timing() -> Timing:
    return BRIEF_SEARCH


class Clock:
    """A server's clock, which the test sets."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


async def someone_else_uploads(client: Client, content: bytes, name: str) -> str:
    other = AsyncUploader(client, journal="memory")
    return (await other.upload(content, purpose="batch", filename=name)).file.id


@pytest.mark.parametrize("why", DONE_BUT_409)
async def test_a_last_409_may_have_acted_so_its_file_is_looked_for(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, why: str
) -> None:
    retries, headers = DONE_BUT_409[why]
    server.inject(Fault("complete", "answer", "done", status=409, headers=headers))
    path = make_file(2 * MIB)
    result = await AsyncUploader(client, journal=journal, max_retries=retries).upload(path, purpose="batch")
    assert [file.id for file in server.files] == [result.file.id]
    assert server.calls["create"] == 1


async def test_a_last_409_whose_file_is_not_listed_is_asked_again_and_nothing_is_sent(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    nothing = {"object": "list", "data": [], "has_more": False}
    server.inject(
        Fault("complete", "answer", "done", status=409),
        Fault("files.list", "answer", "before", status=200, body=nothing, every=1),
    )
    path, uploader = make_file(2 * MIB), AsyncUploader(client, journal=journal, max_retries=0)
    with pytest.raises(CompletionUnknownError):
        await uploader.upload(path, purpose="batch")
    server.clear_faults()
    result = await uploader.upload(path, purpose="batch")
    assert [file.id for file in server.files] == [result.file.id]
    assert server.calls["create"] == 1


async def test_a_strangers_file_made_in_our_hour_is_not_taken_for_ours(
    tmp_path: Path, journal: Path, make_file: MakeFile
) -> None:
    clock, path = Clock(), make_file(2 * MIB)
    async with (
        LocalServer(tmp_path / "server", clock=clock) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        uploader = AsyncUploader(client, journal=journal, max_retries=0)
        server.inject(NEVER_CAME)
        with pytest.raises(CompletionUnknownError):
            await uploader.upload(path, purpose="batch")
        server.clear_faults()
        clock.now += 60
        stranger = await someone_else_uploads(client, bytes(2 * MIB), path.name)
        server.inject(Fault("complete", "answer", "before", status=400))
        with pytest.raises(CompletionUnknownError, match=stranger):
            await uploader.upload(path, purpose="batch")
        result = await uploader.upload(path, purpose="batch")
        assert server.stored(result.file.id).read_bytes() == path.read_bytes()


async def test_a_strangers_file_beside_ours_hides_nothing(tmp_path: Path, journal: Path, make_file: MakeFile) -> None:
    clock, path = Clock(), make_file(2 * MIB)
    async with (
        LocalServer(tmp_path / "server", clock=clock, repeated_complete=400) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        uploader = AsyncUploader(client, journal=journal, max_retries=0)
        server.inject(LOST)
        with pytest.raises(CompletionUnknownError):
            await uploader.upload(path, purpose="batch")
        clock.now += 60
        server.clear_faults()
        stranger = await someone_else_uploads(client, bytes(2 * MIB), path.name)
        result = await uploader.upload(path, purpose="batch")
        assert result.file.id != stranger
        assert server.stored(result.file.id).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("order", ["oldest first", "in no order"])
async def test_a_listing_in_another_order_proves_nothing_before_it_was_read_whole(
    tmp_path: Path, journal: Path, make_file: MakeFile, order: str
) -> None:
    clock, path = Clock(), make_file(2 * MIB)
    async with (
        LocalServer(tmp_path / "server", clock=clock, repeated_complete=400) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        for _ in range(2):
            await someone_else_uploads(client, b"older", "older.bin")
            clock.now += 60
        uploader = AsyncUploader(client, journal=journal, max_retries=0)
        server.inject(LOST)
        with pytest.raises(CompletionUnknownError):
            await uploader.upload(path, purpose="batch")
        server.clear_faults()
        clock.now += 3600 + 301
        oldest, older, ours = sorted(server.files, key=lambda file: file.created_at)
        server.inject(listing([oldest, older, ours] if order == "oldest first" else [older, oldest, ours]))
        result = await uploader.upload(path, purpose="batch")
        assert result.file.id == ours.id
        assert len(server.files) == 3


def listing(files: Sequence[StoredFile]) -> Fault:
    page = {"object": "list", "data": [file.to_json() for file in files], "has_more": False}
    return Fault("files.list", "answer", "before", status=200, body=page, every=1)


async def test_bytes_without_a_key_are_told_to_look_first_for_the_same_call_would_send_them_again(
    server: LocalServer, client: Client, journal: Path
) -> None:
    server.inject(LOST)
    uploader = AsyncUploader(client, journal=journal, max_retries=0)
    with pytest.raises(CompletionUnknownError, match=r"whether notes\.txt was made") as unknown:
        await uploader.upload(b"content", purpose="batch", filename="notes.txt")
    assert not unknown.value.resumable
    assert unknown.value.advice.startswith("Look for that file in GET /files first")
    assert "twice" not in f"{unknown.value}"
