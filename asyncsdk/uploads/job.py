"""`UploadJob`, `UploadResult` and `UploadOutcome`, as values; a bad job is refused here (pure)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal

from attrs import field, frozen

from asyncsdk.api import Purpose
from asyncsdk.errors import ConfigurationError
from asyncsdk.given import shown_as_url, unpacked
from asyncsdk.mime import mime_type_of
from asyncsdk.models import File, Upload
from asyncsdk.remote.address import local_path
from asyncsdk.suggestions import warn_of_near_misses
from asyncsdk.uploads.jsonl.rules import Depth
from asyncsdk.uploads.method import UploadMethod
from asyncsdk.uploads.sources.source import Given

SHORTEST_LIFE, LONGEST_LIFE = 3600, 2_592_000  # seconds, OpenAI's document on expires_after


@frozen(kw_only=True)
class Fields:
    """The API's fields of an upload, with defaults filled in."""

    filename: str
    mime_type: str
    purpose: str
    expires_after: Mapping[str, Any] | None


def _shown(source: Given) -> str:
    """The source in messages: its name, never its content."""
    content = unpacked(source).content
    kind = type(content).__name__
    is_in_memory = isinstance(content, bytes | bytearray | memoryview)
    return _own_name(source) or (f"{memoryview(content).nbytes} bytes" if is_in_memory else kind)


def _own_name(source: Given) -> str | None:
    named = unpacked(source)
    content = named.content
    if isinstance(content, str):
        content = shown_as_url(content) or content
    if isinstance(content, PurePath) and named.name is None:
        return content.name
    name = named.name or (content if isinstance(content, str) else getattr(content, "name", None))
    return PurePath(name).name if isinstance(name, str) else None


@frozen
class UploadJob:
    """One file to upload: the arguments of `AsyncUploader.upload`.

    Args:
        source: A path, bytes, or a seekable binary file (uploaded whole, from its first byte), such as the `UploadFile`
            of FastAPI. Or a stream: an async iterator of bytes, a `StreamReader` of aiohttp or asyncio, a byte stream
            of anyio, a file of aiofiles or one that can't seek, or a function, async or not, that returns one of these
            and is called again where that is needed. Or a tuple `(name, any of these)` or `(name, any of these, MIME
            type)`. In a tuple a path is a `pathlib.Path`, and a str is refused. Or a str that is a URL of an object in
            a bucket or on a web server (`s3://`, `gs://`, `az://`, `https://`), with the extra `remote`.
        purpose: What the File is for, such as "batch".
        filename: The File's name. None: the source's own; a stream without one needs it.
        mime_type: None: by the suffix of the filename.
        expires_after: The File's life in seconds (3,600 to 2,592,000), or a mapping in the API's own form.
        key: Your name for the content, used instead of the path to find it again; the filename has to be the same.
        if_uploaded: Where the file is on the server already: "reuse" it, or send it "again".
        on_busy: While another process sends the same file: "wait" for its result, or "fail".
        resume: False: start again, and leave behind what was sent in part.
        method: How it is sent, as for `AsyncUploader.upload`. None: "uploads" there, "auto" in `upload_many`.
        check: How much of a `.jsonl` for fine-tuning or a batch is looked at before it is sent, as for
            `AsyncUploader.upload`.
        size: The bytes of a stream, as for `AsyncUploader.upload`.
    """

    source: Given = field(repr=_shown)
    purpose: Purpose
    filename: str | None = None
    mime_type: str | None = None
    expires_after: int | Mapping[str, Any] | None = None
    key: str | None = None
    if_uploaded: Literal["reuse", "again"] = "reuse"
    on_busy: Literal["wait", "fail"] = "wait"
    resume: bool = True
    method: UploadMethod | None = None
    check: Depth = field(default="ends", kw_only=True)
    size: int | None = field(default=None, kw_only=True)

    def fields(self, source_name: str) -> Fields:
        """The fields to send.

        Args:
            source_name: The file's own name.

        Raises:
            ConfigurationError: A field is wrong. Nothing was sent.
        """
        _one_of("if_uploaded", self.if_uploaded, "reuse", "again")
        _one_of("on_busy", self.on_busy, "wait", "fail")
        _one_of("check", self.check, "none", "ends", "full")
        warn_of_near_misses({"purpose": self.purpose})
        named = unpacked(self.source)
        chosen = named.name or _as_unicode(source_name) if self.filename is None else self.filename
        filename = _text("filename", chosen)
        mime_type = named.mime_type or mime_type_of(filename) if self.mime_type is None else self.mime_type
        return Fields(
            filename=filename,
            mime_type=_text("mime_type", mime_type),
            purpose=_text("purpose", self.purpose),
            expires_after=_expiry(self.expires_after),
        )

    def path(self) -> str | None:
        """The path that the caller gave; None where it is something else."""
        content = unpacked(self.source).content
        if isinstance(content, str):
            path = local_path(content)
            return None if shown_as_url(path) else path
        return os.fsdecode(content) if isinstance(content, os.PathLike) else None

    def describe(self) -> str:
        """The source in messages: the caller's name for it, else its own; never its content."""
        return self.key or _own_name(self.source) or self.filename or _shown(self.source)


@frozen(kw_only=True)
class UploadResult:
    """A completed upload. `bytes_sent` and `bytes_resumed` together are the size of the file.

    Args:
        upload: The API's Upload; None where the file was sent by one request.
        file: The API's File.
        md5: Hex, of the whole file; None where `md5` is off and it was sent through the Uploads API.
        bytes_sent: Bytes uploaded in this run.
        bytes_resumed: Bytes uploaded in earlier runs.
        reused: The file was on the server already, and nothing was sent.
        by_others: That was uploaded after this call began, or the run that it is one of: by another process, or by
            another job for the same source.
        seconds: How long the call took.
        sending_seconds: For how long its bytes were on their way: not while it waited for its turn, or was read.
        duplicate_possible: A request whose response was lost was sent again since no file of it was listed. A server
            that lists files late may have made two.
        duplicates: Ids of further files that requests made whose responses were lost. They have the same content.
    """

    upload: Upload | None
    file: File
    md5: str | None
    bytes_sent: int
    bytes_resumed: int
    reused: bool
    seconds: float
    sending_seconds: float = 0.0
    duplicate_possible: bool = False
    duplicates: tuple[str, ...] = ()
    by_others: bool = False


@frozen(kw_only=True)
class UploadOutcome:
    """How one job of `upload_many` ended.

    Args:
        job: The job.
        result: Its result; None where it failed.
        error: Why it failed; None where it did not.
    """

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
            f"expires_after must be an integer from {SHORTEST_LIFE} to {LONGEST_LIFE} seconds (1 hour to 30 days), "
            f"not {given!r}. Nothing was sent."
        )
    return {"anchor": "created_at", "seconds": given}


def _as_unicode(name: str) -> str:
    """A file's name on disk need not be Unicode, but JSON is."""
    return name.encode(errors="replace").decode()


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be a non-empty string, not {value!r}. Nothing was sent.")
    return value


def _one_of(name: str, value: str, *known: str) -> None:
    if value not in known:
        raise ConfigurationError(f"{name} must be {' or '.join(map(repr, known))}, not {value!r}. Nothing was sent.")
