"""TLS trust, proxy, name resolution, pool size and connect timeouts. No URL and no repr contains a proxy's password."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import time
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace
from attrs import field, frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.settings import Secret
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.timing import DEFAULT_TIMING, Timing

DEFAULT_CONNECTIONS = 100
SHARED_SECONDS = 600.0  # certificates that are replaced in a service that runs on are found within that
# A NAT drops a silent connection, such as one that waits minutes for an edit: some after 120 s. TCP_KEEPALIVE is
# macOS's name for TCP_KEEPIDLE; without them the system's defaults apply, two hours on most.
_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 30}


def create_ssl_context(cafile: str | os.PathLike[str]) -> ssl.SSLContext:
    """Make a context that trusts the certificates in a file besides the usual ones.

    Args:
        cafile: A file of certificates in PEM form.

    Returns:
        A context for `Client(ssl=...)`.

    Raises:
        ConfigurationError: The file can't be read, or contains no certificate.
    """
    context = default_trust()
    try:
        context.load_verify_locations(cafile=os.fspath(cafile))
    except OSError as error:
        raise ConfigurationError(_no_certificates(os.fspath(cafile), error)) from error
    return context


def check_trust(context: object) -> None:
    """Raise ConfigurationError unless `context` verifies certificates and the names in them."""
    if not isinstance(context, ssl.SSLContext):
        raise ConfigurationError("ssl= takes an ssl.SSLContext; verification of certificates can't be turned off.")
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ConfigurationError(
            "this ssl= context does not verify certificates and their names: anyone on the way could read the key. "
            "To trust your own certificate, pass ssl=asyncsdk.create_ssl_context('its.pem'). Nothing was sent."
        )


def shared_trust() -> ssl.SSLContext:
    """`default_trust()`, which the clients of this process share, and which is read again every ten minutes.

    Reading a system's store takes 15 ms, too long for a client that a service makes for each of its calls.
    """
    return _shared(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), time.monotonic() // SHARED_SECONDS)


@lru_cache(maxsize=2)
def _shared(*_: object) -> ssl.SSLContext:
    return default_trust()


def default_trust() -> ssl.SSLContext:
    """Trust in `SSL_CERT_FILE` and `SSL_CERT_DIR`; where neither is set, in the system's trust store."""
    cafile, capath = os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None
    if cafile or capath:
        try:
            return ssl.create_default_context(cafile=cafile, capath=capath)
        except OSError as error:
            raise ConfigurationError(_no_certificates(f"SSL_CERT_FILE={cafile}", error)) from error
    if sys.platform in {"darwin", "win32"}:
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


def _no_certificates(name: str, error: OSError) -> str:
    return f"no certificates in {name}: {error.strerror or error}. A file in PEM form is needed. Nothing was sent."


@frozen
class ConnectionConfig:
    """How to connect to one server: made without an event loop, used on one. `trust` is None without TLS."""

    trust: ssl.SSLContext | None = None
    proxy: Proxy | None = None
    connections: int = DEFAULT_CONNECTIONS
    trace_configs: list[aiohttp.TraceConfig] | None = None
    timing: Timing = DEFAULT_TIMING

    @classmethod
    def to(
        cls,
        base_url: str,
        *,
        ssl: ssl.SSLContext | None,
        proxy: str | None,
        connections: int | None,
        traces: list[aiohttp.TraceConfig] | None,
        timing: Timing,
    ) -> ConnectionConfig:
        """How to connect to the server at `base_url`. Raises ConfigurationError for what can't be used."""
        if ssl is not None:
            check_trust(ssl)
        if connections is not None and connections < 1:
            raise ConfigurationError("connections must be 1 or more.")
        return cls(
            trust=(ssl or shared_trust()) if base_url.startswith("https:") else None,
            proxy=proxy_for(base_url, proxy),
            connections=connections or DEFAULT_CONNECTIONS,
            trace_configs=traces,
            timing=timing,
        )

    def open_session(self) -> aiohttp.ClientSession:
        """A session on the running loop. It has no total time limit: each request has its own limits.

        `trust_env` stays off: it would read ~/.netrc and look up the proxy in a thread at each request.
        """
        return aiohttp.ClientSession(
            connector=_Connector(
                self.timing.connection_setup,
                limit=self.connections,
                ssl=self.trust or True,
                resolver=ThreadResolver(self.timing.resolve, self.timing.thread_idle),
                socket_factory=_probed_socket,
                keepalive_timeout=self.timing.keep_alive,
            ),
            proxy=None if self.proxy is None else self.proxy.url,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trace_configs=self.trace_configs,
        )


def _probed_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket for `address` with TCP keepalive probes, so that a NAT on the way does not drop a silent connection."""
    family, kind, proto, *_ = address
    probed = socket.socket(family=family, type=kind, proto=proto)
    with suppress(OSError):  # not every system supports it
        probed.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in _PROBES.items():
            if hasattr(socket, name):
                probed.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
    return probed


class _Connector(aiohttp.TCPConnector):
    """Bounds the set-up of a connection as a whole: aiohttp would wait forever for a silent proxy."""

    def __init__(self, setup: float, **options: Any) -> None:
        super().__init__(**options)
        self._setup = setup
        self.made: WeakSet[ResponseHandler] = WeakSet()

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> ResponseHandler:
        async with asyncio.timeout(self._setup):
            made = await super()._create_connection(req, traces, timeout)
        self.made.add(made)
        return made


def drop_connections(session: aiohttp.ClientSession) -> None:
    """Close the sockets of a session of ours whose loop is closed, or was the parent's before a fork.

    Its transports can't be closed as usual: that takes a turn of their loop.
    """
    connector = session.connector
    session.detach()  # closed, though its connections are not yet
    if not isinstance(connector, _Connector):
        return
    for connection in list(connector.made):
        transport = connection.transport
        below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
        with suppress(Exception):  # asyncio's own last step; uvloop has none, and closes when it is collected
            below._call_connection_lost(None)  # type: ignore[union-attr]  # noqa: SLF001 - there is no public one
    with suppress(StopIteration):
        connector.close().__await__().send(None)  # on a closed loop it only marks the connector as closed


class ThreadResolver(AbstractResolver):
    """Resolves names by getaddrinfo in daemon threads: one that hangs blocks neither a request nor the exit."""

    def __init__(self, limit: float, idle: float = DEFAULT_TIMING.thread_idle) -> None:
        self._limit = limit
        self._threads = DaemonThreadPool("asyncsdk-dns", limit=4, idle=idle)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(self._limit):
                addresses = await self._threads.run(look_up)
        except TimeoutError as error:
            raise OSError(None, f"the name {host} was not resolved within {self._limit:g} s") from error
        except UnicodeError as error:
            raise OSError(None, f"{host} is not a host name") from error
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=int(address[1]), family=kind, proto=proto, flags=numeric
            )
            for kind, _, proto, _, address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close: the threads end by themselves."""


@frozen
class Proxy:
    """A proxy's URL and credentials (`Proxy-Authorization`)."""

    url: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers for the proxy alone: with CONNECT for https, with the request itself for http."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


def proxy_for(url: str, proxy_url: str | None = None) -> Proxy | None:
    """The proxy on the way to `url`. Raises ConfigurationError for one that can't be used."""
    proxy_url = proxy_url or environment_proxy(url)
    return parse_proxy(proxy_url) if proxy_url else None


def environment_proxy(url: str) -> str | None:
    """The proxy for `url` by `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or the system's settings."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def parse_proxy(text: str) -> Proxy:
    """`http://user:password@host:port`, where all but the host may be missing. No message shows the password."""
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ConfigurationError(_UNUSABLE) from None  # the cause would show what may be the password
    if not usable:
        raise ConfigurationError(_UNUSABLE)
    if parts.scheme not in {"http", "https"}:
        raise ConfigurationError(f"{_UNUSABLE} This one begins with {parts.scheme}://.")
    if parts.username is None:
        return Proxy(parts.geturl())
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(bare, Secret(f"Basic {b64encode(login.encode()).decode()}"))


_UNUSABLE = (
    "the proxy (proxy=, --proxy, HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) can't be used: http://host:port or "
    "https://host:port is needed. NO_PROXY names servers that are reached without one. Nothing was sent."
)
