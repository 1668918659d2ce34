"""Several processes and one journal: who waits, who is told, and what outlives a process that is killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asyncsdk.uploads.journal import Record
from asyncsdk.uploads.journal.file import FileJournal
from tests.journal.support import KEY, opened

PREAMBLE = """
import asyncio, sys
sys.path.insert(0, {helpers!r})
from tests.journal.support import KEY, append_parts, opened, part
from asyncsdk.uploads.journal.file import FileJournal
journal = FileJournal({root!r})
"""

COMPACT_AND_DIE = """
import os, signal
from pathlib import Path
from asyncsdk.uploads.journal import Cancelled
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
async def main():
    async with journal.claim(KEY) as log:
        await log.append(opened())
        await append_parts(log)
        setattr({owner}, {step!r}, die)
        await log.append_final(Cancelled(upload="upload_1", at=0))
asyncio.run(main())
"""


@contextmanager
def child(root: Path, program: str) -> Iterator[subprocess.Popen[str]]:
    code = PREAMBLE.format(helpers=str(Path(__file__).parent), root=str(root)) + program
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def read(root: Path) -> list[Record]:
    async with FileJournal(root).claim(KEY) as log:
        return list(log.records)


@pytest.mark.parametrize(("owner", "step"), [("Path", "replace"), ("Path", "unlink")])
async def test_a_process_killed_while_it_compacts_loses_no_last_word(tmp_path: Path, owner: str, step: str) -> None:
    with child(tmp_path, COMPACT_AND_DIE.format(owner=owner, step=step)) as process:
        assert await asyncio.to_thread(process.wait, 10) == -signal.SIGKILL
    found = await read(tmp_path)
    assert opened() in found
    assert [type(record).__name__ for record in found].count("Cancelled") == 1


async def test_a_lock_that_somebody_only_looks_at_is_not_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asyncsdk.wal import lock

    attempts: list[Path] = []
    real = lock._try  # noqa: SLF001 - the one step that takes it

    def busy_once(path: Path) -> object:
        attempts.append(path)
        return None if len(attempts) == 1 else real(path)

    monkeypatch.setattr(lock, "_try", busy_once)
    async with FileJournal(tmp_path).claim(KEY, wait=False):
        assert len(attempts) == 2
