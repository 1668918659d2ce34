"""Journals and ledgers among users: shared groups, volumes, root in a container, file systems without permissions."""

from __future__ import annotations

import _strptime  # type: ignore[import-not-found]  # noqa: F401 - which a child may not be able to read, as with filelock
import asyncio
import os
import re
import stat
import subprocess
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

import filelock  # noqa: F401 - which a child may not be able to read
import pytest

from asyncsdk import files
from asyncsdk.errors import StorageError
from asyncsdk.wal import permissions
from tests.journal.test_disk_owners import JOURNAL, MADE, USES, Use, as_root, claimed, kept

USER, PRIVATE_GROUP, USERS_GROUP = 1000, 1000, 100


@pytest.fixture
def volume() -> Iterator[Path]:
    """A directory that any user can reach."""
    path = Path(mkdtemp(prefix="asyncsdk-test-"))
    path.chmod(0o755)
    yield path
    rmtree(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory to be used, in one of ours."""
    (tmp_path / "project").mkdir(mode=0o755)
    return tmp_path / "project" / ".asyncsdk"


def belonging(path: Path, user: int, group: int, mode: int) -> Path:
    path.mkdir(exist_ok=True)
    os.chown(path, user, group)
    path.chmod(mode)
    return path


def run_as(user: int, group: int, umask: int, use: Use, path: Path) -> str:
    """What `use` of `path` by another user raises, or nothing."""

    async def used() -> None:
        await use(path)

    source, sink = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests, which the child leaves alone
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([group])
            os.setgid(group)
            os.setuid(user)
            os.umask(umask)
            asyncio.run(used())
        except StorageError as error:
            os.write(sink, str(error).encode())
        except BaseException:  # noqa: BLE001 - the child must not go on with the tests
            os.write(sink, traceback.format_exc().encode())
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def advised(text: str, pattern: str) -> str:
    """The part of a refusal that `pattern` finds."""
    match = re.search(pattern, text)
    assert match, text
    return match[1]


def follow(command: str) -> None:
    subprocess.run(command, shell=True, check=True)


# A user whose group has other members


@as_root
def test_a_directory_for_pictures_that_a_ledger_needs_is_made_for_its_user_to_write(volume: Path) -> None:
    home = belonging(volume / "home", USER, USERS_GROUP, 0o775)
    for _ in range(2):
        assert run_as(USER, USERS_GROUP, 0o002, kept, home / "deep" / "out" / ".asyncsdk") == ""
    assert stat.S_IMODE((home / "deep").stat().st_mode) == 0o755
    assert stat.S_IMODE((home / "deep" / "out").stat().st_mode) == 0o755


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o755), (0o002, 0o755), (0o022, 0o755), (0o077, 0o700)])
def test_a_directory_that_is_made_is_writable_for_nobody_else(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        files.make_directory(tmp_path / "new" / "out")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new", tmp_path / "new" / "out")} == {mode}


@as_root
@pytest.mark.parametrize("use", [claimed, kept])
def test_a_directory_of_ones_own_that_a_group_may_write_is_mended_as_advised(volume: Path, use: Use) -> None:
    home = belonging(volume / "my home", USER, USERS_GROUP, 0o775)
    text = run_as(USER, USERS_GROUP, 0o002, use, home / ".asyncsdk")
    follow(advised(text, r"(chmod go-w .*?), or name "))
    assert run_as(USER, USERS_GROUP, 0o002, use, home / ".asyncsdk") == ""


# Volumes of a container


@as_root
@pytest.mark.parametrize("mode", [0o777, 0o2777, 0o2775])
@pytest.mark.parametrize("name", ["asyncsdk", ".asyncsdk"])
@pytest.mark.parametrize("use", [claimed, kept])
def test_on_a_volume_that_others_may_write_the_advised_directory_is_private(
    volume: Path, use: Use, name: str, mode: int
) -> None:
    belonging(volume, 0, USERS_GROUP, mode)
    text = run_as(USER, USERS_GROUP, 0o002, use, volume / name)
    assert f"others may write in {volume}, " in text
    assert f"ask its owner (uid 0) for chmod go-w {volume}" in text
    deeper = Path(advised(text, "or name (.*?), which is made for you alone"))
    assert deeper == volume / "private" / "asyncsdk"
    for _ in range(2):
        assert run_as(USER, USERS_GROUP, 0o002, use, deeper) == ""


@as_root
def test_so_it_is_where_the_volume_itself_was_named_as_the_journal(volume: Path) -> None:
    shared = belonging(volume / "data", 0, 0, 0o777)
    text = run_as(USER, USERS_GROUP, 0o022, claimed, shared)
    deeper = Path(advised(text, "or name (.*?), which is made for you alone"))
    assert run_as(USER, USERS_GROUP, 0o022, claimed, deeper) == ""


@as_root
def test_the_advised_directory_serves_pictures_too(volume: Path) -> None:
    shared = belonging(volume / "out", 0, 0, 0o777)
    text = run_as(USER, USERS_GROUP, 0o022, kept, shared / ".asyncsdk")
    out = Path(advised(text, "or name (.*?), which is made for you alone"))
    assert run_as(USER, USERS_GROUP, 0o022, kept, out / ".asyncsdk") == ""


@as_root
def test_what_an_attacker_made_in_the_advised_place_is_refused(volume: Path) -> None:
    belonging(volume, 0, 0, 0o1777)
    belonging(volume / "private", 12345, 12345, 0o777)
    assert "others may write in" in run_as(USER, USERS_GROUP, 0o022, claimed, volume / "private" / "asyncsdk")
    belonging(volume / "private" / "asyncsdk", 12345, 12345, 0o755)
    (volume / "private").chmod(0o755)
    assert "belongs to another user" in run_as(USER, USERS_GROUP, 0o022, claimed, volume / "private" / "asyncsdk")


# Root in a directory of a user, as in a container with a mounted home


@as_root
@USES
async def test_root_takes_a_users_private_group_for_that_user(volume: Path, use: Use) -> None:
    home = belonging(volume / "home", USER, PRIVATE_GROUP, 0o775)
    await MADE[use](home / ".asyncsdk")
    await use(home / ".asyncsdk")


@as_root
@pytest.mark.parametrize("group", [0, USERS_GROUP])
async def test_but_no_other_group_may_write_there(volume: Path, group: int) -> None:
    home = belonging(volume / "home", USER, group, 0o775)
    with pytest.raises(StorageError, match="others may write in"):
        await kept(home / ".asyncsdk")


@as_root
def test_nor_does_a_user_trust_the_private_group_of_another(volume: Path) -> None:
    home = belonging(volume / "home", 12345, USERS_GROUP, 0o775)
    os.chown(home, USERS_GROUP, USERS_GROUP)
    assert "others may write in" in run_as(USER, USERS_GROUP, 0o022, kept, home / ".asyncsdk")


@as_root
@pytest.mark.parametrize("use", [claimed, kept])
async def test_what_a_user_remembers_is_kept_by_what_root_is_advised_to_do(volume: Path, use: Use) -> None:
    place = belonging(volume / "my home", USER, PRIVATE_GROUP, 0o775) / ".asyncsdk"
    assert run_as(USER, PRIVATE_GROUP, 0o002, use, place) == ""
    with pytest.raises(StorageError) as refused:
        await use(place)
    assert "docker run --user 1000:1000" in str(refused.value)
    assert run_as(USER, PRIVATE_GROUP, 0o022, use, place) == ""
    follow(advised(str(refused.value), r"make it yours: (chown -R 0 '.*?')"))
    await use(place)


@as_root
@pytest.mark.parametrize("use", [claimed, kept])
async def test_a_user_who_may_not_read_what_root_remembers_is_advised_how_to(volume: Path, use: Use) -> None:
    place = belonging(volume / "home", USER, PRIVATE_GROUP, 0o755) / ".asyncsdk"
    await use(place)
    text = run_as(USER, PRIVATE_GROUP, 0o022, use, place)
    assert f"{place} belongs to another user (uid 0)" in text
    follow(advised(text, rf"make it yours: sudo (chown -R {USER} [^)\s]+)"))
    assert run_as(USER, PRIVATE_GROUP, 0o022, use, place) == ""


@as_root
async def test_a_refused_ledger_says_that_it_is_kept_where_it_is(volume: Path) -> None:
    place = volume / ".asyncsdk"
    await kept(place)
    volume.chmod(0o777)
    with pytest.raises(StorageError, match="Change that where it is, and the same call goes on; another directory"):
        await kept(place)


# File systems that keep no permissions, or no owners


Seen = Callable[[int, int], tuple[int, int]]


def mount(monkeypatch: pytest.MonkeyPatch, root: Path, seen_as: Seen) -> None:
    """Let all from `root` down have the mode and owner that `seen_as` makes of its own, whatever is asked for."""
    real_stat, real_fstat = os.stat, os.fstat

    def seen(path: str, status: os.stat_result) -> os.stat_result:
        if not path.startswith(str(root)):
            return status
        _, (values, more) = cast("tuple[Any, Any]", status.__reduce__())
        mode, owner = seen_as(status.st_mode, status.st_uid)
        return os.stat_result((mode, *values[1:4], owner, *values[5:]), more)

    def stat_there(path: Any, **options: Any) -> os.stat_result:
        return seen(str(path), real_stat(path, **options))

    def fstat_there(fd: int) -> os.stat_result:
        return seen(str(Path(f"/proc/self/fd/{fd}").readlink()), real_fstat(fd))

    monkeypatch.setattr(os, "stat", stat_there)
    monkeypatch.setattr(os, "lstat", partial(stat_there, follow_symlinks=False))
    monkeypatch.setattr(os, "fstat", fstat_there)
    monkeypatch.setattr(permissions, "_warned_of", set())


on_linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="a descriptor's path is asked for")


@on_linux
@USES
async def test_where_every_mode_is_777_whatever_is_asked_all_is_taken_with_one_warning(
    place: Path, use: Use, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mount(monkeypatch, place.parent, lambda mode, owner: (mode | 0o777, owner))
    await MADE[use](place)
    await use(place)
    assert caplog.text.count("keeps no permissions") == 1
    assert f"{place.parent}: its file system keeps no permissions" in caplog.text
    assert not list(place.parent.glob(".asyncsdk-*"))


@on_linux
@USES
async def test_where_everything_has_one_owner_that_is_who_we_are_there(
    place: Path, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(monkeypatch, place.parent, lambda mode, _: (mode, 4321))
    await MADE[use](place)
    await use(place)


@JOURNAL
async def test_a_directory_in_which_nothing_can_be_made_is_judged_by_its_mode(
    place: Path, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.parent.chmod(0o777)
    monkeypatch.setattr(permissions, "_made_in", lambda _: None)
    with pytest.raises(StorageError, match="others may write in"):
        await use(place)
