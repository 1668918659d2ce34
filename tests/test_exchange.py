"""One sending, on the wire: what goes out byte for byte, and what becomes of it when the connection fails."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from asyncsdk import APIConnectionError, APIStatusError, APITimeoutError, AuthenticationError, Client, api
from asyncsdk.api import Request
from asyncsdk.http.errors import translating_errors
from asyncsdk.http.request import prepare_external
from asyncsdk.models import UploadPart
from asyncsdk.retry import Retry
from asyncsdk.timing import Timing
from tests.ports import HeldPort
from tests.raw_server import KEY, PART, UPLOAD, Talk, answering, assert_keeps_the_key, client_of, reply, serving

GET_FILE = api.retrieve_file("file-1")
FILE = {"id": "file-1"}
LARGE = 8 << 20  # more than the kernel takes in for a server that does not read
Handler = Callable[[Talk], Awaitable[None]]


def part(size: int = LARGE) -> Request[UploadPart]:
    return api.add_upload_part("upload_1", data=b"x" * size)


async def test_a_part_is_one_form_field_byte_for_byte() -> None:
    content = bytes(range(256)) * 8192
    async with answering(reply(200, PART)) as server, client_of(server) as client:
        await client.send(api.add_upload_part("upload_1", data=content))
    (request,) = server.requests
    assert request.head.startswith(b"POST /v1/uploads/upload_1/parts HTTP/1.1\r\n")
    boundary = re.fullmatch(r"multipart/form-data; boundary=([\w-]+)", request.headers["content-type"])
    assert boundary is not None
    assert (
        request.body
        == (
            f"--{boundary[1]}\r\n"
            'Content-Disposition: form-data; name="data"; filename="upload"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        + content
        + f"\r\n--{boundary[1]}--\r\n".encode()
    )
    assert "transfer-encoding" not in request.headers


async def test_a_post_without_body_says_json_and_length_0() -> None:
    async with answering(reply(200, UPLOAD)) as server, client_of(server) as client:
        await client.send(api.cancel_upload("upload_1"))
    (request,) = server.requests
    assert (request.headers["content-type"], request.headers["content-length"]) == ("application/json", "0")


async def test_a_get_carries_no_content_type() -> None:
    async with answering(reply(200, FILE)) as server, client_of(server) as client:
        await client.send(GET_FILE)
    assert "content-type" not in server.requests[0].headers


def failing_once(fail: Handler, then: bytes) -> Handler:
    failed = False

    async def handle(talk: Talk) -> None:
        nonlocal failed
        if not failed:
            failed = True
            return await fail(talk)
        while True:
            await talk.hear()
            await talk.say(then)

    return handle


async def reset_before(talk: Talk) -> None:
    talk.reset()


async def reset_in(talk: Talk) -> None:
    await talk.hear_head()
    await talk.reader.readexactly(1 << 18)
    talk.reset()


async def reset_after(talk: Talk) -> None:
    await talk.hear()
    talk.reset()


async def hang_up_after(talk: Talk) -> None:
    await talk.hear()


async def hang_up_in_the_answers_head(talk: Talk) -> None:
    await talk.hear()
    await talk.say(b"HTTP/1.1 200 OK\r\nX-Echo: " + KEY.encode())


LOSSES = [reset_before, reset_in, reset_after, hang_up_after, hang_up_in_the_answers_head]


@pytest.mark.parametrize("fail", LOSSES, ids=lambda fail: fail.__name__)
async def test_a_lost_connection_is_tried_again_with_the_whole_body(fail: Handler) -> None:
    async with serving(failing_once(fail, reply(200, PART))) as server, client_of(server) as client:
        assert (await client.send(part())).id == "part_1"
    assert len(server.requests[-1].body) > LARGE


@pytest.mark.parametrize("fail", LOSSES, ids=lambda fail: fail.__name__)
async def test_a_connection_that_stays_lost_is_an_error_that_tells_what_is_sure(fail: Handler) -> None:
    async with serving(fail) as server, client_of(server, max_retries=1) as client:
        with pytest.raises(APIConnectionError, match="the connection was lost") as caught:
            await client.send(part())
    assert server.connections == 2
    assert caught.value.sent or fail is reset_before
    assert caught.value.__cause__ is not None
    assert_keeps_the_key(caught.value)


async def test_nobody_listens() -> None:
    with HeldPort() as port:
        async with Client(KEY, base_url=f"http://127.0.0.1:{port}", max_retries=0) as client:
            with pytest.raises(
                APIConnectionError, match=rf"can't connect to 127.0.0.1:{port} .*Nothing was sent"
            ) as caught:
                await client.send(GET_FILE)
    assert not caught.value.sent
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_name_that_does_not_resolve() -> None:
    async with Client(KEY, base_url="http://no-such-host.invalid/v1", max_retries=0) as client:
        with pytest.raises(APIConnectionError, match=r"the name no-such-host\.invalid is not known") as caught:
            await client.send(GET_FILE)
    assert not caught.value.sent


async def test_a_name_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    async with Client(KEY, base_url="http://slow.invalid/v1", max_retries=0, timing=Timing(resolve=0.05)) as client:
        with pytest.raises(APIConnectionError, match=r"slow\.invalid was not resolved within 0\.05 s"):
            await client.send(GET_FILE)
    over.set()


async def test_what_speaks_no_http_is_said_so() -> None:
    async def ssh(talk: Talk) -> None:
        await talk.hear()
        await talk.say(b"SSH-2.0-OpenSSH_9.9 " + KEY.encode() + b"\r\n\r\n")
        await talk.gone()

    async with serving(ssh) as server, client_of(server, max_retries=0) as client:
        with pytest.raises(APIConnectionError, match="is not valid HTTP") as caught:
            await client.send(GET_FILE)
    assert_keeps_the_key(caught.value)


async def test_a_request_without_an_answer_ends_at_its_limit() -> None:
    async def silent(talk: Talk) -> None:
        await talk.hear()
        await talk.gone()

    async with serving(silent) as server, client_of(server, max_retries=0, timeout=0.1) as client:
        for request in (GET_FILE, api.cancel_upload("upload_1"), part(10)):
            with pytest.raises(APITimeoutError, match=r"no response within 0\.1 s") as caught:
                await client.send(request)
            assert caught.value.sent
        began = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"no response within 0.3 s"):
            await client.send(part(10), timeout=0.3)
        assert time.monotonic() - began < 2


async def test_an_answer_that_stops_coming_ends_at_the_limit_too() -> None:
    async def stuck(talk: Talk) -> None:
        await talk.hear()
        await talk.say(reply(200, FILE)[:-3])
        await talk.gone()

    async with serving(stuck) as server, client_of(server, max_retries=0, timeout=0.1) as client:
        for request in (GET_FILE, part(10)):
            with pytest.raises(APITimeoutError, match=r"no response within 0\.1 s"):
                await client.send(request)


async def test_an_error_body_in_pieces_is_read_to_its_end() -> None:
    async def slow(talk: Talk) -> None:
        await talk.hear()
        answer = reply(400, {"error": {"message": "wrong", "code": "bad"}})
        for start in range(0, len(answer), 20):
            await talk.say(answer[start : start + 20])
            await asyncio.sleep(0.005)

    async with serving(slow) as server, client_of(server) as client:
        with pytest.raises(APIStatusError, match="400 bad: wrong"):
            await client.send(GET_FILE)


async def test_an_error_body_that_is_cut_off_takes_nothing_from_its_status() -> None:
    async def cut(talk: Talk) -> None:
        await talk.hear()
        await talk.say(reply(401, "the key is wrong")[:-3])

    async with serving(cut) as server, client_of(server) as client:
        with pytest.raises(AuthenticationError):
            await client.send(GET_FILE)


async def test_a_host_that_is_none() -> None:
    async with Client(KEY, base_url="http://..", max_retries=0) as client:
        with pytest.raises(APIConnectionError, match=r"is not a host name.*Nothing was sent"):
            await client.send(GET_FILE)


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "(Connection refused)"),
        (ssl.SSLError(1, "[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert"), "([SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] "),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "(Temporary failure in name reso"),
        (OSError(10061, "No connection could be made"), "(No connection could be made)"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_why_no_connection_was_made_is_said_in_the_words_of_what_failed(cause: OSError, said: str) -> None:
    key = ConnectionKey("host", 1, False, True, None, None, None)  # noqa: FBT003 - aiohttp's own tuple
    call = prepare_external("http://host:1/", retry=Retry(0), response_timeout=1.0, tls_only=False)
    with pytest.raises(APIConnectionError) as caught, translating_errors(call):
        raise aiohttp.ClientConnectorError(key, cause)
    assert said in str(caught.value)
