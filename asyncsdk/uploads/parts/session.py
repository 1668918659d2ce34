"""An upload on the server: its id and expiry as this run knows them, and what the server's refusals mean (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from attrs import define, field

from asyncsdk.clock import Clock
from asyncsdk.errors import APIStatusError, UploadExpiredError, UploadNotFoundError
from asyncsdk.models import Upload
from asyncsdk.settings import Settings
from asyncsdk.uploads.job import Fields
from asyncsdk.uploads.journal import Opened, Part
from asyncsdk.uploads.sources.source import Identity

TRANSIENT = frozenset({401, 403, 408, 413, 429})
USUAL_LIFE = 3600  # seconds that OpenAI keeps an upload; for servers that don't say
CLOCK_GRAIN = 2.0  # seconds by which the server's clock, reported in whole seconds and after a delay, seems late here
SETTLED_AFTER = 300.0  # seconds past its expiry by which an upload that is in no listing was surely never completed
_OF_CONTENT = re.compile(r"\b(md5|checksum|digest|hash(?:es)?|bytes?|size)\b", re.IGNORECASE)
_OF_END = re.compile(r"\bupload\b.{0,200}\b(expired|cancell?ed)\b", re.IGNORECASE | re.DOTALL)
_MAYBE_COMPLETED = re.compile(r"\b(completed|already)\b", re.IGNORECASE)
_OF_STATE = re.compile(
    r"\b(status|already|completed|not pending|not found|no such upload|does not exist|unknown upload)\b", re.IGNORECASE
)


class ForgottenError(Exception):
    """The server does not go on with an upload that the journal recalled: start again."""

    def __init__(self, message: str, *, upload_id: str) -> None:
        super().__init__(message)
        self.upload_id = upload_id


@define(eq=False)
class Session:
    """`parts` are those in the journal; `verified` once the server took a part of it in this run.

    `refused` is the status with which an earlier complete was refused.
    """

    upload_id: str
    created_at: int
    expires_at: int
    recalled: bool
    parts: list[Part] = field(factory=list)
    verified: bool = False
    refused: int | None = None

    @property
    def unverified(self) -> bool:
        """Whether only the journal says that it is there."""
        return self.recalled and not self.verified

    def expired(self) -> Exception:
        """What its hour being over means: an error, unless this run has not put anything into it yet."""
        if self.unverified:
            return ForgottenError(f"{self.upload_id} has expired", upload_id=self.upload_id)
        return UploadExpiredError(
            f"{self.upload_id} has expired: servers keep one for about an hour. The same call sends the file again.",
            upload_id=self.upload_id,
        )


def opened_record(
    upload: Upload, *, key: str, place: str, fields: Fields, settings: Settings, identity: Identity, now: float
) -> Opened:
    """The journal's record of a new upload; `now` (the server's unix time) replaces a missing `created_at`."""
    created = upload.created_at or int(now)
    life = (upload.expires_at or 0) - created
    return Opened(
        upload=upload.id,
        key=key,
        base_url=settings.base_url,
        organization=settings.organization,
        project=settings.project,
        source=place,
        bytes=identity.size,
        filename=fields.filename,
        mime_type=fields.mime_type,
        purpose=fields.purpose,
        expires_after=fields.expires_after,
        created_at=created,
        expires_at=created + (life if life > 0 else USUAL_LIFE),
        mtime_ns=identity.mtime_ns,
        inode=identity.inode,
    )


def refusal(error: APIStatusError, session: Session, clock: Clock, *, may_be_a_file: bool = False) -> Exception:
    """What the server's refusal of a part or of complete means for the upload as a whole.

    As long as it `may_be_a_file`, an upload is not called ended: it would be sent again.
    """
    if error.status_code in TRANSIENT or error.status_code >= 500:
        return error
    over = clock.may_be_past(session.expires_at - CLOCK_GRAIN)
    ended = not may_be_a_file and has_ended(error)
    if error.status_code == session.refused != 404 and not over and not ended:
        return error  # the upload is there, and is refused as it was before
    if session.unverified:
        return ForgottenError(
            f"the server does not go on with {session.upload_id} ({error}): it is gone or expired there, or belongs to "
            "another project's key",
            upload_id=session.upload_id,
        )
    if over:
        return session.expired()
    if ended:  # sooner than it said at first
        return UploadExpiredError(
            f"the upload is gone on the server ({error.status_code}: {'; '.join(_words_of(error))}). "
            "The same call sends the file again.",
            upload_id=session.upload_id,
        )
    if error.status_code == 404:
        return UploadNotFoundError(
            f"{session.upload_id}, which the server accepted in this run, is gone there; was it cancelled? {error}",
            upload_id=session.upload_id,
        )
    return error


def may_mean_completed(error: APIStatusError) -> bool:
    """Whether the refusal of a first complete may mean that the upload was completed before: a gateway asked twice.

    | Status | Its text | May mean completed |
    |---|---|---|
    | any | is about the content: md5, checksum, digest, hash, bytes, size | no |
    | 404, 409, 410 | anything else, or none | yes |
    | 400, 422 | is about the state: status, already, completed, not pending, not found, no such upload | yes |
    | 400, 422 | is about its end: the upload has expired, was cancelled, "has been completed or cancelled" | yes |
    | 400, 422 | anything else, or none | no |
    | other | anything | no |
    """
    text = _text_of(error)
    if _OF_CONTENT.search(text):
        return False
    is_of_state = bool(_OF_STATE.search(text) or _OF_END.search(text))
    return error.status_code in {404, 409, 410} or (error.status_code in {400, 422} and is_of_state)


def has_ended(error: APIStatusError) -> bool:
    """Whether the server says that the upload is gone; "has already been completed or cancelled" does not say it."""
    text = _text_of(error)
    is_of_end = bool(_OF_END.search(text)) and not _MAYBE_COMPLETED.search(text)
    return error.status_code in {400, 409, 410, 422} and is_of_end


def _text_of(error: APIStatusError) -> str:
    """The server's own text, names taken apart into words."""
    return " ".join(_words_of(error)).replace("_", " ")


def _words_of(error: APIStatusError) -> list[str]:
    body = error.body
    words = (body.get("message"), body.get("code"), body.get("param")) if isinstance(body, Mapping) else (body,)
    return [word for word in words if isinstance(word, str)]


def raise_refusal(error: APIStatusError, session: Session, clock: Clock, *, may_be_a_file: bool = False) -> NoReturn:
    """Raise what `refusal` makes of `error`, which stays its cause."""
    meaning = refusal(error, session, clock, may_be_a_file=may_be_a_file)
    if meaning is error:
        raise error
    raise meaning from error
