"""Which texts are URLs, what of one is shown and remembered, and what of it only its store gets to see (pure)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from attrs import evolve, field, frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.given import ends_in_login, shown_as_url

WEB = frozenset({"https", "http"})
AZURE = frozenset({"az", "azure", "adl", "abfs", "abfss"})  # whose host may be container@account
SCHEMES = ("s3", "s3a", "gs", *sorted(AZURE), "https", "http", "memory")  # as obstore knows them

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.IGNORECASE | re.DOTALL)
_LOST_SLASH = re.compile(rf"({'|'.join(SCHEMES)}):/([^/?#][^?#]*)")
_UNRESERVED = "/%!$&'()*+,;=:@~"  # of what a path may hold unquoted, besides letters, digits and "_.-"
_BEYOND_ASCII = re.compile(r"(?:%[89A-F][0-9A-F])+")
_SIGNATURE = re.compile(r"(?:^|&)(?:[a-z-]*-)?sig(?:nature)?=", re.IGNORECASE)  # of presigned URLs, whatever the store
_SENT_ALIKE = re.compile(r"/(?:(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%20|%[89A-F][0-9A-F])+(?:/(?!$)|$))+")


@frozen
class RemoteAddress:
    """The address of an object, or of what is below a prefix. `str` and `repr` show no login and no query.

    Args:
        scheme: Such as "s3", in lower case.
        host: The bucket, or the host with its port; of Azure the container, perhaps with its account.
        raw: The path as it is in the URL, percent-encoded, with the slash at its start.
        login: "user:password" of a web server.
        query: What follows the "?", such as the signature of a presigned URL.
    """

    scheme: str
    host: str
    raw: str = field(repr=False)
    login: str = field(default="", repr=False)
    query: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The URL for people, journals and ledgers: the same for each spelling, without login, query and fragment."""
        return f"{self.store}{_BEYOND_ASCII.sub(_readable, self.raw)}"

    @property
    def store(self) -> str:
        """The store itself, for messages: its scheme, and its bucket or host."""
        return f"{self.scheme}://{self.host}"

    @property
    def kind(self) -> str:
        """Its scheme, of those that mean the same the best known: "s3", "gs", "az", …"""
        return "az" if self.scheme in AZURE else {"s3a": "s3", "http": "https"}.get(self.scheme, self.scheme)

    @property
    def sent(self) -> str:
        """The URL as its server gets it, without the login: not to be shown."""
        return f"{self.store}{self.raw}{'?' if self.query else ''}{self.query}"

    @property
    def path(self) -> str:
        """The object's name in its store, decoded, without a slash at its start."""
        return unquote(self.raw).removeprefix("/")

    @property
    def name(self) -> str:
        """The last part of the path, decoded; empty for a prefix."""
        return unquote(self.raw.rpartition("/")[2])

    @property
    def is_prefix(self) -> bool:
        """Whether it ends like a directory."""
        return self.raw.endswith("/")

    @property
    def is_web(self) -> bool:
        """Whether it is on a web server, which can't be listed."""
        return self.scheme in WEB

    @property
    def is_sent_by_path(self) -> bool:
        """Whether its path, decoded and encoded again by obstore, is the same: else only the URL as it is will do."""
        is_plain = _SENT_ALIKE.fullmatch(self.raw) is not None and not {".", ".."} & set(self.raw.split("/"))
        return not self.is_web or (is_plain and not self.query)

    @property
    def is_named_by_path(self) -> bool:
        """Whether its path alone says which object it is: a query without a signature may say it, such as `?id=7`."""
        return not self.query or _SIGNATURE.search(self.query) is not None

    def child(self, name: str) -> RemoteAddress:
        """The address of `name`, not encoded, below this one, whether or not that ends with a slash."""
        return evolve(self, raw=f"{self.raw.removesuffix('/')}/{quote(name, safe=_UNRESERVED.replace('%', ''))}")

    def __str__(self) -> str:
        return self.shown


def remote_address(text: str) -> RemoteAddress | None:
    """The address that `text` is; None for a path, which `file://…` is too: see `local_path`.

    Raises ConfigurationError for a URL whose scheme is not known, and for one that has what its scheme can't have.
    """
    match = _URL.fullmatch(text)
    if match is None or match[1].lower() == "file":
        return None
    scheme, netloc, path = match[1].lower(), match[2], match[3]
    if scheme not in SCHEMES:
        raise _unusable(text, f"the scheme {scheme}:// is not known. Known are: {', '.join(SCHEMES)}, file")
    login, _, host = netloc.rpartition("@")
    if scheme in AZURE and login and ":" not in login:
        login, host = "", netloc
    if scheme not in WEB:
        if login:
            raise _unusable(
                text, "a login in it is not used. Pass credentials in the environment, or by remote_options="
            )
        if match[4] or match[5]:
            character = "?" if match[4] else "#"
            raise _unusable(
                text,
                f"a {character} ends its path. Write {quote(character)} where the name has one; credentials go into "
                "the environment, or into remote_options=",
            )
    if not host and scheme != "memory":
        raise _unusable(text, "its host or bucket is missing")
    if not _is_host(host, scheme):
        raise _unusable(text, _about_host(host, scheme))
    try:
        raw = quote(path or "/", safe=_UNRESERVED)
        raw = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", raw)
        raw = re.sub(r"%[0-9a-f]{2}", lambda code: code[0].upper(), raw, flags=re.IGNORECASE)
        unquote(raw, errors="ignore" if scheme in WEB else "strict")
    except UnicodeError:
        raise _unusable(text, "its path is not UTF-8") from None
    return RemoteAddress(scheme, host.lower() if scheme in WEB else host, raw, login, (match[4] or "?")[1:])


def local_path(text: str) -> str:
    """The path that `text` is, taken out of a `file://` URL. Raises ConfigurationError for one of another machine."""
    match = _URL.fullmatch(text)
    if match is None or match[1].lower() != "file":
        return text
    if match[2].lower() not in {"", "localhost"}:
        raise _unusable(text, "a path on this machine has three slashes: file:///")
    return unquote(match[3])


def local_directory(given: str | os.PathLike[str], name: str) -> Path:
    """The directory that `given` is. Raises ConfigurationError for a URL, of which a path would be made else.

    `name` is what the caller calls it.
    """
    path = local_path(given) if isinstance(given, str) else os.fspath(given)
    if (url := shown_as_url(path) or url_in_path(path)) is not None:
        raise ConfigurationError(
            f"{name} is kept in a directory of this machine, and {url} is a URL. Give a path. Nothing was sent."
        )
    return Path(path)


def url_in_path(path: str | os.PathLike[str]) -> str | None:
    """The URL that a path such as `s3:/bucket/a` was before it was made a Path, which has lost a slash; else None."""
    match = _LOST_SLASH.fullmatch(os.fsdecode(path))
    return None if match is None else f"{match[1]}://{match[2]}"


def hint_of_url(path: str | os.PathLike[str]) -> str:
    """What to say of a path that does not exist; '' where it was not a URL."""
    url = url_in_path(path)
    return "" if url is None else f" Is {url} meant? A Path has lost a slash of it."


def _is_host(host: str, scheme: str) -> bool:
    if re.search(r'[\s\x00-\x1f\x7f"<>\\^`{|}]', host):
        return False
    if ends_in_login(host):
        return False
    try:
        parts = urlsplit(f"//{host}")
        return scheme not in WEB or bool(parts.hostname and parts.port != 0)
    except ValueError:  # its port, or brackets
        return False


def _about_host(host: str, scheme: str) -> str:
    if ends_in_login(host):
        return "what is before its path is not a host or a bucket. In a login, /, ? and # are written %2F, %3F and %23"
    return f"{host!r} is not the name of a {'host, with or without a port' if scheme in WEB else 'bucket'}"


def _unusable(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{shown_as_url(text) or 'the given URL'} can't be used: {why}. Nothing was sent.")


def _readable(match: re.Match[str]) -> str:
    """Letters of other scripts as they are, where they are letters; else the codes."""
    try:
        text = unquote(match[0], errors="strict")
    except UnicodeError:
        return match[0]
    return text if text.isprintable() else match[0]
