"""The power fails at any moment of a journal's life: nothing acknowledged is lost, and nothing unwritten believed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.faults.power import Recorder
from tests.faults.power_cuts import RECORDS, Findings, live


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
    findings = Findings.of(recorder.moments, every=29)
    assert (findings.lost, findings.invented) == ([], [])
