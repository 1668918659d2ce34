"""Chooses how a file is sent: by POST /files, one request for the whole, or through the Uploads API (pure)."""

from __future__ import annotations

from typing import Literal

from asyncsdk.errors import ConfigurationError
from asyncsdk.uploads.chunking import MIB, is_whole
from asyncsdk.uploads.resuming.resume import ResumeState, Stage

UploadMethod = Literal["uploads", "files", "auto"]
METHODS: tuple[UploadMethod, ...] = ("uploads", "files", "auto")
LARGEST_POST = 512 * MIB  # POST /files: "Individual files can be up to 512 MB"
SINGLE_REQUEST = 8 * MIB  # of what is larger, a lost connection costs more than two more requests


def choose(
    method: UploadMethod, *, size: int, up_to: int, md5_is_asked: bool, must_wait: bool
) -> Literal["uploads", "files"]:
    """Choose for a file of `size` bytes.

    Args:
        method: What the caller asked for.
        size: The file's bytes.
        up_to: The most bytes that "auto" sends by one request.
        md5_is_asked: Whether the caller wants the server to check a digest: POST /files checks none.
        must_wait: Whether one more POST /files would have to wait for the rate limit now.
    """
    if method != "auto":
        return method
    return "uploads" if size > up_to or md5_is_asked or must_wait else "files"


def goes_on(recalled: ResumeState | None, *, resume: bool) -> bool:
    """Whether an upload of this file is open, with which the Uploads API goes on whatever the method."""
    if recalled is None or recalled.posting is not None:
        return False
    return recalled.stage is Stage.COMPLETING or (recalled.stage is Stage.PENDING and resume)


def check_method(method: UploadMethod | None, size: int, name: str) -> None:
    """Raise ConfigurationError for a method that is not known, or can't send a file of `size` bytes."""
    if method not in {None, *METHODS}:
        known = "'uploads', 'files' or 'auto'"
        raise ConfigurationError(f"method must be {known}, not {method!r}. Nothing was sent.")
    if method == "files" and size > LARGEST_POST:
        raise ConfigurationError(
            f"{name} has {size:,} bytes; one request (method='files') takes at most 512 MiB ({LARGEST_POST:,}). "
            "Send it with method='uploads' or 'auto'. Nothing was sent."
        )


def checked_single_request(size: int) -> int:
    """Return `size`. Raises ConfigurationError unless a file of so many bytes can be sent by one request."""
    if not (is_whole(size) and 0 <= size <= LARGEST_POST):
        raise ConfigurationError(
            f"single_request_up_to must be an integer from 0 to 512 MiB ({LARGEST_POST:,}), not {size!r}. "
            "Nothing was sent."
        )
    return size
