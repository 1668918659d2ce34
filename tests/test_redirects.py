"""Redirects: followed to the same origin with a fresh body, never with the key to another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from asyncsdk import (
    APIResponseValidationError,
    RedirectError,
    api,
)
from asyncsdk.api import Request
from tests.raw_server import PART, Talk, answering, client_of, reply, serving

GET_FILE = api.retrieve_file("file-1")
FILE = {"id": "file-1"}
LARGE = 8 << 20  # more than the kernel takes in for a server that does not read
Handler = Callable[[Talk], Awaitable[None]]


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_on_the_same_origin_is_followed_with_a_fresh_body(status: int) -> None:
    there = reply(status, "", {"Location": "/v2/elsewhere?a=b"})
    async with answering(there, reply(200, PART)) as server, client_of(server) as client:
        assert (await client.send(api.add_upload_part("upload_1", data=b"x" * 1000))).id == "part_1"
    first, second = server.requests
    assert (second.method, second.target) == ("POST", "/v2/elsewhere?a=b")
    assert first.headers["content-type"] != second.headers["content-type"]
    assert b"x" * 1000 in second.body


async def test_the_next_attempt_begins_at_the_first_address_again() -> None:
    there = reply(307, "", {"Location": "there"})
    async with answering(there, reply(500), reply(200, FILE)) as server, client_of(server) as client:
        await client.send(GET_FILE)
    assert [request.target for request in server.requests] == [
        "/v1/files/file-1",
        "/v1/files/there",
        "/v1/files/file-1",
    ]


async def test_a_get_follows_a_302_on_the_same_origin() -> None:
    async with (
        answering(reply(302, "", {"Location": "/v1/there"}), reply(200, FILE)) as server,
        client_of(server) as client,
    ):
        assert (await client.send(GET_FILE)).id == "file-1"


@pytest.mark.parametrize(
    ("status", "location", "shown"),
    [
        (307, "http://elsewhere.invalid/v1/uploads", "http://elsewhere.invalid:80"),
        (308, "https://127.0.0.1/v1/uploads", "https://127.0.0.1:443"),
        (307, "//user:pw@127.0.0.1:{port}/v1", "nowhere"),
        (307, "mailto:somebody", "nowhere"),
        (307, "http://[bad", "nowhere"),
        (301, "/v1/uploads/", "http://127.0.0.1:{port}"),
        (303, "/v1/uploads/", "http://127.0.0.1:{port}"),
    ],
)
async def test_no_other_redirect_is_followed(status: int, location: str, shown: str) -> None:
    async def handle(talk: Talk) -> None:
        await talk.hear()
        await talk.say(reply(status, "", {"Location": location.format(port=talk.server.port)}))

    async with serving(handle) as server, client_of(server) as client:
        with pytest.raises(RedirectError) as caught:
            await client.send(api.cancel_upload("upload_1"))
    assert f"points to {shown.format(port=server.port)}." in str(caught.value)
    assert "no key was sent there" in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "location", "may"),
    [
        (303, "/v1/result", True),
        (303, "https://elsewhere.invalid/result", True),
        (302, "/v1/result", True),
        (301, "/v1/uploads/", True),
        (302, "http://[bad", True),
        (302, "https://127.0.0.1/v1/uploads", False),
        (301, "http://www.elsewhere.invalid/v1/uploads", False),
        (307, "https://127.0.0.1/v1/uploads", False),
        (308, "http://elsewhere.invalid/v1/uploads", False),
    ],
)
@pytest.mark.parametrize("request_", [api.cancel_upload("upload_1"), api.delete_file("file-1")], ids=["POST", "DELETE"])
async def test_a_redirect_says_whether_the_server_may_have_acted(
    request_: Request[object], status: int, location: str, *, may: bool
) -> None:
    async with answering(reply(status, "", {"Location": location})) as server, client_of(server) as client:
        with pytest.raises(RedirectError) as caught:
            await client.send(request_)
    assert caught.value.may_have_acted is may
    assert ("check that before you send it again" in str(caught.value)) is may
    assert ("Nothing was done." in str(caught.value)) is not may


async def test_a_get_that_is_redirected_elsewhere_did_nothing() -> None:
    async with (
        answering(reply(303, "", {"Location": "https://elsewhere.invalid/"})) as server,
        client_of(server) as client,
    ):
        with pytest.raises(RedirectError) as caught:
            await client.send(GET_FILE)
    assert not caught.value.may_have_acted


async def test_a_circle_of_redirects_ends() -> None:
    async with answering(reply(307, "", {"Location": "/v1/again"})) as server, client_of(server) as client:
        with pytest.raises(RedirectError, match="redirected 5 times"):
            await client.send(GET_FILE)


async def test_a_redirect_that_points_nowhere_is_no_answer() -> None:
    async with answering(reply(307)) as server, client_of(server) as client:
        with pytest.raises(APIResponseValidationError) as caught:
            await client.send(GET_FILE)
    assert caught.value.status_code == 307
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [300, 304, 307])
async def test_no_file_is_made_of_what_is_not_an_answer(status: int, tmp_path: Path) -> None:
    async with answering(reply(status)) as server, client_of(server) as client:
        with pytest.raises(APIResponseValidationError, match=str(status)):
            await client.download(api.file_content("file-1"), tmp_path / "content")
        with pytest.raises(APIResponseValidationError, match=str(status)):
            await client.download_url(server.url)
    assert list(tmp_path.iterdir()) == []
