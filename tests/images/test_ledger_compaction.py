"""A compacted ledger says what it said before, wherever the process or the power fails on the way there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.images.ledger import reading as module
from asyncsdk.images.ledger.file import FileLedger, load_ledger, open_ledger
from asyncsdk.images.outcome import Problem
from asyncsdk.models import Usage
from asyncsdk.wal import disk

PROBLEM = Problem(type="X", message="y", moderation={"stage": "input"})
USAGE = Usage(input_tokens=2, total_tokens=5)
DIGEST = "0123456789abcdef" * 4
STEMS = ("0", "0.1", "0.2", "kept", "sent", "sent.1", "failed", "back", "nobody")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "COMPACT_ABOVE", 10)
    return tmp_path / "out" / ".asyncsdk"


async def do(ledger: FileLedger, item: str, name: str) -> None:
    await ledger.intend(item, id=name, n=2, source="here")
    await ledger.end(
        item, "done", id=name, files=(f"{name}.png", f"{name}.1.png"), usage=USAGE, images=2, request_id="r"
    )


async def three_runs(place: Path) -> None:
    """Three segments: done more than once, moved, refused, failed, cut off, while redone too, back."""
    async with open_ledger(place) as ledger:
        await ledger.intend("back#0", id="back", n=1)
        await do(ledger, f"{DIGEST}#0", "0")
        await do(ledger, f"{DIGEST}#1", "1")
        await ledger.intend("failed#0", id="failed", n=1)
    async with open_ledger(place) as ledger:
        ledger.release("back#0")
        await do(ledger, f"{DIGEST}#0", "0")
        await ledger.moved(f"{DIGEST}#0", {"0.png": ".asyncsdk/replaced/0.png"})
        await ledger.end("failed#0", "failed", id="failed", problem=PROBLEM)
        await ledger.intend("refused#0", id="refused", n=1)
        await ledger.end("refused#0", "refused", id="refused", problem=PROBLEM)
    async with open_ledger(place) as ledger:
        for _ in range(12):
            await ledger.intend("again#0", id="again", n=1)
            await ledger.end("again#0", "failed", id="again", problem=PROBLEM)
        await ledger.intend("sent#0", id="sent", n=2, source="there")
        await ledger.intend(f"{DIGEST}#1", id="1", n=1)
        await ledger.intend("lost#0", id="lost", n=1)
        await ledger.end("lost#0", "uncertain", id="lost", problem=PROBLEM)


async def known(place: Path) -> dict[str, Any]:
    """All that a ledger can be asked."""
    ledger = await load_ledger(place)
    owners = {stem: ledger.owner_of(stem) for stem in STEMS}
    return {"states": dict(ledger.index.states.items()), "spent": ledger.spent, "owners": owners}


async def compact(place: Path) -> None:
    async with open_ledger(place):
        pass


async def test_compacting_keeps_all_that_counts(place: Path) -> None:
    await three_runs(place)
    before, lines = await known(place), (await load_ledger(place)).index.lines
    assert before["spent"].edits == 6  # three done, of which one twice; one lost; two cut off, less none
    await compact(place)
    after = await load_ledger(place)
    [segment] = (place / "ledger").iterdir()
    assert await known(place) == before
    assert len(segment.read_bytes().splitlines()) == after.index.lines + 1 < lines
    await compact(place)
    assert (place / "ledger" / segment.name).exists()  # there is nothing to gain any more


async def test_a_crash_at_any_step_of_compacting_loses_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_runs(place)
    before = await known(place)
    crashes = [place]

    def crash_after(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            result = call(*arguments, **named)
            crashes.append(tmp_path / f"{len(crashes)}" / ".asyncsdk")
            shutil.copytree(place, crashes[-1])
            return result

        return called

    with monkeypatch.context() as patched:
        write = os.write
        for name in ("fdatasync", "fsync", "replace", "unlink"):
            patched.setattr(f"asyncsdk.wal.disk.os.{name}", crash_after(getattr(os, name)))
        patched.setattr(os, "write", crash_after(lambda fd, data: write(fd, data[: len(data) // 2 + 1])))
        await compact(place)
    assert len(crashes) > 10
    for crash in crashes:
        assert await known(crash) == before, crash
        await compact(crash)
        assert await known(crash) == before, crash
        assert len(list((crash / "ledger").iterdir())) == 1


async def test_old_segments_that_come_back_after_a_power_cut_change_nothing(place: Path, tmp_path: Path) -> None:
    await three_runs(place)
    before = await known(place)
    old = sorted((place / "ledger").iterdir())
    for count in range(len(old) + 1):
        for number, those in enumerate(combinations(old, count)):
            crash = tmp_path / f"{count}-{number}" / ".asyncsdk"
            shutil.copytree(place, crash)
            await compact(crash)
            for segment in those:
                shutil.copy(segment, crash / "ledger")
            assert await known(crash) == before, those


async def test_a_reader_that_meets_a_compaction_reads_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await three_runs(place)
    before = await known(place)
    missing, read = [place / "ledger" / "compacted"] * 2, disk.lines
    monkeypatch.setattr(disk, "lines", lambda path: read(missing.pop() if missing else path))
    assert await known(place) == before
    assert missing == []


async def test_no_room_for_a_compaction_stops_no_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await three_runs(place)
    before = await known(place)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "write_lines", full)
        await compact(place)
    assert await known(place) == before
    assert not list((place / "ledger").glob("*.tmp"))
