"""What `journal=` and ASYNCSDK_JOURNAL mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsdk.errors import JournalError
from asyncsdk.uploads.journal import Journal
from asyncsdk.uploads.journal.file import FileJournal, open_journal
from asyncsdk.uploads.journal.memory import MemoryJournal
from tests.journal.support import KEY


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
