"""Proxies: from the environment unless one is given, with passwords that stay between us and the proxy."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trustme

from asyncsdk import APIConnectionError, APITimeoutError, Client, ConfigurationError, api
from asyncsdk.http.connection import Proxy, environment_proxy, parse_proxy, proxy_for
from asyncsdk.timing import Timing
from tests.raw_server import KEY, RawServer, Talk, answering, reply, serving

GET_FILE = api.retrieve_file("file-1")
GOOD = reply(200, {"id": "file-1"})
PASSWORD = "p@ss/w:rd"
LOGIN = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def identity(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


async def tunnel(talk: Talk) -> None:
    """What a proxy does with CONNECT: join the two ends."""
    asked = await talk.hear()
    port = int(asked.target.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await talk.say(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            sink.write(data)
        sink.close()

    try:
        await asyncio.gather(pass_on(talk.reader, writer), pass_on(reader, talk.writer))
    finally:
        writer.transport.abort()


def address(proxy: RawServer) -> str:
    return f"http://user:p%40ss%2Fw%3Ard@127.0.0.1:{proxy.port}"


async def test_https_goes_through_a_tunnel_that_sees_no_key(trust: ssl.SSLContext, identity: ssl.SSLContext) -> None:
    async with (
        serving(tunnel) as proxy,
        answering(GOOD, ssl=identity) as server,
        Client(KEY, base_url=server.url, proxy=address(proxy), ssl=trust) as client,
    ):
        assert (await client.send(GET_FILE)).id == "file-1"
        assert (await client.send(GET_FILE)).id == "file-1"
    (connect,) = proxy.requests
    assert (connect.method, connect.target) == ("CONNECT", f"localhost:{server.port}")
    assert connect.headers["proxy-authorization"] == LOGIN
    assert "authorization" not in connect.headers
    assert "proxy-authorization" not in server.requests[0].headers
    assert (proxy.connections, server.connections) == (1, 1)


async def test_http_is_asked_of_the_proxy_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(GOOD) as proxy:
        monkeypatch.setenv("http_proxy", address(proxy))
        async with Client(KEY, base_url="http://somewhere.invalid/v1") as client:
            await client.send(GET_FILE)
    (request,) = proxy.requests
    assert request.target == "http://somewhere.invalid/v1/files/file-1"
    assert request.headers["proxy-authorization"] == LOGIN


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "example.com, 127.0.0.1:{port}", "*"])
async def test_no_proxy_is_obeyed(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(GOOD) as server:
        monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", no_proxy.format(port=server.port))
        async with Client(KEY, base_url=server.url) as client:
            await client.send(GET_FILE)
    assert server.requests[0].target == "/v1/files/file-1"


async def refuse(talk: Talk) -> None:
    await talk.hear()
    await talk.say(reply(407, "", {"Proxy-Authenticate": "Basic"}))


async def hang_up(talk: Talk) -> None:
    await talk.hear()


@pytest.mark.parametrize("proxy_does", [refuse, hang_up], ids=lambda f: f.__name__)
async def test_a_proxy_that_does_not_let_us_through_is_named_without_its_password(
    proxy_does: Callable[[Talk], Awaitable[None]], trust: ssl.SSLContext
) -> None:
    async with serving(proxy_does) as proxy:
        options = {"base_url": "https://localhost:1", "proxy": address(proxy), "ssl": trust, "max_retries": 0}
        options["timing"] = Timing(connection_setup=0.1)
        async with Client(KEY, **options) as client:  # type: ignore[arg-type]  # options of several kinds
            with pytest.raises(APIConnectionError) as caught:
                await client.send(api.add_upload_part("u", data=b"x"))
    assert ("the proxy does not let us through" in str(caught.value)) is (proxy_does is refuse)
    assert not caught.value.sent
    assert_shows_no(PASSWORD, caught.value)


async def test_a_proxy_that_is_not_there_is_what_can_not_be_reached(trust: ssl.SSLContext) -> None:
    proxy = f"http://user:{PASSWORD.replace('@', '%40').replace('/', '%2F')}@127.0.0.1:1"
    async with Client(KEY, base_url="https://localhost:2", proxy=proxy, ssl=trust, max_retries=0) as client:
        with pytest.raises(APIConnectionError, match=r"can't connect to the proxy 127\.0\.0\.1:1 ") as caught:
            await client.send(GET_FILE)
    assert not caught.value.sent
    assert_shows_no(PASSWORD, caught.value)


async def test_a_proxy_that_says_nothing_is_not_waited_for_for_ever(trust: ssl.SSLContext) -> None:
    async def silent(talk: Talk) -> None:
        await talk.hear()
        await talk.gone()

    async with serving(silent) as proxy:
        options = {"base_url": "https://localhost:1", "proxy": address(proxy), "ssl": trust, "max_retries": 0}
        options["timing"] = Timing(connection_setup=0.1)
        async with Client(KEY, **options) as client:  # type: ignore[arg-type]  # options of several kinds
            with pytest.raises(APITimeoutError, match=r"no response there\. Nothing was sent") as caught:
                await client.send(api.add_upload_part("u", data=b"x"))
    assert not caught.value.sent


def assert_shows_no(secret: str, error: BaseException) -> None:
    one: BaseException | None = error
    while one is not None:
        for form in (secret, LOGIN, LOGIN.split()[1], secret.replace("@", "%40")):
            assert form not in f"{one} {one!r} {one.args!r} {vars(one)!r}"
        one = one.__cause__


@pytest.mark.parametrize(
    ("text", "url", "authorization"),
    [
        ("http://proxy:3128", "http://proxy:3128", None),
        ("proxy:3128", "http://proxy:3128", None),
        ("HTTPS://proxy", "https://proxy", None),
        ("http://user:p%40ss%2Fw%3Ard@proxy:3128", "http://proxy:3128", LOGIN),
        ("user@proxy", "http://proxy", "Basic " + base64.b64encode(b"user:").decode()),
    ],
)
def test_a_proxys_address_and_its_password_are_kept_apart(text: str, url: str, authorization: str | None) -> None:
    proxy = parse_proxy(text)
    assert proxy == Proxy(url, authorization)
    assert proxy.headers == ({"Proxy-Authorization": authorization} if authorization else {})
    assert repr(proxy) == f"Proxy(url={url!r})"


@pytest.mark.parametrize("text", ["socks5://u:secret@h:1080", "http://", "http://u:sec/ret@h", "h:0", "http://[x"])
def test_a_proxy_that_can_not_be_used_is_said_before_anything_is_sent(text: str) -> None:
    with pytest.raises(ConfigurationError, match="NO_PROXY") as caught:
        Client(KEY, base_url="http://localhost", proxy=text)
    assert "sec" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_given_proxy_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://from-environment")
    assert proxy_for("https://h", "http://given") == Proxy("http://given")
    assert proxy_for("https://h") == Proxy("http://from-environment")
    assert proxy_for("http://h") is None


def test_the_scheme_decides_before_all_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://one")
    monkeypatch.setenv("all_proxy", "socks5://two")
    assert environment_proxy("https://h/v1") == "http://one"
    assert environment_proxy("http://h/v1") == "socks5://two"
    monkeypatch.setenv("no_proxy", ".h.example,localhost")
    assert environment_proxy("https://a.h.example/v1") is None
    assert environment_proxy("https://xh.example/v1") == "http://one"
