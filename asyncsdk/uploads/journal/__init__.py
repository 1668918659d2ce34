"""What an upload writes down: the records, and the `Journal` that keeps them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from attrs import field, frozen

from asyncsdk.wal import Owner as Owner


def _to_milliseconds(seconds: float) -> float:
    return round(float(seconds), 3)


@frozen(kw_only=True)
class Record:
    """A fact about one upload. `at` is local unix time in seconds; no order of records rests on it.

    It is kept to the millisecond, as a journal writes it, so that a record read back equals the one written.
    """

    upload: str
    at: float = field(factory=time.time, converter=_to_milliseconds)


@frozen(kw_only=True)
class Opened(Record):
    """The server made the upload: what it is for, and which source it belongs to."""

    key: str
    base_url: str
    organization: str | None
    project: str | None
    source: str
    bytes: int
    filename: str
    mime_type: str
    purpose: str
    expires_after: Mapping[str, Any] | None
    created_at: int
    expires_at: int
    mtime_ns: int | None
    inode: int | None


@frozen(kw_only=True)
class Part(Record):
    """The server holds these bytes as part `id`; `xxh3` is the fingerprint of its blocks."""

    offset: int
    length: int
    id: str
    xxh3: str


@frozen(kw_only=True)
class Completing(Record):
    """Complete is about to be asked: these parts; `md5` is hex, of the source, and goes along as `md5_form` says.

    `xxh3` is the fingerprint of all blocks of the source. A journal may hold records from before it had one.
    """

    part_ids: tuple[str, ...]
    md5: str | None
    md5_form: str = "hex"
    xxh3: str | None = None


@frozen(kw_only=True)
class Refused(Record):
    """The server refused complete with this status: no file was made, and the parts still stand."""

    status: int


@frozen(kw_only=True)
class Completed(Record):
    """The server made the File (its JSON); `md5` (hex, None where it is off) and `xxh3` are those of `Completing`."""

    file: Mapping[str, Any]
    md5: str | None
    xxh3: str | None = None


@frozen(kw_only=True)
class Cancelled(Record):
    """The upload was cancelled on the server."""


@frozen(kw_only=True)
class Expired(Record):
    """The upload is gone: its time ran out, or the server knows it no more."""

    reason: str


def unanswered(records: Iterable[Record]) -> Completing | None:
    """Return the complete whose answer nobody saw, among one upload's records, oldest first.

    One that was refused outright is settled. A damaged line or a clock set back must not settle another: more
    askings than refusals, or an asking as the last word, are each enough.
    """
    words = [record for record in records if isinstance(record, Completing | Refused)]
    asked = [record for record in words if isinstance(record, Completing)]
    return asked[-1] if asked and (2 * len(asked) > len(words) or asked[-1] is words[-1]) else None


@frozen
class JournalEntry:
    """One key's records, and who holds it now."""

    key: str
    records: tuple[Record, ...]
    owner: Owner | None


class Log(Protocol):
    """One key's records, held by one owner at a time."""

    @property
    def records(self) -> Sequence[Record]:
        """Everything known, oldest first, what was appended here included."""
        ...

    async def append(self, record: Record) -> None:
        """Return once the record would survive a power cut. Raises JournalError; the record may then be lost."""
        ...

    async def append_final(self, record: Record) -> None:
        """Append a last word, then drop all but it, its upload's `Opened`, and which files others became."""
        ...


class Journal(Protocol):
    """Remembers uploads across processes. A lock or lease is its own affair, so that a fleet can keep it elsewhere."""

    def claim(
        self, key: str, *, wait: bool = True, on_busy: Callable[[Owner | None], None] | None = None
    ) -> AbstractAsyncContextManager[Log]:
        """Own `key` for the length of the block.

        Held elsewhere: calls `on_busy` once and waits, or with `wait=False` raises UploadBusyError.
        Raises JournalVersionError on a newer journal, JournalError where it can't be read or written.
        """
        ...

    async def entries(self) -> Sequence[JournalEntry]:
        """All keys, for people to look at; takes no lock."""
        ...

    async def purge(self, *, now: float | None = None) -> int:
        """Forget what nobody can use any more; returns how many keys. Settling does this by itself, daily."""
        ...
