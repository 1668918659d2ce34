"""The journal as files: where they are, who may read them, what is refused, what is kept."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.errors import ConfigurationError, JournalError, JournalVersionError
from asyncsdk.uploads.journal import Cancelled, Expired, Journal, JournalEntry, purge
from asyncsdk.uploads.journal.codec import encode
from asyncsdk.uploads.journal.file import FEW_RECORDS, FileJournal
from asyncsdk.wal import disk, lock
from asyncsdk.wal.line import encode_head
from asyncsdk.wal.segments import Segments
from tests.journal.support import KEY, NOW, append_parts, completed, open_below, opened, part, segments

DAY = 24 * 3600


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def write(journal: Journal, *records: Any, key: str = KEY) -> None:
    async with journal.claim(key) as log:
        for record in records:
            await log.append(record)


async def read(journal: Journal, key: str = KEY) -> list[Any]:
    async with journal.claim(key) as log:
        return list(log.records)


@pytest.mark.parametrize("steps", [(DAY, -DAY), (-365 * DAY, 365 * DAY), (365 * DAY, -365 * DAY), (1, -1), (0, 0)])
async def test_no_step_of_the_clock_changes_the_order_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: tuple[float, ...]
) -> None:
    clock, written = NOW, []
    monkeypatch.setattr("asyncsdk.wal.segments.time.time", lambda: clock)
    for number, step in enumerate([0.0, *steps, 0.0]):
        clock += step
        written.append(Expired(upload=f"upload_{number}", reason="", at=clock))
        await write(FileJournal(tmp_path), written[-1])
    assert await read(FileJournal(tmp_path)) == written


async def test_a_segment_is_made_at_the_first_append_and_names_time_host_and_process(tmp_path: Path) -> None:
    async with FileJournal(tmp_path).claim(KEY) as log:
        assert segments(tmp_path) == []
        await log.append(opened())
        [segment] = segments(tmp_path)
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\d{{6}}\.\d{{3}}Z-.+-{os.getpid()}-[0-9a-f]{{8}}\.jsonl", segment.name)
    assert [json.loads(line)["t"] for line in segment.read_text().splitlines()] == ["segment", "opened"]


async def test_nobody_else_may_look_into_the_journal(tmp_path: Path) -> None:
    root = tmp_path / "new" / "journal"
    async with FileJournal(root).claim(KEY) as log:
        await log.append(opened())
        owned = [root / "locks" / f"{KEY}.lock", root / "locks" / f"{KEY}.owner", *segments(root)]
        assert {mode(path) for path in owned} == {0o600}
    assert {mode(path) for path in (root.parent, root, root / "uploads", root / "uploads" / KEY, root / "locks")} == {
        0o700
    }


async def test_a_claim_names_its_owner_while_it_lasts_and_never_deletes_the_lock_file(tmp_path: Path) -> None:
    lock, owner = tmp_path / "locks" / f"{KEY}.lock", tmp_path / "locks" / f"{KEY}.owner"
    async with FileJournal(tmp_path).claim(KEY):
        inode = lock.stat().st_ino
        assert json.loads(owner.read_text())["pid"] == os.getpid()
    assert not owner.exists()
    async with FileJournal(tmp_path).claim(KEY):
        assert lock.stat().st_ino == inode


@pytest.mark.parametrize("key", ["", ".", "..", "../x", "a/b", "-x", "a" * 129, "a\0b", "ä"])
async def test_a_key_that_leads_elsewhere_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError):
        async with FileJournal(tmp_path).claim(key):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_a_damaged_line_is_logged_with_its_file_and_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await write(FileJournal(tmp_path), opened(), part(0), part(1))
    [segment] = segments(tmp_path)
    segment.write_bytes(segment.read_bytes().replace(b'"part_0"', b'"part_9"') + b'{"t":"par')
    with caplog.at_level(logging.WARNING, logger="asyncsdk.uploads.journal"):
        assert await read(FileJournal(tmp_path)) == [opened(), part(1)]
    assert f"{segment}: 2 damaged, not believed: line 3, 5" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"\xff\xfe", b"no json\n"])
async def test_a_file_with_nothing_readable_hides_no_other_segment(tmp_path: Path, content: bytes) -> None:
    await write(FileJournal(tmp_path), opened())
    (tmp_path / "uploads" / KEY / "2026-rubbish.jsonl").write_bytes(content)
    (tmp_path / "uploads" / KEY / "notes.txt").write_bytes(encode(part(9)))
    assert await read(FileJournal(tmp_path)) == [opened()]


async def test_a_newer_journal_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "uploads" / KEY
    await write(FileJournal(tmp_path), opened())
    newer = folder / "2030.jsonl"
    newer.write_bytes(_head_of_version_2())
    words = r"version 2 .* Nothing was sent[\s\S]*Upgrade asyncsdk"
    with pytest.raises(JournalVersionError, match=rf"{re.escape(str(newer))}: {words}") as caught:
        await read(FileJournal(tmp_path))
    assert not caught.value.resumable


def _head_of_version_2() -> bytes:
    body = encode_head(at=NOW, host="web-1", pid=1).partition(b',"c":')[0].replace(b'"v":1', b'"v":2')
    return b'%b,"c":"%08x"}\n' % (body, zlib.crc32(body))


async def test_a_segment_that_can_not_be_read_is_an_error_and_not_an_empty_journal(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), opened())
    (tmp_path / "uploads" / KEY / "2026.jsonl").mkdir()
    with pytest.raises(JournalError, match="can't read the journal") as caught:
        await read(FileJournal(tmp_path))
    assert isinstance(caught.value.__cause__, OSError)
    assert not open_below(tmp_path)


async def test_segments_that_go_again_and_again_are_an_error_and_not_an_empty_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(path: Path) -> bytes:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    await write(FileJournal(tmp_path), opened())
    monkeypatch.setattr(disk, "read", vanish)
    with pytest.raises(JournalError, match="No such file or directory"):
        await read(FileJournal(tmp_path))


# What can't be written


async def test_a_journal_that_can_not_be_made_names_both_ways_out_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError) as caught:
        async with FileJournal(tmp_path / "file" / "asyncsdk").claim(KEY):
            pytest.fail("claimed")
    assert str(caught.value) == (
        f"can't create the journal in {tmp_path}/file/asyncsdk (Not a directory). Nothing was sent.\n"
        "  Name a directory that can be written (journal=, --journal, ASYNCSDK_JOURNAL), or memory to go without."
    )
    assert isinstance(caught.value.__cause__, NotADirectoryError)
    assert caught.value.resumable


async def test_a_file_where_the_root_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="Not a directory"):
        await read(FileJournal(tmp_path / "file"))


async def test_a_read_only_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, mode: int = 0) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(JournalError, match="Read-only file system"):
        await read(FileJournal(tmp_path))


# Links placed by others


@pytest.mark.parametrize("name", ["uploads", "locks", f"uploads/{KEY}"])
async def test_a_link_in_place_of_a_directory_is_not_followed(tmp_path: Path, name: str) -> None:
    root, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / name).parent.mkdir(parents=True)
    (root / name).symlink_to(elsewhere)
    with pytest.raises(JournalError, match=f"{name} is a symbolic link; the journal follows none"):
        await write(FileJournal(root), opened())
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", [f"locks/{KEY}.lock", f"uploads/{KEY}/2026.jsonl"])
async def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path, name: str) -> None:
    root, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    elsewhere.write_bytes(encode(opened()))
    (root / name).parent.mkdir(parents=True)
    (root / name).symlink_to(elsewhere)
    with pytest.raises(JournalError, match="is a symbolic link; the journal follows none"):
        await write(FileJournal(root), part(0))
    assert elsewhere.read_bytes() == encode(opened())


async def test_a_link_in_place_of_the_owners_name_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / f"{KEY}.owner").symlink_to(elsewhere)
    await write(FileJournal(tmp_path), opened())
    assert elsewhere.read_text() == "precious"
    assert "its owner can't be named" in caplog.text


async def test_a_pipe_in_place_of_a_segment_blocks_nobody(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), opened())
    os.mkfifo(tmp_path / "uploads" / KEY / "2026.jsonl")
    with pytest.raises(JournalError, match="not a regular file"):
        await read(FileJournal(tmp_path))


async def test_the_root_may_be_a_link_to_a_directory_of_ours(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    await write(FileJournal(tmp_path / "link"), opened())
    assert await read(FileJournal(tmp_path / "real")) == [opened()]


async def test_the_root_may_not_be_a_link_to_somebody_elses_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setattr(disk, "is_ours", lambda *_: False)
    with pytest.raises(JournalError, match="link is a symbolic link"):
        await write(FileJournal(tmp_path / "link"), opened())


# Locks


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
async def test_a_file_system_without_locks_is_refused_and_the_message_names_the_switch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(JournalError, match=r"has no locks[\s\S]*--no-lock, or FileJournal\(\.\.\., lock=False\)"):
        await read(FileJournal(tmp_path))
    assert not open_below(tmp_path)


async def test_a_lock_that_can_not_be_released_is_logged_and_hurts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = fcntl.flock

    def refuse(fd: int, operation: int) -> None:
        if operation == fcntl.LOCK_UN:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        await write(FileJournal(tmp_path), opened())
    assert "not unlocked before this process ends: [Errno 5]" in caplog.text


async def test_without_a_lock_the_journal_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", None)
    journal = FileJournal(tmp_path, lock=False)
    async with journal.claim(KEY) as first, journal.claim(KEY) as second:
        await first.append(opened())
        await second.append(part(0))
    # in the same millisecond, which of two segments is read first is left to chance
    assert sorted(await read(journal), key=lambda record: type(record).__name__) == [opened(), part(0)]
    assert list((tmp_path / "locks").iterdir()) == []


async def test_without_a_lock_nothing_is_ever_removed(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, lock=False)
    async with journal.claim(KEY) as log:
        await log.append(opened())
        await log.append(part(0))
        await log.append_final(completed())
    assert await read(journal) == [opened(), part(0), completed()]
    assert await journal.purge(now=NOW + 365 * DAY) == 0
    assert await read(journal) == [opened(), part(0), completed()]


# Settling


async def test_settling_leaves_the_opening_and_the_last_word_in_one_segment(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), opened("upload_0"), opened(), part(0))
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(part(1))
        await log.append_final(completed())
        assert log.records == (opened(), completed())
    assert await read(FileJournal(tmp_path)) == [opened(), completed()]
    [segment] = segments(tmp_path)
    assert mode(segment) == 0o600
    assert not open_below(tmp_path)


async def test_a_few_records_of_one_segment_are_left_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Segments, "compact", lambda *_: pytest.fail("compacted"))
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        await append_parts(log, FEW_RECORDS - 2)
        await log.append_final(completed())
    assert await read(FileJournal(tmp_path)) == [opened(), *map(part, range(FEW_RECORDS - 2)), completed()]


async def test_a_settled_log_takes_the_next_upload(tmp_path: Path) -> None:
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        await append_parts(log)
        await log.append_final(Cancelled(upload="upload_1", at=NOW))
        await log.append(opened("upload_2"))
        assert [record.upload for record in log.records] == ["upload_1", "upload_1", "upload_2"]
    assert len(await read(FileJournal(tmp_path))) == 3
    assert len(segments(tmp_path)) == 2


async def test_a_crash_before_the_new_segment_has_its_name_loses_nothing(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), opened(), part(0), completed())
    [old] = segments(tmp_path)
    (old.parent / "2030.jsonl.tmp").write_bytes(encode_head(at=NOW, host="web-1", pid=1) + encode(part(7)))
    assert await read(FileJournal(tmp_path)) == [opened(), part(0), completed()]
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append_final(completed())
    assert len(list(old.parent.iterdir())) == 1, "the leftover goes with the old segments"


async def test_a_crash_before_the_old_segments_are_gone_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, **_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        await append_parts(log)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            await log.append_final(completed())
    assert "not compacted" in caplog.text
    assert len(segments(tmp_path)) == 2
    assert await read(FileJournal(tmp_path)) == [opened(), *map(part, range(FEW_RECORDS)), completed()]


@pytest.mark.parametrize("step", ["fdatasync", "replace"])
async def test_a_compaction_that_fails_costs_no_more_than_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        await append_parts(log)
        create = disk.create

        def create_and_break(path: Path) -> int:
            monkeypatch.setattr(os, step, refuse)
            return create(path)

        monkeypatch.setattr(disk, "create", create_and_break)
        await log.append_final(completed())
    assert "not compacted: [Errno 28]" in caplog.text
    monkeypatch.undo()
    assert await read(FileJournal(tmp_path)) == [opened(), *map(part, range(FEW_RECORDS)), completed()]
    assert [path.suffix for path in (tmp_path / "uploads" / KEY).iterdir()] == [".jsonl"]
    assert not open_below(tmp_path)


async def test_who_reads_while_another_compacts_sees_what_there_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(FileJournal(tmp_path), opened(), part(0))
    await write(FileJournal(tmp_path), part(1))
    old = segments(tmp_path)
    read_file = disk.read

    def read_late(path: Path) -> bytes:
        if path in old and path.exists():
            (path.parent / "2030.jsonl").write_bytes(encode(opened()) + encode(completed()))
            for segment in old:
                segment.unlink()
        return read_file(path)

    monkeypatch.setattr(disk, "read", read_late)
    assert await read(FileJournal(tmp_path)) == [opened(), completed()]


# Housekeeping


async def test_entries_of_a_journal_that_is_not_there_make_none(tmp_path: Path) -> None:
    assert await FileJournal(tmp_path / "none").entries() == []
    assert await FileJournal(tmp_path / "none").purge() == 0
    assert list(tmp_path.iterdir()) == []


async def test_an_owner_who_died_is_not_shown(tmp_path: Path) -> None:
    await write(FileJournal(tmp_path), opened())
    (tmp_path / "locks" / f"{KEY}.owner").write_text('{"pid": 1, "host": "web-1"}')
    assert await FileJournal(tmp_path).entries() == [JournalEntry(KEY, (opened(),), None)]


@pytest.mark.parametrize("said", ["", "{}", "[]", "5", '{"pid": "x", "host": 1}', '{"pid": 1'])
async def test_an_owner_that_can_not_be_read_is_nobody(tmp_path: Path, said: str) -> None:
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(opened())
        (tmp_path / "locks" / f"{KEY}.owner").write_text(said)
        assert await FileJournal(tmp_path).entries() == [JournalEntry(KEY, (opened(),), None)]


async def test_entries_pass_over_what_is_no_key_and_what_went_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(FileJournal(tmp_path), opened())
    (tmp_path / "uploads" / "notes.txt").write_text("")
    (tmp_path / "uploads" / "empty").mkdir()
    (tmp_path / "uploads" / "-odd-").mkdir()
    (tmp_path / "uploads" / "link").symlink_to(tmp_path / "uploads" / KEY)
    monkeypatch.setattr("asyncsdk.uploads.journal.purge.keys", lambda _: [KEY, "gone", "empty"])
    assert await FileJournal(tmp_path).entries() == [JournalEntry(KEY, (opened(),), None)]
    monkeypatch.undo()
    assert [entry.key for entry in await FileJournal(tmp_path).entries()] == [KEY]


async def test_entries_show_a_key_that_can_not_be_read_without_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await write(FileJournal(tmp_path), opened(), key="a")
    await write(FileJournal(tmp_path), opened(), key="b")
    (tmp_path / "uploads" / "a" / "2030.jsonl").write_bytes(_head_of_version_2())
    assert await FileJournal(tmp_path).entries() == [JournalEntry("a", (), None), JournalEntry("b", (opened(),), None)]
    assert "newer asyncsdk" in caplog.text


async def test_purging_forgets_what_nobody_can_use_and_keeps_the_rest(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    await write(journal, opened(), key="pending")
    await write(journal, opened(), completed(), key="completed")
    (tmp_path / "uploads" / "empty").mkdir()
    assert await journal.purge(now=NOW) == 1
    assert await journal.purge(now=NOW + 2 * DAY) == 1
    assert [entry.key for entry in await journal.entries()] == ["completed"]
    assert await journal.purge(now=NOW + 31 * DAY) == 1
    assert list((tmp_path / "uploads").iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "locks").iterdir()) == [
        "completed.lock", "empty.lock", "pending.lock",
    ]  # fmt: skip


async def test_purging_leaves_alone_what_is_held_and_what_it_does_not_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = FileJournal(tmp_path)
    async with journal.claim("held") as log:
        await log.append(opened())
        await write(journal, opened(), key="newer")
        (tmp_path / "uploads" / "newer" / "2030.jsonl").write_bytes(_head_of_version_2())
        await write(journal, opened(), key="notes")
        (tmp_path / "uploads" / "notes" / "notes.txt").write_text("precious")
        (tmp_path / "uploads" / "unread").mkdir()
        (tmp_path / "uploads" / "unread" / "2026.jsonl").write_bytes(b"rubbish\n")
        os.utime(tmp_path / "uploads" / "unread" / "2026.jsonl", (NOW + 364.5 * DAY, NOW + 364.5 * DAY))
        assert await journal.purge(now=NOW + 365 * DAY) == 0
        assert {entry.key for entry in await journal.entries()} == {"held", "newer"}
    assert (tmp_path / "uploads" / "notes" / "notes.txt").read_text() == "precious"
    assert "not purged" in caplog.text


async def test_a_key_that_came_to_life_while_the_purge_looked_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal(tmp_path)
    await write(journal, opened())

    def write_first(path: Path) -> Any:
        (tmp_path / "uploads" / KEY / "2030.jsonl").write_bytes(
            encode(opened("upload_2", expires_at=int(NOW) + 9 * DAY))
        )
        return lock.try_lock(path)

    monkeypatch.setattr("asyncsdk.uploads.journal.purge.try_lock", write_first)
    assert await journal.purge(now=NOW + 2 * DAY) == 0
    assert len(await read(journal)) == 2


async def test_settling_purges_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = NOW
    monkeypatch.setattr("asyncsdk.uploads.journal.file.time.time", lambda: clock)
    journal = FileJournal(tmp_path)
    await write(journal, opened(), key="old")

    async def settle_after(hours: float) -> list[str]:
        nonlocal clock
        clock += hours * 3600
        async with journal.claim("new") as log:
            await log.append_final(Expired(upload="upload_2", reason="", at=clock))
        return [entry.key for entry in await journal.entries()]

    assert await settle_after(20) == await settle_after(3) == ["new", "old"]
    assert await settle_after(2 + 1 / 60) == ["new", "old"]  # the last purge was 5 hours ago
    assert await settle_after(24) == ["new"]


@pytest.mark.parametrize("stamp", ["rubbish", "directory", "link"])
async def test_a_purge_that_fails_hurts_no_claim(tmp_path: Path, stamp: str) -> None:
    if stamp == "directory":
        (tmp_path / "purged").mkdir()
    elif stamp == "link":
        (tmp_path / "purged").symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "purged").write_text(stamp)
    await write(FileJournal(tmp_path), opened())
    assert await read(FileJournal(tmp_path)) == [opened()]
    assert not (tmp_path / "elsewhere").exists()


async def test_a_purge_that_is_cut_short_gives_each_key_its_turn_some_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal(tmp_path)
    for number in range(8):
        (tmp_path / "uploads" / f"{number:032x}").mkdir(parents=True)
    asked: list[str] = []

    def forget(_: object, key: str, __: float) -> bool:
        asked.append(key)
        return False

    monkeypatch.setattr(purge, "forget", forget)
    for _ in range(40):
        await journal.purge()
    assert len(set(asked[::8])) > 1  # which one comes first; all 40 alike by chance: once in 8**39


async def test_of_damaged_and_newer_segments_no_upload_is_said_to_have_begun(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    await write(journal, opened(key="a"), key="a")
    await write(journal, opened("upload_2", key="b"), key="b")
    [damaged], [newer] = segments(tmp_path, "a"), segments(tmp_path, "b")
    damaged.write_bytes(damaged.read_bytes().replace(b"train.jsonl", b"other.jsonl"))
    head = newer.read_bytes().partition(b"\n")[2]
    body = b'{"t":"segment","v":99'
    newer.write_bytes(b'%b,"c":"%08x"}\n' % (body, zlib.crc32(body)) + head)
    assert await journal.openings(above=10) == []
