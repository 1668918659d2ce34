"""What becomes of edits where the system gives no thread: for want of memory, or by a limit on processes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import define, field

from asyncsdk import Client, EditError, ImageEditor, RequestEvent, files
from asyncsdk.server import Fault, LocalServer
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.timing import Timing
from tests.stories.edits import jobs
from tests.waiting import until

NAMES = {"asyncsdk-saving", "asyncsdk-reading", "asyncsdk-ledger"}
IDLE_BRIEFLY = Timing(thread_idle=0.05)


@define(eq=False)
class NoThreads:
    """Lets threads of these names fail to start until a time."""

    names: set[str] = field(factory=NAMES.copy)
    until: float = 0.0
    refused: set[str] = field(factory=set)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start = threading.Thread.start

        def starting(thread: threading.Thread) -> None:
            if thread.name in self.names and time.monotonic() < self.until:
                self.refused.add(thread.name)
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", starting)
        for name in ("_READING", "_SAVING"):
            pool = getattr(files, name)
            monkeypatch.setattr(
                files, name, DaemonThreadPool(pool.name, pool.limit, idle=0.05, cancellable=pool.cancellable)
            )


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> NoThreads:
    refusing = NoThreads()
    refusing.install(monkeypatch)
    return refusing


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server") as running:
        yield running


@pytest.fixture
async def complaints() -> list[object]:
    """What the event loop complains of, such as an exception that nobody looked at."""
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    return heard


@pytest.mark.parametrize("name", [*sorted(NAMES), "all"])
async def test_a_thread_is_waited_for_and_what_is_paid_is_saved_and_written_down(
    server: LocalServer, tmp_path: Path, no_threads: NoThreads, complaints: list[object], name: str
) -> None:
    server.inject(Fault("edit", "stall", at="after", seconds=0.3))  # until the threads that wrote the intent have ended
    no_threads.names = NAMES if name == "all" else {name}

    def answered(_: RequestEvent) -> None:
        no_threads.until = time.monotonic() + 1.0

    async with Client("sk-test", base_url=server.url, timing=IDLE_BRIEFLY, on_event=answered) as client:
        editor = ImageEditor(client)
        async with editor.edit_many(jobs(1), out=tmp_path / "out") as outcomes:
            [done] = [outcome async for outcome in outcomes]
        assert no_threads.refused
        assert (done.status, done.error) == ("done", None)
        async with editor.edit_many(jobs(1), out=tmp_path / "out") as outcomes:
            assert [outcome.status async for outcome in outcomes] == ["skipped"]
    assert server.edits.edits == 1
    assert complaints == []


async def test_a_ledger_is_let_go_of_where_there_is_no_thread_for_it(
    server: LocalServer, tmp_path: Path, no_threads: NoThreads, complaints: list[object]
) -> None:
    before = set(threading.enumerate())
    async with Client("sk-test", base_url=server.url, timing=IDLE_BRIEFLY) as client:
        editor = ImageEditor(client)
        async with editor.edit_many(jobs(1), out=tmp_path / "out") as outcomes:
            assert [outcome.status async for outcome in outcomes] == ["done"]
            await until(lambda: not any(each.name == "asyncsdk-ledger" for each in set(threading.enumerate()) - before))
            no_threads.names, no_threads.until = {"asyncsdk-ledger"}, time.monotonic() + 60
        assert no_threads.refused
        no_threads.until = 0.0
        async with editor.edit_many(jobs(1), out=tmp_path / "out") as outcomes:
            assert [outcome.status async for outcome in outcomes] == ["skipped"]
    assert complaints == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_kept", [True, False])
async def test_where_there_is_no_thread_to_look_at_edits_the_error_is_one_of_ours(
    tmp_path: Path, no_threads: NoThreads, *, is_kept: bool
) -> None:
    where = {"out": tmp_path / "out"} if is_kept else {}
    no_threads.names, no_threads.until = {"asyncsdk-reading"}, time.monotonic() + 60
    async with Client("sk-test", base_url="http://127.0.0.1:9") as client:
        editor = ImageEditor(client)
        with pytest.raises(EditError, match="Nothing was sent") as caught:
            await editor.plan(jobs(1), out=tmp_path / "out")
        assert caught.value.resumable
        with pytest.raises(EditError, match="Nothing was sent"):
            async with editor.edit_many(jobs(1), **where):  # type: ignore[arg-type]  # passed on
                pass
