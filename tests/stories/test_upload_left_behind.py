"""An upload that ends without a file takes nothing with it: what was done counts, what is said stays true."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import (
    AsyncUploader,
    AuthenticationError,
    BadRequestError,
    Client,
    ConfigurationError,
    UploadNotFoundError,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.journal.memory import MemoryJournal
from tests.stories.support import MIB, MakeFile

REFUSED = Fault("complete", "answer", "before", status=400)


async def refused(uploader: AsyncUploader, server: LocalServer, path: Path, **options: Any) -> str:
    """Send all of it and be refused at complete; the upload's id."""
    server.inject(REFUSED)
    with pytest.raises(BadRequestError) as failure:
        await uploader.upload(path, purpose="batch", **options)
    assert failure.value.upload_id is not None
    return failure.value.upload_id


@pytest.mark.parametrize("ended", ["cancelled", "gone"])
async def test_a_finished_file_is_found_again_after_a_later_upload_ended_without_one(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile, ended: str
) -> None:
    path = make_file(2 * MIB)
    first = await uploader.upload(path, purpose="batch")
    later = await refused(uploader, server, path, if_uploaded="again")
    if ended == "cancelled":
        await uploader.cancel(later)
    else:
        server.inject(Fault("complete", "answer", "before", status=404))
    result = await uploader.upload(path, purpose="batch")
    assert (result.file.id, result.reused, result.bytes_sent) == (first.file.id, True, 0)
    assert len(server.files) == 1


async def test_numbers_on_the_error_are_of_the_upload_that_was_begun_afresh(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    path = make_file(2 * MIB)
    await refused(uploader, server, path)
    server.inject(Fault("complete", "answer", "before", status=404), Fault("create", "answer", "before", status=401))
    with pytest.raises(AuthenticationError) as failure:
        await uploader.upload(path, purpose="batch")
    assert (failure.value.bytes_done, failure.value.upload_id, failure.value.expires_in) == (0, None, None)
    assert failure.value.advice == "Nothing was sent yet. Fix this, then repeat the call."


async def test_an_upload_lost_by_the_server_starts_anew_and_says_so(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    path = make_file(2 * MIB)
    server.inject(Fault("complete", "answer", "before", status=404))
    with pytest.raises(UploadNotFoundError) as failure:
        await uploader.upload(path, purpose="batch")
    assert failure.value.resumable
    assert failure.value.advice == "The server has dropped what was sent. Repeat the call: it starts again."


async def test_a_refused_complete_names_the_way_out_when_it_stays_refused(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    path = make_file(2 * MIB)
    server.inject(Fault("complete", "answer", "before", status=400, every=1))
    for _ in range(2):
        with pytest.raises(BadRequestError) as failure:
            await uploader.upload(path, purpose="batch")
        assert "resume=False (--no-resume)" in failure.value.advice
    server.clear_faults()
    result = await uploader.upload(path, purpose="batch", resume=False)
    assert (result.bytes_resumed, server.calls["create"]) == (0, 2)


async def test_a_complete_of_another_upload_is_not_believed_and_asked_again(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    path = make_file(2 * MIB)
    file = {"id": "file-x", "object": "file", "bytes": 999, "created_at": 1, "filename": "a", "purpose": "batch"}
    upload = {"id": "upload_x", "object": "upload", "status": "completed", "file": file}
    server.inject(Fault("complete", "answer", "before", status=200, body=upload))
    result = await uploader.upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert (server.calls["create"], server.calls["complete"], len(server.files)) == (1, 2, 1)


class Overtaken(MemoryJournal):
    """Somebody else begins an upload of the same file between the look into the journal and the claim."""

    before_claim: Callable[[], Any] | None = None

    @asynccontextmanager
    async def claim(self, key: str, **options: Any) -> Any:
        if self.before_claim is not None:
            happens, self.before_claim = self.before_claim, None
            await happens()
        async with super().claim(key, **options) as log:
            yield log


async def test_cancelling_an_upload_that_was_overtaken_leaves_the_newer_one_alone(
    server: LocalServer, client: Client, make_file: MakeFile
) -> None:
    path, journal = make_file(2 * MIB), Overtaken()
    uploader = AsyncUploader(client, journal=journal, part_size=MIB)
    older = await refused(uploader, server, path)
    journal.before_claim = lambda: refused(uploader, server, path, resume=False)
    with pytest.raises(ConfigurationError, match="has begun since"):
        await uploader.cancel(older)
    result = await uploader.upload(path, purpose="batch")
    assert result.bytes_resumed == 2 * MIB
