"""The records of an upload, and the `Journal` that keeps them: an event log for each key (pure)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from inspect import signature
from typing import Any, Protocol, TypeGuard

from attrs import evolve, field, frozen

from asyncsdk.wal import Owner as Owner


def _to_milliseconds(seconds: float) -> float:
    return round(float(seconds), 3)


@frozen(kw_only=True)
class Record:
    """A fact about one upload. `at` is local unix time in seconds; the order of records does not depend on it.

    It is kept to the millisecond, as a journal writes it, so that a record read back equals the one written.
    """

    upload: str
    at: float = field(factory=time.time, converter=_to_milliseconds)


@frozen(kw_only=True)
class Opened(Record):
    """The server made the upload: its fields, and the source that it belongs to."""

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
class Posting(Opened):
    """POST /files is about to be sent: one request with the whole file, which it may make from now on.

    `upload` is an id of our own; no upload on the server has it. By the server's clock, `created_at` is when the
    request began, and `expires_at` is until when it may have an effect. `md5` (hex) and `xxh3` are those of the source.
    One that is sent again has another record under the same id.
    """

    md5: str
    xxh3: str


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
    """The server refused complete with this status: no file was made, and the parts are still valid.

    For a `Posting`: no file was made of it. The status is 0 where its last byte was not sent.
    """

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
    """The upload is gone: its time ran out, or the server does not know it any more."""

    reason: str


def unanswered(records: Iterable[Record]) -> Completing | None:
    """Return the complete whose response was not seen, among one upload's records, oldest first.

    One that was refused outright is settled. A damaged line or a clock set back must not settle another: more
    requests than refusals, or a request as the last of them, are each enough.
    """
    attempts = [record for record in records if isinstance(record, Completing | Refused)]
    requests = [record for record in attempts if isinstance(record, Completing)]
    if not requests or (2 * len(requests) <= len(attempts) and requests[-1] is not attempts[-1]):
        return None
    return requests[-1]


def unanswered_posting(records: Iterable[Record]) -> Posting | None:
    """Return the POST /files whose response was not seen, among one upload's records; one that made nothing is settled.

    Sent several times, it began with the first of them.
    """
    records = list(records)
    postings = [record for record in records if isinstance(record, Posting)]
    if not postings or any(isinstance(record, Refused | Completed | Cancelled | Expired) for record in records):
        return None
    return evolve(postings[-1], created_at=min(record.created_at for record in postings))


def may_be_a_file(records: Sequence[Record]) -> bool:
    """Whether one upload's records have a request that may have made its file, and whose response was not seen."""
    return unanswered(records) is not None or unanswered_posting(records) is not None


@frozen
class JournalEntry:
    """One key's records, and the process that has it now."""

    key: str
    records: tuple[Record, ...]
    owner: Owner | None


class Log(Protocol):
    """One key's records, held by one owner at a time."""

    @property
    def records(self) -> Sequence[Record]:
        """Everything known, oldest first, what was appended here included."""

    async def append(self, record: Record) -> None:
        """Return once the record would survive a power cut. Raises JournalError; the record may then be lost."""

    async def append_final(self, record: Record) -> None:
        """Append the record that ends an upload, then drop all but it, its `Opened`, and the files that others became.

        It is the last record of this owner. Raises JournalError, as `append` does.
        """


class Journal(Protocol):
    """Remembers uploads across processes. It locks as it sees fit, so that a fleet of machines can share one."""

    def claim(
        self, key: str, *, wait: bool = True, on_busy: Callable[[Owner | None], None] | None = None
    ) -> AbstractAsyncContextManager[Log]:
        """Own `key` for the length of the block.

        Args:
            key: The name of a log: 1 to 128 letters, digits, `_`, `-` and `.`.
            wait: Whether to wait while another process has the key.
            on_busy: Called once, before waiting, with the process that has it; None where that is not known.

        Returns:
            A context manager of the key's log.

        Raises:
            UploadBusyError: Another process has the key, and `wait` is False.
            JournalVersionError: The journal was written by a newer asyncsdk.
            JournalError: It can't be read or written.
        """

    async def entries(self) -> Sequence[JournalEntry]:
        """Return all keys, for a list to show; takes no lock."""

    async def purge(self, *, now: float | None = None) -> int:
        """Remove the keys that are of no use any more. `append_final` does this once a day.

        Args:
            now: Unix time in seconds; None for the clock's.

        Returns:
            How many keys were removed.
        """


class SmallJournal(Journal, Protocol):
    """A journal that keeps keys with few records in a cheaper way, where it is told which these are."""

    def claim(
        self,
        key: str,
        *,
        wait: bool = True,
        on_busy: Callable[[Owner | None], None] | None = None,
        small: bool = False,
    ) -> AbstractAsyncContextManager[Log]:
        """Own `key` as `Journal.claim` does. `small` is a hint: an upload of one part, with few records."""


def takes_small(journal: Journal) -> TypeGuard[SmallJournal]:
    """Whether `claim` of this journal has the argument `small`: one that a user wrote may not."""
    return _has_small(type(journal).claim)


@cache
def _has_small(claim: Callable[..., object]) -> bool:
    return "small" in signature(claim).parameters
