"""A file that is renamed or moved after an interruption goes on where it stopped, and content decides."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from asyncsdk import (
    AsyncUploader,
    Client,
    CompletionUnknownError,
    ConfigurationError,
    FileJournal,
    InternalServerError,
    Progress,
    UploadJob,
    api,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.journal import Expired, JournalEntry, Log, Opened, Owner, reading
from asyncsdk.uploads.method import UploadMethod
from tests.stories.support import MIB, REFUSE_THE_REST, MakeFile, interrupted

NOTE = "goes on with the upload of data.bin; the file keeps the name data.bin on the server"
KEY_KNOWN = "the key 'kb' is known with the name data.bin, with which it would go on (--filename, filename=)"
DAY = 86_400.0


@pytest.fixture
def fresh(client: Client, journal: Path) -> Callable[[], AsyncUploader]:
    """An uploader as another process has one."""
    return lambda: AsyncUploader(client, journal=journal, part_size=MIB, concurrency=4)


Fresh = Callable[[], AsyncUploader]
Begun = tuple[Path, int]


@pytest.fixture
async def begun(server: LocalServer, client: Client, journal: Path, make_file: MakeFile) -> Begun:
    """A file whose upload was interrupted, and how many bytes of it the server holds."""
    path = make_file()
    return path, await interrupted(server, client, journal, path)


async def test_a_renamed_file_goes_on_under_the_name_that_the_server_has(
    begun: Begun, server: LocalServer, fresh: Fresh, caplog: pytest.LogCaptureFixture
) -> None:
    path, held = begun
    renamed = path.rename(path.with_name("final.bin"))
    seen: list[Progress] = []
    with caplog.at_level(logging.INFO, "asyncsdk"):
        result = await fresh().upload(renamed, purpose="batch", on_progress=seen.append)
    assert (result.bytes_resumed, result.file.filename) == (held, "data.bin")
    assert server.stored(result.file.id).read_bytes() == renamed.read_bytes()
    assert server.calls["create"] == 1
    assert NOTE in {progress.note for progress in seen}
    assert f"final.bin {NOTE}" in caplog.text
    again = await fresh().upload(renamed, purpose="batch")
    assert (again.reused, again.file.id) == (True, result.file.id)


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_renamed_file_with_a_key_is_sent_again_and_told_which_name_goes_on(
    server: LocalServer, fresh: Fresh, make_file: MakeFile, *, is_done: bool
) -> None:
    path, seen = make_file(), list[Progress]()
    server.inject(*([] if is_done else [REFUSE_THE_REST]))
    with suppress(InternalServerError):
        await evolve(fresh(), max_retries=0).upload(path, purpose="batch", key="kb")
    server.clear_faults()
    renamed = path.rename(path.with_name("final.bin"))
    another = await fresh().upload(renamed, purpose="batch", key="other", on_progress=seen.append)
    assert (another.bytes_resumed, {progress.note for progress in seen}) == (0, {""})
    result = await fresh().upload(renamed, purpose="batch", key="kb", on_progress=seen.append)
    assert (result.bytes_resumed, result.file.filename) == (0, "final.bin")
    notes = {progress.note for progress in seen}
    assert notes == {"", f"{KEY_KNOWN}; sending it again"}
    first = await fresh().upload(renamed, purpose="batch", key="kb", filename="data.bin")
    assert (first.reused, first.bytes_resumed > 0, first.file.filename) == (is_done, True, "data.bin")


async def test_an_uploader_finds_what_it_began_itself_after_it_looked_through_the_journal(
    server: LocalServer, fresh: Fresh, make_file: MakeFile
) -> None:
    uploader = evolve(fresh(), max_retries=0)
    await uploader.upload(make_file(name="first", seed=2), purpose="batch")
    path = make_file()
    server.inject(REFUSE_THE_REST)
    with pytest.raises(InternalServerError):
        await uploader.upload(path, purpose="batch")
    server.clear_faults()
    result = await uploader.upload(path.rename(path.with_name("final.bin")), purpose="batch")
    assert result.bytes_resumed >= 2 * MIB  # five were answered, three of which may have come with the refusal
    assert result.file.filename == "data.bin"


async def test_a_moved_file_that_is_done_is_known_though_its_first_path_is_used_again(
    begun: Begun, server: LocalServer, fresh: Fresh, make_file: MakeFile
) -> None:
    path, _ = begun
    renamed = path.rename(path.with_name("data.bin.1"))
    first = await fresh().upload(renamed, purpose="batch")
    await fresh().upload(make_file(name=path.name, seed=2), purpose="batch")
    for uploader in (fresh(), AsyncUploader(fresh().client, journal=PlainJournal(fresh().journal))):
        again = await uploader.upload(renamed, purpose="batch")
        assert (again.reused, again.file.id) == (True, first.file.id)
    assert len(server.files) == 2


@pytest.mark.parametrize("method", ["uploads", "files"])
async def test_a_file_moved_onto_a_path_that_was_uploaded_before_goes_on_and_is_then_known(
    begun: Begun, server: LocalServer, fresh: Fresh, make_file: MakeFile, method: UploadMethod
) -> None:
    path, held = begun
    taken = make_file(name="taken.bin", seed=2)
    before = await fresh().upload(taken, purpose="batch", method=method)
    path.replace(taken)
    result = await fresh().upload(taken, purpose="batch", method=method)
    assert (result.bytes_resumed, result.file.filename) == (held, "data.bin")
    assert server.stored(result.file.id).read_bytes() == taken.read_bytes()
    again = await fresh().upload(taken, purpose="batch", method=method)
    assert (again.reused, again.file.id) == (True, result.file.id)
    assert {file.id for file in server.files} == {before.file.id, result.file.id}


async def test_a_file_of_which_nothing_was_kept_is_said_to_start_from_the_beginning_where_it_is_now(
    server: LocalServer, fresh: Fresh, make_file: MakeFile
) -> None:
    path = make_file()
    server.inject(Fault("part", "answer", "before", every=1, status=500))
    with pytest.raises(InternalServerError) as failed:
        await evolve(fresh(), max_retries=0).upload(path, purpose="batch")
    server.clear_faults()
    assert "No part of it was confirmed. Repeat the call" in failed.value.advice
    seen: list[Progress] = []
    result = await fresh().upload(path.rename(path.with_name("b.bin")), purpose="batch", on_progress=seen.append)
    assert (result.bytes_resumed, len(server.files)) == (0, 1)
    assert f"starting from the beginning: nothing of {failed.value.upload_id} was kept" in {one.note for one in seen}


async def test_a_file_moved_to_another_directory_goes_on(begun: Begun, fresh: Fresh, tmp_path: Path) -> None:
    path, held = begun
    (tmp_path / "done").mkdir()
    seen: list[Progress] = []
    moved = path.rename(tmp_path / "done" / path.name)
    result = await fresh().upload(moved, purpose="batch", on_progress=seen.append)
    assert result.bytes_resumed == held
    assert f"goes on with the upload of {path}" in {progress.note for progress in seen}


async def test_two_calls_for_a_renamed_file_make_one_upload(begun: Begun, server: LocalServer, fresh: Fresh) -> None:
    path, _ = begun
    renamed = path.rename(path.with_name("final.bin"))
    results = await asyncio.gather(*(fresh().upload(renamed, purpose="batch") for _ in range(2)))
    assert len({result.file.id for result in results}) == 1
    assert server.calls["create"] == 1


async def test_where_the_first_path_is_the_file_still_a_link_is_a_file_of_its_own(begun: Begun, fresh: Fresh) -> None:
    path, _ = begun
    link = path.with_name("link.bin")
    link.hardlink_to(path)
    result = await fresh().upload(link, purpose="batch")
    assert (result.bytes_resumed, result.file.filename) == (0, "link.bin")


async def test_a_copy_with_the_same_times_is_a_file_of_its_own(begun: Begun, fresh: Fresh) -> None:
    path, _ = begun
    copy = shutil.copy2(path, path.with_name("copy.bin"))
    path.rename(path.with_name("elsewhere"))
    result = await fresh().upload(copy, purpose="batch")
    assert (result.bytes_resumed, result.file.filename) == (0, "copy.bin")


async def test_other_content_under_the_same_inode_size_and_time_is_a_file_of_its_own(
    begun: Begun, server: LocalServer, make_file: MakeFile, fresh: Fresh
) -> None:
    path, _ = begun
    was = path.stat()
    other = make_file(name="other", seed=2).read_bytes()
    with path.open("r+b") as file:
        file.write(other)
    renamed = path.rename(path.with_name("final.bin"))
    os.utime(renamed, ns=(was.st_atime_ns, was.st_mtime_ns))
    sent = server.bytes_received
    result = await fresh().upload(renamed, purpose="batch")
    assert (result.bytes_resumed, result.file.filename) == (0, "final.bin")
    assert server.stored(result.file.id).read_bytes() == other
    assert server.bytes_received - sent < len(other) + MIB


async def test_another_filename_or_resume_false_starts_again(begun: Begun, fresh: Fresh) -> None:
    path, _ = begun
    renamed = path.rename(path.with_name("final.bin"))
    named = await fresh().upload(renamed, purpose="batch", filename="mine.bin")
    assert (named.bytes_resumed, named.file.filename) == (0, "mine.bin")
    again = await fresh().upload(renamed, purpose="batch", resume=False)
    assert (again.bytes_resumed, again.file.filename) == (0, "final.bin")


async def test_where_the_server_has_dropped_it_the_file_starts_again_under_its_own_name(
    begun: Begun, server: LocalServer, client: Client, fresh: Fresh
) -> None:
    path, _ = begun
    await client.send(api.cancel_upload(server.uploads[-1].id))
    renamed = path.rename(path.with_name("final.bin"))
    seen: list[Progress] = []
    result = await fresh().upload(renamed, purpose="batch", on_progress=seen.append)
    assert (result.bytes_resumed, result.file.filename) == (0, "final.bin")
    assert any("starting again: upload_" in progress.note for progress in seen)


async def test_the_journal_is_looked_through_once_however_many_files_are_new(
    client: Client, journal: Path, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    openings = FileJournal.openings

    async def counted(self: FileJournal, *, above: int, since: float) -> object:
        looks.append(since)
        return await openings(self, above=above, since=since)

    monkeypatch.setattr(FileJournal, "openings", counted)
    uploader = AsyncUploader(client, journal=journal, part_size=4 * MIB)
    small = [UploadJob(make_file(1000, f"small-{n}", n), "batch") for n in range(3)]
    async with uploader.upload_many(small) as outcomes:
        assert [outcome.status async for outcome in outcomes] == ["done"] * 3
    assert looks == []
    jobs = [UploadJob(make_file(8 * MIB + 1, f"large-{n}", n), "batch") for n in range(3)]
    for n, job in enumerate(jobs):  # in the afternoon of one day, each older than the one before
        os.utime(str(job.source), (0, 1_794_960_000 + 60_000 - n))
    async with uploader.upload_many(jobs) as outcomes:
        assert [outcome.status async for outcome in outcomes] == ["done"] * 3
    assert len(looks) == 1
    for age in range(3):
        old = make_file(8 * MIB + 1, f"old-{age}", age)
        os.utime(old, (0, 10_000_000 * (3 - age)))
        await uploader.upload(old, purpose="batch")
    assert looks[1:] == [-math.inf]


@pytest.mark.parametrize(
    ("begun_ago", "written_ago", "is_read"),
    [(3 * DAY, 0, False), (0, 0, True), (3 * DAY, 4 * DAY, True), (0, -365 * DAY, True)],
)
async def test_of_the_journal_only_what_may_be_as_young_as_the_file_is_read(
    journal: Path,
    fresh: Fresh,
    make_file: MakeFile,
    monkeypatch: pytest.MonkeyPatch,
    *,
    begun_ago: float,
    written_ago: float,
    is_read: bool,
) -> None:
    await fresh().upload(make_file(name="first"), purpose="batch")
    [folder] = (journal / "uploads").iterdir()
    os.utime(folder, (0, time.time() - begun_ago))
    path = make_file(name="second", seed=2)
    os.utime(path, (0, time.time() - written_ago))
    read, openings = set[Path](), reading.openings

    def noted(folder: Path, above: int) -> list[Opened]:
        read.add(folder)
        return openings(folder, above)

    monkeypatch.setattr(reading, "openings", noted)
    await fresh().upload(path, purpose="batch")
    assert (folder in read) is is_read


async def test_a_long_look_through_the_journal_is_told(
    begun: Begun, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, held = begun
    openings = FileJournal.openings

    async def slow(self: FileJournal, *, above: int, since: float) -> object:
        await asyncio.sleep(0.1)
        return await openings(self, above=above, since=since)

    monkeypatch.setattr(FileJournal, "openings", slow)
    monkeypatch.setattr("asyncsdk.uploads.call.SILENT_LOOK", 0.01)
    seen: list[Progress] = []
    result = await fresh().upload(path.rename(path.with_name("c.bin")), purpose="batch", on_progress=seen.append)
    assert result.bytes_resumed == held
    assert "looking through the journal, in case that the file was moved" in {progress.note for progress in seen}


class PlainJournal:
    """A journal of the user's own, with what the Protocol asks for and nothing more."""

    def __init__(self, path: object) -> None:
        assert isinstance(path, Path)
        self._files = FileJournal(path)

    def claim(
        self, key: str, *, wait: bool = True, on_busy: Callable[[Owner | None], None] | None = None
    ) -> AbstractAsyncContextManager[Log]:
        return self._files.claim(key, wait=wait, on_busy=on_busy)

    async def entries(self) -> Sequence[JournalEntry]:
        return await self._files.entries()

    async def purge(self, *, now: float | None = None) -> int:
        return await self._files.purge(now=now)


async def test_a_journal_without_a_quick_search_finds_it_too(begun: Begun, client: Client, journal: Path) -> None:
    path, held = begun
    renamed = path.rename(path.with_name("final.bin"))
    result = await AsyncUploader(client, journal=PlainJournal(journal), part_size=MIB).upload(renamed, purpose="batch")
    assert result.bytes_resumed == held


async def test_an_upload_is_resumed_from_where_its_file_is_now(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, fresh: Fresh
) -> None:
    path = make_file()
    held = await interrupted(server, client, journal, path, key="train-v7")
    copied = Path(shutil.copy(path, path.with_name("copied")))  # another inode and time: content decides
    path.unlink()
    result = await fresh().resume(server.uploads[-1].id, source=copied)
    assert (result.bytes_resumed, result.file.filename) == (held, "data.bin")
    assert server.stored(result.file.id).read_bytes() == copied.read_bytes()


@pytest.mark.usefixtures("begun")
async def test_an_upload_is_not_resumed_from_another_file(
    server: LocalServer, make_file: MakeFile, fresh: Fresh
) -> None:
    upload, received = server.uploads[-1].id, server.bytes_received
    other, longer = make_file(name="other", seed=2), make_file(9 * MIB, name="longer")
    with pytest.raises(ConfigurationError, match=r"other is not the file of .*contains nothing of what was sent"):
        await fresh().resume(upload, source=other)
    with pytest.raises(ConfigurationError, match=r"longer is not the file of upload_.*9,437,184 bytes, not 8,400,953"):
        await fresh().resume(upload, source=longer)
    assert server.bytes_received == received


async def asked_to_complete(server: LocalServer, uploader: AsyncUploader, path: Path) -> None:
    """The server completes it, and its answer is lost."""
    server.inject(Fault("complete", "reset", "done", times=20))
    with pytest.raises(CompletionUnknownError):
        await evolve(uploader, max_retries=0).upload(path, purpose="batch")
    server.clear_faults()


async def was_completed(_: LocalServer, uploader: AsyncUploader, path: Path) -> None:
    await uploader.upload(path, purpose="batch")


async def has_expired(server: LocalServer, uploader: AsyncUploader, path: Path) -> None:
    """The journal knows that it is gone, and what was sent of it."""
    assert isinstance(uploader.journal, Path)
    await interrupted(server, uploader.client, uploader.journal, path)
    journal = FileJournal(uploader.journal)
    (entry,) = await journal.entries()
    async with journal.claim(entry.key) as log:
        await log.append(Expired(upload=entry.records[0].upload, reason="its hour is over"))


@pytest.mark.parametrize("began", [asked_to_complete, was_completed, has_expired])
async def test_an_upload_that_is_not_pending_is_not_resumed_from_another_file_either(
    began: Callable[[LocalServer, AsyncUploader, Path], Awaitable[None]],
    server: LocalServer,
    make_file: MakeFile,
    fresh: Fresh,
) -> None:
    path = make_file()
    await began(server, fresh(), path)
    upload, received, asked = server.uploads[-1].id, server.bytes_received, server.calls.get("complete")
    with pytest.raises(ConfigurationError, match=r"other is not the file of upload_.* Nothing was sent now"):
        await fresh().resume(upload, source=make_file(name="other", seed=2))
    assert (server.bytes_received, server.calls.get("complete"), server.calls["create"]) == (received, asked, 1)
    if began is not has_expired:
        result = await fresh().resume(upload, source=path.rename(path.with_name("final.bin")))
        assert (result.file.filename, len(server.files)) == ("data.bin", 1)


async def test_an_upload_that_is_gone_starts_again_from_where_its_file_is_now(
    begun: Begun, server: LocalServer, client: Client, fresh: Fresh
) -> None:
    path, _ = begun
    upload = server.uploads[-1].id
    await client.send(api.cancel_upload(server.uploads[-1].id))
    renamed = path.rename(path.with_name("final.bin"))
    seen: list[Progress] = []
    result = await fresh().resume(upload, source=renamed, on_progress=seen.append)
    assert (result.bytes_resumed, result.reused) == (0, False)
    assert any(f"starting again: {upload} is gone" in progress.note for progress in seen)


OTHERWISE: list[dict[str, Any]] = [{"purpose": "vision"}, {"expires_after": 7200}, {"filename": "b.bin"}]


@pytest.mark.parametrize("other", OTHERWISE, ids=lambda other: next(iter(other)))
async def test_a_file_that_was_sent_in_part_with_other_options_says_so_before_it_starts_again(
    begun: Begun, server: LocalServer, fresh: Fresh, caplog: pytest.LogCaptureFixture, other: dict[str, Any]
) -> None:
    path, held = begun
    [entry] = await FileJournal(fresh().journal).entries()  # type: ignore[arg-type]  # a path
    size, upload = path.stat().st_size, entry.records[0].upload
    said = f"{held:,} of {size:,} bytes of it were sent as {upload} with other options; starting again"
    seen: list[Progress] = []
    with caplog.at_level(logging.INFO, "asyncsdk"):
        result = await fresh().upload(path, on_progress=seen.append, **({"purpose": "batch"} | other))
    assert result.bytes_resumed == 0
    assert said in {progress.note for progress in seen}
    assert caplog.text.count(said) == 1
    assert (await fresh().upload(path, purpose="batch")).bytes_resumed == held


@pytest.mark.parametrize("again", [False, True], ids=["another process", "the same uploader"])
async def test_a_file_that_was_sent_whole_with_other_options_says_so_once_before_it_is_sent_again(
    server: LocalServer, fresh: Fresh, make_file: MakeFile, *, again: bool
) -> None:
    path, uploader = make_file(), fresh()
    first = await uploader.upload(path, purpose="batch")
    seen: list[Progress] = []
    second = uploader if again else fresh()
    await second.upload(path, purpose="vision", on_progress=seen.append)
    said = f"it was sent before as {first.file.id} with other options; sending it again"
    assert said in {progress.note for progress in seen}
    seen.clear()
    assert (await second.upload(path, purpose="vision", on_progress=seen.append)).reused
    assert said not in {progress.note for progress in seen}


async def test_nothing_is_said_of_other_options_where_the_content_changed_or_the_other_is_being_sent(
    server: LocalServer, client: Client, fresh: Fresh, make_file: MakeFile
) -> None:
    path = make_file()
    await fresh().upload(path, purpose="batch")
    seen: list[Progress] = []
    path.write_bytes(path.read_bytes()[::-1])
    await fresh().upload(path, purpose="vision", on_progress=seen.append)
    assert not any("other options" in progress.note for progress in seen)
    uploaders = [fresh(), fresh()]
    path.write_bytes(path.read_bytes()[1:])
    await asyncio.gather(
        *(
            each.upload(path, purpose=purpose, on_progress=seen.append)
            for each, purpose in zip(uploaders, ("batch", "vision"), strict=True)
        )
    )
    assert len(server.files) == 4
