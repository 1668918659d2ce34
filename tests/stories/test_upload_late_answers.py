"""An answer that comes late, to a request that it does not belong to, settles nothing wrongly."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import AsyncUploader, Client, CompletionUnknownError, FileJournal, ResponseMismatchError, UploadResult
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.raw_server import UPLOAD, Talk, client_of, reply, serving
from tests.stories.support import BRIEF_SEARCH, MIB, MakeFile, refused_at_complete

LOST = Fault("complete", "reset", "done", every=1)


@pytest.fixture
def timing() -> Timing:
    return BRIEF_SEARCH


async def left_in_doubt(server: LocalServer, uploader: AsyncUploader, path: Path) -> dict[str, Any]:
    """Complete with the answer lost, and return that answer."""
    server.inject(LOST)
    with pytest.raises(CompletionUnknownError) as unknown:
        await uploader.upload(path, purpose="batch")
    server.clear_faults()
    (file,) = server.files
    upload_id = unknown.value.upload_id
    return {"id": upload_id, "object": "upload", "status": "completed", "file": file.to_json()}


async def test_a_cancel_that_gets_the_late_answer_to_complete_keeps_the_file_and_no_second_one_is_made(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path, uploader = make_file(MIB), AsyncUploader(client, journal=journal, max_retries=0)
    late = await left_in_doubt(server, uploader, path)
    server.inject(Fault("cancel", "answer", "before", status=200, body=late))
    upload = await uploader.cancel(late["id"])
    assert (upload.status, upload.file and upload.file.id) == ("completed", late["file"]["id"])
    (entry,) = await FileJournal(journal).entries()
    assert "Cancelled" not in {type(record).__name__ for record in entry.records}
    result: UploadResult = await uploader.upload(path, purpose="batch")
    assert (result.file.id, result.reused, len(server.files)) == (late["file"]["id"], True, 1)


async def test_a_cancel_that_hears_of_a_completed_upload_without_its_file_leaves_it_to_the_next_call(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path, uploader = make_file(MIB), AsyncUploader(client, journal=journal, max_retries=0)
    late = await left_in_doubt(server, uploader, path)
    server.inject(Fault("cancel", "answer", "before", status=200, body={"id": late["id"], "status": "completed"}))
    with pytest.raises(CompletionUnknownError, match="is not cancelled"):
        await uploader.cancel(late["id"])
    result = await uploader.upload(path, purpose="batch")
    assert (result.file.id, len(server.files)) == (late["file"]["id"], 1)


@pytest.mark.parametrize("status", ["pending", "expired"])
async def test_a_cancel_believes_no_answer_of_another_status(
    server: LocalServer, journal: Path, make_file: MakeFile, status: str
) -> None:
    async with Client("k", base_url=server.url, timing=BRIEF_SEARCH, max_retries=0) as hasty:
        uploader = AsyncUploader(hasty, journal=journal)
        upload_id = await refused_at_complete(server, uploader, make_file(MIB))
        server.inject(Fault("cancel", "answer", "before", status=200, body={"id": upload_id, "status": status}))
        with pytest.raises(ResponseMismatchError, match=f"is {status}, not cancelled"):
            await uploader.cancel(upload_id)
        assert (await uploader.cancel(upload_id)).status == "cancelled"


@pytest.mark.parametrize("status", ["pending", "expired", "cancelled"])
async def test_a_complete_believes_no_answer_of_another_status_though_it_has_a_file(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, status: str
) -> None:
    path, uploader = make_file(MIB), AsyncUploader(client, journal=journal, max_retries=1)
    upload_id = await refused_at_complete(server, uploader, path)
    wrong = {"id": upload_id, "status": status, "file": {"id": "file-1", "bytes": MIB}}
    server.inject(Fault("complete", "answer", "before", status=200, body=wrong))
    result = await uploader.upload(path, purpose="batch")
    assert [file.id for file in server.files] == [result.file.id]


@pytest.mark.parametrize("size", [2, 5])
async def test_parts_whose_ids_come_twice_for_ever_are_sent_twice_and_then_it_is_said(
    journal: Path, make_file: MakeFile, size: int
) -> None:
    numbers, first = itertools.count(), make_file(size * MIB)

    async def handle(talk: Talk) -> None:
        while True:
            received = await talk.hear()
            pair = next(numbers) // 2
            part = {"id": f"part_{pair}", "object": "upload.part", "upload_id": "upload_1"}
            await talk.say(reply(200, part if received.target.endswith("/parts") else UPLOAD))
            if not received.target.endswith("/parts"):
                next(numbers)

    async with serving(handle) as server, client_of(server, timing=BRIEF_SEARCH) as client:
        uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=2)
        async with asyncio.timeout(10):
            with pytest.raises(ResponseMismatchError, match=r"the same id.*Nothing was completed.*concurrency=1"):
                await uploader.upload(first, purpose="batch")
    sent = [request for request in server.requests if request.target.endswith("/parts")]
    assert len(sent) <= 3 * size
