"""A process that forks (gunicorn --preload, prefork workers): the child works, whatever its parent's threads did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from asyncsdk.wal import ranges
from tests.stories.pictures import photo

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")

# from 3.12 on Python warns of just that: a fork where there are threads
THREADS = "ignore:This process:DeprecationWarning"
# Each program forks as the parent, has the child do the same, and prints the child's exit.
BEGIN = """
import asyncio, os, sys, threading, time
from pathlib import Path
from asyncsdk import AsyncUploader, Client, ImageEdit, ImageEditor
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.wal.commit import DirectorySync
from asyncsdk.threads import DaemonThreadPool

def fork(child):
    pid = os.fork()
    if not pid:
        try:
            child()
        except BaseException as error:
            print("the child:", repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    for _ in range(300):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            print("the child's exit:", os.waitstatus_to_exitcode(status))
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    print("the child hangs")
"""


def child_s_exit(program: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", THREADS, "-c", BEGIN + program, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not done.stderr
    return done.stdout.strip()


def test_a_journal_that_was_used_before_the_fork_is_used_after_it(tmp_path: Path) -> None:
    program = """
async def upload(name):
    async with Client("sk-key", base_url=sys.argv[1]) as client:
        await AsyncUploader(client, journal=journal).upload(b"{}" * 500, purpose="batch", filename="a", key=name)

journal = FileJournal(Path(sys.argv[2]))
asyncio.run(upload("parent"))
fork(lambda: asyncio.run(upload("child")))
asyncio.run(upload("parent-again"))
"""
    with LocalServer() as server:
        assert child_s_exit(program, server.url, tmp_path / "journal") == "the child's exit: 0"
        assert len(server.files) == 3


@pytest.mark.skipif(not ranges.SUPPORTED, reason="the platform locks no ranges for open files")
def test_a_small_key_that_the_parent_has_is_not_the_child_s_and_stays_the_parent_s(tmp_path: Path) -> None:
    program = """
from asyncsdk.errors import UploadBusyError
from asyncsdk.uploads.journal import Cancelled, Expired

journal = FileJournal(Path(sys.argv[1]))

async def busy(parent):
    try:
        async with journal.claim("held", wait=False, small=True):
            sys.exit("claimed")
    except UploadBusyError as error:
        assert error.pid == parent, error
    async with journal.claim("other", wait=False, small=True) as log:
        await log.append(Cancelled(upload="upload_2"))

def in_a_thread(parent):
    failed = [True]
    def run():
        asyncio.run(busy(parent))
        failed.clear()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        os._exit(1)

async def main():
    async with journal.claim("held", small=True) as log:
        await log.append(Expired(upload="upload_1", reason="before"))
        fork(lambda parent=os.getpid(): in_a_thread(parent))
        await asyncio.to_thread(in_a_thread, os.getpid())  # what the child closed was its own
        await log.append(Cancelled(upload="upload_1"))
    async with journal.claim("held", wait=False, small=True) as log:
        assert len(log.records) == 2, log.records
    async with journal.claim("other", wait=False, small=True) as log:
        assert len(log.records) == 2, log.records

asyncio.run(main())
"""
    assert child_s_exit(program, tmp_path / "journal") == "the child's exit: 0"
    assert len(list((tmp_path / "journal" / "small").glob("*.jsonl"))) == 2


def test_an_uploader_and_an_editor_made_before_the_fork_work_after_it(tmp_path: Path) -> None:
    program = """
client = Client("sk-key", base_url=sys.argv[1])
uploader, editor = AsyncUploader(client, journal=Path(sys.argv[2])), ImageEditor(client)

async def work():
    async with client:
        await uploader.upload(b"{}" * 500, purpose="batch", filename="a")
        async with editor.edit_many([ImageEdit(image=sys.argv[3], prompt="p")], out=sys.argv[4]) as outcomes:
            assert [outcome.status async for outcome in outcomes] == ["done"]

fork(lambda: asyncio.run(work()))
"""
    picture = photo(tmp_path / "a.png")
    with LocalServer() as server:
        got = child_s_exit(program, server.url, tmp_path / "journal", picture, tmp_path / "out")
        assert got == "the child's exit: 0"


@pytest.mark.parametrize("state", ["idle", "busy", "counting", "waiting"])
def test_threads_begin_again_in_the_child(state: str) -> None:
    program = """
threads, go_on = DaemonThreadPool("test", 2), threading.Event()

async def leave_them(state):
    await threads.run(int)
    if state == "busy":
        threads.start(go_on.wait), threads.start(go_on.wait)
    if state == "waiting":
        for _ in range(9):
            threads.start(go_on.wait)
    await asyncio.sleep(0.1)
    if state == "counting":
        threads._counting.acquire()

async def work():
    assert await asyncio.gather(*(threads.run(lambda: 7) for _ in range(5))) == [7] * 5
    assert threads.busy == 0

asyncio.run(leave_them(sys.argv[1]))
fork(lambda: asyncio.run(asyncio.wait_for(work(), 10)))
go_on.set()
"""
    assert child_s_exit(program, state) == "the child's exit: 0"


def test_a_sync_that_runs_in_the_parent_holds_no_child_up(tmp_path: Path) -> None:
    program = """
sync = DirectorySync((Path(sys.argv[1]),))
begun = threading.Event()
holding = threading.Thread(target=lambda: (sync._turn.acquire(), begun.set(), time.sleep(3)), daemon=True)
holding.start()
begun.wait()
fork(sync)
"""
    assert child_s_exit(program, tmp_path) == "the child's exit: 0"


def test_a_child_and_its_parent_make_other_tokens_and_so_does_a_program_that_seeds_its_own_numbers() -> None:
    program = """
import random
from asyncsdk.unique import token
random.seed(1)
first = token()
random.seed(1)
read, write = os.pipe()
fork(lambda: os.write(write, token().encode()))
assert len({first, token(), os.read(read, 32).decode()}) == 3
"""
    assert child_s_exit(program) == "the child's exit: 0"


def test_what_is_gone_is_not_kept_for_a_fork() -> None:
    program = """
import gc
from asyncsdk import threads
pools = [DaemonThreadPool("test", 1) for _ in range(1000)]
many = len(threads._forkable)
del pools
gc.collect()
assert len(threads._forkable) <= many - 1000
fork(lambda: None)
"""
    assert child_s_exit(program) == "the child's exit: 0"
