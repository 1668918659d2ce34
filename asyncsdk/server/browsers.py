"""Protection against DNS rebinding and cross-site requests, and the test for a caller on this machine (pure).

A name that an attacker points to 127.0.0.1 (DNS rebinding) shows in `Host`; a page of another site sends its `Origin`.
Programs are not affected: they use the server's address and send no `Origin`. A request that a proxy on this machine
forwards comes from another one. Most proxies name themselves in a header; most others keep the `Host` of the request.
A proxy that puts the server's own address there and adds no header looks like a program on this machine.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import urlsplit

from asyncsdk.server.errors import ApiError


def require_same_site(headers: Mapping[str, str], names: Collection[str]) -> None:
    """Raise ApiError (403) for a `Host` not in `names` that is a foreign name, or an `Origin` of another site."""
    host, origin = headers.get("Host"), headers.get("Origin")
    if host is not None and not is_known(host, names):
        raise ApiError(
            403, "This server is not known by that name. Start it with hosts= or --allow-host to allow more names."
        )
    if origin is not None and _authority(origin) != (host or "").lower():
        raise ApiError(403, "Pages of other sites may not use this server.")


def is_known(host: str, names: Collection[str]) -> bool:
    """Whether `host`, as a request contains it, can only mean this server.

    An address always does: no name was resolved that could have pointed to another server before.
    """
    name = _name_of(host)
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _authority(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


_BY_PROXY = re.compile(
    r"forwarded|via|(cf|cdn|fastly|fly|true-client|tailscale|ssl|proxy|ngrok|akamai)-.*|"
    r"x-(forwarded|original|real|proxy|proxied|proxyuser|remote|rewrite|envoy|amzn|azure|arr|appengine|cloud|vercel|nf|"
    r"cluster|cdn|ssl|nginx|varnish|haproxy|host|scheme|ip)(-.*)?|.*-(client|connecting|real|remote|source)-?(ip|addr.*)",
    re.IGNORECASE,
)
_ASK = {"WWW-Authenticate": 'Basic realm="asyncsdk: any name, the key as password"'}


def require_looker(
    remote: str | None, headers: Mapping[str, str], key: str | None, *, name: str, port: int | None
) -> None:
    """Raise ApiError for a caller on another machine: 401 without the server's key, 403 where the server has none.

    A browser asks for the key as a password (RFC 7617), and sends it with the event stream too.
    """
    if is_this_machine(remote, headers, name=name, port=port):
        return
    if key is None:
        raise ApiError(403, "This page is for the server's own machine; from another one it needs a server with a key.")
    if not hmac.compare_digest(password_of(headers.get("Authorization", "")), key.encode(errors="surrogateescape")):
        raise ApiError(401, "The key of this server is needed.", code="invalid_api_key", headers=_ASK)


def is_this_machine(remote: str | None, headers: Mapping[str, str], *, name: str, port: int | None) -> bool:
    """Whether a request comes from a program on this machine, with no proxy between.

    `name` is the host that the server listens on, `port` the local port that received the request.
    """
    if remote is None or not is_loopback(remote) or was_forwarded(headers):
        return False
    return is_own_address(headers.get("Host", ""), name, port)


def was_forwarded(names: Iterable[str]) -> bool:
    """Whether headers of these `names` show that a proxy forwarded the request."""
    return any(_BY_PROXY.fullmatch(name) for name in names)


def is_own_address(host: str, name: str, port: int | None) -> bool:
    """Whether `host`, as a request contains it, is this server's address for programs on this machine."""
    try:
        parts = urlsplit(f"//{host}")
        requested, requested_port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return False
    if requested_port != port and not (requested_port is None and port in {80, 443}):
        return False
    return requested == name.lower() or requested.endswith(".localhost") or is_loopback(requested)


def is_loopback(host: str) -> bool:
    """Whether an address or name only reaches this machine."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def password_of(authorization: str) -> bytes:
    """Return the key in an Authorization header: Basic with any user name, or Bearer."""
    scheme, _, word = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return word.strip().encode(errors="surrogateescape")
    try:
        return base64.b64decode(word, validate=True).partition(b":")[2] if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        return b""
