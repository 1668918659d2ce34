"""What has ended is freed at once: content that waits for the garbage collector adds up to a run's memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from asyncsdk import APIError, AsyncSDKError, AsyncUploader, Client, ImageEditor, UploadJob, api
from asyncsdk.http.body import Body
from asyncsdk.http.edit_response import Messages
from asyncsdk.images.bulk.worker import EditWorker
from asyncsdk.images.pictures import LoadedEdit
from asyncsdk.models import EditedImage
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.parts.run import UploadRun
from asyncsdk.uploads.whole.file_run import FileRun
from tests.stories.edits import jobs
from tests.stories.pictures import photo
from tests.stories.support import MakeFile


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """No garbage is collected meanwhile, and what is of earlier tests is not counted."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # as at the end of the collection of tests


def left_of(*kinds: type) -> int:
    return sum(issubclass(type(each), kinds) for each in gc.get_objects())  # lazy objects would wake if asked


@pytest.mark.parametrize("method", ["files", "uploads"])
async def test_nothing_of_a_sent_file_is_left(client: Client, journal: Path, make_file: MakeFile, method: str) -> None:
    files = [make_file(10_000, f"{number}.bin", seed=number) for number in range(20)]
    async with AsyncUploader(client, journal=journal).upload_many(
        [UploadJob(path, "batch", method=method) for path in files]  # type: ignore[arg-type]
    ) as outcomes:
        ids = [outcome.result.file.id async for outcome in outcomes if outcome.result]
    assert len(set(ids)) == 20
    assert left_of(FileRun, UploadRun, Body) == 0


async def test_no_picture_of_an_edit_is_left_once_its_outcome_is(client: Client, tmp_path: Path) -> None:
    async with ImageEditor(client).edit_many(jobs(20), out=tmp_path / "out", ledger=tmp_path / "ledger") as outcomes:
        done = sum([outcome.status == "done" async for outcome in outcomes])
    assert done == 20
    assert left_of(EditWorker, LoadedEdit, EditedImage, Body) == 0


async def test_nothing_of_a_response_that_can_not_be_used_is_left(
    server: LocalServer, client: Client, tmp_path: Path
) -> None:
    client.max_retries, path = 0, photo(tmp_path / "a.png")
    server.inject(Fault("edit", "answer", every=1, status=200, body="neither JSON nor a picture"))
    picture = api.ImageFile(content=path.read_bytes(), filename="a.png", mime_type="image/png")
    for _ in range(3):
        with suppress(APIError):
            await client.send(api.edit_image(image=picture, prompt="x"))
        with suppress(AsyncSDKError):
            await ImageEditor(client).edit(path, prompt="x")
    assert server.calls["edit"] == 6
    assert left_of(Messages) == 0
