"""One client, uploader and editor for a whole program: on one event loop after the other, and never on two at once."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from asyncsdk import (
    AsyncSDKError,
    AsyncUploader,
    Client,
    ImageEdit,
    ImageEditor,
    MemoryJournal,
    UnusableClientError,
    UploadJob,
    api,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.pacing.concurrency import ConnectionCount
from asyncsdk.uploads.pacing.measuring import Observation
from tests.faults.leaving import open_sockets_to
from tests.stories.pictures import photo
from tests.waiting import until

ITEMS = 6


@frozen
class Service:
    """What a module of a service holds."""

    client: Client
    uploader: AsyncUploader
    editor: ImageEditor
    picture: Path
    out: Path

    async def work(self, number: int) -> None:
        """Upload one file and several over few connections, edit one picture and several."""
        content = b"%d" % number * 50_000
        await self.uploader.upload(content, purpose="batch", filename="a", in_turn=True)
        jobs = [UploadJob(content + bytes([each]), "batch", filename=f"{each}") for each in range(ITEMS)]
        async with self.uploader.upload_many(jobs) as outcomes:
            assert [outcome.error async for outcome in outcomes] == [None] * ITEMS
        assert (await self.editor.edit(self.picture, "p")).images
        edits = [ImageEdit(image=self.picture, prompt=f"{number} {each}") for each in range(ITEMS)]
        out = self.out / str(number)
        async with self.editor.edit_many(edits, out=out, concurrency=3) as outcomes_of_edits:
            assert [outcome.status async for outcome in outcomes_of_edits] == ["done"] * ITEMS


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running
        gc.collect()  # what is not closed is reported now, as an error of this test


@pytest.fixture(params=["memory", "files"])
def service(server: LocalServer, tmp_path: Path, request: pytest.FixtureRequest) -> Service:
    client = Client("sk-test", base_url=server.url)
    journal = MemoryJournal() if request.param == "memory" else tmp_path / "journal"
    uploader = AsyncUploader(client, journal=journal, concurrency=2)
    return Service(client, uploader, ImageEditor(client), photo(tmp_path / "a.png"), tmp_path / "out")


def test_one_loop_after_the_other_is_served(server: LocalServer, service: Service) -> None:
    for number in range(3):
        asyncio.run(service.work(number))
        assert open_sockets_to(server.port) == 0  # closed with the loop, not when the next one comes


def test_a_run_that_failed_is_followed_by_one_that_works(server: LocalServer, service: Service) -> None:
    async def fail() -> None:
        await service.work(0)
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(fail())
        service.out.joinpath("0").rename(service.out.with_name(f"old-{_}"))
    asyncio.run(service.work(1))
    assert open_sockets_to(server.port) == 0


# anyio leaves the coroutine of a task that an interrupt ends before its first step
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("at", ["part", "complete", "edit"])
def test_a_run_that_was_interrupted_is_followed_by_one_that_works(
    server: LocalServer, service: Service, at: Any
) -> None:
    server.inject(Fault(at, "stall"))

    async def interrupted() -> None:
        working = asyncio.ensure_future(service.work(0))
        while server.unmet_faults():
            await asyncio.sleep(0.01)
        assert not working.done()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted())
    asyncio.run(service.work(1))
    assert open_sockets_to(server.port) == 0


def test_a_worker_that_runs_a_loop_for_each_task_is_served(server: LocalServer, service: Service) -> None:
    """As Celery does in its threads, one task at a time."""
    with ThreadPoolExecutor(1) as worker:
        for number in range(3):
            worker.submit(asyncio.run, service.work(number)).result()
    asyncio.run(service.work(3))
    assert open_sockets_to(server.port) == 0


def test_each_call_may_come_from_another_thread(service: Service) -> None:
    """As with Django's `async_to_sync`."""
    for number in range(3):
        caller = threading.Thread(target=asyncio.run, args=(service.work(number),))
        caller.start()
        caller.join()


@pytest.mark.filterwarnings("ignore:.*was destroyed but it is pending")
def test_a_loop_that_was_closed_and_nothing_else_leaves_no_connection(server: LocalServer, service: Service) -> None:
    async def send() -> None:
        await service.client.send(api.list_files())

    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(send())
        assert open_sockets_to(server.port) == 1
        loop.close()
    asyncio.run(send())
    assert open_sockets_to(server.port) == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what asyncio says of its loose ends
@pytest.mark.parametrize("at", ["part", "edit"])
def test_what_was_under_way_on_a_loop_that_was_just_closed_holds_nothing_up(
    server: LocalServer, service: Service, at: Any
) -> None:
    path = service.out.with_name("train.bin")
    path.write_bytes(b"a" * 100_000)
    edits = [ImageEdit(image=service.picture, prompt="p", id="a")]

    async def use() -> str:
        if at == "part":
            return (await service.uploader.upload(path, purpose="batch", on_busy="fail")).file.id
        async with service.editor.edit_many(edits, out=service.out, on_uncertain="retry") as outcomes:
            return "".join([outcome.status async for outcome in outcomes])

    async def begin() -> None:
        begun.append(asyncio.ensure_future(use()))
        while server.unmet_faults():
            await asyncio.sleep(0.01)

    begun: list[asyncio.Future[str]] = []
    server.inject(Fault(at, "stall"))
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(begin())
    loop.close()
    assert asyncio.run(use())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what asyncio says of its loose ends
def test_parts_that_were_held_back_on_a_loop_that_was_just_closed_do_not_count_on_the_next(
    server: LocalServer, tmp_path: Path
) -> None:
    """Else the number of connections would never rise again."""
    client, seen = Client("sk-test", base_url=server.url), list[Observation]()

    class Seeing(ConnectionCount):
        def observe(self, shown: Observation) -> int:
            seen.append(shown)
            return self.number

    uploader = AsyncUploader(client, journal="memory", part_size=1 << 20, limit_rate=4 << 20)
    uploader._count = Seeing()  # noqa: SLF001 - what it is shown
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    under_way = loop.create_task(uploader.upload(bytes(16 << 20), purpose="batch"))
    loop.run_until_complete(until(lambda: seen and seen[-1].held_back > 0.5))
    loop.close()

    async def again() -> None:
        seen.clear()
        server.inject(Fault("part", "stall", "in", seconds=1.0, every=1))
        uploader._contexts.get().throttle.rate = None  # noqa: SLF001 - nothing is held back any more
        await uploader.upload(bytes(4 << 20), purpose="batch")
        await client.aclose()

    asyncio.run(again())
    assert seen
    assert max(shown.held_back for shown in seen) < 0.1
    assert not under_way.done()


def uses(service: Service) -> list[tuple[str, Callable[[], Coroutine[Any, Any, Any]]]]:
    async def upload_many() -> None:
        async with service.uploader.upload_many([UploadJob(b"a", "batch")]) as outcomes:
            async for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error

    async def edit_many() -> None:
        edits = [ImageEdit(image=service.picture, prompt="p")]
        async with service.editor.edit_many(edits, out=service.out) as outcomes:
            async for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error

    return [
        ("Client", lambda: service.client.send(api.list_files())),
        ("Client", service.client.aclose),
        ("AsyncUploader", lambda: service.uploader.upload(b"a", purpose="batch")),
        ("AsyncUploader", upload_many),
        ("Client", lambda: service.editor.edit(service.picture, "p")),
        ("Client", edit_many),
    ]


def test_two_loops_at_once_are_an_error_that_says_what_to_do(server: LocalServer, service: Service) -> None:
    async def first() -> None:
        await service.work(0)
        before = dict(server.calls)
        for owner, use in uses(service):
            with pytest.raises(UnusableClientError, match=f"this {owner} is in use on another event loop") as caught:
                await asyncio.to_thread(asyncio.run, use())
            assert isinstance(caught.value, AsyncSDKError)
            assert isinstance(caught.value, RuntimeError)
            assert "Nothing was sent" in str(caught.value)
            assert "for each loop, in each call: `async with Client() as client:`" in str(caught.value)
            assert all(name in str(caught.value) for name in ("async endpoints", "prefork", "gthread", "-P threads"))
        assert server.calls == before
        await service.work(1)  # the first goes on

    asyncio.run(first())


def test_of_threads_that_begin_at_once_one_is_served(server: LocalServer) -> None:
    client = Client("sk-test", base_url=server.url)
    at_once, ended = threading.Barrier(8), list[UnusableClientError | None]()

    async def send() -> None:
        at_once.wait()
        try:
            await client.send(api.list_files())
        except UnusableClientError as error:
            ended.append(error)
        else:
            ended.append(None)
        await asyncio.to_thread(at_once.wait)  # all are alive until all have tried

    threads = [threading.Thread(target=asyncio.run, args=(send(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended.count(None) == 1


def test_threads_with_a_client_for_each_call_and_one_journal_are_served_at_once(
    server: LocalServer, tmp_path: Path
) -> None:
    at_once = threading.Barrier(8)

    async def send(number: int) -> str:
        async with Client("sk-test", base_url=server.url) as client:
            uploader = AsyncUploader(client, journal=tmp_path / "journal")
            return (await uploader.upload(b"%d" % number, purpose="batch", key=str(number))).file.id

    def view(number: int) -> str:
        at_once.wait()
        return asyncio.run(send(number))

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(view, range(8)))) == 8
    assert open_sockets_to(server.port) == 0


@pytest.mark.parametrize("state", ["closed loop", "live loop", "closed"])
def test_a_given_session_of_another_loop_is_an_error_that_says_so(server: LocalServer, state: str) -> None:
    async def opened() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def send(session: aiohttp.ClientSession) -> None:
        await Client("sk-test", base_url=server.url, session=session).send(api.list_files())

    with asyncio.Runner() as runner:
        session = runner.run(opened())
        if state == "live loop":
            with pytest.raises(UnusableClientError, match="another event loop, which is not the running one"):
                thread_result(send(session))
        runner.run(session.close() if state == "closed" else asyncio.sleep(0))
        if state == "closed":
            with pytest.raises(UnusableClientError, match="is closed"):
                runner.run(send(session))
    if state == "closed loop":
        with pytest.raises(UnusableClientError, match="another event loop, which is closed"):
            asyncio.run(send(session))
    asyncio.run(session.close())


def thread_result(work: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as worker:
        return worker.submit(asyncio.run, work).result()


def test_a_closed_client_is_an_error_of_the_tree_on_every_loop(server: LocalServer, service: Service) -> None:
    asyncio.run(service.work(0))
    asyncio.run(service.client.close())
    for _ in range(2):
        with pytest.raises(UnusableClientError, match=r"this Client is closed, .* close it once, at its end"):
            asyncio.run(service.client.send(api.list_files()))
    asyncio.run(service.client.aclose())


def test_a_claim_that_died_with_its_loop_is_free_on_the_next() -> None:
    journal = MemoryJournal()
    claimed: list[Any] = []

    async def claim_and_leave() -> None:
        claimed.append(journal.claim("key"))
        await claimed[-1].__aenter__()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(claim_and_leave())
    loop.close()

    async def claim_again() -> None:
        async with asyncio.timeout(5), journal.claim("key", wait=False):
            assert len(await journal.entries()) == 1

    asyncio.run(claim_again())


FORKING = """
import asyncio, os, sys
from asyncsdk import Client, api

client = Client("sk-test", base_url=sys.argv[1])

async def send():
    await client.send(api.list_files())

def child():
    asyncio.run(send())
    asyncio.run(send())

async def parent():
    await send()
    pid = os.fork()
    if not pid:
        asyncio._set_running_loop(None)
        child()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print("the child's exit:", os.waitstatus_to_exitcode(status))
    await send()

asyncio.run(parent())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_a_child_that_was_forked_within_a_loop_has_its_own_connections(server: LocalServer) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", FORKING, server.url],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == ("the child's exit: 0", "")
    assert server.calls["files.list"] == 4
