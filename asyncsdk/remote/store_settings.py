"""Settings of a store at which obstore would panic, and print a stack of Rust: found before it is asked (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_ENDPOINT, _REGION, _DEFAULT_REGION, _HEADER = "endpoint", "region", "default region", "header"
_S3 = {
    "ENDPOINT_URL_S3": _ENDPOINT,
    "ENDPOINT_URL": _ENDPOINT,
    "ENDPOINT": _ENDPOINT,
    "REGION": _REGION,
    "DEFAULT_REGION": _DEFAULT_REGION,
    "ACCESS_KEY_ID": _HEADER,
    "SESSION_TOKEN": _HEADER,
    "TOKEN": _HEADER,
}
_SETTINGS = {  # by the kind of store: what is before obstore's names, in the environment always, and what they are
    "s3": ("AWS_", _S3),
    "az": ("AZURE_", {"ENDPOINT": _ENDPOINT, "STORAGE_ENDPOINT": _ENDPOINT}),
}
_REGIONS = re.compile(r"[A-Za-z0-9-]+")
_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def unusable_setting(kind: str, options: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """What is wrong with one of the settings, by its name and without its value; None where nothing is.

    `kind` is "s3", "az" or another one, of which nothing is known. `options`, or their `config`, replace those of
    the `environment`.
    """
    if kind not in _SETTINGS:
        return None
    before = _SETTINGS[kind][0]
    given = _by_kind({name: value for name, value in environment.items() if name.upper().startswith(before)}, kind)
    config = options.get("config")
    given |= _by_kind((dict(config) if isinstance(config, Mapping) else {}) | dict(options), kind)
    for name, value in given.get(_ENDPOINT, {}).items():
        if not _is_endpoint(value):
            what = "is not the URL of a server" if value else "is empty"
            return f"{name} {what}. Set it to one such as http://localhost:9000, or remove it"
    regions = {} if _ENDPOINT in given else given.get(_REGION) or given.get(_DEFAULT_REGION, {})
    for name, value in regions.items():
        if not _REGIONS.fullmatch(value):
            return f"{name} {'is not a region' if value else 'is empty'}. Set it to one such as us-east-1"
    for name, value in given.get(_HEADER, {}).items():
        if _CONTROL.search(value):
            return f"{name} contains a line break or another control character"
    return None


def _by_kind(settings: Mapping[str, Any], kind: str) -> dict[str, dict[str, str]]:
    """Those of interest, by what they are and then by name."""
    before, known = _SETTINGS[kind]
    found: dict[str, dict[str, str]] = {}
    for name, value in settings.items():
        what = known.get(name.upper().removeprefix(before))
        if what is not None and isinstance(value, str):
            found.setdefault(what, {})[name] = value
    return found


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_server = parts.scheme in {"http", "https"} and parts.port != 0
    except ValueError:  # its port
        return False
    is_plain = not (parts.query or parts.fragment) and not re.search(r"\s", text)
    return is_server and is_plain and _HOST.fullmatch(parts.hostname or "") is not None
