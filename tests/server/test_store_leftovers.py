"""Temporary directories of killed servers are removed by a later one, and nothing else is."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.server.support import running

PROGRAM = (
    "import asyncio\n"
    "from asyncsdk.server import LocalServer, serve\n"
    "asyncio.run(serve(LocalServer(), lambda s: print(s.directory_in_use, flush=True)))\n"
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def left_by_a_killed_one(temporary: Path) -> Path:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        directory = Path(child.stdout.readline().strip())
        child.kill()
    assert directory.is_dir()
    return directory


async def test_what_a_killed_server_left_is_removed_by_the_next_one(temporary: Path) -> None:
    left = left_by_a_killed_one(temporary)
    (left / "incoming" / "half").write_bytes(b"x")
    async with LocalServer() as server:
        assert [*temporary.iterdir()] == [server.directory_in_use]
    assert [*temporary.iterdir()] == []


async def test_a_running_server_keeps_its_directory(temporary: Path) -> None:
    async with running() as (first, call):
        done = await call.uploaded(b"x")
        async with LocalServer():
            assert len([*temporary.iterdir()]) == 2
        assert first.stored(done.json["file"]["id"]).read_bytes() == b"x"


async def test_a_directory_that_was_given_is_kept_whatever_its_name(temporary: Path) -> None:
    mine = temporary / "asyncsdk-mine1234"
    async with LocalServer(mine):
        pass
    (temporary / "asyncsdk-notes").mkdir()
    (temporary / "asyncsdk-file").touch()
    async with LocalServer():
        pass
    assert {path.name for path in temporary.iterdir()} == {"asyncsdk-mine1234", "asyncsdk-notes", "asyncsdk-file"}


async def test_what_a_killed_server_left_can_be_served_and_is_kept_then(temporary: Path) -> None:
    left = left_by_a_killed_one(temporary)
    async with LocalServer(left):
        pass
    async with LocalServer():
        pass
    assert [*temporary.iterdir()] == [left]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have no numbers here")
async def test_what_is_another_users_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = left_by_a_killed_one(temporary)
    monkeypatch.setattr(os, "getuid", lambda: left.stat().st_uid + 1)
    async with LocalServer():
        pass
    assert [*temporary.iterdir()] == [left]


def test_a_lock_that_another_server_made_in_it_meanwhile_does_not_keep_a_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, tries = shutil.rmtree, list[Path]()

    def meanwhile(root: Path) -> None:
        tries.append(root)
        if len(tries) == 1:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", str(root))
        plain(root)

    with LocalServer() as server:
        root = server.directory_in_use
        monkeypatch.setattr(shutil, "rmtree", meanwhile)
    assert tries == [root, root]
    assert not root.exists()
