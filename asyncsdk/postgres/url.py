"""The URL of a database: told from a path, checked before anything is sent, shown without its password (pure).

What is passed on is the text itself: asyncpg reads it as libpq does, with PGPASSWORD, PGSERVICE and so on where it
contains none. It is checked here first, since a text that asyncpg can't read would be in its error.
"""

from __future__ import annotations

import difflib
import re
from urllib.parse import unquote

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError

DEFAULT_PORT = 5432
SCHEMES = ("postgresql", "postgres")
OPTIONS = (
    "application_name", "database", "dbname", "gsslib", "host", "krbsrvname", "options", "passfile", "password", "port",
    "search_path", "service", "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcert",
    "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert", "target_session_attrs", "user",
)  # fmt: skip
_SSL_MODES = ("allow", "disable", "prefer", "require", "verify-ca", "verify-full")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # one letter is a drive
_LIKE_OURS = re.compile(r"postgres\w*[:;/]+.*@|postgres(ql)?:", re.IGNORECASE)
_WORDS = re.compile(r"\s*(host|hostaddr|port|dbname|user|password|passfile|service|sslmode)\s*=")  # as libpq takes, too
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(:(?P<port>\d{1,5}))?")
_ENCODE = "In a password, write / as %2F, @ as %40, # as %23, ? as %3F, : as %3A, % as %25; or leave it to PGPASSWORD."


@frozen
class DatabaseURL:
    """`place` may be shown: host, port and database. `dsn` contains what was given, a password too.

    `hosts` are its names of hosts, addresses and directories of sockets, () where the environment has them; `ports` are
    those of the hosts before its path.
    """

    dsn: str = field(repr=False)
    place: str
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()

    def from_host(self, first: int) -> dict[str, list[str] | list[int]]:
        """Several hosts and their ports, from this one on and round; nothing of a single one."""
        if len(self.hosts) < 2 or len(self.hosts) != len(self.ports):
            return {}
        start = first % len(self.hosts)
        hosts, ports = self.hosts[start:] + self.hosts[:start], self.ports[start:] + self.ports[:start]
        return {"host": list(hosts), "port": list(ports)}


def without_password(url: DatabaseURL) -> str:
    """The URL as another machine may get it: what takes the place of a password is in the environment there."""
    scheme, separator, rest = url.dsn.partition("://")
    place, _, query = rest.partition("?")
    login, at, where = place.rpartition("@")
    options = [each for each in query.split("&") if unquote(each.partition("=")[0]) not in {"password", "sslpassword"}]
    kept = "&".join(filter(None, options))
    return f"{scheme}{separator}{login.partition(':')[0]}{at}{where}{'?' if kept else ''}{kept}"


def is_database_url(text: str) -> bool:
    """Whether `text` is a URL, of a database or of something else, or words for libpq, rather than a path."""
    return bool(_SCHEME.match(text) or _LIKE_OURS.match(text) or _WORDS.match(text))


def database_url(text: str, *, others: str = "a directory, memory,") -> DatabaseURL:
    """Return the URL in `text`; `others` are what else it could be.

    Raises ConfigurationError, which does not contain it: it may have a password.
    """
    scheme, separator, rest = text.partition("://")
    if scheme not in SCHEMES or not separator:
        raise ConfigurationError(_other_scheme(re.split("[:/;]", text, maxsplit=1)[0], others))
    if re.search(r"\s", text) or not text.isprintable():
        raise _wrong("there is a space or a control character in it")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority) :].partition("?")
    if "@" in path or "#" in rest or authority.count("@") > 1 or re.search("%(?![0-9A-Fa-f]{2})", rest):
        raise _wrong("a character has a meaning of its own there", _ENCODE)
    if "@" in query and "@" not in authority:
        raise _wrong("an @ is after the ?", _ENCODE)
    hosts = authority.rpartition("@")[2]
    _check_hosts(hosts, _ENCODE if "@" not in authority else "It is postgresql://USER@HOST:PORT/DATABASE.")
    _check_options(query)
    matches = [match for match in map(_HOST.fullmatch, hosts.split(",")) if match and match["host"]]
    names = tuple(match["host"].strip("[]") for match in matches)
    ports = tuple(int(match["port"] or DEFAULT_PORT) for match in matches)
    names += tuple(unquote(each.partition("=")[2]) for each in query.split("&") if each.startswith("host="))
    return DatabaseURL(text, f"postgresql://{hosts}/{unquote(path.removeprefix('/'))}", names, ports)


def _check_hosts(hosts: str, advice: str) -> None:
    for each in hosts.split(","):
        match = _HOST.fullmatch(each)
        if match is None or (match["port"] is not None and not 0 < int(match["port"]) < 65536):
            raise _wrong("its port is not a number from 1 to 65535", advice)


def _check_options(query: str) -> None:
    for option in filter(None, query.split("&")):
        name, _, value = map(unquote, option.partition("="))
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, 1)
            meant = f"Did you mean {near[0]}?" if near else f"Those that are: {', '.join(OPTIONS)}."
            shown = name if near or (re.fullmatch("[a-z_]{1,40}", name) and "=" in option) else "one"
            raise _wrong(f"{shown} is not known among the options after ?", meant)
        if name == "sslmode" and value not in _SSL_MODES:
            raise _wrong("its sslmode is not known", f"It is one of {', '.join(_SSL_MODES)}.")


def _other_scheme(scheme: str, others: str) -> str:
    meant = difflib.get_close_matches(scheme.lower(), SCHEMES, 1, cutoff=0.7)
    shown = f"with {scheme}:" if re.fullmatch("[A-Za-z0-9+.-]{1,20}", scheme) else "like this"
    return (
        f"can't use a place that begins {shown}{'; did you mean postgresql://?' if meant else '.'} Nothing was sent.\n"
        f"  It is {others} or postgresql://USER@HOST:PORT/DATABASE. "
        "For a directory of that name, begin it with ./"
    )


def _wrong(what: str, advice: str = "It is postgresql://USER@HOST:PORT/DATABASE.") -> ConfigurationError:
    return ConfigurationError(f"the URL of the database can't be read: {what}. Nothing was sent.\n  {advice}")
