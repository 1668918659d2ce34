"""An answer that points elsewhere: an edit that may have been done is not called unpaid, and no other follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, ChargeUnknownError, Client, CompletionUnknownError, ImageEditor, RedirectError
from asyncsdk.images.bulk.policy import OnUncertain
from asyncsdk.server import Fault, LocalServer
from tests.raw_server import answering, client_of, reply
from tests.stories.edits import MODEL, PICTURE, again, jobs, until
from tests.stories.support import MIB, MakeFile

SEE_OTHER = reply(303, "", {"Location": "/v1/images/1"})
FOUND = reply(302, "", {"Location": "/v1/images/1"})
USE_TLS = reply(301, "", {"Location": "https://127.0.0.1/v1/images/edits"})


@pytest.mark.parametrize("answer", [SEE_OTHER, FOUND], ids=["303", "302"])
async def test_one_edit_that_is_redirected_after_it_was_taken_may_have_been_paid(answer: bytes) -> None:
    async with answering(answer) as server, client_of(server) as client:
        with pytest.raises(ChargeUnknownError) as caught:
            await ImageEditor(client).edit(PICTURE, "a beret", model=MODEL)
    assert isinstance(caught.value.__cause__, RedirectError)
    assert len(server.requests) == 1


@pytest.mark.parametrize("on_uncertain", ["report", "retry", "stop"])
async def test_a_run_ends_at_once_and_the_same_call_does_not_pay_for_it_again(
    tmp_path: Path, on_uncertain: OnUncertain
) -> None:
    async with answering(SEE_OTHER) as server, client_of(server) as client:
        edits = ImageEditor(client).edit_many(jobs(6), out=tmp_path, concurrency=1, on_uncertain=on_uncertain)
        async with edits as outcomes:
            [lost] = await until(outcomes, ChargeUnknownError)
        assert (lost.status, len(server.requests)) == ("uncertain", 1)
    assert await again(tmp_path) == {"uncertain": 1, "done": 5}


async def test_a_base_url_with_http_for_https_costs_nothing(tmp_path: Path) -> None:
    async with answering(USE_TLS) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(6), out=tmp_path, concurrency=1) as outcomes:
            [unpaid] = await until(outcomes, RedirectError, match="Nothing was done")
        assert (unpaid.status, len(server.requests)) == ("failed", 1)
    assert await again(tmp_path) == {"done": 6}


async def test_a_complete_that_is_redirected_is_looked_up_by_the_next_call(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("complete", "answer", "done", status=303, headers={"Location": "/v1/files/file-1"}))
    path, uploader = make_file(2 * MIB), AsyncUploader(client, journal=journal)
    with pytest.raises(CompletionUnknownError):
        await uploader.upload(path, purpose="batch")
    result = await uploader.upload(path, purpose="batch")
    assert [file.id for file in server.files] == [result.file.id]
    assert server.calls["create"] == 1
