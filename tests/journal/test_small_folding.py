"""Shared segments that dead processes left become one: what is of use stays, whenever the process is killed."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from attrs import evolve

from asyncsdk.uploads.journal import Completing, Expired, JournalEntry, Record
from asyncsdk.uploads.journal.codec import parse
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.uploads.resuming.resume import Stage, replay
from asyncsdk.wal import disk, ranges, segments, shared
from asyncsdk.wal.line import encode_line, iso
from tests.journal.support import KEY, NOW, completed, opened, part

pytestmark = pytest.mark.skipif(not ranges.SUPPORTED, reason="the platform locks no ranges for open files")

HOUR, DAY = 3600, 86400
LONG_AGO = NOW + 40 * DAY


def key(number: int) -> str:
    return f"{number:032x}"


def files(root: Path) -> list[Path]:
    return sorted((root / "small").glob("*.jsonl"))


def started(number: int, of: int | None = None) -> list[Record]:
    """An upload of this number, under the key of the same number or of another."""
    upload = f"upload_{number}"
    return [opened(upload, key=key(number if of is None else of)), part(0, upload)]


def whole(number: int, of: int | None = None) -> list[Record]:
    upload = f"upload_{number}"
    asked = Completing(upload=upload, part_ids=("part_0",), md5="0" * 32, at=NOW)
    return [*started(number, of), asked, completed(upload)]


async def write(journal: FileJournal, number: int, records: Sequence[Record]) -> None:
    async with journal.claim(key(number), small=True) as log:
        for record in records:
            await log.append(record)


async def stages(root: Path) -> dict[str, Stage]:
    states = {entry.key: replay(entry.records) for entry in await FileJournal(root).entries()}
    return {name: state.stage for name, state in states.items() if state is not None}


async def entry_of(root: Path, name: str) -> JournalEntry:
    return next(entry for entry in await FileJournal(root).entries() if entry.key == name)


async def many(root: Path, count: int = 10) -> None:
    """As many processes as keys, all dead: of even numbers the upload is completed, of odd ones it was begun."""
    for number in range(count):
        await write(FileJournal(root), number, started(number) if number % 2 else whole(number))


async def test_many_files_become_one_and_say_the_same_in_less(tmp_path: Path) -> None:
    await many(tmp_path)
    before, size = await stages(tmp_path), sum(path.stat().st_size for path in files(tmp_path))
    assert len(files(tmp_path)) == 10
    assert await FileJournal(tmp_path).purge(now=NOW + HOUR) == 0
    (one,) = files(tmp_path)
    assert await stages(tmp_path) == before
    assert one.stat().st_size < 0.8 * size
    kinds = Counter(type(record).__name__ for record in (await entry_of(tmp_path, key(0))).records)
    assert kinds == {"Opened": 1, "Completed": 1}
    assert list((await entry_of(tmp_path, key(1))).records) == started(1)
    assert await FileJournal(tmp_path).purge(now=NOW + HOUR) == 0
    assert files(tmp_path) == [one]  # there is nothing to gain


async def test_what_is_of_no_use_goes_and_is_counted(tmp_path: Path) -> None:
    await many(tmp_path)
    assert await FileJournal(tmp_path).purge(now=NOW + HOUR + DAY + 1) == 5
    assert set(await stages(tmp_path)) == {key(number) for number in range(0, 10, 2)}
    assert await FileJournal(tmp_path).purge(now=LONG_AGO) == 5
    assert await stages(tmp_path) == {}
    assert files(tmp_path) == []


async def test_a_key_is_of_use_as_long_as_one_of_its_uploads_is_and_keeps_no_other(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), 1, whole(1))
    later = [evolve(record, at=NOW + 20 * DAY) for record in whole(2, of=1)]
    await write(FileJournal(tmp_path), 1, later)
    assert await FileJournal(tmp_path).purge(now=NOW + 29 * DAY) == 0
    assert list((await entry_of(tmp_path, key(1))).records) == [whole(1)[0], whole(1)[3], later[0], later[3]]
    assert await FileJournal(tmp_path).purge(now=LONG_AGO) == 0
    assert list((await entry_of(tmp_path, key(1))).records) == [later[0], later[3]]


async def test_a_key_is_of_use_as_long_as_what_a_living_process_has_written_of_it(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), 1, started(1))
    living = FileJournal(tmp_path)
    async with living.claim(key(2), small=True):
        await write(living, 1, [completed("upload_1", at=NOW + 39 * DAY)])
        assert await FileJournal(tmp_path).purge(now=LONG_AGO) == 0
        state = replay((await entry_of(tmp_path, key(1))).records)
        assert state is not None
        assert (state.stage, state.opened) == (Stage.COMPLETED, started(1)[0])


async def test_a_key_is_of_use_as_long_as_what_is_in_its_folder(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), 1, started(1))
    async with FileJournal(tmp_path).claim(key(1)) as log:
        await log.append(completed("upload_1", at=NOW + 39 * DAY))
    assert await FileJournal(tmp_path).purge(now=LONG_AGO) == 0
    state = replay((await entry_of(tmp_path, key(1))).records)
    assert state is not None
    assert (state.stage, state.opened) == (Stage.COMPLETED, started(1)[0])


async def test_what_a_living_process_writes_and_what_it_has_claimed_stays_as_it_is(tmp_path: Path) -> None:
    await many(tmp_path)
    living = FileJournal(tmp_path)
    async with living.claim(key(0), small=True) as log, living.claim(key(50), small=True) as other:
        await other.append(started(50)[0])
        own = files(tmp_path)[-1]
        assert await FileJournal(tmp_path).purge(now=LONG_AGO) == 9
        assert own in files(tmp_path)
        await log.append(started(0)[1])
        await other.append(started(50)[1])
        assert list(log.records)[:4] == whole(0)
    assert list((await entry_of(tmp_path, key(50))).records) == started(50)
    async with FileJournal(tmp_path).claim(key(0), small=True) as log:
        assert list(log.records)[:4] == whole(0)


async def test_a_process_folds_what_it_has_written_itself_and_goes_on(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    async with journal.claim(key(1), small=True) as log:
        await log.append(started(1)[0])
        await write(journal, 2, whole(2))
        assert await journal.purge(now=LONG_AGO) == 1
        await log.append(started(1)[1])
    await write(journal, 3, started(3))
    for number in (1, 3):
        assert list((await entry_of(tmp_path, key(number))).records) == started(number)
        async with journal.claim(key(number), small=True) as log:
            assert list(log.records) == started(number)


async def test_the_daily_purge_folds_and_leaves_what_was_folded_until_it_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many(tmp_path)
    now = [NOW + HOUR]
    monkeypatch.setattr(time, "time", lambda: now[0])

    async def settle(number: int) -> None:
        journal = FileJournal(tmp_path)
        async with journal.claim(key(number), small=True) as log:
            made = int(now[0])
            await log.append(opened(f"upload_{number}", key=key(number), created_at=made, expires_at=made + HOUR))
            await log.append_final(completed(f"upload_{number}", at=now[0]))

    await settle(100)
    folded = [path for path in files(tmp_path) if b'"due"' in path.read_bytes()]
    assert len(folded) == 1
    now[0] += DAY / 2
    await settle(101)
    assert folded[0] in files(tmp_path)
    now[0] += DAY  # what was begun only is of no use now
    await settle(102)
    assert folded[0] not in files(tmp_path)
    assert set(await stages(tmp_path)) == {key(number) for number in (0, 2, 4, 6, 8, 100, 101, 102)}


async def test_files_of_another_machine_are_left_to_it_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "this_host", lambda: "another")
    await many(tmp_path, 2)
    monkeypatch.undo()
    assert await FileJournal(tmp_path).purge(now=LONG_AGO) == 0
    for path in files(tmp_path):
        os.utime(path, (time.time() - DAY - 60,) * 2)
    assert await FileJournal(tmp_path).purge(now=LONG_AGO) == 2


async def test_a_damaged_line_is_left_out_and_what_is_intact_stays(tmp_path: Path) -> None:
    await many(tmp_path, 4)
    damaged = files(tmp_path)[1]
    damaged.write_bytes(damaged.read_bytes().replace(b'"t":"part"', b'"t":"pazt"'))
    await FileJournal(tmp_path).purge(now=NOW + HOUR)
    assert list((await entry_of(tmp_path, key(1))).records) == started(1)[:1]
    assert list((await entry_of(tmp_path, key(3))).records) == started(3)


async def test_what_only_a_newer_version_knows_stays(tmp_path: Path) -> None:
    await many(tmp_path, 2)
    line = encode_line({"t": "pondered", "k": key(7), "n": 1, "u": "upload_7", "at": iso(NOW)})
    with files(tmp_path)[0].open("ab") as file:
        file.write(line)
    for days in (40, 400):
        await FileJournal(tmp_path).purge(now=NOW + days * DAY)
        assert [path.read_bytes().splitlines(keepends=True)[1:] for path in files(tmp_path)] == [[line]]


async def test_the_daily_purge_folds_though_the_keys_with_a_folder_take_all_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many(tmp_path)
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
    monkeypatch.setattr("asyncsdk.uploads.journal.file.PURGE_SECONDS", 0.2)
    monkeypatch.setattr("asyncsdk.uploads.journal.purge.forget", lambda *_: time.sleep(0.3))
    for day in range(30):  # a half of which the folders come first
        now = NOW + day * DAY
        monkeypatch.setattr(time, "time", lambda now=now: now)
        async with FileJournal(tmp_path).claim(key(100 + day), small=True) as log:
            await log.append(opened("upload_9", created_at=int(now), expires_at=int(now) + HOUR))
            await log.append_final(completed("upload_9", at=now))
        if any(b'"due"' in path.read_bytes() for path in files(tmp_path)):
            return
    pytest.fail("it was never folded")


async def test_what_a_copy_leaves_to_its_original_stays_left_once_it_is_folded(tmp_path: Path) -> None:
    await many(tmp_path / "journal", 2)
    copy = Path(shutil.copytree(tmp_path / "journal", tmp_path / "copy"))
    before = await stages(copy)
    assert before == {key(0): Stage.COMPLETED, key(1): Stage.EXPIRED}
    await FileJournal(copy).purge(now=NOW + HOUR)
    assert await stages(copy) == before
    assert isinstance((await entry_of(copy, key(1))).records[-1], Expired)
    assert (await stages(tmp_path / "journal"))[key(1)] is Stage.PENDING


DIE = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.wal import disk, segments, shared
from asyncsdk.uploads.journal import folding
shared.MOST_BYTES = 3000
folding.MOST_BYTES = 3000
left = [{number}]
def dying(real):
    def call(*arguments, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call
for name in ("create", "write_all", "sync", "replace"):
    setattr(disk, name, dying(getattr(disk, name)))
Path.unlink = dying(Path.unlink)
asyncio.run(FileJournal({root!r}).purge(now={now}))
"""


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 18])
def test_killed_at_any_step_of_a_fold_it_loses_nothing(tmp_path: Path, number: int) -> None:
    asyncio.run(many(tmp_path))
    before = asyncio.run(stages(tmp_path))
    program = DIE.format(helpers=str(Path(__file__).parent), number=number, root=str(tmp_path), now=NOW + HOUR)
    process = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, timeout=60)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert asyncio.run(stages(tmp_path)) == before
    assert asyncio.run(FileJournal(tmp_path).purge(now=NOW + HOUR)) == 0
    assert asyncio.run(stages(tmp_path)) == before
    assert list((tmp_path / "small").glob("*.tmp")) == []


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_is_written_folded_or_broken_off_in_any_order_all_that_is_of_use_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Some journals, as if each were a process, in turn: claims, folds, folds that break off at any step."""
    numbers = random.Random(seed)
    monkeypatch.setattr(shared, "MOST_BYTES", 4000)
    journals = [FileJournal(tmp_path) for _ in range(3)]
    expected: dict[int, list[Record]] = {}
    breaks = Breaks(numbers)
    breaks.install(monkeypatch)
    for turn in range(120):
        journal, number = numbers.choice(journals), numbers.randrange(20)
        deed = numbers.random()
        if deed < 0.75:
            records = (started if numbers.random() < 0.5 else whole)(turn, of=number)
            await write(journal, number, records)
            expected.setdefault(number, []).extend(records)
        elif deed < 0.9:
            with breaks.after(numbers.randrange(1, 12)):
                await journal.purge(now=NOW + HOUR)
        else:
            journals[numbers.randrange(3)] = FileJournal(tmp_path)
        if turn % 10 == 0:
            await check(tmp_path, numbers.choice(journals), expected)
    await FileJournal(tmp_path).purge(now=NOW + HOUR)
    await check(tmp_path, journals[0], expected)


async def check(root: Path, journal: FileJournal, expected: dict[int, list[Record]]) -> None:
    entries = {entry.key: entry.records for entry in await FileJournal(root).entries()}
    assert set(entries) == set(map(key, expected))
    for number, records in expected.items():
        async with journal.claim(key(number), small=True) as log:
            assert said(log.records) == said(entries[key(number)]) == said(records)
            assert all(record in records for record in log.records)


def said(records: Sequence[Record]) -> list[tuple[str, Stage, int]]:
    """What the records of each upload come to, in the order in which they began."""
    uploads = dict.fromkeys(record.upload for record in records)
    states = [replay([record for record in records if record.upload == upload]) for upload in uploads]
    pending = {Stage.PENDING, Stage.COMPLETING}
    return [(state.upload_id, state.stage, len(state.parts) * (state.stage in pending)) for state in states if state]


class Breaks:
    """Lets a step of a fold fail, and all after it, as if the process had died there."""

    def __init__(self, numbers: random.Random) -> None:
        self.numbers = numbers
        self.left: int | None = None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for owner, name in ((disk, "create"), (disk, "write_all"), (disk, "sync"), (disk, "replace"), (Path, "unlink")):
            monkeypatch.setattr(owner, name, self._breaking(getattr(owner, name)))

    def _breaking(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if self.left is not None:
                self.left -= 1
                if self.left <= 0:
                    raise OSError(5, "broken off")
            return real(*arguments, **options)

        return call

    def after(self, steps: int) -> Breaks:
        self.left = steps
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.left = None


async def test_each_line_that_a_fold_keeps_is_as_it_was(tmp_path: Path) -> None:
    await many(tmp_path)
    before = {line for path in files(tmp_path) for line in path.read_bytes().splitlines()}
    await FileJournal(tmp_path).purge(now=NOW + HOUR)
    (one,) = files(tmp_path)
    assert set(one.read_bytes().splitlines()[1:]) <= before
    assert parse(one.read_bytes()).damaged == []
    assert KEY not in await stages(tmp_path)


async def test_a_fold_while_all_keys_are_listed_lists_each_of_them_once(tmp_path: Path) -> None:
    await many(tmp_path)
    before, listed = await stages(tmp_path), list[JournalEntry]()
    async for entry in FileJournal(tmp_path).stream():
        if not listed:
            await FileJournal(tmp_path).purge(now=NOW + HOUR)
            assert len(files(tmp_path)) == 1
        listed.append(entry)
    states = {entry.key: replay(entry.records) for entry in listed}
    assert {name: state and state.stage for name, state in states.items()} == before
    assert len(listed) == len(before)


async def test_a_key_that_is_in_several_files_is_listed_once_with_all_that_is_known(tmp_path: Path) -> None:
    for number in range(4):
        await write(FileJournal(tmp_path), 1, whole(number, of=1)[:2] if number == 3 else whole(number, of=1))
    (entry,) = [entry async for entry in FileJournal(tmp_path).stream()]
    assert said(entry.records) == [
        (f"upload_{n}", Stage.PENDING if n == 3 else Stage.COMPLETED, n == 3) for n in range(4)
    ]
