"""One sync of a directory for all who wait, and none too few."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, field
from attrs.exceptions import FrozenAttributeError

from asyncsdk.errors import JournalError
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.wal import disk
from asyncsdk.wal.commit import DirectorySync
from tests.journal.support import KEY, opened, segments


@define(eq=False)
class Disk:
    """Counts the syncs of directories that began; they end once `goes_on` is set, in an error while it `fails`."""

    began: int = 0
    fails: bool = False
    goes_on: threading.Event = field(factory=threading.Event)

    def sync(self, _: Path) -> None:
        self.began += 1
        assert self.goes_on.wait(5)
        if self.fails:
            raise OSError(errno.EIO, "it fails")


class Door:
    """A lock that counts who came to it."""

    def __init__(self) -> None:
        self.came, self._lock = 0, threading.Lock()

    def __enter__(self) -> None:
        self.came += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    slow = Disk()
    monkeypatch.setattr(disk, "sync_directory", slow.sync)
    yield slow
    slow.goes_on.set()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def in_the_middle_of_one(slow: Disk, sync: DirectorySync, *, later: int) -> list[Any]:
    """What comes of a sync and of `later` ones that are asked for while it runs, in this order."""
    door = cast("Any", Door())
    sync._turn = door  # noqa: SLF001 - that a call waits for its turn shows nowhere else
    asked = [asyncio.create_task(asyncio.to_thread(sync))]
    await until(lambda: slow.began == 1)
    asked += [asyncio.create_task(asyncio.to_thread(sync)) for _ in range(later)]
    await until(lambda: door.came == 1 + later)
    slow.goes_on.set()
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_a_sync_that_runs_already_does_not_count_for_a_name_that_came_later(slow: Disk) -> None:
    assert await in_the_middle_of_one(slow, DirectorySync((Path(),)), later=1) == [None, None]
    assert slow.began == 2


async def test_all_who_come_while_one_runs_share_the_next(slow: Disk) -> None:
    assert await in_the_middle_of_one(slow, DirectorySync((Path(),)), later=5) == [None] * 6
    assert slow.began == 2


async def test_a_sync_that_fails_fails_for_all_who_waited_and_for_nobody_later(slow: Disk) -> None:
    slow.fails, sync = True, DirectorySync((Path(),))
    ended = await in_the_middle_of_one(slow, sync, later=2)
    assert [type(each) for each in ended] == [OSError] * 3
    assert slow.began == 1
    slow.fails = False
    sync()
    assert slow.began == 2


def test_one_after_the_other_each_syncs(slow: Disk) -> None:
    sync = DirectorySync((Path(),))
    slow.goes_on.set()
    sync()
    sync()
    assert slow.began == 2


async def test_the_way_to_a_record_is_synced_though_another_made_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_directory", synced.append)
    root = tmp_path / "journal"
    journal = FileJournal(root)
    async with journal.claim(KEY) as log:
        await log.append(opened())
    root.rename(tmp_path / "away")
    async with FileJournal(root).claim("another"):
        """It makes the directories and writes nothing."""
    synced.clear()
    async with journal.claim(KEY) as log:
        await log.append(opened())
    assert synced == [root / "uploads" / KEY, root / "uploads", root, tmp_path]


def test_a_journal_stays_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(FrozenAttributeError):
        FileJournal(tmp_path).path = tmp_path / "elsewhere"


async def test_a_link_in_the_place_of_a_claimed_keys_folder_is_not_written_through(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with FileJournal(tmp_path / "journal").claim(KEY) as log:
        folder = tmp_path / "journal" / "uploads" / KEY
        folder.rmdir()
        folder.symlink_to(elsewhere)
        with pytest.raises(JournalError):
            await log.append(opened())
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("failing", ["uploads", "journal"])
async def test_a_way_that_could_not_be_synced_is_told_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    real, failed = disk.sync_directory, list[Path]()

    def sync(folder: Path) -> None:
        if folder.name == failing and not failed:  # an error of the disk is told once
            failed.append(folder)
            raise OSError(errno.EIO, "it fails")
        real(folder)

    journal = FileJournal(tmp_path / "journal")
    async with journal.claim("before"):
        monkeypatch.setattr(disk, "sync_directory", sync)
    async with journal.claim(KEY) as log:
        with pytest.raises(JournalError, match="it fails"):
            await log.append(opened())
        assert segments(tmp_path / "journal") == []
        await log.append(opened())
    assert len(segments(tmp_path / "journal")) == 1
