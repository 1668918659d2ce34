"""A client that is closed while it is used, as by a service that shuts down: it says so, and uploads resume."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import (
    AsyncUploader,
    ChargeUnknownError,
    Client,
    CompletionUnknownError,
    ImageEditor,
    UnusableClientError,
    UploadJob,
    api,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.faults.leaving import stopwatch
from tests.stories.pictures import png
from tests.stories.support import MIB, MakeFile
from tests.waiting import until

HALF = MIB // 2


async def until_called(server: LocalServer, route: Any, times: int = 1) -> None:
    async with asyncio.timeout(10):
        while server.calls.get(route, 0) < times:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)


def client_of(server: LocalServer, timing: Timing | None = None) -> Client:
    return Client("sk-test", base_url=server.url, timing=timing or Timing())


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def closed_within(
    server: LocalServer,
    journal: Path,
    source: Any,
    at: Any,
    times: int = 1,
    *,
    once: Callable[[], object] = lambda: True,
) -> Exception:
    """What an upload raises whose client is closed once `at` was called `times` times, and a condition holds."""
    client = client_of(server)
    uploader = AsyncUploader(client, journal=journal, part_size=HALF, concurrency=2)
    uploading = asyncio.ensure_future(uploader.upload(source, purpose="batch"))
    await until_called(server, at, times)
    await until(once)
    await client.close()
    assert client.is_closed()
    with stopwatch() as watch:
        await asyncio.wait([uploading])
        assert watch.seconds < 1
    failure = uploading.exception()
    assert isinstance(failure, Exception)
    return failure


async def test_an_upload_of_a_path_says_that_it_resumes_and_does(
    server: LocalServer, journal: Path, make_file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_file(4 * MIB)
    server.inject(Fault("part", "stall", nth=4, times=20))
    error = await closed_within(server, journal, path, "part", 5)
    assert isinstance(error, UnusableClientError)
    assert str(error) == "this Client was closed meanwhile, and the upload stopped. Make another Client."
    assert (error.resumable, error.bytes_done, error.upload_id) == (True, 3 * HALF, server.uploads[0].id)
    assert error.advice.startswith(f"Repeat the call: it resumes. {3 * HALF:,} of {4 * MIB:,} bytes are there")
    assert warnings(caplog) == []  # nothing was tried again
    server.clear_faults()
    async with client_of(server) as another:
        result = await AsyncUploader(another, journal=journal, part_size=HALF).upload(path, purpose="batch")
    assert result.bytes_resumed == 3 * HALF
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


async def test_an_upload_of_bytes_says_that_it_starts_again(server: LocalServer, journal: Path) -> None:
    server.inject(Fault("part", "stall", every=1))
    error: Any = await closed_within(server, journal, b"a" * MIB, "part")
    assert isinstance(error, UnusableClientError)
    assert "Nothing was sent" not in str(error)
    assert (error.resumable, error.bytes_done) == (True, 0)
    assert error.advice.startswith("Repeat the call: it starts again.")


async def test_before_anything_was_sent_the_same_call_is_advised(
    server: LocalServer, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("create", "stall"))
    error: Any = await closed_within(server, journal, make_file(MIB), "create")
    assert isinstance(error, UnusableClientError)
    assert (error.resumable, error.advice) == (True, "Nothing was sent yet. Repeat the call.")


async def test_while_it_waits_to_try_again_nothing_is_tried_any_more(
    server: LocalServer, journal: Path, make_file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    server.inject(Fault("part", "answer", status=503, retry_after=0.8, every=1))
    error: Any = await closed_within(server, journal, make_file(HALF), "part", once=lambda: warnings(caplog))
    assert error.resumable
    assert len(warnings(caplog)) == 1
    assert server.calls["part"] == 1


async def test_a_complete_in_doubt_stays_in_doubt(server: LocalServer, journal: Path, make_file: MakeFile) -> None:
    path = make_file(MIB)
    server.inject(Fault("complete", "stall", "done"))
    error: Any = await closed_within(server, journal, path, "complete")
    assert isinstance(error, CompletionUnknownError)
    assert error.resumable
    async with client_of(server) as another:
        result = await AsyncUploader(another, journal=journal, part_size=HALF).upload(path, purpose="batch")
    assert [file.id for file in server.files] == [result.file.id]


async def test_a_complete_whose_file_can_not_be_looked_for_any_more_stays_in_doubt(
    server: LocalServer, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("complete", "reset", "done"), Fault("complete", "answer", status=400, nth=2))
    server.inject(Fault("files.list", "stall"))
    error: Any = await closed_within(server, journal, make_file(MIB), "files.list")
    assert isinstance(error, CompletionUnknownError)


async def test_many_uploads_each_say_it(server: LocalServer, journal: Path, make_file: MakeFile) -> None:
    path = make_file(MIB)
    jobs = [UploadJob(path, "batch", key=str(number), method="uploads") for number in range(4)]
    server.inject(Fault("part", "stall", every=1))
    client = client_of(server)
    async with AsyncUploader(client, journal=journal, concurrency=2).upload_many(jobs) as outcomes:
        closing = asyncio.ensure_future(until_called(server, "part"))
        closing.add_done_callback(lambda _: asyncio.ensure_future(client.close()))
        errors = [outcome.error async for outcome in outcomes]
    assert [type(error) for error in errors] == [UnusableClientError] * 4
    said = sorted(str(error).partition(",")[0] for error in errors)
    assert said[-1] == "this Client was closed meanwhile"
    assert said[0] == "this Client is closed"  # it began later, and so nothing was sent


async def test_an_edit_says_it_and_that_it_may_have_been_paid(server: LocalServer) -> None:
    server.inject(Fault("edit", "stall"))
    client = client_of(server)
    editing = asyncio.ensure_future(ImageEditor(client).edit(png(), "a beret"))
    await until_called(server, "edit")
    await client.close()
    with pytest.raises(ChargeUnknownError, match=r"this Client was closed meanwhile\.\n  .*it may have been paid"):
        await editing


async def test_any_other_request_says_it_and_is_not_tried_again(
    server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.inject(Fault("files.list", "stall"))
    client = client_of(server)
    listing = asyncio.ensure_future(client.send(api.list_files()))
    await until_called(server, "files.list")
    await client.close()
    with pytest.raises(Exception, match=r"^GET /files: this Client was closed meanwhile\.$"):
        await listing
    assert warnings(caplog) == []
