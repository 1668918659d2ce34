"""The ledger remembers what was sent, paid and saved, through kills, damage and full disks."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.errors import LedgerBusyError, LedgerError
from asyncsdk.images.ledger import reading
from asyncsdk.images.ledger.file import LOCK, FileLedger, holder_of, load_ledger, open_ledger
from asyncsdk.images.outcome import Problem
from asyncsdk.models import Usage
from asyncsdk.wal import Owner, disk
from asyncsdk.wal.line import encode_head, encode_line
from asyncsdk.wal.lock import this_host, try_lock

PROBLEM = Problem(type="X", message="y", moderation={"stage": "input"})
USAGE = Usage(total_tokens=5)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "out" / ".asyncsdk"


async def do(ledger: FileLedger, item: str, name: str = "a") -> None:
    await ledger.intend(item, id=name, n=2, source="here")
    await ledger.end(item, "done", id=name, files=(f"{name}.png",), usage=USAGE, images=1, request_id="r")


async def test_what_is_written_is_there_again(place: Path) -> None:
    async with open_ledger(place) as ledger:
        await do(ledger, "a#0")
        for status in ("failed", "refused", "uncertain"):
            await ledger.intend(f"{status}#0", id=status, n=1)
            await ledger.end(f"{status}#0", status, id=status, problem=PROBLEM)
        await ledger.intend("cut off#0", id="c", n=1)
    again = await load_ledger(place)
    assert {item: state.status for item, state in again.index.states.items()} == {
        "a#0": "done", "failed#0": "failed", "refused#0": "refused", "uncertain#0": "uncertain", "cut off#0": "sent",
    }  # fmt: skip
    done, failed = again.state("a#0"), again.state("failed#0")
    assert done is not None
    assert (done.files, done.usage, done.source) == (("a.png",), USAGE, "here")
    assert failed is not None
    assert failed.problem == PROBLEM
    assert (again.spent.edits, again.spent.tokens) == (3, 5)
    assert [again.owner_of(stem) for stem in ("a", "A", "a.1", "c", "zz")] == ["a#0", "a#0", "a#0", "cut off#0", None]


async def test_what_got_to_its_bucket_later_is_done_and_counts_once(place: Path) -> None:
    async with open_ledger(place) as ledger:
        await ledger.intend("a#0", id="a", n=2, source="here")
        await ledger.end("a#0", "uncertain", id="a", problem=PROBLEM, files=("a.png", "a.1.png"), usage=USAGE)
        await ledger.intend("b#0", id="b", n=2)
        await ledger.delivered("a#0", ["a.png", "a.1-2.png"], "done")
        await ledger.delivered("b#0", ["b.png"], "uncertain")
        await ledger.delivered("unknown#0", ["c.png"], "done")
    for _ in range(2):
        again = await load_ledger(place)
        done, partly = again.state("a#0"), again.state("b#0")
        assert done is not None
        assert (done.status, done.files, done.problem, done.usage) == ("done", ("a.png", "a.1-2.png"), None, USAGE)
        assert partly is not None
        assert (partly.status, partly.files) == ("uncertain", ("b.png",))
        assert (again.spent.edits, again.spent.tokens) == (2, 5)
        assert [again.owner_of(stem) for stem in ("a.1-2", "b")] == ["a#0", "b#0"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "COMPACT_ABOVE", 0)
            patch.setattr(reading, "COMPACT_FACTOR", 0)
            async with open_ledger(place):
                pass


async def test_a_name_stays_with_the_edit_that_has_a_picture_of_it_until_that_has_made_way(place: Path) -> None:
    async with open_ledger(place) as ledger:
        await do(ledger, "old#0")
        await ledger.intend("new#0", id="A", n=1)
        assert ledger.owner_of("a") == "old#0"
        await ledger.end("new#0", "failed", id="A", problem=PROBLEM)
        assert ledger.owner_of("a") == "old#0"
        await ledger.moved("old#0", {"a.png": ".asyncsdk/replaced/a.png"})
        await ledger.intend("new#0", id="A", n=1)
        assert ledger.owner_of("a") == "new#0"
        await do(ledger, "older#0", "b:c")
        assert (ledger.owner_of("b%3Ac.1"), ledger.owner_of("b:c.1")) == ("older#0", None)


async def test_what_the_server_did_nothing_for_is_as_it_was(place: Path) -> None:
    async with open_ledger(place) as ledger:
        await ledger.intend("new#0", id="n", n=1)
        ledger.release("new#0")
        await do(ledger, "old#0")
        await ledger.intend("old#0", id="a", n=1)
        ledger.release("old#0")
        ledger.release("unknown#0")
    again = await load_ledger(place)
    new = again.state("new#0")
    assert new is not None
    assert (new.status, new.files) == ("failed", ())
    state = again.state("old#0")
    assert state is not None
    assert (state.status, state.files) == ("done", ("a.png",))
    assert again.spent.edits == 1


async def test_an_edit_that_was_done_twice_was_paid_twice(place: Path) -> None:
    async with open_ledger(place) as ledger:
        await do(ledger, "a#0")
        await do(ledger, "a#0")
    assert (await load_ledger(place)).spent.edits == 2


async def test_the_later_word_counts_even_if_the_clock_was_set_back(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_ledger(place) as ledger:
        await ledger.intend("a#0", id="a", n=1)
        await ledger.end("a#0", "failed", id="a", problem=PROBLEM)
    now = time.time()
    for days in (1, 2):
        monkeypatch.setattr(time, "time", lambda days=days: now - days * 86_400)
        async with open_ledger(place) as ledger:
            await do(ledger, f"{days}#0", name=str(days))
            await do(ledger, "a#0", name=f"{days} days before")
    state = (await load_ledger(place)).state("a#0")
    assert state is not None
    assert (state.status, state.id) == ("done", "2 days before")


async def test_one_process_at_a_time(place: Path) -> None:
    async with open_ledger(place):
        with pytest.raises(LedgerBusyError) as caught:
            async with open_ledger(place):
                pass
    assert caught.value.pid == os.getpid()
    async with open_ledger(place):
        pass


async def test_a_process_that_looks_who_has_it_keeps_no_run_from_it_and_is_not_taken_for_one(place: Path) -> None:
    async with open_ledger(place):
        kept = (place / "ledger.owner").read_bytes()
        assert await holder_of(place) == Owner(os.getpid(), this_host())
    (place / "ledger.owner").write_bytes(kept)  # as of a run that was killed
    assert await holder_of(place) is None
    with ExitStack() as look:
        assert look.enter_context(try_lock(place / LOCK))
        asyncio.get_running_loop().call_later(0.02, look.close)
        assert await holder_of(place) is None
    with ExitStack() as look:
        assert look.enter_context(try_lock(place / LOCK))
        asyncio.get_running_loop().call_later(0.02, look.close)
        async with open_ledger(place):
            pass


async def test_where_nothing_can_be_locked_no_process_is_named(place: Path) -> None:
    async with open_ledger(place):
        kept = (place / "ledger.owner").read_bytes()
    (place / "ledger.owner").write_bytes(kept)
    (place / LOCK).unlink()
    assert await holder_of(place) is None
    (place / LOCK).mkdir()  # opened to be locked it fails, as on a disk that is read-only
    assert await holder_of(place) is None
    assert await holder_of(place / "nowhere") is None


async def test_it_is_private_and_can_not_be_written_through_a_reader(place: Path) -> None:
    async with open_ledger(place) as ledger:
        await do(ledger, "a#0")
    assert place.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (place / "ledger").iterdir())
    with pytest.raises(LedgerError, match="read only"):
        await (await load_ledger(place)).intend("x#0", id="x", n=1)
    (await load_ledger(place)).release("x#0")
    assert len((await load_ledger(place.parent / "nowhere")).index.states) == 0


async def test_damaged_lines_are_not_believed(place: Path) -> None:
    async with open_ledger(place) as ledger:
        await do(ledger, "a#0")
        await do(ledger, "b#0")
    [segment] = (place / "ledger").iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"a.png", b"z.png")
    segment.write_bytes(
        b"".join([*lines, encode_line({"t": "done", "item": 5, "at": "never"}), encode_line({"t": "intent"})])
    )
    again = await load_ledger(place)
    a, b = again.state("a#0"), again.state("b#0")
    assert a is not None
    assert b is not None
    assert (a.status, b.status) == ("sent", "done")


async def test_a_newer_ledger_is_left_alone(place: Path) -> None:
    (place / "ledger").mkdir(parents=True)
    head = encode_head(at=0, host="h", pid=1).replace(b'"v":1', b'"v":3')
    fields = head.rpartition(b',"c"')[0] + b"}"
    (place / "ledger" / "2026-x.jsonl").write_bytes(encode_line(json.loads(fields)))
    with pytest.raises(LedgerError, match=r"version 3 of the ledger .* newer[\s\S]*Upgrade asyncsdk"):
        async with open_ledger(place):
            pass


@pytest.mark.usefixtures("impatient")
async def test_a_full_disk_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with open_ledger(place) as ledger:
        monkeypatch.setattr("asyncsdk.wal.disk.write", full)
        with pytest.raises(LedgerError, match="No space left on device") as caught:
            await ledger.intend("a#0", id="a", n=1)
        ledger.release("a#0")
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_place_that_is_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"a file is where a directory should be\). Nothing was sent"):
        async with open_ledger(tmp_path / "file" / ".asyncsdk"):
            pass


WRITER = """
import asyncio, sys
from pathlib import Path
from asyncsdk.images.ledger.file import open_ledger
async def main():
    async with open_ledger(Path(sys.argv[1])) as ledger:
        for number in range(10**6):
            await ledger.intend(f"{number}#0", id=str(number), n=1)
            print(number, flush=True)
asyncio.run(main())
"""


async def test_a_kill_loses_nothing_that_was_acknowledged(place: Path) -> None:
    said: Any
    with subprocess.Popen([sys.executable, "-c", WRITER, str(place)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for said in process.stdout:
            if int(said) >= 200:
                break
        process.kill()
        rest = process.stdout.read().splitlines()
    last = int(rest[-1]) if rest else int(said)
    async with open_ledger(place) as ledger:
        assert all(ledger.state(f"{number}#0") is not None for number in range(last))


async def test_the_names_that_lead_to_a_ledger_are_synced_before_anything_in_it_counts(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_directory", synced.append)
    async with open_ledger(place) as ledger:
        synced.clear()
        await do(ledger, "a" * 64)
        assert synced == [place / "ledger", place, place.parent]


async def test_it_is_asked_in_pages_by_the_ids_of_edits_and_by_the_names_of_pictures(place: Path) -> None:
    async with open_ledger(place) as ledger:
        await do(ledger, "a#0", "A:1")
        states = await ledger.look_up(["a:1", "b"])
        assert [state and state.status for state in states] == ["done", None]
        owners = await ledger.owners_of(["a%3A1.1", "b"])
        assert [owner and owner.item for owner in owners] == ["a#0", None]
