"""TLS: trusted by a context, a file or the system; and nothing is sent to a server that can't prove who it is."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme

from asyncsdk import (
    APIConnectionError,
    APITimeoutError,
    CertificateError,
    Client,
    ConfigurationError,
    api,
    create_ssl_context,
)
from asyncsdk.http import connection
from asyncsdk.http.connection import ConnectionConfig, default_trust
from asyncsdk.timing import DEFAULT_TIMING, Timing
from asyncsdk.uploads.advice import waiting
from tests.raw_server import KEY, RawServer, Talk, answering, reply, serving

GET_FILE = api.retrieve_file("file-1")
GOOD = reply(200, {"id": "file-1"})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(organization_name="Corp Root CA")


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "corp.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def identity(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[RawServer]:
    async with answering(GOOD, ssl=identity(authority)) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_trust_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


async def ask(server: RawServer, trust: ssl.SSLContext | None = None, timing: Timing = DEFAULT_TIMING) -> str:
    async with Client(KEY, base_url=server.url, ssl=trust, max_retries=1, timing=timing) as client:
        return (await client.send(GET_FILE)).id


async def test_a_context_of_ones_own_is_used(server: RawServer, ca_file: str) -> None:
    assert await ask(server, ssl.create_default_context(cafile=ca_file)) == "file-1"
    assert await ask(server, create_ssl_context(ca_file)) == "file-1"


async def test_ssl_cert_file_is_trusted(server: RawServer, ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    assert await ask(server) == "file-1"


async def test_an_untrusted_server_gets_nothing_and_is_not_asked_twice(server: RawServer) -> None:
    with pytest.raises(
        CertificateError, match=r"can't trust localhost:\d+: .*SSL_CERT_FILE.*Nothing was sent"
    ) as caught:
        await ask(server)
    assert (server.requests, server.connections) == ([], 0)
    assert not caught.value.sent
    assert not caught.value.resumable
    assert caught.value.__cause__ is not None


async def test_a_certificate_for_another_name_is_not_trusted(authority: trustme.CA, ca_file: str) -> None:
    async with answering(GOOD, ssl=identity(authority, "elsewhere.example")) as server:
        with pytest.raises(CertificateError, match="Hostname mismatch"):
            await ask(server, create_ssl_context(ca_file))
    assert server.requests == []


async def test_https_to_a_server_that_speaks_http_says_so() -> None:
    async def puzzled(talk: Talk) -> None:
        await talk.reader.read(1)
        await talk.say(reply(400))
        await talk.gone()

    async with serving(puzzled) as server:
        server.scheme = "https"
        with pytest.raises(APIConnectionError, match=r"responds without TLS.*http://.*Nothing was sent") as caught:
            await ask(server)
    assert server.connections == 1  # asking again would not help
    assert not caught.value.resumable
    assert not isinstance(caught.value, CertificateError)
    assert not caught.value.sent


async def test_a_name_that_nobody_knows_is_told_as_such_and_may_be_known_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with Client(KEY, base_url="https://nobody.invalid/v1", max_retries=0) as client:
        with pytest.raises(APIConnectionError, match=r"the name nobody.invalid is not known\. .*misspelt") as caught:
            await client.send(GET_FILE)
    assert caught.value.resumable
    assert not caught.value.sent
    assert waiting(caught.value, 1.0) == "the server's name can't be looked up; trying again in 1 s"


async def test_a_server_that_accepts_and_says_nothing_is_given_up(ca_file: str) -> None:
    async def silent(talk: Talk) -> None:
        await talk.gone()

    async with serving(silent) as server:
        server.scheme = "https"
        began = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"no response there\. Nothing was sent") as caught:
            await ask(server, create_ssl_context(ca_file), Timing(connect=0.1))
        assert time.monotonic() - began < 5
    assert not caught.value.sent


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_certificates_is_said_at_once(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "typo.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"no certificates in .*typo\.pem"):
        create_ssl_context(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(ConfigurationError, match=r"SSL_CERT_FILE=.*typo\.pem.*Nothing was sent"):
        Client(KEY)


def test_a_directory_of_certificates_is_taken_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert default_trust().cert_store_stats()["x509_ca"] == 0


def test_macos_and_windows_bring_a_trust_store_of_their_own(monkeypatch: pytest.MonkeyPatch, ca_file: str) -> None:
    made: list[object] = []

    class SystemTrust(ssl.SSLContext):
        def __init__(self, protocol: int) -> None:
            made.append(protocol)

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "truststore", SimpleNamespace(SSLContext=SystemTrust))
    assert isinstance(default_trust(), SystemTrust)
    assert made == [ssl.PROTOCOL_TLS_CLIENT]
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    assert not isinstance(default_trust(), SystemTrust)


def test_the_systems_store_verifies_names_and_certificates() -> None:
    context = default_trust()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_store_is_read_once_for_all_clients_and_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it takes 15 ms, which a service with a client for each call would pay in each call."""
    read: list[ssl.SSLContext] = []

    def reading() -> ssl.SSLContext:
        read.append(default_trust())
        return read[-1]

    connection._shared.cache_clear()  # noqa: SLF001 - the process's own
    monkeypatch.setattr(connection, "default_trust", reading)
    for _ in range(3):
        Client(KEY, base_url="https://host.example/v1")
    assert len(read) == 1
    assert connection.shared_trust() is read[0]
    later = time.monotonic() + connection.SHARED_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert connection.shared_trust() is not read[0]


def test_a_context_with_more_certificates_is_not_the_shared_one(ca_file: str) -> None:
    before = connection.shared_trust().cert_store_stats()
    assert create_ssl_context(ca_file).cert_store_stats() != before
    assert connection.shared_trust().cert_store_stats() == before


async def test_names_resolve_to_every_address() -> None:
    resolver = connection.ThreadResolver(DEFAULT_TIMING.resolve)
    found = await resolver.resolve("localhost", 80, 0)  # type: ignore[arg-type]  # any family, as aiohttp asks
    assert "127.0.0.1" in {each["host"] for each in found}
    assert {each["port"] for each in found} == {80}
    await resolver.close()


async def test_a_session_has_no_total_limit_no_cookies_and_no_environment_of_its_own() -> None:
    session = ConnectionConfig(connections=7).open_session()
    assert session.timeout.total is None
    assert not session.trust_env
    assert session.connector is not None
    assert session.connector.limit == 7
    cookie = reply(200, {"id": "file-1"}, {"Set-Cookie": "a=b"})
    async with answering(cookie) as server, Client(KEY, base_url=server.url) as client:
        await client.send(GET_FILE)
        await client.send(GET_FILE)
    assert "cookie" not in server.requests[1].headers
    await session.close()


async def test_an_idle_connection_is_not_kept_for_long() -> None:
    timing = Timing(keep_alive=0.05)
    async with answering(GOOD) as server, Client(KEY, base_url=server.url, timing=timing) as client:
        await client.send(GET_FILE)
        await asyncio.sleep(0.2)
        await client.send(GET_FILE)
    assert server.connections == 2


@pytest.mark.parametrize("what", ["no certificate", "no name"])
def test_a_context_that_verifies_nothing_is_refused(what: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    if what == "no certificate":
        context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ConfigurationError, match="does not verify"):
        Client("k", base_url="https://x/v1", ssl=context)
