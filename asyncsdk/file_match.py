"""Checks that a response is of the file that was sent: a gateway may swap two responses, or repeat one (pure).

Each check names the first thing that does not fit, or returns None. Servers leave fields out: what is missing is not
compared.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Mapping

from attrs import frozen

from asyncsdk.counts import counted
from asyncsdk.models import File, Upload, UploadPart
from asyncsdk.redaction import KEY, SECRET

_KINDS = frozenset({"upload", "upload.part", "file", "list"})


@frozen
class SentFile:
    """What a file that was sent is called, is for, and how large it is."""

    filename: str
    purpose: str
    size: int

    def problem(self, found: Upload | File, names: Container[str]) -> str | None:
        """What speaks against `found`, a response, being of this content.

        A server may keep a file under another name, such as one without spaces: another filename speaks against it
        only where it is one of `names`, those of other uploads.
        """
        name = found.filename
        if name is not None and not same_text(name, self.filename) and name in names:
            return f"its filename is {name!r}, not {self.filename!r}"
        return self._other_problem(found)

    def may_be(self, file: File) -> bool:
        """Whether nothing speaks against `file`, one of a list, being of this content, its filename included."""
        return self._other_problem(file) is None and (file.filename is None or similar(file.filename, self.filename))

    def _other_problem(self, found: Upload | File) -> str | None:
        if found.purpose is not None and not same_text(found.purpose, self.purpose):
            return f"its purpose is {found.purpose!r}, not {self.purpose!r}"
        if found.bytes not in {None, self.size}:
            return f"{found.id} has {counted(found.bytes, 'byte')}, not the {self.size} that were sent"
        return None


def not_posted(
    file: File, *, posting_id: str, content: SentFile, files: Mapping[str, str], names: Container[str]
) -> str | None:
    """What speaks against `file` being made by the POST /files `posting_id`.

    `files` has which files were made by which call, `names` the filenames that were sent.
    """
    if files.get(file.id, posting_id) != posting_id:
        return f"{file.id} is the file of another upload"
    return not_of_kind(file, "file") or content.problem(file, names)


def not_of_kind(found: Upload | UploadPart | File, kind: str) -> str | None:
    """What speaks against a response being one about an object of this kind."""
    if not found.id:
        return "its id is empty"
    return f"it is of the kind {found.object!r}, not {kind!r}" if found.object in _KINDS - {kind} else None


def same_text(one: str, other: str) -> bool:
    """Whether two texts are the same, whichever form of Unicode a server keeps, as far as no secret was taken out."""
    if any(mark in one for mark in (KEY, SECRET)):
        return True
    return one == other or unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def similar(one: str, other: str) -> bool:
    """Whether one may be what a server made of the other: the same letters and digits, whatever is between them."""
    return same_text(one, other) or _letters(one) == _letters(other)


def _letters(text: str) -> str:
    return "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())
