"""How connections are made: whom TLS trusts, which proxy is used, how long a name may take to resolve."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from functools import partial
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from asyncsdk.threads import Threads

CONNECT_SECONDS = 30.0
RESOLVE_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 10.0  # a POST on a connection that the server has just closed would be lost
DEFAULT_CONNECTIONS = 100


def trusting(ca_file: str | os.PathLike[str]) -> ssl.SSLContext:
    """A context that trusts the certificates in `ca_file` (PEM) besides the usual ones."""
    context = default_trust()
    context.load_verify_locations(cafile=os.fspath(ca_file))
    return context


def default_trust() -> ssl.SSLContext:
    """`SSL_CERT_FILE` and `SSL_CERT_DIR` where set, else the system's trust store."""
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    if sys.platform in {"darwin", "win32"} and not named:
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


def environment_proxy(url: str) -> str | None:
    """The proxy for `url` by `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or the system's settings."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def new_session(
    base_url: str,
    *,
    trust: ssl.SSLContext | None,
    proxy: str | None,
    connections: int | None,
    trace_configs: list[aiohttp.TraceConfig] | None,
) -> aiohttp.ClientSession:
    """A session on the running loop. It has no total time limit: each request brings its own limits.

    `trust_env` stays off: it would read ~/.netrc and ask for the proxy in a thread at each request.
    """
    connector = aiohttp.TCPConnector(
        limit=DEFAULT_CONNECTIONS if connections is None else connections,
        ssl=(trust or default_trust()) if base_url.startswith("https:") else True,
        resolver=_ThreadResolver(),
        keepalive_timeout=KEEP_ALIVE_SECONDS,
    )
    proxy_url, proxy_auth = _split_credentials(proxy or environment_proxy(base_url))
    return aiohttp.ClientSession(
        connector=connector,
        proxy=proxy_url,
        proxy_auth=proxy_auth,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        trace_configs=trace_configs,
    )


def _split_credentials(proxy: str | None) -> tuple[str | None, aiohttp.BasicAuth | None]:
    if proxy is None:
        return None, None
    parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    if not parts.username:
        return parts.geturl(), None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, aiohttp.BasicAuth(unquote(parts.username), unquote(parts.password or ""), "utf-8")


class _ThreadResolver(AbstractResolver):
    """Names by getaddrinfo in daemon threads: one that hangs keeps neither a request nor the program alive."""

    def __init__(self) -> None:
        self._threads = Threads("asyncsdk-dns", limit=4)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._threads.run(ask)
        except TimeoutError as error:
            raise OSError(None, f"the name {host} was not resolved within {RESOLVE_SECONDS:g} s") from error
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=int(address[1]), family=kind, proto=proto, flags=numeric
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Nothing to close: the threads end by themselves."""
