"""Many small files: killed at any moment, run by two processes at once, on a disk whose power fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asyncsdk.uploads.journal import Completed, Completing, Opened, Record
from asyncsdk.uploads.journal.codec import parse
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.uploads.resuming.resume import Stage, replay
from asyncsdk.wal import ranges
from tests.faults.power import Recorder
from tests.faults.small import Method, Run, kill_small_uploads, lost_answers, make_files, put_rivals
from tests.faults.small_books import Books
from tests.faults.support import serving
from tests.journal.support import NOW, completed, opened, part

pytestmark = pytest.mark.skipif(not ranges.SUPPORTED, reason="the platform locks no ranges for open files")


@pytest.mark.parametrize("method", ["uploads", "files"])
@pytest.mark.parametrize("seed", range(2))
async def test_killed_again_and_again_each_file_is_there_once_and_nothing_known_is_sent_again(
    tmp_path: Path, seed: int, method: Method
) -> None:
    row = await kill_small_uploads(tmp_path, 6, files=150, seed=seed, method=method)
    assert row.cases == 6
    assert row.violations == []
    assert row.figures["there twice, as said"] == row.figures["not known"] == "0"


@pytest.mark.parametrize("method", ["uploads", "files"])
async def test_two_processes_over_one_folder_upload_each_file_once(tmp_path: Path, method: Method) -> None:
    async with serving(tmp_path / "server") as server:
        paths = make_files(tmp_path / "in", 150)
        all_notes = [tmp_path / "one", tmp_path / "other"]
        arguments = (server.url, tmp_path / "in", tmp_path / "journal")
        runs = [Run.start(*arguments, notes, method) for notes in all_notes]
        for run in runs:
            assert await run.ended(120)
            assert run.process.exitcode == 0
        asked = (await server.stats())["requests"]
        assert len(server.files()) == asked["create" if method == "uploads" else "files.create"] == 150
        books = Books(tmp_path / "server", {path.name: path.read_bytes() for path in paths})
        assert [books.wrong(notes) for notes in all_notes] == [[], []]
    assert len(list((tmp_path / "journal" / "small").glob("*.jsonl"))) <= 4
    assert not (tmp_path / "journal" / "uploads").exists()


@pytest.mark.parametrize("method", ["uploads", "files"])
async def test_two_processes_upload_each_file_once_though_responses_are_lost(tmp_path: Path, method: Method) -> None:
    async with serving(tmp_path / "server") as server:
        paths = make_files(tmp_path / "in", 150)
        await server.inject(*lost_answers(method, 0.1))
        await put_rivals(server.url, paths[:50])
        all_notes = [tmp_path / "one", tmp_path / "other"]
        runs = [Run.start(server.url, tmp_path / "in", tmp_path / "journal", notes, method) for notes in all_notes]
        for run in runs:
            assert await run.ended(120)
            assert run.process.exitcode == 0
        books = Books(tmp_path / "server", {path.name: path.read_bytes() for path in paths})
        assert [books.wrong(notes) for notes in all_notes] == [[], []]
        assert max(map(len, books.held().values())) == 1


KEYS = [f"{number:032x}" for number in range(3)]


def records(number: int) -> list[Record]:
    upload = f"upload_{number}"
    asked = Completing(upload=upload, part_ids=("part_0",), md5="0" * 32, at=NOW + 30)
    return [opened(upload, key=KEYS[number]), part(0, upload), asked, completed(upload)]


async def live(recorder: Recorder, journal: Path) -> list[Record]:
    """Two processes: the first is killed in the middle of its keys, the second settles one, then all is folded."""
    promised: list[Record] = []

    async def append(log: object, record: Record) -> None:
        await log.append(record)  # type: ignore[attr-defined] # a Log
        promised.append(record)
        recorder.promise()

    with recorder():
        first, second = FileJournal(journal), FileJournal(journal)
        async with first.claim(KEYS[0], small=True) as log:
            for record in records(0)[:3]:
                await append(log, record)
        async with first.claim(KEYS[1], small=True) as log:
            await append(log, records(1)[0])
        async with second.claim(KEYS[0], small=True) as log:
            await append(log, records(0)[3])
        await FileJournal(journal).purge(now=NOW + 3600)
    return promised


async def test_after_a_power_cut_at_any_moment_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    promised = await live(recorder, tmp_path / "journal")
    lost, invented, contents = list[Record](), list[Record](), 0
    for moment in recorder.moments:
        for tree in moment.trees(every=17):
            found = [
                record
                for path, content in sorted(tree.items())
                if path.suffix == ".jsonl"
                for record in parse(content).records.values()
            ]
            settled = {record.upload for record in found if isinstance(record, Completed)}
            needed = (
                record
                for record in promised[: moment.promised]
                if isinstance(record, Opened | Completed) or record.upload not in settled
            )
            lost += [record for record in needed if record not in found]
            invented += [record for record in found if record not in (*records(0), *records(1))]
            contents += 1
    assert (lost, invented) == ([], [])
    assert contents > 300
    states = {entry.key: replay(entry.records) for entry in await FileJournal(tmp_path / "journal").entries()}
    assert {key: state and state.stage for key, state in states.items()} == {
        KEYS[0]: Stage.COMPLETED,
        KEYS[1]: Stage.PENDING,
    }


@pytest.mark.usefixtures("unhurried")
async def test_a_claim_that_is_cancelled_at_any_time_leaves_the_key_free(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal")
    for turn in range(60):

        async def claim() -> None:
            async with journal.claim(KEYS[0], small=True) as log:
                for number in range(50):
                    await log.append(part(number))

        task = asyncio.ensure_future(claim())
        await asyncio.sleep(turn * 0.0004)
        task.cancel()
        await asyncio.wait([task])
        async with journal.claim(KEYS[0], wait=False, small=True):
            pass
