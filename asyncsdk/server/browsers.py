"""What a browser was tricked into (pure): a page of another site may not use the server of whoever looks at it.

A name that an attacker lets point to 127.0.0.1 (DNS rebinding) shows in `Host`; a page of another origin says so in
`Origin`. Neither concerns programs: those name the server as they were told, and send no `Origin`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from asyncsdk.server.errors import ApiError


def require_no_trick(headers: Mapping[str, str], names: Collection[str]) -> None:
    """Raise ApiError (403) for a `Host` that is none of `names`, no address and not localhost, or another `Origin`."""
    host, origin = headers.get("Host"), headers.get("Origin")
    if host is not None and not is_known(host, names):
        raise ApiError(
            403, "This server is not known by that name. Whoever started it can allow names (hosts=, --allow-host)."
        )
    if origin is not None and _authority(origin) != (host or "").lower():
        raise ApiError(403, "Pages of other sites may not use this server.")


def is_known(host: str, names: Collection[str]) -> bool:
    """Whether `host`, as it stands in a request, can only mean this server.

    An address always can: no name was looked up that could have pointed elsewhere before.
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
