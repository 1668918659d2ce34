"""A server that keeps a file under another name is believed, as long as no other upload has that name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from asyncsdk import AsyncUploader, Client, ResponseMismatchError
from asyncsdk.models import File, Upload
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from asyncsdk.uploads.response_checks import Content, Ids, not_a_file_of, not_created
from tests.journal.support import opened
from tests.raw_server import PART, UPLOAD, Talk, client_of, reply, serving
from tests.stories.support import BRIEF_SEARCH, MIB, MakeFile

RENAMED = {"filename": "my_train.bin", "bytes": 9, "purpose": "batch"}


@pytest.fixture
def timing() -> Timing:
    return BRIEF_SEARCH


async def renaming(talk: Talk) -> None:
    """An API that keeps each file as `my_train.bin`."""
    file = {"id": "file-1", "object": "file"} | RENAMED
    answers: dict[str, dict[str, Any]] = {
        "parts": PART,
        "complete": UPLOAD | RENAMED | {"status": "completed", "file": file},
        "uploads": UPLOAD | RENAMED,
        "file-1": file,
    }
    while True:
        received = await talk.hear()
        await talk.say(reply(200, answers[received.target.rpartition("/")[2]]))


async def test_a_file_that_the_server_renames_goes_up_once_and_is_found_again(journal: Path) -> None:
    async with serving(renaming) as server, client_of(server, timing=BRIEF_SEARCH) as client:
        uploader = AsyncUploader(client, journal=journal)
        for reused in (False, True):
            result = await uploader.upload(b"123456789", purpose="batch", filename="my train.bin", key="mine")
            assert (result.file.id, result.reused) == ("file-1", reused)
    assert [request.target for request in server.requests].count("/v1/uploads") == 1


async def test_a_name_that_another_upload_of_this_uploader_has_is_a_crossed_answer(journal: Path) -> None:
    async with serving(renaming) as server, client_of(server, timing=BRIEF_SEARCH) as client:
        uploader = AsyncUploader(client, journal=journal, max_retries=0)
        await uploader.upload(b"123456789", purpose="batch", filename="my_train.bin", key="other")
        with pytest.raises(ResponseMismatchError, match=r"its filename is 'my_train\.bin'"):
            await uploader.upload(b"987654321", purpose="batch", filename="my train.bin", key="mine")


async def test_a_lost_complete_finds_a_file_whose_name_has_other_signs(
    tmp_path: Path, journal: Path, make_file: MakeFile
) -> None:
    now, path = int(time.time()), make_file(MIB, "my train.bin")
    async with (
        LocalServer(tmp_path / "server", clock=lambda: now, repeated_complete=400) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        file = {"id": "file-1", "object": "file", "bytes": MIB, "created_at": now, "purpose": "batch"}
        listed = {"object": "list", "data": [file | {"filename": "My_train.bin"}], "has_more": False}
        server.inject(
            Fault("complete", "reset", "done"), Fault("files.list", "answer", "before", status=200, body=listed)
        )
        result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    assert result.file.id == "file-1"


@pytest.mark.parametrize(
    ("filename", "may_be"),
    [("my_train.bin", True), ("MY-TRAIN.BIN", True), ("mytrain", False), ("your train.bin", False)],
)
def test_a_listed_file_may_be_ours_where_its_name_has_the_same_letters(filename: str, *, may_be: bool) -> None:
    content = Content("my train.bin", "batch", 9)
    assert content.may_be(File(id="file-1", filename=filename, bytes=9, purpose="batch")) is may_be
    assert content.matches(evolve(opened(), filename=filename, bytes=9, purpose="batch")) is may_be


def test_a_purpose_with_a_mark_in_the_place_of_a_secret_is_not_compared() -> None:
    content = Content("a", "batch", 9)
    for purpose in ("[key]", "ba[secret]"):
        file = File(id="file-1", filename="a", purpose=purpose)
        assert not_a_file_of(file, content=content) is None
        upload = Upload(id="upload_1", filename="a", purpose=purpose)
        assert not_created(upload, content=content, known=(), ids=Ids()) is None
    assert not_a_file_of(File(id="file-1", purpose="vision"), content=content) is not None
