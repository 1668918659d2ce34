"""The key is seen by the server alone: in no error, no cause, no event, no log, even where it is echoed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from asyncsdk import (
    APIError,
    APIResponseValidationError,
    AuthenticationError,
    ChargeUnknownError,
    ImageEditor,
    ModerationBlockedError,
    RequestEvent,
    api,
    retry,
)
from asyncsdk.models import File
from tests.raw_server import KEY, Talk, answering, assert_keeps_the_key, client_of, reply

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c626001000000ffff03000006000557bfabd40000000049454e44ae426082"
)
PICTURE = api.ImageFile(content=PIXEL, filename="a.png", mime_type="image/png")
EDIT = api.edit_image(image=PICTURE, prompt="x")
GET_FILE = api.retrieve_file("file-1")
FILE = {"id": "file-1"}
LARGE = 8 << 20  # more than the kernel takes in for a server that does not read
Handler = Callable[[Talk], Awaitable[None]]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.001)


ECHOES = [
    reply(401, {"error": {"message": f"Incorrect API key: {KEY}", "code": KEY, "param": KEY, "type": KEY}}),
    reply(400, f"<html>Authorization: Bearer {KEY}</html>"),
    reply(500, KEY, {"X-Request-ID": KEY, "X-Echo": f"Bearer {KEY}"}),
    reply(200, f"you said: Bearer {KEY}", {"X-Request-ID": KEY}),
    reply(200, {"id": "file-1", "bytes": KEY}),
    reply(200, {KEY: KEY}),
    reply(307, "", {"Location": f"http://{KEY}.invalid/{KEY}"}),
    reply(404, b"\xff\xfe" + KEY.encode()),
]


@pytest.mark.parametrize("answer", ECHOES, ids=range(len(ECHOES)))
async def test_the_key_is_in_no_error_event_or_log_even_where_the_server_echoes_it(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[RequestEvent] = []
    async with answering(answer) as server, client_of(server, max_retries=1, on_event=events.append) as client:
        with pytest.raises(APIError) as caught, caplog.at_level(0):
            await client.send(GET_FILE)
    assert_keeps_the_key(caught.value)
    assert events
    assert KEY not in repr(events) + caplog.text


@pytest.mark.parametrize("echo", ["ab\\/cd\\/ef=", "ab/cd/ef%3D", "ab%2Fcd%2Fef%3D"])
async def test_a_key_with_slashes_is_known_in_json_and_in_a_url_too(echo: str) -> None:
    answer = reply(401, f'{{"error": {{"message": "you sent {echo}"}}}}')
    async with answering(answer) as server, client_of(server) as client:
        object.__setattr__(client.settings, "key", "ab/cd/ef=")
        with pytest.raises(AuthenticationError, match=r"you sent \[key\]"):
            await client.send(GET_FILE)


async def test_a_word_of_the_answer_that_is_the_key_stays_where_the_answer_is_good() -> None:
    async with answering(reply(200, {"id": "file-1", "filename": f"{KEY}.txt"})) as server, client_of(server) as client:
        file: File = await client.send(GET_FILE)
    assert file.filename == f"{KEY}.txt"


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"b64_json": KEY}]},
        {"data": [{"b64_json": f"{KEY}\\"}]},
        {"data": [{"b64_json": "eA==", "revised_prompt": [KEY]}], KEY: KEY},
        {"data": KEY},
        f'{{"data": [{{"b64_json": "eA=="}}], {KEY}',
        KEY,
    ],
    ids=range(6),
)
async def test_nor_in_that_of_an_answer_whose_pictures_are_cut_out(body: object) -> None:
    async with answering(reply(200, body)) as server, client_of(server, max_retries=0) as client:
        with pytest.raises(APIResponseValidationError) as caught:
            await client.send(EDIT)
    assert_keeps_the_key(caught.value)


async def test_a_picture_counts_although_the_answer_echoes_the_key() -> None:
    body = {"data": [{"b64_json": "eA==", "revised_prompt": KEY}]}
    async with answering(reply(200, body)) as server, client_of(server) as client:
        (image,) = (await client.send(EDIT)).data
    assert (image.content, image.revised_prompt) == (b"x", KEY)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (
            f'{{"error": {{"message": "{KEY}", "code": "moderation_blocked", "param": "{KEY}"}}}}',
            ModerationBlockedError,
        ),
        (f'{{"type": "error", "message": "{KEY}"}}', ChargeUnknownError),
        (f'{{"b64_json": "{KEY}"', ChargeUnknownError),
        (f"Bearer {KEY}", ChargeUnknownError),
    ],
)
async def test_nor_in_that_of_a_streamed_edit(frame: str, kind: type[Exception]) -> None:
    events = reply(200, f"data: {frame}\n\n", {"X-Request-ID": KEY})
    async with answering(events) as server, client_of(server) as client:
        with pytest.raises(kind) as caught:
            await ImageEditor(client).edit(PIXEL, "x", stream=True)
    assert_keeps_the_key(caught.value)
