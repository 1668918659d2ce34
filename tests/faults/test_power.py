"""The power fails at any moment of a journal's life: nothing acknowledged is lost, and nothing unwritten believed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from attrs import define, field

from asyncsdk.journal import Completed, Completing, Opened, Record
from asyncsdk.journal.file import FileJournal
from asyncsdk.journal.lines import encode
from tests.faults.power import Moment, Recorder, records_in
from tests.journal.support import KEY, NOW, completed, opened, part

ASKED = Completing(upload="upload_1", part_ids=("part_0", "part_1"), md5="0" * 32, at=NOW + 30)
RECORDS: tuple[Record, ...] = (opened(), part(0), part(1), ASKED, completed())


async def live(recorder: Recorder, journal: Path) -> None:
    """Two processes, one after the other: the first is killed in the middle, the second settles."""
    with recorder():
        async with FileJournal(journal).claim(KEY) as log:
            for record in RECORDS[:2]:
                await log.append(record)
                recorder.promise()
        async with FileJournal(journal).claim(KEY) as log:
            for record in RECORDS[2:4]:
                await log.append(record)
                recorder.promise()
            await log.settle(RECORDS[4])
            recorder.promise()


@define
class Findings:
    """How many contents a disk may have had, what promised was lost then, what never written was believed."""

    contents: int = 0
    lost: list[Record] = field(factory=list)
    invented: list[Record] = field(factory=list)

    @classmethod
    def of(cls, moments: Iterable[Moment]) -> Findings:
        findings = cls()
        for moment in moments:
            for tree in moment.trees():
                findings.look(moment, records_in(tree))
        return findings

    def look(self, moment: Moment, found: Sequence[Record]) -> None:
        self.contents += 1
        settled = any(isinstance(record, Completed) for record in found)
        promised = [record for record in RECORDS[: moment.promised] if not settled or isinstance(record, Opened)]
        self.lost += [record for record in promised if record not in found]
        self.invented += [record for record in found if encode(record) not in b"".join(moment.written.values())]


async def test_after_a_power_cut_at_any_moment_the_journal_holds_what_was_acknowledged(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    await live(recorder, tmp_path / "journal")
    assert recorder.moments[-1].promised == len(RECORDS)
    findings = Findings.of(recorder.moments)
    assert (findings.lost, findings.invented) == ([], [])
    assert findings.contents > 4000  # or nothing was torn


async def test_on_a_disk_that_only_pretends_to_sync_records_would_be_lost(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, honest=False)
    await live(recorder, tmp_path / "journal")
    assert any(Findings.of([moment]).lost for moment in recorder.moments)


@pytest.mark.parametrize("failing", [1, 2, 3, 4, 5, 6, 7, 8])
async def test_a_sync_that_fails_once_breaks_no_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    syncs, real = 0, os.fdatasync

    def fail_once(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fail_once)
    recorder = Recorder(tmp_path)
    await live(recorder, tmp_path / "journal")
    findings = Findings.of(recorder.moments)
    assert (findings.lost, findings.invented) == ([], [])
