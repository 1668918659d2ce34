"""What an error of the database means: whether it passes, and the words for one that does not (pure).

An error is known by its SQLSTATE, where the server gave one, else by its kind. No text of a client's error is repeated:
it may contain a part of the URL. A server's own message may be, without its detail: that has what was to be written.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from asyncsdk.postgres import DatabaseFault

VERSION = 6  # of the schema, that this asyncsdk makes and reads
FIRST_PATIENCE = 3.0  # seconds for a database that has not answered yet: its address may be wrong
STARTING_PATIENCE = 30.0  # one that says that it is starting, or has no free connection now
PATIENCE = 600.0  # one that has worked
LONGEST_PAUSE = 5.0
OLDEST_SERVER = 120000

_CONFLICT = "40"  # another transaction was in the way
_TIMED_OUT = {"57014", "55P03"}  # a statement_timeout or lock_timeout that somebody set there
_STARTING = {"57P03", "53300"}
READ_ONLY = "25006"
_FIRST = {READ_ONLY, "08P01", "not postgres"}  # a primary that fails over is read-only for a while; a pooler's errors
_FOREVER = {"settings", "certificate"}
_CUT = {"57P01", "57P02", "57P05", "25P03"}
_NAMES = "(PGPASSWORD, PGPASSFILE or PGSERVICE in the environment are used where the URL has no password)"


class Passing(Enum):
    """Whether to ask again."""

    NEVER = "it fails in the same way each time"
    AT_ONCE = "another transaction was in the way"
    SOON = "the server is starting, or full"
    AWAY = "the server can't be reached"


@frozen
class Trouble:
    """An error: its SQLSTATE ('' where no server gave one), the server's message, and what it was without one."""

    state: str = ""
    message: str = ""
    kind: str = ""


@frozen
class Facts:
    """What a server is. `version` is that of the schema, None where none is made."""

    server_version: int
    synchronous_commit: str
    is_read_only: bool
    version: int | None


def passing(trouble: Trouble, *, has_worked: bool) -> Passing:
    """Whether it passes. `has_worked`: the database did once, so its address and our rights are good."""
    if trouble.state.startswith(_CONFLICT):
        return Passing.AT_ONCE
    if trouble.state in _STARTING | _TIMED_OUT:
        return Passing.SOON
    if trouble.state in _FIRST or trouble.kind in _FIRST:
        return Passing.AWAY if has_worked else Passing.NEVER
    if trouble.state in _CUT or trouble.state.startswith("08"):
        return Passing.AWAY
    return Passing.NEVER if trouble.state or trouble.kind in _FOREVER else Passing.AWAY


def pause_after(how: Passing, attempt: int, waited: float, *, has_worked: bool, patience: float) -> float | None:
    """Seconds to wait before the next attempt, after `attempt` failed ones and `waited` seconds; None: give up."""
    if how is Passing.NEVER:
        return None
    limit = patience if has_worked else (STARTING_PATIENCE if how is Passing.SOON else FIRST_PATIENCE)
    if waited >= limit:
        return None
    first, longest = (0.01, 0.2) if how is Passing.AT_ONCE else (0.1, LONGEST_PAUSE)
    return min(first * 2.0 ** min(attempt - 1, 10), longest)


def keeps_connection(trouble: Trouble) -> bool:
    """Whether the connection is as good as before: the statement alone was given up."""
    return trouble.state.startswith(_CONFLICT) or trouble.state in _TIMED_OUT


def fault(trouble: Trouble, *, passes: bool = False) -> DatabaseFault:
    """The words for an error that is not waited for any longer; `passes`: it may be over later."""
    words = _BY_STATE.get(trouble.state) or _BY_STATE.get(trouble.state[:2]) or _BY_KIND.get(trouble.kind)
    said = f": {trouble.message}" if trouble.message else ""
    if words is None:
        code = f" ({trouble.state})" if trouble.state else ""
        return DatabaseFault(
            f"the database refused{code}{said}", "Mend that, and the same call goes on.", passes=passes
        )
    return DatabaseFault(words[0] + (said if trouble.state else ""), words[1], passes=passes)


def not_fit(facts: Facts, *, writes: bool) -> DatabaseFault | None:
    """Why a database is not trusted with records, now and later; None for one that is."""
    if facts.server_version < OLDEST_SERVER:
        return DatabaseFault("the server is older than PostgreSQL 12", "Upgrade it.")
    if facts.version is not None and facts.version > VERSION:
        return DatabaseFault(
            f"version {facts.version} of its schema was made by a newer asyncsdk; this one knows version {VERSION}",
            "Upgrade asyncsdk, or use another database.",
            is_newer=True,
        )
    if writes and facts.synchronous_commit == "off":
        return DatabaseFault(
            "synchronous_commit is off there, so a commit that was acknowledged can be lost",
            "alter role … set synchronous_commit = on, or alter database … set synchronous_commit = on.",
        )
    return None


def not_brought_up(made: int) -> DatabaseFault:
    """What this user may not do about a schema of an older version."""
    return DatabaseFault(
        f"version {made} of its schema was made by an older asyncsdk, this one needs version {VERSION}, and this user "
        "may not bring it up",
        "A user who may create tables has to run what `asyncsdk uploads schema` prints, then grant again what it says.",
    )


_SAME = "the same call goes on."
_CLOSED = (
    "it closed the connection",
    f"Correct host and port, if another kind of server has that port, or wait until it answers; then {_SAME}",
)
_BY_STATE: dict[str, tuple[str, str]] = {
    "08": _CLOSED,
    "28P01": ("it refuses the user or the password", f"Correct them {_NAMES}."),
    "28": ("it does not let this user in", f"Correct the user, or what pg_hba.conf allows {_NAMES}."),
    "3D000": ("that database does not exist", "Create it (createdb), or correct the name at the end of the URL."),
    "42501": (
        "the user may not do what is needed there",
        "A user who may create tables has to run what `asyncsdk uploads schema` prints; it also says what to grant.",
    ),
    READ_ONLY: (
        "it is read-only, as a standby is, or a session with default_transaction_read_only",
        f"Name the primary (of several, target_session_attrs=read-write finds it); once it can be written, {_SAME}",
    ),
    "57014": ("a statement took longer than its statement_timeout", f"Raise it for this role; then {_SAME}"),
    "55P03": ("a statement waited longer than its lock_timeout", f"Raise it for this role; then {_SAME}"),
    "53300": ("it has no free connection", f"Raise max_connections or use a pooler; then {_SAME}"),
    "57P03": ("it does not take connections now", f"Once it does, {_SAME}"),
    "53": ("it has no room or memory left", f"Make room; then {_SAME}"),
    "42P01": (
        "a table of the schema asyncsdk is missing",
        "Restore it. Without it, drop the schema: then all is forgotten, files are sent and edits are paid again.",
    ),
}
_BY_KIND: dict[str, tuple[str, str]] = {
    "refused": ("no server answers at that address", f"Start it, or correct host and port; then {_SAME}"),
    "file": (
        "a file is not there or can't be read: the socket of its server, or what sslrootcert, sslcert or sslkey name",
        f"Correct the URL, or start the server; then {_SAME}",
    ),
    "unresolved": ("the name of its host is not known, or was not resolved in time", "Correct the host in the URL."),
    "not postgres": (
        "what answers there is not a Postgres server, or does not speak TLS as it was asked to",
        "Correct host and port, or sslmode= in the URL.",
    ),
    "silent": (
        "it did not answer in time: it hangs, or another kind of server has that port",
        f"Correct host and port, or wait until it answers; then {_SAME}",
    ),
    "cut": _CLOSED,
    "certificate": ("its TLS certificate is not trusted", "Set sslrootcert= in the URL, or correct the host."),
    "settings": (
        "the URL, or what PGSERVICE, PGSSLMODE and the like contain, can't be used",
        f"It is postgresql://USER@HOST:PORT/DATABASE {_NAMES}; sslmode=verify-ca and verify-full need sslrootcert=.",
    ),
}
