"""Who may look at the server's own page (pure): this machine, and elsewhere who has the server's key."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping

from asyncsdk.server.errors import ApiError

_BY_PROXY = ("Forwarded", "X-Forwarded-For", "Via")  # it comes from elsewhere, by a proxy on this machine
_ASK = {"WWW-Authenticate": 'Basic realm="asyncsdk: any name, the key as password"'}


def require_looker(remote: str | None, headers: Mapping[str, str], key: str | None) -> None:
    """Raise ApiError for a caller elsewhere: 401 without the server's key, 403 where the server has none.

    A browser asks for it as a password (RFC 7617), and sends it with the events too.
    """
    if is_this_machine(remote, headers):
        return
    if key is None:
        raise ApiError(403, "This page is for the server's own machine; from elsewhere it needs a server with a key.")
    if not hmac.compare_digest(password_of(headers.get("Authorization", "")), key.encode(errors="surrogateescape")):
        raise ApiError(401, "The key of this server is needed.", code="invalid_api_key", headers=_ASK)


def is_this_machine(remote: str | None, headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a program on this machine."""
    if remote is None or any(name in headers for name in _BY_PROXY):
        return False
    return is_loopback(remote)


def is_loopback(host: str) -> bool:
    """Whether an address, or localhost, leads to this machine alone."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def password_of(authorization: str) -> bytes:
    """The key in a header of any scheme that carries one: Basic with any name, or Bearer."""
    scheme, _, word = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return word.strip().encode(errors="surrogateescape")
    try:
        return base64.b64decode(word, validate=True).partition(b":")[2] if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        return b""
