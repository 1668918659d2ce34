"""What a caller asks for and gets: a job, its result, its outcome, as values; a bad job is refused here (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal

from attrs import field, frozen

from asyncsdk.api import Purpose
from asyncsdk.errors import ConfigurationError
from asyncsdk.models import File, Upload
from asyncsdk.uploads.mime import mime_type_of
from asyncsdk.uploads.source import Given

SHORTEST_LIFE, LONGEST_LIFE = 3600, 2_592_000  # seconds, OpenAI's document on expires_after


@frozen(kw_only=True)
class Fields:
    """The API's fields of an upload, settled."""

    filename: str
    mime_type: str
    purpose: str
    expires_after: Mapping[str, Any] | None


def _shown(source: Given) -> str:
    """The source for people: its name, never its content."""
    if isinstance(source, bytes | bytearray | memoryview):
        return f"{memoryview(source).nbytes} bytes"
    name = source if isinstance(source, str) else getattr(source, "name", None)
    return PurePath(name).name if isinstance(name, str) else type(source).__name__


@frozen
class UploadJob:
    """One file to upload: the arguments of `AsyncUploader.upload`."""

    source: Given = field(repr=_shown)
    purpose: Purpose
    filename: str | None = None
    mime_type: str | None = None
    expires_after: int | Mapping[str, Any] | None = None
    key: str | None = None
    if_uploaded: Literal["reuse", "again"] = "reuse"
    on_busy: Literal["wait", "fail"] = "wait"
    resume: bool = True

    def fields(self, source_name: str) -> Fields:
        """What the API is told; `source_name` is the file's own. Raises ConfigurationError; nothing was sent."""
        _one_of("if_uploaded", self.if_uploaded, "reuse", "again")
        _one_of("on_busy", self.on_busy, "wait", "fail")
        filename = _as_unicode(source_name) if self.filename is None else self.filename
        return Fields(
            filename=_text("filename", filename),
            mime_type=_text("mime_type", mime_type_of(filename) if self.mime_type is None else self.mime_type),
            purpose=_text("purpose", self.purpose),
            expires_after=_expiry(self.expires_after),
        )

    def describe(self) -> str:
        """The source for people: the caller's name for it, else its own; never its content."""
        return self.key or _shown(self.source)


@frozen(kw_only=True)
class UploadResult:
    """What came of an upload. `bytes_sent` went up in this run and `bytes_resumed` in earlier ones: together the file.

    `reused`: it was there already and nothing was sent. `md5` is hex, None where
    it is off. `seconds` is how long the call took.
    """

    upload: Upload
    file: File
    md5: str | None
    bytes_sent: int
    bytes_resumed: int
    reused: bool
    seconds: float


@frozen(kw_only=True)
class UploadOutcome:
    """How one job of many ended: with a result, or with an error."""

    job: UploadJob
    result: UploadResult | None = None
    error: Exception | None = None

    @property
    def status(self) -> Literal["done", "reused", "failed"]:
        """*reused*: the file was on the server already, and nothing was sent."""
        if self.result is None:
            return "failed"
        return "reused" if self.result.reused else "done"


def _expiry(given: object) -> Mapping[str, Any] | None:
    if given is None:
        return None
    if isinstance(given, Mapping):
        return dict(given)
    if not isinstance(given, int) or not SHORTEST_LIFE <= given <= LONGEST_LIFE:
        raise ConfigurationError(
            f"expires_after={given!r} is no number of seconds within 1 hour and 30 days "
            f"({SHORTEST_LIFE}..{LONGEST_LIFE}). Nothing was sent."
        )
    return {"anchor": "created_at", "seconds": given}


def _as_unicode(name: str) -> str:
    """A file's name on disk need not be Unicode, but JSON is."""
    return name.encode(errors="replace").decode()


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be text that says something, not {value!r}. Nothing was sent.")
    return value


def _one_of(name: str, value: str, *known: str) -> None:
    if value not in known:
        raise ConfigurationError(f"{name}={value!r} is not known: {' or '.join(map(repr, known))}. Nothing was sent.")
