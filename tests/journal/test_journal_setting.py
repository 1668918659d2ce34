"""What `journal=` and ASYNCSDK_JOURNAL mean."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsdk.errors import JournalError
from asyncsdk.uploads.journal import Journal
from asyncsdk.uploads.journal.file import FileJournal, open_journal
from asyncsdk.uploads.journal.memory import MemoryJournal
from asyncsdk.wal import disk
from tests.journal.support import KEY, opened


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASYNCSDK_JOURNAL", raising=False)


def root(journal: Journal) -> Path:
    assert isinstance(journal, FileJournal)
    return journal.path


def test_a_journal_of_ones_own_is_taken_as_it_is() -> None:
    journal = MemoryJournal()
    assert open_journal(journal) is journal


def test_memory_is_a_journal_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_journal("memory"), MemoryJournal)
    monkeypatch.setenv("ASYNCSDK_JOURNAL", "memory")
    assert isinstance(open_journal(), MemoryJournal)


def test_a_path_is_a_directory_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCSDK_JOURNAL", "memory")
    assert root(open_journal(tmp_path)) == tmp_path
    assert root(open_journal(str(tmp_path))) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert root(open_journal("~/journal")) == tmp_path / "journal"


def test_a_relative_path_stays_where_it_is_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = open_journal("journal")
    monkeypatch.chdir("/")
    assert root(journal) == tmp_path / "journal"


def test_without_a_setting_the_environment_decides_and_then_the_users_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCSDK_JOURNAL", str(tmp_path / "volume"))
    assert root(open_journal()) == tmp_path / "volume"
    monkeypatch.setenv("ASYNCSDK_JOURNAL", "")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert root(open_journal()) == tmp_path / "state" / "asyncsdk"
    assert root(FileJournal()) == tmp_path / "state" / "asyncsdk"


def test_locks_are_on_unless_they_are_switched_off(tmp_path: Path) -> None:
    for setting in (tmp_path, None):
        with_locks, without = open_journal(setting), open_journal(setting, lock=False)
        assert isinstance(with_locks, FileJournal)
        assert isinstance(without, FileJournal)
        assert (with_locks.lock, without.lock) == (True, False)


async def test_choosing_a_journal_touches_no_disk(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    assert list(tmp_path.iterdir()) == []
    async with journal.claim(KEY):
        assert (tmp_path / "journal").is_dir()


def no_home(*_: str, **__: bool) -> Path:
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("answer", [no_home, lambda *_, **__: Path("~/.local/state/asyncsdk")])
async def test_a_user_without_a_home_gets_no_journal_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_state_path", answer)
    with pytest.raises(
        JournalError,
        match=r"no home directory[\s\S]*Name a directory that can be written \(.*ASYNCSDK_JOURNAL\), or memory",
    ):
        open_journal()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> str:
    """No home directory, as in a container: nothing can be made there, even by root; warned of by no test before."""
    monkeypatch.setattr("asyncsdk.uploads.journal.file._in_memory", {})
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/state")
    return "/dev/null/state/asyncsdk"


def test_where_the_home_cant_be_written_uploads_have_a_journal_in_memory_and_one_warning(
    homeless: str, caplog: pytest.LogCaptureFixture
) -> None:
    journals = [open_journal(or_memory=True) for _ in range(2)]
    [warning] = caplog.records
    assert (warning.levelname, warning.name) == ("WARNING", "asyncsdk.uploads.journal.file")
    assert [getattr(journal, "instead", None) for journal in journals] == [warning.message] * 2
    assert journals[0] is journals[1]
    assert warning.message == (
        f"no journal can be kept in {homeless}: if this stops, it starts from zero. "
        "Set ASYNCSDK_JOURNAL to a directory that can be written"
    )


@pytest.mark.parametrize("answer", [no_home, lambda *_, **__: Path("~/.local/state/asyncsdk")])
def test_a_user_without_a_home_has_a_journal_in_memory(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Path]
) -> None:
    monkeypatch.setattr("platformdirs.user_state_path", answer)
    assert isinstance(open_journal(or_memory=True), MemoryJournal)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("variable", [None, "/dev/null/named"])
async def test_a_journal_that_was_named_and_cant_be_written_is_refused_before_anything_is_sent(
    variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("ASYNCSDK_JOURNAL", variable)
    journal = open_journal(None if variable else "/dev/null/named", or_memory=True)
    with pytest.raises(JournalError, match="can't create the journal in /dev/null/named"):
        async with journal.claim(KEY):
            pass


async def test_a_file_in_the_place_of_the_journal_and_a_full_disk_stay_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert isinstance(open_journal(or_memory=True), FileJournal)
    (tmp_path / "asyncsdk").touch()
    with pytest.raises(JournalError, match="Not a directory"):
        async with open_journal(or_memory=True).claim(KEY):
            pass
    (tmp_path / "asyncsdk").unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("asyncsdk.wal.disk.make_directory", full)
    with pytest.raises(JournalError, match="No space left"):
        async with open_journal(or_memory=True).claim(KEY):
            pass


def test_a_place_takes_new_entries_where_the_first_directory_that_is_there_does(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert disk.is_writable(tmp_path / "a" / "b")
    assert disk.is_writable(tmp_path)
    assert not disk.is_writable(tmp_path / "file" / "a" / "b")


@pytest.mark.parametrize(("code", "writable"), [(errno.ENOENT, False), (errno.EPERM, False), (errno.ENOSPC, True)])
def test_a_directory_in_which_none_can_be_made_is_not_writable_whatever_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, writable: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    assert disk.is_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Path, "mkdir", refuse)  # as root sees /proc, which os.access calls writable
    assert disk.is_writable(tmp_path / "a" / "b") is writable
    assert disk.is_writable(tmp_path)


@pytest.mark.usefixtures("homeless")
def test_loops_at_once_have_the_one_journal_in_memory_between_them() -> None:
    async def work(key: str) -> None:
        async with open_journal(or_memory=True).claim(key) as log:
            await log.append(opened())

    async def beside() -> None:
        await work("here")
        await asyncio.to_thread(asyncio.run, work("there"))
        assert [entry.key for entry in await open_journal(or_memory=True).entries()] == ["here", "there"]

    asyncio.run(beside())


def test_a_directory_that_refuses_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)  # root may write in any
    assert not disk.is_writable(tmp_path / "a")
