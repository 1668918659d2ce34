"""Which server, as whom: arguments, then the environment, then defaults, checked before anything is sent (pure)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError

Key = str | Callable[[], str | Awaitable[str]]

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: a header's name
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@frozen
class Settings:
    """Where requests go and what they carry. The key is in no repr."""

    base_url: str
    key: Key = field(repr=False)
    auth: str = "bearer"
    organization: str | None = None
    project: str | None = None
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    query: Mapping[str, str] = field(factory=dict)


def resolve(
    environment: Mapping[str, str],
    *,
    api_key: Key | None,
    base_url: str | None,
    organization: str | None,
    project: str | None,
    auth: str,
    headers: Mapping[str, str] | None,
    query: Mapping[str, str] | None,
) -> Settings:
    """Settle what the caller left open from `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_ORG_ID`,
    `OPENAI_PROJECT_ID` and `OPENAI_CUSTOM_HEADERS` (one `Name: value` a line); empty means unset.

    Raises ConfigurationError, which never shows a key.
    """
    key = api_key or environment.get("OPENAI_API_KEY")
    if not key:
        raise ConfigurationError(
            "no API key: set OPENAI_API_KEY, or pass api_key= (text, or a function that returns it). Nothing was sent."
        )
    if auth not in {"bearer", "api-key"}:
        raise ConfigurationError(f"auth={auth!r} is not known: 'bearer' (OpenAI) or 'api-key' (Azure).")
    custom = parse_headers(environment.get("OPENAI_CUSTOM_HEADERS", "").splitlines()) | dict(headers or {})
    return Settings(
        base_url=checked_base_url(base_url or environment.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL),
        key=checked_key(key) if isinstance(key, str) else key,
        auth=auth,
        organization=organization or environment.get("OPENAI_ORG_ID") or None,
        project=project or environment.get("OPENAI_PROJECT_ID") or None,
        headers={checked_name(name): checked_value(name, value) for name, value in custom.items()},
        query=dict(query or {}),
    )


def azure_arguments(
    environment: Mapping[str, str],
    *,
    endpoint: str | None,
    api_version: str | None,
    api_key: Key | None,
    token: Key | None,
) -> dict[str, Any]:
    """`Client` arguments for Azure OpenAI. The classic base (`…/openai`) needs an `api_version`; `…/openai/v1` none.

    What is left open comes from `AZURE_OPENAI_ENDPOINT`, `OPENAI_API_VERSION`, `AZURE_OPENAI_API_KEY` and
    `AZURE_OPENAI_AD_TOKEN`.
    """
    where = endpoint or environment.get("AZURE_OPENAI_ENDPOINT")
    if not where:
        raise ConfigurationError("no Azure endpoint: set AZURE_OPENAI_ENDPOINT, or pass endpoint=. Nothing was sent.")
    version = api_version or environment.get("OPENAI_API_VERSION") or None
    base_url = checked_base_url(where)
    if not re.search(r"/openai(/v1)?$", base_url):
        base_url += "/openai" if version else "/openai/v1"
    if base_url.endswith("/openai") and not version:
        raise ConfigurationError(f"{base_url} needs an api_version (or OPENAI_API_VERSION); {base_url}/v1 needs none.")
    if api_key and token:
        raise ConfigurationError("api_key= and token= exclude each other.")
    token = token or (None if api_key else environment.get("AZURE_OPENAI_AD_TOKEN") or None)
    key = token or api_key or environment.get("AZURE_OPENAI_API_KEY") or None
    if not key:
        raise ConfigurationError("no Azure key: set AZURE_OPENAI_API_KEY or AZURE_OPENAI_AD_TOKEN. Nothing was sent.")
    return {
        "api_key": key,
        "base_url": base_url,
        "auth": "bearer" if token else "api-key",
        "query": {"api-version": version} if version else {},
    }


def checked_key(key: str) -> str:
    """`key` as it may stand in a header. Raises ConfigurationError without showing it."""
    stripped = key.strip(" ")
    if not _VISIBLE.fullmatch(stripped):
        raise ConfigurationError(
            "the API key holds a line break, a space or another character no key has; was it copied whole, "
            "or read from a file with its last newline? Nothing was sent."
        )
    return stripped


def checked_base_url(url: str) -> str:
    """`url` normalised: scheme and host in lower case, no slash at the end."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"base_url is no URL: {error}. Example: {DEFAULT_BASE_URL}") from error
    if parts.username or parts.password:
        raise ConfigurationError("base_url must hold no user name or password; the key goes into api_key=.")
    if parts.scheme.lower() not in {"http", "https"} or not host or re.search(r"\s", url.strip()):
        raise ConfigurationError(f"base_url {url!r} is no http(s) URL. Example: {DEFAULT_BASE_URL}. Nothing was sent.")
    if parts.query or parts.fragment:
        raise ConfigurationError("base_url must end with its path; what follows '?' goes into default_query=.")
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme.lower()}://{name}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def parse_headers(lines: list[str]) -> dict[str, str]:
    """`Name: value` lines as headers."""
    pairs = [line.partition(":") for line in lines if line.strip()]
    for name, colon, _ in pairs:
        if not colon:
            raise ConfigurationError(
                f"a header is written as 'Name: value'; this one has no colon after {name[:20]!r}."
            )
    return {name.strip(): value.strip() for name, _, value in pairs}


def checked_name(name: str) -> str:
    """`name` as a header's name."""
    if not _TOKEN.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no header name. Nothing was sent.")
    return name


def checked_value(name: str, value: str) -> str:
    """`value` as a header's value. It may be a secret and is not shown."""
    if any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in value):
        raise ConfigurationError(f"the value of header {name} holds a line break or control character.")
    return value
