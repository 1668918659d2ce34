"""Small keys share a segment: what is written is found again, in order, by whichever claim, journal or process."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from asyncsdk.errors import JournalError, JournalVersionError, UploadBusyError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.journal import Opened, Record
from asyncsdk.uploads.journal.codec import Turn, encode
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.uploads.journal.purge import Layout
from asyncsdk.uploads.journal.small import SmallKeys
from asyncsdk.wal import disk, ranges
from asyncsdk.wal.commit import DirectorySync
from asyncsdk.wal.line import encode_head
from asyncsdk.wal.shared import SharedSegment
from tests.journal.support import KEY, NOW, completed, open_below, opened, part
from tests.journal.support import segments as own_segments

needs_ranges = pytest.mark.skipif(not ranges.SUPPORTED, reason="the platform locks no ranges for open files")
pytestmark = [needs_ranges, pytest.mark.usefixtures("unhurried")]

OTHER = "f" * 32


def key(number: int) -> str:
    return f"{number:032x}"


def shared(root: Path) -> list[Path]:
    return sorted((root / "small").glob("*.jsonl"))


def of(number: int) -> list[Record]:
    upload = f"upload_{number}"
    return [opened(upload, key=key(number)), part(0, upload), completed(upload)]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def write(journal: FileJournal, name: str, *records: Record, small: bool = True) -> None:
    async with journal.claim(name, small=small) as log:
        for record in records:
            await log.append(record)


async def read(root: Path, name: str = KEY, *, small: bool = True) -> Sequence[Record]:
    async with FileJournal(root).claim(name, small=small) as log:
        return list(log.records)


async def test_a_hundred_keys_make_one_file_and_one_lock_file(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    await asyncio.gather(*(write(journal, key(number), *of(number)) for number in range(100)))
    assert len(shared(tmp_path)) == 1
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"small/keys.lock", f"small/{shared(tmp_path)[0].name}"}
    for number in range(100):
        assert await read(tmp_path, key(number)) == of(number)


async def test_the_last_record_lets_go_of_the_key_as_it_is_written(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    async with journal.claim(KEY, small=True) as log:
        await log.append(opened())
        await log.append_final(completed())
        assert open_below(tmp_path) == []
        async with FileJournal(tmp_path).claim(KEY, small=True, wait=False) as next_one:
            assert list(next_one.records) == list(log.records) == [opened(), completed()]
        with pytest.raises(JournalError, match="the claim is over"):
            await log.append(part(1))


async def test_nothing_follows_the_last_record_even_while_it_is_written(tmp_path: Path) -> None:
    async with FileJournal(tmp_path).claim(KEY, small=True) as log:
        await log.append(opened())
        ending = asyncio.ensure_future(log.append_final(completed()))
        await asyncio.sleep(0)
        ending.cancel()
        with pytest.raises(JournalError, match="the claim is over"):
            await log.append(part(1))
    assert await read(tmp_path) == [opened(), completed()]


async def test_records_of_two_uploads_that_come_within_a_moment_share_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.uploads.journal.small.GATHERING_SECONDS", 0.3)
    journal, writes, write_really = FileJournal(tmp_path), list[bytes](), disk.write

    def watched(fd: int, data: bytes) -> None:
        writes.append(data)
        write_really(fd, data)

    monkeypatch.setattr(disk, "write", watched)
    async with journal.claim(key(1), small=True) as one, journal.claim(key(2), small=True) as two:
        first = asyncio.ensure_future(one.append(opened("upload_1", key=key(1))))
        for _ in range(3):
            await asyncio.sleep(0)
        await two.append(opened("upload_2", key=key(2)))
        await first
    assert len(writes) == 1


async def test_a_last_record_that_could_not_be_written_leaves_the_key_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FileJournal(tmp_path).claim(KEY, small=True) as log:
        with monkeypatch.context() as broken:
            broken.setattr(disk, "write", full)
            with pytest.raises(JournalError):
                await log.append_final(completed())
        with pytest.raises(UploadBusyError):
            async with FileJournal(tmp_path).claim(KEY, small=True, wait=False):
                pass
        await log.append_final(completed())
    assert await read(tmp_path) == [completed()]


async def test_claims_one_after_the_other_go_on_in_the_same_file_and_leave_none_open(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    for number in range(5):
        await write(journal, key(number), *of(number))
        assert open_below(tmp_path) == []
    assert len(shared(tmp_path)) == 1


async def test_what_waits_in_all_claims_is_written_with_one_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, real, journal = [0], disk.sync, FileJournal(tmp_path)

    def count(fd: int) -> None:
        syncs[0] += 1
        real(fd)

    claimed, together = list[int](), asyncio.Event()  # which wakes all in the same turn of the loop

    async def one(number: int) -> None:
        async with journal.claim(key(number), small=True) as log:
            claimed.append(number)
            if len(claimed) == 20:
                together.set()
            await together.wait()
            await log.append(of(number)[0])

    monkeypatch.setattr("asyncsdk.uploads.journal.small.GATHERING_SECONDS", 0.3)
    monkeypatch.setattr(disk, "sync", count)
    await asyncio.gather(*map(one, range(20)))
    assert syncs[0] <= 2


async def test_directories_and_files_are_private(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path / "journal"), KEY, opened())
    assert stat.S_IMODE((tmp_path / "journal" / "small").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "journal" / "small").iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["small", "small/keys.lock"])
async def test_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    root, elsewhere = tmp_path / "journal", tmp_path / "elsewhere"
    (root / name).parent.mkdir(parents=True, mode=0o700)
    elsewhere.mkdir()
    (root / name).symlink_to(elsewhere / "file" if name.endswith("lock") else elsewhere)
    with pytest.raises(JournalError, match="symbolic link"):
        await write(FileJournal(root), KEY, opened())
    assert list(elsewhere.iterdir()) == []


async def test_a_key_that_has_a_folder_is_gone_on_with_there(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), KEY, opened(), small=False)
    await write(FileJournal(tmp_path), KEY, part(0))
    assert await read(tmp_path) == await read(tmp_path, small=False) == [opened(), part(0)]
    assert len(own_segments(tmp_path)) == 2
    assert shared(tmp_path) == []


async def test_a_claim_that_is_not_small_goes_on_with_a_small_one(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), KEY, opened(), part(0))
    await write(FileJournal(tmp_path), KEY, part(1), small=False)
    for small in (True, False):
        assert await read(tmp_path, small=small) == [opened(), part(0), part(1)]
    (entry,) = await FileJournal(tmp_path).entries()
    assert list(entry.records) == [opened(), part(0), part(1)]


async def test_the_order_of_a_key_is_that_of_its_claims_whichever_file_is_older(tmp_path: Path) -> None:
    first, second = FileJournal(tmp_path), FileJournal(tmp_path)
    async with first.claim(OTHER, small=True) as held:  # so that the first goes on in its file
        await held.append(opened("upload_0", key=OTHER))
        for number, journal in enumerate((first, second, first, second), start=1):
            await write(journal, KEY, opened(f"upload_{number}"))
    assert len(shared(tmp_path)) == 2
    assert [record.upload for record in await read(tmp_path)] == ["upload_1", "upload_2", "upload_3", "upload_4"]
    (_, entry) = sorted(await FileJournal(tmp_path).entries(), key=lambda entry: entry.key == KEY)
    assert [record.upload for record in entry.records] == ["upload_1", "upload_2", "upload_3", "upload_4"]


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True)])
async def test_a_key_is_claimed_by_one_at_a_time_small_or_not(
    tmp_path: Path, *, first: bool, second: bool, same: bool
) -> None:
    journal = FileJournal(tmp_path)
    other = journal if same else FileJournal(tmp_path)
    await write(journal, OTHER, opened(key=OTHER))
    async with journal.claim(KEY, small=first) as log:
        with pytest.raises(UploadBusyError, match=f"process {os.getpid()} "):
            async with other.claim(KEY, wait=False, small=second):
                pytest.fail("claimed")
        async with other.claim(OTHER, wait=False, small=True):  # another key is free
            pass
        await log.append(opened())
        waiting = asyncio.ensure_future(write(other, KEY, part(0), small=second))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    await waiting
    assert await read(tmp_path) == [opened(), part(0)]


async def test_a_lock_that_was_given_up_is_not_taken_by_a_thread_that_comes_late(tmp_path: Path) -> None:
    locks = ranges.locks_at(tmp_path / "keys.lock")
    late = locks.lock(KEY)
    late.release()
    assert not late.try_acquire()
    assert locks.lock(KEY).try_acquire()


async def test_a_lock_that_was_given_up_is_free_though_another_process_has_a_copy_of_the_descriptor(
    tmp_path: Path,
) -> None:
    locks = ranges.locks_at(tmp_path / "keys.lock")
    lock = locks.lock(KEY)
    assert lock.try_acquire()
    assert lock.file is not None
    copy = os.dup(lock.file.fd)  # as a child has that was forked by a library
    lock.release()
    try:
        assert locks.lock(KEY).try_acquire()
    finally:
        os.close(copy)


async def test_a_claim_leaves_the_file_that_it_entered_though_another_thread_has_begun_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = DaemonThreadPool("test", 1)
    small, other = (SmallKeys(Layout(tmp_path), lock=True, threads=pool, sync_way=DirectorySync(())) for _ in range(2))
    entered, enter = list[SharedSegment](), SharedSegment.enter

    def enter_late(segment: SharedSegment) -> None:
        small._segment = other._segment  # noqa: SLF001 - what the other thread does meanwhile
        enter(segment)
        entered.append(segment)

    monkeypatch.setattr(SharedSegment, "enter", enter_late)
    assert [small.enter()] == entered


@pytest.mark.parametrize("lock", [True, False])
async def test_a_journal_that_was_removed_is_made_again_for_the_next_claim(tmp_path: Path, *, lock: bool) -> None:
    journal = FileJournal(tmp_path / "journal", lock=lock)
    await write(journal, KEY, opened())
    shutil.rmtree(tmp_path / "journal")
    for number in range(2):
        with suppress(JournalError):
            await write(journal, key(number), *of(number))
    assert await read(tmp_path / "journal", key(1)) == of(1)


async def test_a_claim_that_is_not_small_cancelled_at_any_time_leaves_the_key_free(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    await write(journal, OTHER, opened(key=OTHER))  # so that both locks are taken

    async def claim() -> None:
        async with journal.claim(KEY) as log:
            await log.append(opened())

    for turn in range(40):
        task = asyncio.ensure_future(claim())
        await asyncio.sleep(turn * 0.0002)
        task.cancel()
        await asyncio.wait([task])
        async with journal.claim(KEY, wait=False), journal.claim(key(turn), wait=False, small=True):
            pass
    assert open_below(tmp_path) == []


async def test_a_claim_whose_loop_was_closed_gives_way(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        claim = journal.claim(KEY, small=True)
        loop.run_until_complete(claim.__aenter__())
        held.append(claim)
        loop.close()

    held: list[object] = []
    await asyncio.to_thread(abandon)
    async with journal.claim(KEY, wait=False, small=True) as log:
        await log.append(opened())
    assert await read(tmp_path) == [opened()]


async def test_entries_name_the_process_that_has_a_key(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    await write(journal, OTHER, opened("upload_2", key=OTHER))
    async with journal.claim(KEY, small=True) as log:
        await log.append(opened())
        owners = {entry.key: entry.owner and entry.owner.pid for entry in await FileJournal(tmp_path).entries()}
    assert owners == {KEY: os.getpid(), OTHER: None}


async def test_after_its_end_a_claim_takes_no_record(tmp_path: Path) -> None:
    async with FileJournal(tmp_path).claim(KEY, small=True) as log:
        pass
    with pytest.raises(JournalError, match="the claim is over"):
        await log.append(opened())


async def test_large_files_among_small_keys_are_known_as_openings(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    await write(journal, KEY, opened(bytes=100))
    await write(journal, OTHER, opened("upload_2", key=OTHER, bytes=101))
    assert [found.upload for found in await journal.openings(above=100)] == ["upload_2"]


@pytest.mark.parametrize("small", [True, False])
async def test_what_is_about_an_upload_or_a_file_is_found_without_reading_all(tmp_path: Path, *, small: bool) -> None:
    journal = FileJournal(tmp_path)
    for number in range(20):
        await write(journal, key(number), *of(number), small=small)
    assert await journal.entries_with(["upload_77"]) == []
    (entry,) = await journal.entries_with(["upload_7"])
    assert (entry.key, list(entry.records)) == (key(7), of(7))
    assert [entry.key for entry in await journal.entries_with(["file-1"])] == list(map(key, range(20)))
    assert [entry.key for entry in await journal.entries_with([int(NOW)])] == list(map(key, range(20)))
    everything = await journal.entries_with([f"upload_{number}" for number in range(100)])
    assert [entry.key for entry in everything] == list(map(key, range(20)))


async def test_what_a_key_has_in_its_folder_and_as_a_small_one_is_found_whole(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), KEY, opened(), part(0))
    await write(FileJournal(tmp_path), KEY, opened("upload_2"), small=False)
    for upload in ("upload_1", "upload_2"):
        (entry,) = await FileJournal(tmp_path).entries_with([upload])
        assert list(entry.records) == [opened(), part(0), opened("upload_2")]


async def test_a_disk_that_is_full_fails_what_waits_and_what_comes_after_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, real, journal = [False], disk.write, FileJournal(tmp_path)

    def write_or_fail(fd: int, data: bytes) -> None:
        if full[0]:
            os.write(fd, data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd, data)

    monkeypatch.setattr(disk, "write", write_or_fail)
    async with journal.claim(KEY, small=True) as log, journal.claim(OTHER, small=True) as other:
        await log.append(opened())
        full[0] = True
        failed = await asyncio.gather(
            log.append(part(0)), other.append(opened("upload_2", key=OTHER)), return_exceptions=True
        )
        assert [type(error) for error in failed] == [JournalError, JournalError]
        full[0] = False
        await asyncio.gather(log.append(part(1)), other.append(opened("upload_3", key=OTHER)))
    assert await read(tmp_path) == [opened(), part(1)]
    assert await read(tmp_path, OTHER) == [opened("upload_3", key=OTHER)]


@pytest.mark.parametrize("how", ["removed", "renamed"])
async def test_a_file_that_is_not_at_its_place_takes_nothing_and_later_claims_have_another(
    tmp_path: Path, how: str
) -> None:
    journal = FileJournal(tmp_path)
    async with journal.claim(KEY, small=True) as log:
        await log.append(opened())
        (segment,) = shared(tmp_path)
        segment.unlink() if how == "removed" else segment.rename(tmp_path / "elsewhere")
        for number in range(2):
            with pytest.raises(JournalError, match=f"it was {how}"):
                await log.append(part(number))
    await write(journal, KEY, opened("upload_2"))
    assert await read(tmp_path) == [opened("upload_2")]


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), KEY, opened())
    body = encode_head(at=NOW, host="web-1", pid=1).partition(b',"c":')[0].replace(b'"v":1', b'"v":2')
    (tmp_path / "small" / "2030.jsonl").write_bytes(b'%b,"c":"%08x"}\n' % (body, zlib.crc32(body)))
    for small in (True, False):
        with pytest.raises(JournalVersionError, match=r"2030\.jsonl: version 2"):
            await read(tmp_path, small=small)
    assert await FileJournal(tmp_path).entries() == []


async def test_without_locks_a_small_key_is_kept_as_well(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, lock=False)
    await write(journal, KEY, opened(), part(0))
    assert await read(tmp_path) == [opened(), part(0)]
    assert await journal.purge(now=NOW + 10**9) == 0


async def test_where_no_ranges_can_be_looked_at_what_is_there_is_listed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(FileJournal(tmp_path), KEY, opened())

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr("fcntl.fcntl", refuse)
    (entry,) = await FileJournal(tmp_path).entries()
    assert (list(entry.records), entry.owner) == ([opened()], None)


@pytest.mark.parametrize("how", ["platform", "file system"])
async def test_where_no_ranges_can_be_locked_each_key_has_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "platform":
        monkeypatch.setattr(ranges, "SUPPORTED", False)
    else:

        def refuse(*_: object) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        monkeypatch.setattr("fcntl.fcntl", refuse)
    journal = FileJournal(tmp_path)
    await write(journal, KEY, opened())
    await write(journal, KEY, part(0))
    assert await read(tmp_path) == [opened(), part(0)]
    assert len(own_segments(tmp_path)) == 2
    assert shared(tmp_path) == []


async def test_a_full_file_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.wal.shared.MOST_BYTES", 5000)
    journal = FileJournal(tmp_path)
    for number in range(20):
        await write(journal, key(number), *of(number))
    assert len(shared(tmp_path)) > 2
    for number in range(20):
        assert await read(tmp_path, key(number)) == of(number)


def test_a_line_of_a_small_key_names_the_key_and_the_claim() -> None:
    line = encode(part(0), Turn(KEY, 3))
    assert line.startswith(b'{"t":"part","k":"%b","n":3,"u":"upload_1","off":0,' % KEY.encode())
    assert isinstance(opened(), Opened)


async def test_a_file_larger_than_any_that_is_appended_to_is_not_looked_at_again_once_its_writer_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.wal.places.MOST_BYTES", 500)
    writer, reader, looks = FileJournal(tmp_path), FileJournal(tmp_path), list[str]()
    lstat = os.lstat

    def counted(path: str | os.PathLike[str]) -> os.stat_result:
        looks.append(Path(path).suffix)
        return lstat(path)

    async with writer.claim(KEY, small=True) as log:
        for number in range(6):  # larger than that in the middle, and appended to all the same
            await log.append(part(number))
            (entry,) = await reader.entries_with(["upload_1"])
            assert list(entry.records) == [part(each) for each in range(number + 1)]
    assert shared(tmp_path)[0].stat().st_size > 500
    assert await read(tmp_path) == list(map(part, range(6)))
    await write(reader, OTHER)
    monkeypatch.setattr(os, "lstat", counted)
    async with reader.claim(KEY, small=True) as log:
        assert list(log.records) == list(map(part, range(6)))
    assert ".jsonl" not in looks


async def test_loops_in_several_threads_take_turns_with_the_keys_of_one_journal(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)

    async def work(thread: int) -> None:
        await asyncio.gather(*(write(journal, key(number), part(thread)) for number in range(20)))

    def run(thread: int) -> None:
        asyncio.run(work(thread))

    await asyncio.gather(*(asyncio.to_thread(run, thread) for thread in range(4)))
    for number in range(20):
        records = await read(tmp_path, key(number))
        assert sorted(record.at for record in records) == [part(thread).at for thread in range(4)]
    assert len(shared(tmp_path)) == 1
    assert open_below(tmp_path) == []
