"""What the Protocol promises, kept by each journal that processes share: in files and in a database."""

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
from typing import Any

import pytest
from attrs import frozen

from asyncsdk.errors import ConfigurationError, JournalError, UploadBusyError
from asyncsdk.uploads.journal import Cancelled, Journal, JournalEntry, Opened, Owner, Record
from asyncsdk.uploads.journal.file import open_journal
from tests.journal.support import KEY, NOW, append_parts, completed, opened, part

pytestmark = pytest.mark.usefixtures("unhurried")

DAY = 24 * 3600
ROOT = Path(__file__).parent.parent.parent

PREAMBLE = """
import asyncio, sys
sys.path.insert(0, {helpers!r})
from tests.journal.support import KEY, opened, part
from asyncsdk.uploads.journal.file import open_journal
journal = open_journal({setting!r})
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


@frozen
class Place:
    """Where a journal is; each `open` of it is as another process has it."""

    setting: str

    def open(self) -> Any:
        return open_journal(self.setting)


@pytest.fixture(params=["files", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(str(tmp_path) if request.param == "files" else request.getfixturevalue("database_url"))


@contextmanager
def child(place: Place, program: str) -> Iterator[subprocess.Popen[str]]:
    code = PREAMBLE.format(helpers=str(ROOT), setting=place.setting) + program
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


async def write(journal: Journal, *records: Any, key: str = KEY) -> None:
    async with journal.claim(key) as log:
        for record in records:
            await log.append(record)


async def read(journal: Journal, key: str = KEY) -> list[Record]:
    async with journal.claim(key) as log:
        return list(log.records)


async def assert_is_free(place: Place) -> None:
    async with place.open().claim(KEY, wait=False):
        pass


async def test_what_one_claim_wrote_the_next_one_reads(place: Place) -> None:
    await write(place.open(), opened(), part(0))
    await write(place.open(), part(1))
    assert await read(place.open()) == [opened(), part(0), part(1)]


async def test_a_log_shows_what_was_appended_here_too(place: Place) -> None:
    await write(place.open(), opened())
    async with place.open().claim(KEY) as log:
        await log.append(part(0))
        assert log.records == (opened(), part(0))


async def test_keys_know_nothing_of_each_other(place: Place) -> None:
    journal = place.open()
    await write(journal, part(0), key="a")
    assert await read(journal, key="b") == []


async def test_records_come_as_they_were_written_and_equal_ones_once_whatever_segment_they_are_in(
    place: Place,
) -> None:
    await write(place.open(), part(2), opened())
    await write(place.open(), part(1), opened(), part(2))
    assert await read(place.open()) == [part(2), opened(), part(1)]


async def test_entries_show_each_key_its_records_and_who_holds_it_now(place: Place) -> None:
    journal = place.open()
    await write(journal, opened(), key="a")
    async with journal.claim("b") as log:
        await log.append(opened("upload_2"))
        await write(journal, part(0), key="c")
        shown = await place.open().entries()
    assert shown == [
        JournalEntry("a", (opened(),), None),
        JournalEntry("b", (opened("upload_2"),), Owner(os.getpid(), socket.gethostname())),
        JournalEntry("c", (part(0),), None),
    ]


async def test_a_clock_a_year_ahead_makes_nobody_forget_what_the_server_says_is_of_today(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.uploads.journal.file.time.time", lambda: NOW + 365 * DAY)
    journal = place.open()
    await write(journal, opened(), completed(), key="kept")
    async with journal.claim("new") as log:
        await log.append(opened("upload_2"))
        await log.append_final(completed("upload_2", at=NOW + 365 * DAY))
    assert [entry.key for entry in await journal.entries()] == ["kept", "new"]


async def test_how_large_uploads_began_is_read_without_the_rest(place: Place) -> None:
    journal = place.open()
    assert await journal.openings(above=10) == []
    large = opened("upload_1", bytes=11, key="a", expires_after={"bytes": 5})
    await write(journal, large, part(0), completed(), key="a")
    await write(journal, opened("upload_2", bytes=10, key="b"), key="b")
    await write(journal, part(0), key="c")
    assert await journal.openings(above=10) == [large]


async def test_a_record_that_json_can_not_hold_fails_alone(place: Place) -> None:
    async with place.open().claim(KEY) as log:
        odd = opened(expires_after={"seconds": object()})
        told = await asyncio.gather(log.append(part(0)), log.append(odd), log.append(part(1)), return_exceptions=True)
    assert isinstance(told[1], TypeError)
    assert await read(place.open()) == [part(0), part(1)]


async def test_nothing_is_appended_once_the_claim_is_over(place: Place) -> None:
    async with place.open().claim(KEY) as log:
        await log.append(opened())
    with pytest.raises(JournalError, match="the claim is over"):
        await log.append(part(0))


async def test_who_is_cancelled_while_waiting_for_a_key_does_not_get_it_later(place: Place) -> None:
    busy = asyncio.Event()

    async def wait() -> None:
        async with place.open().claim(KEY, on_busy=lambda _: busy.set()):
            pytest.fail("claimed")

    async with place.open().claim(KEY):
        task = asyncio.ensure_future(wait())
        await busy.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await assert_is_free(place)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_a_body_that_raises_releases_the_key(place: Place, error: type[BaseException]) -> None:
    async def fail() -> None:
        async with place.open().claim(KEY) as log:
            await log.append(opened())
            raise error

    with pytest.raises(error):
        await fail()
    await assert_is_free(place)


async def test_a_callback_that_raises_releases_nothing_it_did_not_have(place: Place) -> None:
    def on_busy(_: object) -> None:
        raise ZeroDivisionError

    async with place.open().claim(KEY) as log:
        with pytest.raises(ZeroDivisionError):
            async with place.open().claim(KEY, on_busy=on_busy):
                pytest.fail("claimed")
        await log.append(opened())
    await assert_is_free(place)


async def test_a_record_whose_task_is_cancelled_is_written_all_the_same(place: Place) -> None:
    async with place.open().claim(KEY) as log:
        await log.append(opened())
        running, waiting = (asyncio.ensure_future(log.append(part(number))) for number in range(2))
        await asyncio.sleep(0)
        running.cancel()
        waiting.cancel()
        await asyncio.wait([running, waiting])
    async with place.open().claim(KEY) as log:
        assert log.records == (opened(), part(0), part(1))


async def test_who_will_not_wait_is_told_the_owners_process_and_host(place: Place) -> None:
    with child(place, HOLD) as owner:
        assert line(owner) == "held"
        with pytest.raises(UploadBusyError, match=f"process {owner.pid} on {socket.gethostname()}") as caught:
            async with place.open().claim(KEY, wait=False):
                pytest.fail("claimed")
        assert (caught.value.pid, caught.value.host) == (owner.pid, socket.gethostname())
        assert "Nothing was sent" in str(caught.value)


async def test_of_keys_those_are_known_that_a_living_process_has(place: Place) -> None:
    await write(place.open(), opened(), key="free")
    with child(place, HOLD) as owner:
        assert line(owner) == "held"
        assert list(await place.open().held([KEY, "free", "unknown"])) == [KEY]
        owner.kill()
        owner.wait()
        assert list(await place.open().held([KEY, "free"])) == []
    assert list(await place.open().held([])) == []


async def test_who_waits_is_told_once_and_gets_the_key_when_the_owner_is_killed(place: Place) -> None:
    told: list[Owner | None] = []
    busy = asyncio.Event()

    def on_busy(owner: Owner | None) -> None:
        told.append(owner)
        busy.set()

    with child(place, HOLD) as owner:
        assert line(owner) == "held"
        waiting = asyncio.ensure_future(read_when_free(place, on_busy))
        await busy.wait()
        await asyncio.sleep(0.3)
        assert not waiting.done()
        owner.send_signal(signal.SIGKILL)
        assert await asyncio.wait_for(waiting, 20) == [opened()]
        assert told == [Owner(owner.pid, socket.gethostname())]


async def read_when_free(place: Place, on_busy: object) -> list[Record]:
    async with place.open().claim(KEY, on_busy=on_busy) as log:
        return list(log.records)


async def test_who_waits_gets_the_key_and_all_records_when_the_owner_is_done(place: Place) -> None:
    with child(place, HOLD) as owner:
        assert line(owner) == "held"
        waiting = asyncio.ensure_future(read(place.open()))
        assert owner.stdin is not None
        owner.stdin.write("\n")
        owner.stdin.flush()
        assert await asyncio.wait_for(waiting, 20) == [opened()]
        assert await asyncio.to_thread(owner.wait, 20) == 0


async def test_entries_name_the_process_that_holds_a_key_and_nobody_once_it_is_dead(place: Place) -> None:
    with child(place, HOLD) as owner:
        assert line(owner) == "held"
        [entry] = await place.open().entries()
        assert entry.owner == Owner(owner.pid, socket.gethostname())
        owner.kill()
        owner.wait(20)
        [entry] = await place.open().entries()
        assert entry.owner is None
        assert entry.records == (opened(),)


@pytest.mark.parametrize("acknowledgements", [1, 5, 23, 60])
async def test_a_killed_process_loses_nothing_that_was_acknowledged(place: Place, acknowledgements: int) -> None:
    with child(place, APPEND) as writer:
        seen = {int(line(writer)) for _ in range(acknowledgements)}
        writer.send_signal(signal.SIGKILL)
        assert writer.stdout is not None
        seen |= {int(number) for number in writer.stdout.read().split("\n")[:-1]}
    found = await read(place.open())
    assert [part(number) for number in sorted(seen) if part(number) not in found] == []
    assert all(record == part(int(record.at - part(0).at + 0.5)) for record in found)


async def test_claims_of_one_process_keep_each_other_out_as_well(place: Place) -> None:
    async with place.open().claim(KEY):
        with pytest.raises(UploadBusyError) as caught:
            async with place.open().claim(KEY, wait=False):
                pytest.fail("claimed twice")
        assert caught.value.pid == os.getpid()


async def test_many_who_wait_own_the_key_one_after_the_other(place: Place) -> None:
    inside = 0

    async def own(number: int) -> None:
        nonlocal inside
        async with place.open().claim(KEY) as log:
            inside += 1
            assert inside == 1
            await log.append(part(number))
            inside -= 1

    await asyncio.gather(*map(own, range(4)))
    assert sorted(await read(place.open()), key=lambda record: record.at) == [part(number) for number in range(4)]


@pytest.mark.parametrize("key", ["", ".", "..", "../x", "a/b", "-x", "a" * 129, "a\0b", "ä"])
async def test_a_name_that_is_not_a_key_is_refused(place: Place, key: str) -> None:
    with pytest.raises(ConfigurationError):
        async with place.open().claim(key):
            pass


async def test_settling_leaves_the_opening_and_the_last_word(place: Place) -> None:
    await write(place.open(), opened("upload_0"), opened())
    async with place.open().claim(KEY) as log:
        await append_parts(log)
        await log.append_final(completed())
        assert log.records == (opened(), completed())
    assert await read(place.open()) == [opened(), completed()]


async def test_a_settled_log_can_take_the_next_upload(place: Place) -> None:
    async with place.open().claim(KEY) as log:
        await log.append(opened())
        await append_parts(log)
        await log.append_final(Cancelled(upload="upload_1", at=NOW))
        await log.append(opened("upload_2"))
        assert [record.upload for record in log.records] == ["upload_1", "upload_1", "upload_2"]
    assert len(await read(place.open())) == 3


async def test_a_journal_where_nothing_was_ever_written_is_empty(place: Place) -> None:
    assert list(await place.open().entries()) == []
    assert list(await place.open().entries_with(["upload_1"])) == []
    assert list(await place.open().openings(above=0)) == []
    assert await place.open().purge() == 0


async def test_purging_forgets_what_is_of_no_use_and_keeps_what_is_held(place: Place) -> None:
    journal = place.open()
    await write(journal, opened(), key="pending")
    await write(journal, opened(), completed(), key="completed")
    async with journal.claim("held") as log:
        await log.append(opened())
        assert await journal.purge(now=NOW) == 0
        assert await journal.purge(now=NOW + 2 * DAY) == 1
        assert [entry.key for entry in await journal.entries()] == ["completed", "held"]
        assert await journal.purge(now=NOW + 31 * DAY) == 1
    assert await journal.purge(now=NOW + 31 * DAY) == 1
    assert list(await journal.entries()) == []


async def test_what_is_about_an_upload_or_a_file_is_found(place: Place) -> None:
    journal = place.open()
    await write(journal, opened("upload_1"), key="a")
    await write(journal, opened("upload_2"), completed("upload_2"), key="b")
    assert [entry.key for entry in await journal.entries_with(["upload_1"])] == ["a"]
    assert [entry.key for entry in await journal.entries_with(["file-1", "other"])] == ["b"]
    assert [entry.key for entry in await journal.entries_with(["file_1"])] == []


@pytest.mark.parametrize("odd", ["a\0b", "\udcff", "\\u0000", "'; drop table x; --", "😀\n{}%"])
async def test_any_text_comes_back_as_it_was(place: Place, odd: str) -> None:
    await write(place.open(), opened(filename=odd, source=odd))
    [record] = await read(place.open())
    assert isinstance(record, Opened)
    assert (record.filename, record.source) == (odd, odd)
    assert [entry.key for entry in await place.open().entries_with([odd])] == [KEY]
