"""Several processes and one journal: who waits, who is told, and what outlives a process that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asyncsdk.errors import UploadBusyError
from asyncsdk.uploads.journal import Owner, Record
from asyncsdk.uploads.journal.file import FileJournal
from tests.journal.support import KEY, opened, part

PREAMBLE = """
import asyncio, sys
sys.path.insert(0, {helpers!r})
from tests.journal.support import KEY, append_parts, opened, part
from asyncsdk.uploads.journal.file import FileJournal
journal = FileJournal({root!r})
"""

HOLD = """
async def main():
    async with journal.claim(KEY) as log:
        await log.append(opened())
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
asyncio.run(main())
"""

APPEND = """
async def append(log, worker):
    number = worker
    while True:
        await log.append(part(number))
        print(number, flush=True)
        number += 4

async def main():
    async with journal.claim(KEY) as log:
        await asyncio.gather(*(append(log, worker) for worker in range(4)))
asyncio.run(main())
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


async def test_who_will_not_wait_is_told_the_owners_process_and_host(tmp_path: Path) -> None:
    with child(tmp_path, HOLD) as owner:
        assert line(owner) == "held"
        with pytest.raises(UploadBusyError, match=f"process {owner.pid} on {socket.gethostname()}") as caught:
            async with FileJournal(tmp_path).claim(KEY, wait=False):
                pytest.fail("claimed")
        assert (caught.value.pid, caught.value.host) == (owner.pid, socket.gethostname())
        assert "Nothing was sent" in str(caught.value)


async def test_who_waits_is_told_once_and_gets_the_key_when_the_owner_is_killed(tmp_path: Path) -> None:
    told: list[Owner | None] = []
    busy = asyncio.Event()

    def on_busy(owner: Owner | None) -> None:
        told.append(owner)
        busy.set()

    with child(tmp_path, HOLD) as owner:
        assert line(owner) == "held"
        waiting = asyncio.ensure_future(read_when_free(tmp_path, on_busy))
        await busy.wait()
        await asyncio.sleep(0.3)
        assert not waiting.done()
        owner.send_signal(signal.SIGKILL)
        assert await asyncio.wait_for(waiting, 5) == [opened()]
        assert told == [Owner(owner.pid, socket.gethostname())]


async def read_when_free(root: Path, on_busy: object) -> list[Record]:
    async with FileJournal(root).claim(KEY, on_busy=on_busy) as log:  # type: ignore[arg-type] # a callback, as above
        return list(log.records)


async def test_who_waits_gets_the_key_and_all_records_when_the_owner_is_done(tmp_path: Path) -> None:
    with child(tmp_path, HOLD) as owner:
        assert line(owner) == "held"
        waiting = asyncio.ensure_future(read(tmp_path))
        assert owner.stdin is not None
        owner.stdin.write("\n")
        owner.stdin.flush()
        assert await asyncio.wait_for(waiting, 5) == [opened()]
        assert await asyncio.to_thread(owner.wait, 5) == 0


async def test_entries_name_the_process_that_holds_a_key_and_nobody_once_it_is_dead(tmp_path: Path) -> None:
    with child(tmp_path, HOLD) as owner:
        assert line(owner) == "held"
        [entry] = await FileJournal(tmp_path).entries()
        assert entry.owner == Owner(owner.pid, socket.gethostname())
        owner.kill()
        owner.wait(5)
        [entry] = await FileJournal(tmp_path).entries()
        assert entry.owner is None
        assert entry.records == (opened(),)


@pytest.mark.parametrize("acknowledgements", [1, 5, 23, 60])
async def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path, acknowledgements: int) -> None:
    with child(tmp_path, APPEND) as writer:
        seen = {int(line(writer)) for _ in range(acknowledgements)}
        writer.send_signal(signal.SIGKILL)
        assert writer.stdout is not None
        seen |= {int(number) for number in writer.stdout.read().split("\n")[:-1]}
    found = await read(tmp_path)
    assert [part(number) for number in sorted(seen) if part(number) not in found] == []
    assert all(record == part(int(record.at - part(0).at + 0.5)) for record in found)


@pytest.mark.parametrize(("owner", "step"), [("Path", "replace"), ("Path", "unlink")])
async def test_a_process_killed_while_it_compacts_loses_no_last_word(tmp_path: Path, owner: str, step: str) -> None:
    with child(tmp_path, COMPACT_AND_DIE.format(owner=owner, step=step)) as process:
        assert await asyncio.to_thread(process.wait, 10) == -signal.SIGKILL
    found = await read(tmp_path)
    assert opened() in found
    assert [type(record).__name__ for record in found].count("Cancelled") == 1


async def test_claims_of_one_process_keep_each_other_out_as_well(tmp_path: Path) -> None:
    async with FileJournal(tmp_path).claim(KEY):
        with pytest.raises(UploadBusyError) as caught:
            async with FileJournal(tmp_path).claim(KEY, wait=False):
                pytest.fail("claimed twice")
        assert caught.value.pid == os.getpid()


async def test_many_who_wait_own_the_key_one_after_the_other(tmp_path: Path) -> None:
    inside = 0

    async def own(number: int) -> None:
        nonlocal inside
        async with FileJournal(tmp_path).claim(KEY) as log:
            inside += 1
            assert inside == 1
            await log.append(part(number))
            inside -= 1

    await asyncio.gather(*map(own, range(4)))
    assert sorted(await read(tmp_path), key=lambda record: record.at) == [part(number) for number in range(4)]


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
