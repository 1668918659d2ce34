"""What is acknowledged is on the disk, in as few syncs as will do; and what happens when the disk says no."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from asyncsdk.errors import JournalError
from asyncsdk.uploads.journal import Record
from asyncsdk.uploads.journal.codec import parse
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.wal import disk
from tests.faults.leaving import stopwatch
from tests.journal.support import KEY, open_below, opened, part, path_of, segments

SYNC = "fdatasync" if hasattr(os, "fdatasync") else "fsync"


@define
class Disk:
    """Stands between the journal and the real calls: counts them, and fails those it was told to."""

    journal: Path
    monkeypatch: pytest.MonkeyPatch
    calls: dict[str, int] = field(factory=dict)

    def watch(self, name: str, fail: Callable[..., int | None] | None = None) -> None:
        """Let `fail(number of the call, *its arguments)` decide: raise, answer, or None for the real call."""
        real = getattr(os, name)

        def call(fd: int, *arguments: Any) -> Any:
            if not path_of(fd).startswith(str(self.journal / "uploads")):
                return real(fd, *arguments)
            self.calls[name] = self.calls.get(name, 0) + 1
            answer = fail(self.calls[name], fd, *arguments) if fail else None
            return real(fd, *arguments) if answer is None else answer

        self.monkeypatch.setattr(os, name, call)


def failing(*numbers: int, code: int = errno.ENOSPC) -> Callable[..., None]:
    def fail(number: int, *_: Any) -> None:
        if number in numbers:
            raise OSError(code, os.strerror(code))

    return fail


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    yield Disk(tmp_path, monkeypatch)
    monkeypatch.undo()
    assert not open_below(tmp_path)


def on_disk(root: Path) -> list[Record]:
    return [record for segment in segments(root) for record in parse(segment.read_bytes()).records.values()]


async def reload(root: Path) -> list[Record]:
    async with FileJournal(root).claim(KEY) as log:
        return list(log.records)


async def test_a_record_is_synced_before_it_is_acknowledged(tmp_path: Path, watched: Disk) -> None:
    seen: list[list[Record]] = []
    watched.watch(SYNC, lambda *_: seen.append(on_disk(tmp_path)))
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        assert seen == [[opened()]]
        await log.append(part(0))
        assert seen[1:] == [[opened(), part(0)]]


async def test_the_names_that_lead_to_a_segment_are_synced_before_its_first_acknowledgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_directory", synced.append)
    root = tmp_path / "a" / "journal"
    async with FileJournal(root).claim(KEY) as log:
        assert {tmp_path, tmp_path / "a"} <= set(synced), "what was made above the root"
        synced.clear()
        await log.append(opened())
        assert synced == [root / "uploads" / KEY, root / "uploads", root, root.parent]
        await log.append(part(0))
        assert len(synced) == 4


async def test_records_that_wait_together_share_one_write_and_one_sync(tmp_path: Path, watched: Disk) -> None:
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        watched.watch("write")
        watched.watch(SYNC)
        await asyncio.gather(*(log.append(part(number)) for number in range(16)))
    assert watched.calls == {"write": 1, SYNC: 1}
    assert await reload(tmp_path) == [opened(), *map(part, range(16))]


async def test_records_that_come_while_one_is_written_share_the_next_write(tmp_path: Path, watched: Disk) -> None:
    async def append_in_a_row(log: Any, numbers: range) -> None:
        for number in numbers:
            await log.append(part(number))

    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        watched.watch(SYNC)
        await asyncio.gather(*(append_in_a_row(log, range(first, first + 20)) for first in range(0, 320, 20)))
    assert watched.calls[SYNC] == 20
    assert sorted(await reload(tmp_path), key=lambda record: record.at) == [opened(), *map(part, range(320))]


async def test_a_record_that_comes_during_a_write_goes_out_behind_it(tmp_path: Path, watched: Disk) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def hold(number: int, _: int) -> None:
        if number == 1:
            writing.set()
            go_on.wait()

    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        watched.watch(SYNC, hold)
        first = asyncio.ensure_future(log.append(part(0)))
        await until(writing)
        second = asyncio.ensure_future(log.append(part(1)))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(first, second)
    assert watched.calls[SYNC] == 2
    assert await reload(tmp_path) == [opened(), part(0), part(1)]


async def until(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0.001)


async def test_a_short_write_is_continued(tmp_path: Path, watched: Disk) -> None:
    real = os.write
    watched.watch("write")
    short = os.write
    watched.monkeypatch.setattr(os, "write", lambda fd, data: short(fd, data[:7]) if len(data) > 7 else real(fd, data))
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        await log.append(part(0))
    assert watched.calls["write"] > 20
    assert on_disk(tmp_path) == [opened(), part(0)]


@pytest.mark.parametrize("call", ["write", SYNC])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_after_one_failure_a_new_segment_takes_what_was_not_acknowledged(
    tmp_path: Path, watched: Disk, call: str, code: int
) -> None:
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        watched.watch(call, failing(1, code=code))
        await asyncio.gather(log.append(part(0)), log.append(part(1)))
        await log.append(part(2))
        first, second = segments(tmp_path)
    assert opened() in parse(first.read_bytes()).records.values()
    assert list(parse(second.read_bytes()).records.values()) == [part(0), part(1), part(2)]
    assert await reload(tmp_path) == [opened(), part(0), part(1), part(2)]


async def test_a_torn_line_is_left_behind_in_its_own_segment(tmp_path: Path, watched: Disk) -> None:
    real = os.write

    def tear(number: int, fd: int, data: memoryview) -> int | None:
        if number == 1:
            return real(fd, data[:40])
        return failing(2)(number)

    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        watched.watch("write", tear)
        await log.append(part(0))
    first, second = segments(tmp_path)
    assert not first.read_bytes().endswith(b"\n")
    assert list(parse(second.read_bytes()).records.values()) == [part(0)]
    watched.monkeypatch.undo()
    assert await reload(tmp_path) == [opened(), part(0)]


@pytest.mark.parametrize("call", ["write", SYNC])
async def test_where_the_new_segment_fails_too_all_who_wait_are_told_and_writing_goes_on_once_there_is_room(
    tmp_path: Path, watched: Disk, call: str
) -> None:
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        watched.watch(call, failing(1, 2))
        told = await asyncio.gather(log.append(part(0)), log.append(part(1)), return_exceptions=True)
        assert log.records == (opened(),)
        await log.append(part(2))
    for error in told:
        assert isinstance(error, JournalError)
        assert error.resumable
        assert isinstance(error.__cause__, OSError)
        assert "No space left on device" in str(error)
        assert "is safe" in str(error)
    reloaded = await reload(tmp_path)
    assert opened() in reloaded
    assert part(2) in reloaded
    assert len(segments(tmp_path)) == 2, "a segment in which nothing was acknowledged is gone"


async def test_where_the_names_can_not_be_synced_nothing_is_acknowledged_in_that_segment(
    tmp_path: Path, watched: Disk
) -> None:
    watched.watch("fsync", failing(1, code=errno.EIO))
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        assert len(segments(tmp_path)) == 1
    assert await reload(tmp_path) == [opened()]


async def test_a_full_disk_gathers_no_litter(tmp_path: Path, watched: Disk) -> None:
    watched.watch("write", failing(*range(1, 100)))
    async with FileJournal(tmp_path).claim(KEY) as log:
        for number in range(5):
            with pytest.raises(JournalError):
                await log.append(part(number))
    assert segments(tmp_path) == []


async def test_a_failure_is_told_to_those_who_still_wait(tmp_path: Path, watched: Disk) -> None:
    watched.watch("write", failing(1, 2))
    async with FileJournal(tmp_path).claim(KEY) as log:
        gone, waiting = (asyncio.ensure_future(log.append(part(number))) for number in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(JournalError):
            await waiting
        assert gone.cancelled()


async def test_a_failure_that_is_no_failing_disk_comes_out_as_it_is(tmp_path: Path, watched: Disk) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    async with FileJournal(tmp_path).claim(KEY) as log:
        watched.watch(SYNC, fail)
        with pytest.raises(ZeroDivisionError):
            await log.append(part(0))


async def test_a_folder_that_was_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    async with FileJournal(tmp_path).claim(KEY) as log:
        (tmp_path / "uploads" / KEY).rmdir()
        await log.append(opened())
    assert await reload(tmp_path) == [opened()]


async def test_a_disk_that_hangs_keeps_nobody_and_takes_what_waits_when_it_wakes(tmp_path: Path, watched: Disk) -> None:
    stuck, awake = threading.Event(), threading.Event()

    def hang(number: int, _: int) -> None:
        if number == 1:
            stuck.set()
            awake.wait()

    with stopwatch() as watch:
        async with FileJournal(tmp_path).claim(KEY) as log:
            await log.append(opened())
            watched.watch(SYNC, hang)
            first = asyncio.ensure_future(log.append(part(0)))
            await until(stuck)
            second = asyncio.ensure_future(log.append(part(1)))
            await asyncio.sleep(0)
            watch.start()
        assert watch.seconds < 1
    async with asyncio.timeout(20), FileJournal(tmp_path).claim(KEY):
        assert not first.done()
        assert not second.done()
    awake.set()
    await asyncio.gather(first, second)
    assert await reload(tmp_path) == [opened(), part(0), part(1)]


# One disk is not like another


def test_where_fdatasync_is_missing_fsync_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.delattr(os, "fdatasync", raising=False)
    disk.sync(42)
    assert synced == [42]


def test_on_macos_the_drives_own_cache_is_flushed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("fcntl.F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr("fcntl.fcntl", lambda fd, command: asked.append((fd, command)))
    disk.sync(42)
    assert asked == [(42, 51)]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_syncs_no_directories_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: failing(fd, code=code)(fd))
    disk.sync_directory(tmp_path)
    assert not open_below(tmp_path)


def test_a_directory_that_can_not_be_opened_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", lambda *_: failing(1, code=errno.EACCES)(1))
    disk.sync_directory(tmp_path)


def test_a_disk_that_fails_to_sync_a_directory_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: failing(fd, code=errno.EIO)(fd))
    with pytest.raises(OSError, match="Input/output error"):
        disk.sync_directory(tmp_path)
    assert not open_below(tmp_path)
