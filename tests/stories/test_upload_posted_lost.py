"""A POST /files whose answer was lost: its file is found, or it is sent again, or it is said that it can't be known."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, CompletionUnknownError, FileJournal, api
from asyncsdk.clock import Clock
from asyncsdk.events import Progress
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from asyncsdk.uploads.journal import Posting
from asyncsdk.uploads.resuming.resume import Stage, replay
from tests.stories.support import MIB, MakeFile

BRIEF = Timing(first_delay=0.01, file_answer=0.3, file_search=0.5, file_search_interval=0.05)
MADE, NOT_MADE = Fault("files.create", "reset", "done"), Fault("files.create", "reset", "after")


@pytest.fixture
def timing() -> Timing:
    return BRIEF


async def recalled(journal: Path) -> list[Stage]:
    states = [replay(entry.records) for entry in await FileJournal(journal).entries()]
    return [state.stage for state in states if state is not None]


@pytest.mark.parametrize(
    "fault",
    [
        MADE,
        Fault("files.create", "close", "done"),
        Fault("files.create", "close", "answering"),
        Fault("files.create", "answer", "done", status=500),
        Fault("files.create", "answer", "done", status=502, body="<html>Bad Gateway</html>"),
        Fault("files.create", "answer", "done", status=503),
        Fault("files.create", "answer", "done", status=504),
        Fault("files.create", "answer", "done", status=408),
        Fault("files.create", "answer", "done", status=409),
        Fault("files.create", "answer", "done", status=200, body="<html>Welcome</html>"),
        Fault("files.create", "answer", "done", status=200, body={"id": "", "object": "file"}),
    ],
)
@pytest.mark.parametrize("size", [1000, 3 * MIB])
async def test_a_file_that_was_made_is_found_and_not_sent_again(  # noqa: PLR0917 - fixtures and two columns
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, fault: Fault, size: int
) -> None:
    server.inject(fault)
    path, uploader = make_file(size), AsyncUploader(client, journal=journal)
    result = await uploader.upload(path, purpose="batch", method="files")
    assert [file.id for file in server.files] == [result.file.id]
    assert (result.upload, result.duplicate_possible, result.duplicates) == (None, False, ())
    assert (result.bytes_sent, server.calls["files.create"]) == (size, 1)
    assert (await uploader.upload(path, purpose="batch", method="files")).reused


@pytest.mark.parametrize("fault", [NOT_MADE, Fault("files.create", "answer", "after", status=503)])
async def test_one_that_was_not_made_is_sent_again_and_the_result_says_that_it_may_be_there_twice(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, fault: Fault
) -> None:
    server.inject(fault)
    result = await AsyncUploader(client, journal=journal).upload(make_file(1000), purpose="batch", method="files")
    assert result.duplicate_possible
    assert [file.id for file in server.files] == [result.file.id]
    assert server.calls["files.create"] == 2
    assert await recalled(journal) == [Stage.COMPLETED]


async def test_asking_a_server_without_a_date_for_its_time_records_no_request(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "observe", lambda _clock, _date: None)
    server.inject(NOT_MADE)
    result = await AsyncUploader(client, journal=journal).upload(make_file(1000), purpose="batch", method="files")
    assert (result.duplicate_possible, server.calls["files.create"]) == (True, 2)
    (entry,) = await FileJournal(journal).entries()
    assert sum(isinstance(record, Posting) for record in entry.records) == 2


async def test_where_its_last_byte_was_not_sent_it_is_sent_again_at_once(
    server: LocalServer, client: Client, make_file: MakeFile
) -> None:
    server.inject(Fault("files.create", "reset", "before"))
    result = await AsyncUploader(client, journal="memory").upload(make_file(20 * MIB), purpose="batch", method="files")
    assert (result.duplicate_possible, server.calls["files.create"]) == (False, 2)
    assert server.calls["files.list"] == 1  # for the server's time


async def test_where_the_content_can_not_be_read_back_it_is_said_what_may_be_it_and_nothing_is_sent(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(MADE, Fault("files.content", "answer", "before", every=1, status=400))
    path, uploader = make_file(1000), AsyncUploader(client, journal=journal)
    for _ in range(2):  # a later call looks again
        with pytest.raises(CompletionUnknownError, match=server.files[0].id if server.files else "file-") as unknown:
            await uploader.upload(path, purpose="batch", method="files")
        assert not unknown.value.resumable
        assert "If it is yours, use it." in unknown.value.advice
    assert (server.calls["files.create"], len(server.files)) == (1, 1)
    again = await uploader.upload(path, purpose="batch", method="files", if_uploaded="again")
    assert again.duplicate_possible
    assert len(server.files) == 2
    server.clear_faults()
    assert (await uploader.upload(path, purpose="batch", method="files")).file.id == again.file.id


@pytest.mark.parametrize("method", ["files", "uploads", "auto"])
async def test_the_next_call_finds_it_whatever_its_method(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, method: str
) -> None:
    path = make_file(1000)
    await broken_off(server, client, journal, path, Fault("files.create", "stall", "done"))
    assert await recalled(journal) == [Stage.COMPLETING]
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method=method)  # type: ignore[arg-type]
    assert [file.id for file in server.files] == [result.file.id]
    assert (result.bytes_sent, result.bytes_resumed, result.upload) == (0, 1000, None)


@pytest.mark.parametrize("method", ["files", "uploads"])
async def test_the_next_call_sends_again_what_was_not_made(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, method: str
) -> None:
    path = make_file(1000)
    await broken_off(server, client, journal, path, Fault("files.create", "stall", "after"))
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method=method)  # type: ignore[arg-type]
    assert (result.duplicate_possible, len(server.files), result.bytes_sent) == (True, 1, 1000)


async def broken_off(server: LocalServer, client: Client, journal: Path, path: Path, fault: Fault) -> None:
    """Cancel an upload whose last byte was sent."""
    server.inject(fault)
    call = asyncio.ensure_future(AsyncUploader(client, journal=journal).upload(path, purpose="batch", method="files"))
    while server.unmet_faults():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    server.clear_faults()


async def test_one_that_was_not_made_and_was_moved_since_is_sent_again_and_the_result_says_so(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file(20 * MIB)
    await broken_off(server, client, journal, path, Fault("files.create", "stall", "after"))
    moved = path.rename(path.with_name("moved.bin"))
    result = await AsyncUploader(client, journal=journal).upload(moved, purpose="batch", method="files")
    assert result.duplicate_possible
    assert [file.id for file in server.files] == [result.file.id]


async def test_content_that_has_changed_since_is_sent_and_the_lost_file_is_remembered(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file(1000)
    await broken_off(server, client, journal, path, Fault("files.create", "stall", "done"))
    make_file(1000, seed=2)
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method="files")
    assert (result.duplicate_possible, len(server.files)) == (False, 2)
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    make_file(1000)
    assert (await AsyncUploader(client, journal=journal).upload(path, purpose="batch")).reused


async def test_a_rival_that_looks_the_same_is_not_taken_for_it(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file(1000)
    server.inject(Fault("files.create", "reset", "after", nth=2))
    rival = await client.send(api.create_file(file=b"x" * 1000, filename=path.name, purpose="batch"))
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method="files")
    assert result.file.id != rival.id
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert result.duplicate_possible


async def test_while_one_is_looked_for_the_others_go_on_and_a_person_is_told(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    client.timing = Timing(first_delay=0.01, file_answer=3.0, file_search=3.0)
    server.inject(NOT_MADE)
    notes: set[str] = set()

    def watch(progress: Progress) -> None:
        notes.add(progress.note)

    uploader = AsyncUploader(client, journal=journal, concurrency=1)
    paths = [make_file(1000, name=f"{number}", seed=number) for number in range(6)]
    lost = asyncio.ensure_future(uploader.upload(paths[0], purpose="batch", method="files", on_progress=watch))
    while not server.calls.get("files.create"):
        await asyncio.sleep(0.01)
    for path in paths[1:]:
        await uploader.upload(path, purpose="batch", method="files", in_turn=True)
    assert not lost.done()
    assert (await lost).duplicate_possible
    assert len(server.files) == 6
    assert "its response was lost; looking for its file, 6 s at most" in notes


async def test_an_unanswered_one_is_listed_as_such_and_kept(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    await broken_off(server, client, journal, make_file(1000), Fault("files.create", "stall", "after"))
    (entry,) = await FileJournal(journal).entries()
    (posting,) = entry.records
    assert isinstance(posting, Posting)
    assert posting.upload.startswith("post_")
    assert await FileJournal(journal).purge(now=time.time() + 20 * 86_400) == 0
    result = await AsyncUploader(client, journal=journal).resume(posting.upload)
    assert (result.upload, result.duplicate_possible) == (None, True)
