"""An error object in a 200 answer to a call of an upload is the error that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncsdk import (
    APIError,
    AsyncUploader,
    AuthenticationError,
    Client,
    CompletionUnknownError,
    InternalServerError,
    QuotaExceededError,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.faults import Route
from tests.raw_server import KEY, answering, assert_keeps_the_key, client_of, reply
from tests.stories.support import MIB, MakeFile

QUOTA = {"error": {"message": "Key limit exceeded", "type": "insufficient_quota", "code": "insufficient_quota"}}
BUSY = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
BROKEN = {"error": {"message": "upstream failed"}}


@pytest.mark.parametrize("route", ["create", "part", "complete"])
async def test_what_waiting_can_not_help_ends_the_upload_at_once_in_the_servers_words(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile, route: Route
) -> None:
    at: Any = "done" if route == "part" else "before"  # a part that is not sent whole is sent again
    server.inject(Fault(route, "answer", at, status=200, body=QUOTA))
    path = make_file(MIB)
    with pytest.raises(QuotaExceededError, match="Key limit exceeded") as caught:
        await uploader.upload(path, purpose="batch")
    assert caught.value.code == "insufficient_quota"
    assert server.calls[route] == 1
    await uploader.upload(path, purpose="batch")
    assert len(server.files) == 1
    assert server.calls["create"] == (2 if route == "create" else 1)


@pytest.mark.parametrize("route", ["create", "part", "complete"])
@pytest.mark.parametrize("body", [BUSY, BROKEN], ids=["429", "500"])
async def test_what_may_pass_is_asked_again(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile, route: Route, body: object
) -> None:
    server.inject(Fault(route, "answer", "before", status=200, body=body, headers={"retry-after-ms": "1"}))
    await uploader.upload(make_file(MIB), purpose="batch")
    assert server.calls[route] == 2
    assert len(server.files) == 1


async def test_a_complete_that_was_done_and_answered_with_an_error_makes_no_second_file(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("complete", "answer", "done", status=200, body=BROKEN))
    path, uploader = make_file(MIB), AsyncUploader(client, journal=journal, max_retries=0)
    with pytest.raises(CompletionUnknownError):
        await uploader.upload(path, purpose="batch")
    result = await uploader.upload(path, purpose="batch")
    assert [file.id for file in server.files] == [result.file.id]
    assert server.calls["create"] == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}, AuthenticationError),
        ({"error": {"message": f"no {KEY}"}}, InternalServerError),
        (f"<html>{KEY}</html>", APIError),
    ],
)
async def test_no_answer_shows_the_key(body: object, error: type[APIError]) -> None:
    async with answering(reply(200, body)) as server, client_of(server, max_retries=0) as client:
        with pytest.raises(error) as caught:
            await AsyncUploader(client, journal="memory").upload(b"{}", purpose="batch", filename="a.bin")
    assert_keeps_the_key(caught.value)
    assert "[key]" in str(caught.value)
