"""Checks that a response belongs to its request: a gateway may swap two responses, or repeat one (pure).

Each check names the first thing that does not fit, or returns None. Servers leave fields out: what is missing is not
compared.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from attrs import define, field, frozen

from asyncsdk.file_match import SentFile, not_of_kind, similar
from asyncsdk.models import File, Upload, UploadPart
from asyncsdk.uploads.journal import Completed, Completing, JournalEntry, Opened
from asyncsdk.uploads.resuming.resume import replay

MOST_FILES = 10_000  # ids that an uploader keeps, so that its memory has a bound; responses cross within seconds


@frozen
class Content(SentFile):
    """What the File of an upload is called, is for, and how large it is."""

    @classmethod
    def of(cls, opened: Opened) -> Content:
        """The content that `opened` was opened for."""
        return cls(opened.filename, opened.purpose, opened.bytes)

    def matches(self, opened: Opened) -> bool:
        """Whether `opened` is an upload of a file that looks like this."""
        same = (opened.purpose, opened.bytes) == (self.purpose, self.size)
        return same and similar(opened.filename, self.filename)


@define(eq=False)
class Ids:
    """The ids that the calls of one uploader hold, and the filenames that they sent.

    A response with one that belongs to another call is that call's.
    """

    uploads: dict[str, Opened] = field(factory=dict)
    files: dict[str, str] = field(factory=dict)
    names: dict[str, None] = field(factory=dict)

    def record_name(self, filename: str) -> None:
        """Note a filename before it is sent; the oldest of many is forgotten."""
        self.names[filename] = None
        if len(self.names) > MOST_FILES:
            del self.names[next(iter(self.names))]

    def record_file(self, upload: Upload) -> None:
        """Note which File `upload` has become."""
        if upload.file is not None:
            self.record_file_id(upload.file.id, upload.id)

    def record_file_id(self, file_id: str, upload_id: str) -> None:
        """Note which upload a File is of; the oldest of many is forgotten."""
        self.files[file_id] = upload_id
        if len(self.files) > MOST_FILES:
            del self.files[next(iter(self.files))]


@frozen
class Others:
    """What the journal and this uploader know of uploads other than one: their Files, and those still open."""

    files: frozenset[str]
    pending: tuple[Opened, ...]
    shared: bool

    def may_have_made(self, file: File, content: Content) -> bool:
        """Whether an upload whose end is not known may have become `file`."""
        return any(content.matches(opened) and opened.created_at == file.created_at for opened in self.pending)


def others_than(asked: Completing, key: str, entries: Iterable[JournalEntry], ids: Ids) -> Others:
    """Everything known of other uploads than the one that `asked` completes, which the journal has under `key`.

    `shared` is whether that upload is used elsewhere too: under another key, or completed there with other content.
    """
    files = {file_id for file_id, upload_id in ids.files.items() if upload_id != asked.upload}
    pending = {upload_id: opened for upload_id, opened in ids.uploads.items() if upload_id != asked.upload}
    shared, content = False, (asked.upload, asked.md5, asked.xxh3)
    for entry in entries:
        ours = entry.key == key
        for record in entry.records:
            outcome = ours and isinstance(record, Completed) and (record.upload, record.md5, record.xxh3) == content
            if isinstance(record, Completed) and not outcome:
                files.add(str(record.file.get("id")))
            if record.upload == asked.upload:
                shared = shared or not ours or (isinstance(record, Completed) and not outcome)
        recalled = replay(entry.records)
        if recalled and recalled.opened and recalled.is_open and recalled.upload_id != asked.upload:
            pending[recalled.upload_id] = recalled.opened
    ended = set(ids.files.values())
    return Others(frozenset(files), tuple(each for each in pending.values() if each.upload not in ended), shared)


def not_created(upload: Upload, *, content: Content, known: Iterable[str], ids: Ids) -> str | None:
    """What speaks against `upload` being the one that was to be made; `known` are ids of others."""
    if upload.id in known:
        return f"{upload.id} is another upload"
    return _not_of_status(upload, "pending") or not_of_kind(upload, "upload") or content.problem(upload, ids.names)


def not_this_part(part: UploadPart, *, upload_id: str) -> str | None:
    """What speaks against `part` being one of `upload_id`."""
    if part.upload_id not in {None, upload_id}:
        return f"it is a part of {part.upload_id}, not of {upload_id}"
    return not_of_kind(part, "upload.part")


def not_this_upload(upload: Upload, *, upload_id: str) -> str | None:
    """What speaks against `upload` being `upload_id`."""
    if upload.id != upload_id:
        return f"it is of {upload.id}, not of {upload_id}"
    return not_of_kind(upload, "upload")


def not_cancelled(upload: Upload, *, upload_id: str, content: Content, ids: Ids) -> str | None:
    """What speaks against `upload` being `upload_id`, cancelled, or completed before that."""
    if upload.file is not None or upload.status == "completed":
        return not_completed(upload, upload_id=upload_id, content=content, files=ids.files, names=ids.names)
    return not_this_upload(upload, upload_id=upload_id) or _not_of_status(upload, "cancelled")


def not_completed(
    upload: Upload, *, upload_id: str, content: Content, files: Mapping[str, str], names: Container[str]
) -> str | None:
    """What speaks against `upload` being `upload_id`, completed; `files` tells which uploads became which Files."""
    problem = (
        not_this_upload(upload, upload_id=upload_id)
        or _not_of_status(upload, "completed")
        or content.problem(upload, names)
    )
    if problem or upload.file is None:
        return problem
    if files.get(upload.file.id, upload_id) != upload_id:
        return f"{upload.file.id} is the file of another upload"
    return not_of_kind(upload.file, "file") or content.problem(upload.file, names)


def not_a_file_of(file: File, *, content: Content) -> str | None:
    """What speaks against `file`, which has the id that was asked for, being one of `content`."""
    return not_of_kind(file, "file") or content.problem(file, ())


def _not_of_status(upload: Upload, status: str) -> str | None:
    return None if upload.status in {None, status} else f"{upload.id} is {upload.status}, not {status}"
