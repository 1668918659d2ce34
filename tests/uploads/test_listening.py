"""`on_progress` may be async: it is awaited in order, beside the upload, and never left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import APIStatusError, AsyncUploader, Client, ConfigurationError, ImageEdit, ImageEditor, UploadJob
from asyncsdk.events import Progress, RequestEvent
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.stories.pictures import photo
from tests.waiting import until

PART = 512 * 1024
CONTENT = b"a" * (8 * PART)
REPORT_ALL = Timing(report_interval=0.0)


class Watching:
    """An async listener, which notes what it got and how many of its calls ran at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.got: list[Progress] = []
        self.running = self.most_running = 0

    async def __call__(self, progress: Progress) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(self.seconds)
        self.got.append(progress)
        self.running -= 1

    async def method(self, progress: Progress) -> None:
        await self(progress)

    def as_function(self) -> Callable[[Progress], Any]:
        async def function(progress: Progress) -> None:
            await self(progress)

        return function

    def as_partial(self) -> Callable[[Progress], Any]:
        async def function(_: str, progress: Progress) -> None:
            await self(progress)

        return partial(function, "first")


def client_of(server: LocalServer, timing: Timing = REPORT_ALL) -> Client:
    return Client("sk-test", base_url=server.url, timing=timing)


async def upload(client: Client, listener: Any, **options: Any) -> None:
    uploader = AsyncUploader(client, journal="memory", part_size=PART)
    await uploader.upload(CONTENT, purpose="batch", on_progress=listener, **options)


@pytest.mark.parametrize("form", ["object", "method", "function", "partial", "partial of an object"])
async def test_every_form_of_async_function_is_awaited_in_order_to_the_last_snapshot(form: str) -> None:
    watching = Watching()
    listener = {
        "object": watching,
        "method": watching.method,
        "function": watching.as_function(),
        "partial": watching.as_partial(),
        "partial of an object": partial(watching),
    }[form]
    async with LocalServer() as server, client_of(server) as client:
        await upload(client, listener)
    sent = [progress.bytes_sent for progress in watching.got]
    assert len(sent) > 2
    assert sent == sorted(sent)
    assert watching.most_running == 1
    assert (watching.got[-1].state, watching.got[-1].bytes_done) == ("completed", len(CONTENT))


async def test_a_slow_one_gets_the_newest_snapshot_and_holds_nothing_up() -> None:
    got: list[Progress] = []

    async def listen(progress: Progress) -> None:
        got.append(progress)
        if len(got) == 1:
            await until(lambda: server.files)  # all parts went, and the complete

    async with LocalServer() as server, client_of(server) as client:
        await upload(client, listen)
    assert len(got) <= 3  # of dozens
    assert got[-1].state == "completed"


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "ordinary"])
async def test_one_that_raises_is_called_again_to_the_last_snapshot_and_logged_in_full_once(
    caplog: pytest.LogCaptureFixture, *, is_async: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    got: list[Progress] = []

    def fail(progress: Progress) -> None:
        got.append(progress)
        raise ZeroDivisionError

    async def fail_later(progress: Progress) -> None:
        fail(progress)

    async with LocalServer() as server, client_of(server) as client:
        await upload(client, fail_later if is_async else fail)
    assert len(got) > 2
    assert got[-1].state == "completed"
    levels = [record.levelno for record in caplog.records if "on_progress raised" in record.getMessage()]
    assert levels == [logging.ERROR, *[logging.DEBUG] * (len(got) - 1)]
    assert caplog.text.count("Traceback") == 1


async def test_one_that_ends_as_if_cancelled_ends_no_upload() -> None:
    async def leak(_: Progress) -> None:
        raise asyncio.CancelledError

    async with LocalServer() as server, client_of(server) as client:
        await upload(client, leak)
        assert len(server.files) == 1


async def test_one_that_never_returns_holds_up_no_result(caplog: pytest.LogCaptureFixture) -> None:
    queue: asyncio.Queue[Progress] = asyncio.Queue(1)  # its reader is gone
    async with LocalServer() as server, client_of(server, Timing(report_interval=0.0, last_report=0.2)) as client:
        uploader = AsyncUploader(client, journal="memory", part_size=PART)
        async with asyncio.timeout(10):
            result = await uploader.upload(CONTENT, purpose="batch", on_progress=queue.put)
        assert [result.file.id] == [file.id for file in server.files]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("on_progress has not returned for 0.2 s since the upload ended, and is cancelled.")
    assert {task for task in asyncio.all_tasks() if task.get_coro().__name__ == "deliver"} == set()  # type: ignore[union-attr]


async def test_many_uploads_wait_for_it_at_most_that_long_each() -> None:
    queue: asyncio.Queue[Progress] = asyncio.Queue(1)
    jobs = [UploadJob(CONTENT[:PART], "batch", key=str(number)) for number in range(3)]
    async with LocalServer() as server, client_of(server, Timing(report_interval=0.0, last_report=0.2)) as client:
        uploader = AsyncUploader(client, journal="memory", part_size=PART)
        async with asyncio.timeout(10), uploader.upload_many(jobs, on_progress=queue.put) as outcomes:
            assert [outcome.status async for outcome in outcomes] == ["done"] * 3


async def test_a_cancellation_while_the_last_snapshot_is_awaited_is_the_callers() -> None:
    queue: asyncio.Queue[Progress] = asyncio.Queue(1)
    async with LocalServer() as server, client_of(server) as client:
        uploading = asyncio.ensure_future(upload(client, queue.put))
        await until(lambda: server.files)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(uploading, 0.2)


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
async def test_none_of_its_calls_outlives_the_upload(how: str) -> None:
    entered = asyncio.Event()

    async def never_return(_: Progress) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with LocalServer(faults=[Fault("complete", "answer", status=400)]) as server, client_of(server) as client:
        uploading = asyncio.ensure_future(upload(client, never_return))
        await entered.wait()
        if how == "is cancelled":
            uploading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await uploading
        else:
            with pytest.raises(APIStatusError):
                await uploading
        assert {task for task in asyncio.all_tasks() if task.get_coro().__name__ == "deliver"} == set()  # type: ignore[union-attr]


async def test_an_ordinary_function_that_returns_a_coroutine_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    watching = Watching()
    async with LocalServer() as server, client_of(server) as client:
        await upload(client, lambda progress: watching(progress))  # noqa: PLW0108 - that is the mistake
    assert watching.got == []
    assert caplog.text.count("TypeError: it returned something to await. Pass the async function itself") == 1


async def test_many_uploads_each_report_in_order() -> None:
    watching = Watching(0.01)
    jobs = [UploadJob(CONTENT[:size], "batch", key=str(size)) for size in (PART, 2 * PART, 3 * PART)]
    async with LocalServer() as server, client_of(server) as client:
        uploader = AsyncUploader(client, journal="memory", part_size=PART)
        async with uploader.upload_many(jobs, on_progress=watching) as outcomes:
            assert [outcome.error async for outcome in outcomes] == [None] * 3
    for job in jobs:
        of_job = [progress for progress in watching.got if progress.source == job.key]
        assert [each.bytes_sent for each in of_job] == sorted(each.bytes_sent for each in of_job)
        assert of_job[-1].state == "completed"


def test_an_async_on_event_is_refused_when_the_client_is_made() -> None:
    async def on_event(_: RequestEvent) -> None: ...

    with pytest.raises(ConfigurationError, match="Pass an ordinary function, such as the `put_nowait`"):
        Client("sk-test", on_event=on_event)


@pytest.mark.parametrize("kind", ["async", "object", "partial", "ordinary"])
async def test_save_may_be_any_kind_of_function(tmp_path: Path, kind: str) -> None:
    saved: list[str] = []

    def ordinary(edit: ImageEdit, _: object) -> None:
        saved.append(edit.id or "")

    async def save(edit: ImageEdit, result: object) -> None:
        await asyncio.sleep(0)
        ordinary(edit, result)

    class Saving:
        async def __call__(self, edit: ImageEdit, result: object) -> None:
            await save(edit, result)

    kinds: dict[str, Any] = {"async": save, "object": Saving(), "partial": partial(save), "ordinary": ordinary}
    edits = [ImageEdit(image=photo(tmp_path / "a.png"), prompt="p", id=str(number)) for number in range(3)]
    async with LocalServer() as server, client_of(server) as client:
        running = ImageEditor(client).edit_many(edits, save=kinds[kind], ledger=tmp_path / "ledger")
        async with running as outcomes:
            assert [outcome.status async for outcome in outcomes] == ["done"] * 3
    assert sorted(saved) == ["0", "1", "2"]
