"""A file that was renamed or moved after an interruption: which upload of the journal is its own (pure).

Rules:

- Size, time of change and inode stay when a file is moved; server, project and fields must be those of the upload.
- The filename is the one that the server has. A caller who names another one wants another upload.
- An upload under a caller's own key is found by that key alone.
- A match is only a candidate: under its key what was sent is compared with the file before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath

from attrs import frozen

from asyncsdk.settings import Settings
from asyncsdk.uploads.chunking import MIB
from asyncsdk.uploads.job import Fields
from asyncsdk.uploads.journal import JournalEntry, Opened, Record
from asyncsdk.uploads.resuming.resume import Stage, replay

LEAST_BYTES = 8 * MIB  # smaller files are sent again sooner than a large journal is looked through
KEYED = "key:"


class NothingToResumeError(Exception):
    """An upload that was begun under another path can't go on: start one of the file's own. The text says why."""


class OtherContentError(NothingToResumeError):
    """What was sent of it is not in this file."""


class BeganElsewhereError(Exception):
    """A path that has uploads of its own holds a file now whose upload may have begun at another one: `openings`."""

    def __init__(self, openings: Sequence[Opened]) -> None:
        super().__init__()
        self.openings = openings


@frozen(kw_only=True)
class MovedSource:
    """A file as it is now. `filename` is the one that the caller asked for; None: the file's own will do."""

    place: str
    size: int
    mtime_ns: int | None
    inode: int | None
    fields: Fields
    filename: str | None
    settings: Settings

    @property
    def is_worth_it(self) -> bool:
        """Whether it is large enough, and has an inode to be known by."""
        return self.size > LEAST_BYTES and bool(self.inode) and self.mtime_ns is not None

    @property
    def written_at(self) -> float:
        """The unix time of its last change."""
        return (self.mtime_ns or 0) / 1e9

    def may_be(self, opened: Opened) -> bool:
        """Whether `opened` began with this file, at another path."""
        fields = self.fields
        return (
            self._is_of(opened)
            and (opened.purpose, opened.mime_type, opened.expires_after)
            == (fields.purpose, fields.mime_type, fields.expires_after)
            and self.filename in {None, opened.filename}
            and is_from_a_path(opened)
            and (opened.source, opened.filename) != (self.place, fields.filename)
        )

    def may_differ(self, opened: Opened) -> bool:
        """Whether `opened` began with this file at this path: its fields were others where its key is another."""
        return self._is_of(opened) and opened.source == self.place

    def may_be_named(self, opened: Opened, place: str) -> bool:
        """Whether `opened`, of the caller's own key that `place` has, would be gone on with if it had its filename."""
        fields = self.fields
        return (
            opened.source == place
            and opened.bytes == self.size
            and self._is_for(opened)
            and (opened.purpose, opened.mime_type, opened.expires_after)
            == (fields.purpose, fields.mime_type, fields.expires_after)
            and opened.filename != fields.filename
        )

    def _is_of(self, opened: Opened) -> bool:
        known = (opened.bytes, opened.mtime_ns, opened.inode) == (self.size, self.mtime_ns, self.inode)
        return known and self._is_for(opened)

    def _is_for(self, opened: Opened) -> bool:
        settings = self.settings
        return (opened.base_url, opened.organization, opened.project) == (
            settings.base_url,
            settings.organization,
            settings.project,
        )


def is_from_a_path(opened: Opened) -> bool:
    """Whether the upload is known by a path, rather than by a caller's own key."""
    return bool(opened.source) and not opened.source.startswith(KEYED)


def large(entries: Iterable[JournalEntry]) -> list[Opened]:
    """How the uploads began that may be of a file that was moved since."""
    records = (record for entry in entries for record in entry.records)
    return [record for record in records if isinstance(record, Opened) and record.bytes > LEAST_BYTES]


def newest_first(openings: Iterable[Opened], is_wanted: Callable[[Opened], bool]) -> list[Opened]:
    """The uploads that are wanted, each once, the one that began last first."""
    found = {opened.upload: opened for opened in openings if is_wanted(opened)}
    return sorted(found.values(), key=lambda opened: (opened.created_at, opened.upload), reverse=True)


def sent_otherwise(records: Sequence[Record], upload_id: str) -> str:
    """What to say of that upload, of all `records` under its key, where it is left for one with other options."""
    state = replay(record for record in records if record.upload == upload_id)
    if state is not None and state.completed is not None:
        return f"it was sent before as {state.completed.file.get('id')} with other options; sending it again"
    if state is None or state.opened is None or not (state.is_open and state.bytes_held):
        return ""
    there = f"{state.bytes_held:,} of {state.opened.bytes:,} bytes of it were sent"
    return f"{there} as {upload_id} with other options; starting again"


def named_otherwise(key: str, opened: Opened) -> str:
    """What to say where the caller's own key is known with another filename: it is sent again."""
    return (
        f"the key {key!r} is known with the name {opened.filename}, with which it would go on (--filename, filename=); "
        "sending it again"
    )


def can_go_on(records: Sequence[Record], upload_id: str, *, now: float) -> bool:
    """Whether that upload, of all `records` under its key, is worth going on with at `now` (unix time).

    One that is done is, also after its path was used again: the same file is returned. One into which nothing was sent,
    whose hour is over, or after which another began, is not.
    """
    state, newest = replay(record for record in records if record.upload == upload_id), replay(records)
    if state is None or state.opened is None or newest is None:
        return False
    if state.stage is Stage.COMPLETED:
        return True
    if state.stage is Stage.PENDING and not (state.bytes_held > 0 and now < state.opened.expires_at):
        return False
    return state.is_open and newest.upload_id == upload_id


def why_from_start(records: Sequence[Record], upload_id: str) -> str:
    """What to say to a person where that upload, of all `records` under its key, is not worth going on with."""
    state = replay(record for record in records if record.upload == upload_id)
    if state is not None and state.stage is Stage.PENDING and not state.bytes_held:
        return f"starting from the beginning: nothing of {upload_id} was kept"
    return f"starting again: {upload_id} can't be resumed any more"


def note(opened: Opened, name: str) -> str:
    """What to say to a person; `name` is the file's own now."""
    earlier = PurePath(opened.source).name if is_from_a_path(opened) else opened.filename
    if earlier == name == opened.filename:
        return f"goes on with the upload of {opened.source}"
    return f"goes on with the upload of {earlier}; the file keeps the name {opened.filename} on the server"
