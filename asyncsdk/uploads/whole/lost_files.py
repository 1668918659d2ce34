"""Decides whether a POST /files whose response was lost made its file: by a listing, and by reading files back (pure).

The API can't be asked what became of a request. What is known of it is its content and the time in which it was on its
way, by the server's clock. Rules:

- A file may be its own if nothing speaks against that: filename, size, purpose, the time at which it was made. It is
  its own only if it also reads back with our md5: in the same second another may have sent a file that looks the same.
- Files that are known as those of other requests are out of the question.
- Where more files have our content than requests with it were lost, which of them are ours can't be known. Where the
  server gives no content back (as of some purposes), nothing can be known while one file may be ours.
- None is there, if a listing that was seen whole, and begun after the request can have had an effect, has none.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from enum import StrEnum

from attrs import frozen

from asyncsdk.models import File
from asyncsdk.uploads.response_checks import Content

CLOCK_SECONDS = 2.0  # by which our time of the server may be wrong; `created_at` is in whole seconds
LISTED_SECONDS = 30.0  # in which a server lists a file that it has made


@frozen(kw_only=True)
class LostRequest:
    """A POST /files that was sent to its last byte, or may have been, and whose response did not come.

    Args:
        content: What its file is called, is for, and how large it is.
        md5: Hex, of the bytes that were sent.
        began: When its first byte was sent, in unix seconds by the server's clock.
        until: Until when it may have an effect: by then a response would have come.
        alike: How many requests with this very content were lost, this one included.
        listed_within: Seconds in which a server lists a file that it has made.
    """

    content: Content
    md5: str
    began: float
    until: float
    alike: int = 1
    listed_within: float = LISTED_SECONDS

    @property
    def settled_at(self) -> float:
        """From when on a listing has its file, if there is one."""
        return self.until + self.listed_within

    def may_have_made(self, file: File) -> bool:
        """Whether nothing speaks against `file`, one of a list, being made by this request."""
        born = file.created_at
        in_time = born is None or self.began - CLOCK_SECONDS <= born <= self.until + CLOCK_SECONDS
        return in_time and self.content.may_be(file)


class Unreadable(StrEnum):
    """Why a file was not read back."""

    REFUSED = "refused"  # the server gives no content of this purpose
    GONE = "gone"  # deleted since it was listed


ReadBack = Mapping[str, str | Unreadable]  # the md5 (hex) of what was read of a file, by its id


@frozen(kw_only=True)
class Listing:
    """The files that a server listed.

    Args:
        files: In any order.
        whole: Whether all pages were seen.
        began: When the first page was asked for, in unix seconds by the server's clock.
    """

    files: tuple[File, ...]
    whole: bool
    began: float


@frozen
class ReadFirst:
    """These files are to be read back before anything can be decided."""

    files: tuple[File, ...]


@frozen
class ListAgain:
    """Nothing is listed yet that may be its own: list again `at` this time of the server, or later."""

    at: float


@frozen
class OwnFile:
    """Its file. `duplicates` are ids of further ones with the same content, made by requests that were lost as well."""

    file: File
    duplicates: tuple[str, ...]


@frozen
class NotThere:
    """No file of it is there: it may be sent again. A listing can be wrong, so the result says that it was."""


@frozen
class OutcomeUnknown:
    """It can't be known, and sending it again may make it twice. `candidates` are ids of files that may be its own.

    `cause` is the error where they could not be listed or read.
    """

    candidates: tuple[str, ...]
    cause: Exception | None = None


Verdict = OwnFile | NotThere | OutcomeUnknown


def decide(
    lost: LostRequest, listing: Listing, read: ReadBack, *, taken: Container[str]
) -> ReadFirst | ListAgain | Verdict:
    """Decide what became of `lost`, or what to do to find out.

    Args:
        lost: The request.
        listing: What the server listed after the response was lost.
        read: What was read back of the files that `ReadFirst` asked for.
        taken: Ids of files that are known as those of other requests.

    Returns:
        A `Verdict`; `ReadFirst` and `ListAgain` ask for another call.
    """
    candidates = [file for file in _in_order(listing.files) if lost.may_have_made(file) and file.id not in taken]
    unread = tuple(file for file in candidates if file.id not in read)
    if unread:
        return ReadFirst(unread)
    own = [file for file in candidates if read[file.id] == lost.md5]
    refused = [file for file in candidates if read[file.id] == Unreadable.REFUSED]
    if 0 < len(own) <= lost.alike:
        return OwnFile(own[0], tuple(file.id for file in own[1:]))
    if own or refused:
        return OutcomeUnknown(tuple(file.id for file in own or refused))
    if listing.began < lost.settled_at:
        return ListAgain(lost.settled_at)
    return NotThere() if listing.whole else OutcomeUnknown(())


def _in_order(files: Iterable[File]) -> list[File]:
    """Each once, oldest first: whatever order a server lists them in, the same is chosen."""
    by_id = {file.id: file for file in files}
    return sorted(by_id.values(), key=lambda file: (file.created_at or 0, file.id))
