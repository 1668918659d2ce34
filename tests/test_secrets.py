"""Secrets are seen by the server alone: in no error, cause, event, log or model, even where it echoes them."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

import aiohttp
import pytest

from asyncsdk import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ChargeUnknownError,
    Client,
    ImageEditor,
    ModerationBlockedError,
    RedirectError,
    RequestEvent,
    api,
)
from asyncsdk.models import File
from tests.raw_server import KEY, QUICK, RawServer, Talk, answering, assert_keeps_the_key, client_of, reply, serving

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


ECHOES = [
    reply(401, {"error": {"message": f"Incorrect API key: {KEY}", "code": KEY, "param": KEY, "type": KEY}}),
    reply(400, f"<html>Authorization: Bearer {KEY}</html>"),
    reply(500, KEY, {"X-Request-ID": KEY, "X-Echo": f"Bearer {KEY}"}),
    reply(200, f"you said: Bearer {KEY}", {"X-Request-ID": KEY}),
    reply(200, {"id": ["file-1"], "filename": KEY}),
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


async def test_a_key_that_was_replaced_since_is_not_shown_either() -> None:
    keys = iter(["sk-former-0a1b2c3d", "sk-newer-4e5f6a7b"])
    both = reply(400, {"error": {"message": "old sk-former-0a1b2c3d, new sk-newer-4e5f6a7b"}})
    async with answering(both) as server, Client(lambda: next(keys), base_url=server.url, timing=QUICK) as client:
        with pytest.raises(BadRequestError, match=r"old \[key\], new sk-newer"):
            await client.send(GET_FILE)
        with pytest.raises(BadRequestError, match=r"old \[key\], new \[key\]"):
            await client.send(GET_FILE)


async def test_a_good_answer_that_echoes_the_key_counts_without_it() -> None:
    async with answering(reply(200, {"id": "file-1", "filename": f"{KEY}.txt"})) as server, client_of(server) as client:
        file: File = await client.send(GET_FILE)
    assert file.filename == "[key].txt"


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"b64_json": KEY}]},
        {"data": [{"b64_json": f"{KEY}\\"}]},
        {"data": [{"b64_json": base64.b64encode(KEY.encode()).decode(), "revised_prompt": [KEY]}], KEY: KEY},
        {"data": [{"b64_json": base64.b64encode(b"\xff" + KEY.encode()).decode()}]},
        {"data": KEY},
        {"data": [], "note": KEY},
        {"type": KEY, "note": KEY},
        f'{{"data": [{{"b64_json": "{KEY}"}}], {KEY}',
        f'{{"data": [{{"note": "{KEY}"',
        f"data: {KEY}",
        KEY,
    ],
    ids=range(11),
)
async def test_nor_in_that_of_an_edit_or_in_what_is_kept_of_its_answer(body: object) -> None:
    async with answering(reply(200, body)) as server, client_of(server, max_retries=0) as client:
        with pytest.raises(ChargeUnknownError) as caught:
            await ImageEditor(client).edit(PIXEL, "x")
    assert_keeps_the_key(caught.value)
    assert caught.value.raw
    assert not any(KEY.encode() in raw for raw in caught.value.raw)


async def test_a_picture_counts_although_the_answer_echoes_the_key() -> None:
    body = {"data": [{"b64_json": "eA==", "revised_prompt": KEY}]}
    async with answering(reply(200, body)) as server, client_of(server) as client:
        (image,) = (await client.send(EDIT)).data
    assert (image.content, image.revised_prompt) == (b"x", "[key]")


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


GATEWAY, COOKIE, OTHER, CALL = "gw-SECRET-1", "c00k-SECRET-2", "hdr+SECRET/3", "call-SECRET-4"
CODE, ASKED, PASSWORD = "q-SECRET=5", "a-SECRET-6", "pr0xy+PASS/7"
SECRETS = (KEY, GATEWAY, COOKIE, OTHER, CALL, CODE, ASKED, PASSWORD)
CREDENTIALS = (KEY, COOKIE, CODE, ASKED, PASSWORD)  # by their names; the others are values of plain headers
ENCODED: Mapping[str, Callable[[str], str]] = {
    "as they are": str,
    "in JSON": lambda text: "".join(f"\\u{ord(c):04X}" for c in text),
    "in a URL": lambda text: "".join(f"%{ord(c):02x}" for c in text),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
}


async def echo(talk: Talk, encode: Callable[[str], str], status: int) -> None:
    """Answer each request with all that it carried, as debug pages do."""
    while True:
        request = await talk.hear()
        pieces = [word for line in request.head.decode().split("\r\n") for word in line.replace("=", " ").split()]
        heard = [*request.head.decode().split("\r\n"), *pieces, f"somebody:{PASSWORD}", *SECRETS]
        told = ", ".join(f'"{encode(line)}"' for line in heard)
        fields = f'"id": "file-1", "message": {told.split(", ")[-1]}, "code": "{encode(KEY)}", "all": [{told}]'
        body = f'{{"error": {{{fields}}}, {fields}}}'
        header = f"X-Request-ID: {encode(KEY)}\r\nX-Echo: {encode(OTHER)} {encode(PASSWORD)}"
        await talk.say(f"HTTP/1.1 {status} x\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


async def with_everything(server: RawServer, call: Callable[[Client], Awaitable[object]]) -> object:
    """Make `call` with a client that has a secret wherever it can have one."""
    client = client_of(
        server,
        default_headers={"X-Other": OTHER},
        default_query={"code": CODE},
        proxy=f"http://somebody:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}",
        max_retries=0,
    )
    async with client:
        return await call(client)


def assert_keeps_all(error: BaseException) -> None:
    chain: list[BaseException | None] = [error]
    while (last := chain[-1]) is not None:
        chain.append(last.__cause__ or last.__context__)
    shown = "".join(traceback.format_exception(error)) + "".join(f"{e!r} {e.args} {vars(e)}" for e in chain if e)
    assert_keeps(shown)


def assert_keeps(shown: str, secrets: tuple[str, ...] = SECRETS) -> None:
    assert [secret for secret in secrets for encode in ENCODED.values() if encode(secret)[:-3] in shown] == []


@pytest.fixture
def _custom_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Gateway: {GATEWAY}\nCookie: theme=dark; session={COOKIE}")


@pytest.mark.parametrize("encode", ENCODED.values(), ids=ENCODED)
@pytest.mark.usefixtures("_custom_headers")
async def test_every_secret_that_is_sent_is_in_no_error(
    encode: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    async def listed(client: Client) -> object:
        return await client.send(GET_FILE, headers={"X-Call": CALL}, query={"sig": ASKED})

    async with serving(lambda talk: echo(talk, encode, 400)) as server:
        with pytest.raises(BadRequestError) as caught, caplog.at_level(0):
            await with_everything(server, listed)
        heard = server.requests[0].head.decode()
    assert [name for name in (KEY, GATEWAY, COOKIE, OTHER, CALL) if name not in heard] == []
    assert_keeps_all(caught.value)
    assert caught.value.request_id == "[key]"
    assert_keeps(caplog.text)


@pytest.mark.parametrize("encode", ENCODED.values(), ids=ENCODED)
@pytest.mark.usefixtures("_custom_headers")
async def test_no_credential_is_in_a_good_answer(encode: Callable[[str], str]) -> None:
    async def retrieved(client: Client) -> object:
        return await client.send(GET_FILE, headers={"X-Call": CALL}, query={"sig": ASKED})

    async with serving(lambda talk: echo(talk, encode, 200)) as server:
        file = await with_everything(server, retrieved)
    assert isinstance(file, File)
    assert (file.id, file.extra["code"]) == ("file-1", "[key]")
    assert_keeps(f"{file!r} {json.dumps(file.extra)}", CREDENTIALS)


async def test_what_a_given_session_adds_is_known_too() -> None:
    login = aiohttp.encode_basic_auth("somebody", PASSWORD)
    async with (
        serving(lambda talk: echo(talk, str, 400)) as server,
        aiohttp.ClientSession(
            headers={"X-Other": OTHER, "X-Login": login},
            cookies={"session": COOKIE},
            cookie_jar=aiohttp.CookieJar(unsafe=True),
        ) as session,
        client_of(server, session=session) as client,
    ):
        with pytest.raises(BadRequestError) as caught:
            await client.send(GET_FILE)
    shown = f"{caught.value} {caught.value.body} {caught.value.headers}"
    assert [secret for secret in (KEY, OTHER, COOKIE) if secret in shown] == []


async def test_what_is_no_http_shows_no_secret_of_the_address_either() -> None:
    async with (
        answering(b"\x00\xff what\r\n\r\n") as server,
        client_of(server, default_query={"code": CODE}, max_retries=0) as client,
    ):
        with pytest.raises(APIError) as caught:
            await client.send(GET_FILE)
    assert_keeps_all(caught.value)


async def test_a_redirect_is_followed_although_its_address_holds_a_secret() -> None:
    there = reply(307, "", {"Location": f"/v1/there?code={CODE}"})
    async with (
        answering(there, reply(200, FILE)) as server,
        client_of(server, default_query={"code": CODE}) as client,
    ):
        await client.send(GET_FILE)
    assert server.requests[1].target == f"/v1/there?code={CODE}"


async def test_a_redirect_to_a_host_that_is_the_key_is_refused_without_it() -> None:
    async with answering(reply(307, "", {"Location": f"http://{KEY}.invalid/"})) as server, client_of(server) as client:
        with pytest.raises(RedirectError) as caught:
            await client.send(GET_FILE)
    assert KEY not in str(caught.value)


async def test_an_error_that_breaks_off_within_the_key_shows_no_beginning_of_it() -> None:
    body = f'{{"error": {{"message": "you sent {KEY[:15]}'

    async def cut_off(talk: Talk) -> None:
        await talk.hear()
        await talk.say(f"HTTP/1.1 400 x\r\nContent-Length: 999\r\n\r\n{body}".encode())
        talk.writer.close()

    async with serving(cut_off) as server, client_of(server) as client:
        with pytest.raises(BadRequestError, match=r"you sent \[key\]$"):
            await client.send(GET_FILE)


async def test_an_answer_in_utf_16_hides_no_key() -> None:
    body = json.dumps({"id": "file-1", "filename": KEY}).encode("utf-16")
    async with answering(reply(200, body)) as server, client_of(server) as client:
        assert (await client.send(GET_FILE)).filename == "[key]"
