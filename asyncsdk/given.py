"""What callers hand in as a file: the forms that other libraries give, and how each is taken apart (pure)."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Protocol, TypeGuard

from attrs import frozen


class Readable(Protocol):
    """An open binary file, read to its end."""

    def read(self, size: int = ..., /) -> bytes:
        """At most `size` bytes, empty at the end."""


class Seekable(Readable, Protocol):
    """An open binary file, or what behaves like one, such as `tempfile.SpooledTemporaryFile`."""

    def seek(self, offset: int, whence: int = ..., /) -> object:
        """Go to an offset."""

    def tell(self) -> int:
        """The offset."""


class AsyncReadable(Protocol):
    """A stream that is read with await: a `StreamReader` of aiohttp or asyncio, a file of aiofiles or anyio."""

    def read(self, size: int = ..., /) -> Awaitable[bytes]:
        """At most `size` bytes, empty at the end."""


class AsyncFormFile(Protocol):
    """A file as FastAPI and Starlette give it, `UploadFile`: its own methods are async, those of `file` are not."""

    @property
    def file(self) -> Seekable:
        """Its content."""

    @property
    def filename(self) -> str | None:
        """Its name, as the browser sent it."""


class PillowImage(Protocol):
    """A picture in memory: `PIL.Image.Image`."""

    @property
    def mode(self) -> str:
        """Such as "RGBA"."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""

    @property
    def info(self) -> dict[Any, Any]:
        """What came with it, such as the colour that is transparent."""

    def convert(self, mode: str, /) -> Any:
        """The same picture in another mode."""

    def tobytes(self) -> bytes:
        """Its pixels."""

    def save(self, fp: Any, format: str, /) -> None:  # noqa: A002 - Pillow's own name
        """Encode it."""


Bytes = bytes | bytearray | memoryview
_Name = str | None
Stream = AsyncIterable[Bytes] | AsyncReadable | Readable
OpensStream = Callable[[], Stream | Awaitable[Stream]]
SourceContent = (  # with a name; a str is a path only on its own
    os.PathLike[str] | Bytes | Seekable | AsyncFormFile | Stream | OpensStream
)
SourceGiven = str | SourceContent | tuple[_Name, SourceContent] | tuple[_Name, SourceContent, _Name]
PictureContent = os.PathLike[str] | Bytes | Readable | AsyncFormFile | PillowImage
PictureGiven = str | PictureContent | tuple[_Name, PictureContent] | tuple[_Name, PictureContent, _Name]

TEXT_IN_TUPLE = (
    "the given tuple has a str as its content: a str in a tuple is text to openai-python, and would be a path here. "
    "Pass text.encode() for text, pathlib.Path(...) for a file, and a URL on its own"
)


CLOSED = "FastAPI closes an UploadFile when its request ends; use it before, or keep its bytes"
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://|data:", re.IGNORECASE)
_SECRETS = re.compile(r"//[^/?#]*@|[?#].*", re.DOTALL)  # a login, and the signature of a signed URL
_CUT_LOGIN = re.compile(r"[^/?#@\[:]*:(?!\d*(?:[/?#]|$))[^/?#@]*(?:[/?#]|$)")
_LONGEST_URL = 4000  # the names of objects have up to 1,024 bytes


@frozen
class NamedContent:
    """What was handed in, taken apart: a path, bytes, an open file or a PillowImage, and what comes with it."""

    content: Any
    name: str | None = None
    mime_type: str | None = None


def unpacked(given: object) -> NamedContent:
    """Take apart what is a tuple as openai-python has it, or a AsyncFormFile; all else is content."""
    if isinstance(given, tuple) and _is_named(given):
        name, content, *rest = given
        inner = unpacked(content)
        return NamedContent(inner.content, name or inner.name, rest[0] if rest else None)
    if is_form_file(given):
        return NamedContent(given.file, given.filename or None)
    return NamedContent(given)


def is_named_picture(given: object) -> bool:
    """Whether a tuple is one picture with its name: `(name, content)` or `(name, content, mime type)`.

    The content is bytes, an open file or a PillowImage. A tuple of paths is that many pictures.
    """
    return isinstance(given, tuple) and _is_named(given) and not isinstance(given[1], os.PathLike)


def is_text_with_name(given: object) -> bool:
    """Whether a tuple is a name with a str as its content, and perhaps a MIME type.

    It is refused: to openai-python that is the content itself, and as a path it would send any file of this machine.
    """
    return isinstance(given, tuple) and _is_named(given, of=str)


def wrong_type(name: str, value: object, wanted: str) -> TypeError:
    """The error of an argument of a wrong type, without its value, which may be a key."""
    return TypeError(f"{name} must be {wanted}, not {_article(type(value).__name__)}.")


def _article(kind: str) -> str:
    return kind if kind == "NoneType" else f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"


def is_closed(file: object) -> bool:
    """Whether it is an open file that was closed."""
    return getattr(file, "closed", False) is True


def shown_as_url(text: str) -> str | None:
    """A URL as it may be shown, without its secrets; None for what may be a path."""
    match = _URL.match(text)
    if match is None:
        return None
    if match[1] and ends_in_login(text[match.end() :]):
        return f"{match[0]}…"
    shown = _SECRETS.sub(lambda found: "//" if found[0].startswith("//") else "", text)[:_LONGEST_URL]
    return shown if match[1] else "data:…"


def ends_in_login(host: str) -> bool:
    """Whether what begins as `host` does, up to its path, has a colon and then no port: half of a password, perhaps."""
    return _CUT_LOGIN.match(host) is not None


def is_form_file(given: object) -> TypeGuard[AsyncFormFile]:
    """Whether its own methods are async, and it has a `file` with the same content."""
    return hasattr(given, "file") and hasattr(given, "filename") and is_read_with_await(given)


def is_read_with_await(given: object) -> bool:
    """Whether `read` or `seek` is async."""
    return any(inspect.iscoroutinefunction(getattr(given, name, None)) for name in ("read", "seek"))


def is_stream(given: object) -> bool:
    """Whether its bytes come once and in order: read with await, by `async for`, or from a file that can't seek."""
    if inspect.iscoroutinefunction(getattr(given, "read", None)) or isinstance(given, AsyncIterable):
        return True
    return hasattr(given, "read") and not _can_seek(given)


def opens_stream(given: object) -> TypeGuard[Callable[[], Any]]:
    """Whether it is a function to be called for a stream."""
    return callable(given) and not isinstance(given, type) and not hasattr(given, "read") and not is_stream(given)


def response_body(given: object) -> str | None:
    """What to pass in place of a response of aiohttp, httpx, openai-python or requests; None for what is not one.

    Those with a `content` that reads all of the body when it is looked at are known by their methods.
    """
    if callable(getattr(given, "aiter_bytes", None)):
        return "`response.aiter_bytes()`"
    iter_bytes = getattr(given, "iter_bytes", None)
    if callable(iter_bytes):
        is_async = inspect.isasyncgenfunction(iter_bytes)
        return "`response.iter_bytes()`" if is_async else "what its `read()` returns, or one of an async client"
    if callable(getattr(given, "iter_content", None)):
        return "its `raw`, with `response.raw.decode_content = True` before that"
    return "its `content`" if is_read_with_await(getattr(given, "content", None)) else None


def is_pillow_image(given: object) -> TypeGuard[PillowImage]:
    """Whether it is a `PIL.Image.Image`; Pillow is not imported for it."""
    return any((kind.__module__, kind.__name__) == ("PIL.Image", "Image") for kind in type(given).__mro__)


def _is_named(given: tuple[Any, ...], *, of: type | None = None) -> bool:
    """Whether it is a name, content (of the type `of`, else of any that is taken) and perhaps a MIME type."""
    if len(given) not in {2, 3} or not isinstance(given[0], str | None):
        return False
    is_content = _is_content(given[1]) if of is None else isinstance(given[1], of)
    return is_content and (len(given) == 2 or isinstance(given[2], str | None))


def _is_content(given: object) -> bool:
    is_taken = isinstance(given, os.PathLike | bytes | bytearray | memoryview)
    return is_taken or hasattr(given, "read") or is_pillow_image(given) or is_stream(given) or opens_stream(given)


def _can_seek(file: object) -> bool:
    """Whether one may go to an offset in it, as far as it can be known without trying."""
    if not (hasattr(file, "seek") and hasattr(file, "tell")):
        return False
    try:
        return bool(getattr(file, "seekable", lambda: True)())
    except (TypeError, ValueError):  # it is a class, or closed, and refused for that
        return True
