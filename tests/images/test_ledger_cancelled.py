"""An intent that is cancelled while it is written is taken back, and takes no earlier one with it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field

from asyncsdk.images.ledger.file import FileLedger, load_ledger, open_ledger


@define
class Disk:
    """One whose writes wait until they may `go`, and then fail if it is `full`."""

    full: bool = False
    busy: threading.Event = field(factory=threading.Event)
    go: threading.Event = field(factory=threading.Event)

    def wait(self) -> None:
        self.busy.set()
        assert self.go.wait(10)
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, impatient: None) -> Iterator[Disk]:
    write, disk = os.write, Disk()
    disk.go.set()

    def writing(descriptor: int, content: bytes) -> int:
        disk.wait()
        return write(descriptor, content)

    monkeypatch.setattr("os.write", writing)
    yield disk
    disk.go.set()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "out" / ".asyncsdk"


async def cancel_an_intent(ledger: FileLedger, disk: Disk, *, full: bool = False) -> None:
    """Cancel it while the disk is at it."""
    disk.busy.clear()
    disk.go.clear()
    intending = asyncio.create_task(ledger.intend("a#0", id="a", n=1))
    assert await asyncio.to_thread(disk.busy.wait, 10)
    intending.cancel()
    await asyncio.sleep(0)
    disk.full = full
    disk.go.set()
    with pytest.raises(asyncio.CancelledError):
        await intending
    disk.full = False


async def test_an_intent_that_is_cancelled_is_taken_back(place: Path, disk: Disk) -> None:
    async with open_ledger(place) as ledger:
        await cancel_an_intent(ledger, disk)
    again = await load_ledger(place)
    state = again.state("a#0")
    assert state is not None
    assert state.status == "failed"  # to be sent by a later run
    assert again.spent.edits == 0


@pytest.mark.parametrize("full", [False, True], ids=["written", "not written"])
async def test_what_was_sent_before_stays(place: Path, disk: Disk, *, full: bool) -> None:
    async with open_ledger(place) as ledger:
        await ledger.intend("a#0", id="a", n=1)
        await cancel_an_intent(ledger, disk, full=full)
    again = await load_ledger(place)
    state = again.state("a#0")
    assert state is not None
    assert state.status == "sent"
    assert again.spent.edits == 1
