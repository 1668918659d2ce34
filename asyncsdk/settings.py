"""Base URL, credentials and headers: from arguments, the environment and defaults, checked first (pure)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from attrs import field, frozen
from yarl import URL

from asyncsdk.errors import ConfigurationError

Key = str | Callable[[], str | Awaitable[str]]
Auth = Literal["bearer", "api-key"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: a header's name
_HARMLESS = re.compile(  # a URL, and nothing that may be a key in the wrong place
    r"(\w{1,6}:?/{0,3})?(localhost|[a-z0-9-]{1,30}(\.[a-z0-9-]{1,30}){1,5})(:\w{0,5})?(/[a-z0-9._]{0,12}){0,4}",
    re.IGNORECASE,
)
_NOTHING = "Nothing was sent."
_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[\x21-\x7e]+")


class Secret(str):
    """Text that is sent and not shown: its repr, such as in a traceback with variables, is `[secret]`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "[secret]"


@frozen
class Settings:
    """Where requests go, with which credentials and headers. No repr shows the key."""

    base_url: str
    key: Key = field(repr=False)
    auth: Auth | None = "bearer"
    organization: str | None = None
    project: str | None = None
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    query: Mapping[str, str] = field(factory=dict, repr=False)
    variable: str = "OPENAI_API_KEY"  # of the environment, which has such a key

    @property
    def by_deployment(self) -> bool:
        """Whether this is Azure's classic API, which keeps models below `/deployments/`."""
        return self.base_url.endswith("/openai") and "api-version" in self.query


def resolve(
    environment: Mapping[str, str],
    *,
    api_key: Key | None,
    base_url: str | None,
    organization: str | None,
    project: str | None,
    auth: Auth,
    headers: Mapping[str, str] | None,
    query: Mapping[str, str] | None,
) -> Settings:
    """Fill in what the caller left open from `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_ORG_ID`,
    `OPENAI_PROJECT_ID` and `OPENAI_CUSTOM_HEADERS` (one `Name: value` per line); empty means unset.

    Raises ConfigurationError, which never shows a key.
    """
    key = api_key or environment.get("OPENAI_API_KEY")
    if not key:
        raise ConfigurationError(
            "no API key: set OPENAI_API_KEY, or pass api_key= (text, or a function that returns it). Nothing was sent."
        )
    if not isinstance(key, str) and not callable(key):
        raise ConfigurationError("api_key is text, or a function that returns it. Nothing was sent.")
    if auth not in get_args(Auth):
        raise ConfigurationError(f"auth={auth!r} is not known: 'bearer' (OpenAI) or 'api-key' (Azure).")
    custom = parse_headers(environment.get("OPENAI_CUSTOM_HEADERS", "").splitlines()) | dict(headers or {})
    return Settings(
        base_url=_base_url(base_url, environment),
        key=checked_key(key) if isinstance(key, str) else key,
        auth=auth,
        organization=_checked_text("organization", organization or environment.get("OPENAI_ORG_ID")),
        project=_checked_text("project", project or environment.get("OPENAI_PROJECT_ID")),
        headers=checked_headers(custom),
        query=dict(query or {}),
    )


def nobody() -> Settings:
    """Settings without credentials, for requests to other hosts, such as that of an image's URL."""
    return Settings(base_url="https://nowhere.invalid", key=secrets.token_hex(16), auth=None)


@frozen
class AzureSettings:
    """What is particular to Azure OpenAI. No repr shows the key."""

    key: Key = field(repr=False)
    base_url: str
    auth: Auth
    query: Mapping[str, str]

    @property
    def variable(self) -> str:
        """Which variable of the environment has a key that is sent like this one."""
        return "AZURE_OPENAI_API_KEY" if self.auth == "api-key" else "AZURE_OPENAI_AD_TOKEN"


def resolve_azure(
    environment: Mapping[str, str],
    *,
    endpoint: str | None,
    api_version: str | None,
    keys: Mapping[str, Key | None],
) -> AzureSettings:
    """The settings for Azure OpenAI. The classic base (`…/openai`) needs an `api_version`, `…/openai/v1` none.

    `keys` are those given, by the names of their arguments: each but `api_key` is a token. What is left open comes from
    `AZURE_OPENAI_ENDPOINT`, `OPENAI_API_VERSION`, `AZURE_OPENAI_API_KEY` and `AZURE_OPENAI_AD_TOKEN`.
    """
    where = endpoint or environment.get("AZURE_OPENAI_ENDPOINT")
    if not where:
        raise ConfigurationError("no Azure endpoint: set AZURE_OPENAI_ENDPOINT, or pass endpoint=. Nothing was sent.")
    version = api_version or environment.get("OPENAI_API_VERSION") or None
    base_url = checked_base_url(where, "endpoint" if endpoint else "AZURE_OPENAI_ENDPOINT")
    if not re.search(r"/openai(/v1)?$", base_url):
        base_url += "/openai" if version else "/openai/v1"
    if base_url.endswith("/openai") and not version:
        raise ConfigurationError(f"{base_url} needs an api_version (or OPENAI_API_VERSION); {base_url}/v1 needs none.")
    given = {name: key for name, key in keys.items() if key}
    if len(given) > 1:
        raise ConfigurationError(f"{'= and '.join(given)}= exclude each other. Nothing was sent.")
    token = environment.get("AZURE_OPENAI_AD_TOKEN")
    name, key = next(iter(given.items()), ("token", token) if token else ("api_key", None))
    key = key or environment.get("AZURE_OPENAI_API_KEY")
    if not key:
        raise ConfigurationError(
            "no Azure key: set AZURE_OPENAI_API_KEY or AZURE_OPENAI_AD_TOKEN, or pass api_key= or token=. "
            "Nothing was sent."
        )
    return AzureSettings(
        key=key,
        base_url=base_url,
        auth="api-key" if name == "api_key" else "bearer",
        query={"api-version": version} if version else {},
    )


def hidden(key: Any) -> Any:
    """`key` as a Secret, if it is text, so that no variable shows it in a traceback."""
    return Secret(key) if isinstance(key, str) else key


def checked_key(key: object) -> str:
    """`key` as a header can carry it. Raises ConfigurationError without showing it."""
    key = Secret(key.strip(" ")) if isinstance(key, str) else Secret()  # no variable of this frame shows it
    if not key:
        raise ConfigurationError("the API key is empty, or its function returned no text. Nothing was sent.")
    if not _VISIBLE.fullmatch(key):
        raise ConfigurationError(
            "the API key contains a line break, a space or another character that no key has. Was it copied in part, "
            "or read from a file with its newline? Nothing was sent."
        )
    return key


def checked_base_url(url: str, name: str = "base_url") -> str:
    """`url` normalised: scheme and host in lower case, no default port, no slash at the end.

    Raises ConfigurationError, which names `name` as the source, and shows the URL only if it can't contain a key.
    """
    text = url.strip()
    shown = f"{name} is {text!r}, which" if _HARMLESS.fullmatch(text) else f"{name} (not shown: it may contain a key)"
    no_url = f"{shown} is not an http(s) URL. Example: {DEFAULT_BASE_URL}. Nothing was sent."
    if "@" in text:
        raise ConfigurationError(f"{name} must contain no user name or password; the key is set separately. {_NOTHING}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        URL(text)  # yarl, which is used for sending, is stricter
    except ValueError:
        raise ConfigurationError(no_url) from None  # the cause would show a part of it
    if parts.scheme not in _PORTS or not host or re.search(r"\s", text):
        raise ConfigurationError(no_url)
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{name} must end with its path; what follows '?' goes into the query. {_NOTHING}")
    name = f"[{host}]" if ":" in host else host
    shown_port = f":{port}" if port and port != _PORTS[parts.scheme] else ""
    return f"{parts.scheme}://{name}{shown_port}{parts.path.rstrip('/')}"


def _base_url(argument: str | None, environment: Mapping[str, str]) -> str:
    if argument:
        return checked_base_url(argument)
    return checked_base_url(environment.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL, "OPENAI_BASE_URL")


def parse_headers(lines: list[str]) -> dict[str, str]:
    """`Name: value` lines as headers; of a name that occurs twice the last value counts."""
    headers = {}
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if line.strip() and not colon:  # the line may be a secret and is not shown
            raise ConfigurationError(f"a header is written as 'Name: value'; number {number} has no colon.")
        if colon:
            headers[name.strip()] = value.strip()
    return headers


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """`headers` as a request can carry them. Raises ConfigurationError; no value is shown."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not a header name. Nothing was sent.")
        if any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in value):
            raise ConfigurationError(f"the value of header {name} contains a line break or control character.")
    return {name: Secret(value) for name, value in headers.items()}


def _checked_text(name: str, value: str | None) -> str | None:
    return str(checked_headers({name: value})[name]) if value else None
