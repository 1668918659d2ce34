"""Which proxy leads to a server: the one that was given, else the environment's. Its password is in no URL, no repr."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.settings import Secret


@frozen
class Proxy:
    """A proxy's address, and what opens it (`Proxy-Authorization`)."""

    url: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What only the proxy is told: beside CONNECT for https, beside the request itself for http."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


def proxy_for(url: str, given: str | None = None) -> Proxy | None:
    """The proxy on the way to `url`. Raises ConfigurationError for one that can't be used."""
    named = given or environment_proxy(url)
    return parse_proxy(named) if named else None


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
    "the proxy (proxy=, HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) can't be used: http://host:port or https://host:port is "
    "needed. NO_PROXY names servers that are reached without one. Nothing was sent."
)
