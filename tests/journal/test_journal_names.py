"""One sync of a directory for all who wait, and none too few."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from asyncsdk.journal import disk
from asyncsdk.journal.file import FileJournal
from asyncsdk.journal.names import OnceSync, SharedSync
from tests.journal.support import KEY, opened


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
    monkeypatch.setattr(disk, "sync_folder", slow.sync)
    yield slow
    slow.goes_on.set()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def in_the_middle_of_one(slow: Disk, sync: SharedSync, *, later: int) -> list[Any]:
    """What comes of a sync and of `later` ones that are asked for while it runs, in this order."""
    sync._turn = door = Door()  # type: ignore[assignment]
    asked = [asyncio.create_task(asyncio.to_thread(sync))]
    await until(lambda: slow.began == 1)
    asked += [asyncio.create_task(asyncio.to_thread(sync)) for _ in range(later)]
    await until(lambda: door.came == 1 + later)
    slow.goes_on.set()
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_a_sync_that_runs_already_does_not_count_for_a_name_that_came_later(slow: Disk) -> None:
    assert await in_the_middle_of_one(slow, SharedSync(Path()), later=1) == [None, None]
    assert slow.began == 2


async def test_all_who_come_while_one_runs_share_the_next(slow: Disk) -> None:
    assert await in_the_middle_of_one(slow, SharedSync(Path()), later=5) == [None] * 6
    assert slow.began == 2


async def test_a_sync_that_fails_counts_for_nobody(slow: Disk) -> None:
    slow.fails = True
    ended = await in_the_middle_of_one(slow, SharedSync(Path()), later=2)
    assert [type(each) for each in ended] == [OSError] * 3
    assert slow.began == 3


def test_one_after_the_other_each_syncs(slow: Disk) -> None:
    sync = SharedSync(Path())
    slow.goes_on.set()
    sync()
    sync()
    assert slow.began == 2


def test_a_directory_that_does_not_change_is_synced_until_that_went_well(slow: Disk) -> None:
    sync, slow.fails = OnceSync(Path()), True
    slow.goes_on.set()
    with pytest.raises(OSError, match="it fails"):
        sync()
    slow.fails = False
    sync()
    sync()
    assert slow.began == 2


def test_what_is_made_anew_during_a_sync_is_synced_by_the_next(slow: Disk) -> None:
    sync = OnceSync(Path())
    syncing = threading.Thread(target=sync)
    syncing.start()
    while not slow.began:
        time.sleep(0.001)
    sync.again()
    slow.goes_on.set()
    syncing.join()
    sync()
    sync()
    assert slow.began == 2


async def test_the_root_is_synced_again_where_it_was_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    journal = FileJournal(tmp_path / "journal")
    for key in (KEY, "another"):
        async with journal.claim(key) as log:
            await log.append(opened())
    assert synced.count(tmp_path / "journal") == 1
    (tmp_path / "journal").rename(tmp_path / "away")
    async with journal.claim(KEY) as log:
        await log.append(opened())
    assert synced.count(tmp_path / "journal") == 2
