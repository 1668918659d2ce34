"""Replays the journal's records of one source into the state from which an upload resumes (pure).

Rules:

- Records are facts that only accumulate. Their order within one upload does not matter, except that of complete
  requests and refusals: the journals of several processes may be merged.
- A `Posting` without an end may have become a File, too: it is asked for before anything else is sent.
- Of several uploads of a source, the one that began last counts.
- `Completed` is final, before `Cancelled` and `Expired`; a `Completing` without an end may have become a File.
- A part counts only if we could have cut it: on the grid, within the file. Parts that overlap are chosen in the same
  way by every run. An id that came for two ranges counts for neither.
- What was sent is not trusted here: `sending` checks each part's fingerprint against the file.

How it works: each process appends records (`Opened`, then `Part`s, `Completing`, and an end; or `Posting` and an end)
and never changes one. To resume, a run calls `replay`: a fold over all records of its key (`upload_key`) to a
`ResumeState`. Killed at any point, a run leaves records that replay to a state which the next run can continue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from attrs import frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.settings import Settings
from asyncsdk.uploads.chunking import BLOCK, Range
from asyncsdk.uploads.journal import (
    Cancelled,
    Completed,
    Completing,
    Expired,
    Opened,
    Part,
    Posting,
    Record,
    Refused,
    may_be_a_file,
    unanswered,
    unanswered_posting,
)

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class Stage(StrEnum):
    """How far an upload is, by the journal."""

    PENDING = "pending"
    COMPLETING = "completing"
    COMPLETED = "completed"
    FAILED = "failed"  # a POST /files that surely made nothing: refused, or not sent whole
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@frozen(kw_only=True)
class ResumeState:
    """One upload as the journal recorded it. `parts` are as they were sent: check them before you trust them."""

    upload_id: str
    stage: Stage
    opened: Opened | None
    parts: tuple[Part, ...]
    completing: Completing | None = None
    posting: Posting | None = None
    completed: Completed | None = None
    refused: int | None = None

    def for_client_of(self, settings: Settings) -> Opened:
        """How it was opened. Raises ConfigurationError unless that was on this server, for this project."""
        opened = self.opened
        if opened is None:
            raise ConfigurationError(f"the journal does not contain how {self.upload_id} began. Nothing was sent.")
        for what, where, its, ours in (
            ("base URL", "base_url= (--base-url, OPENAI_BASE_URL)", opened.base_url, settings.base_url),
            ("organization", "organization= (OPENAI_ORG_ID)", opened.organization, settings.organization),
            ("project", "project= (OPENAI_PROJECT_ID)", opened.project, settings.project),
        ):
            if its != ours:
                raise ConfigurationError(
                    f"{self.upload_id} was started with the {what} {its}, but the {what} is now {ours}. "
                    f"Nothing was sent. Set {where} to {its or 'nothing'}."
                )
        return opened

    @property
    def is_open(self) -> bool:
        """Whether it may still become a File, or has, as far as the journal knows."""
        return self.stage in {Stage.PENDING, Stage.COMPLETING}

    @property
    def bytes_held(self) -> int:
        """How many bytes of the source the server holds, by the journal."""
        return sum(part.length for part in non_overlapping(self.parts))


def upload_key(
    *,
    base_url: str,
    organization: str | None,
    project: str | None,
    place: str,
    size: int,
    filename: str,
    mime_type: str,
    purpose: str,
    expires_after: Mapping[str, Any] | None,
    etag: str | None = None,
) -> str:
    """32 hex digits that name this source, for this purpose, on this server: the journal's directory.

    Neither the API key nor the part size is in it: a new key or another cut goes on with what was sent. Of an object in
    a store its version is in it, by `etag`: what is recorded under the key is of that content.
    """
    facts: dict[str, Any] = {
        "base_url": base_url,
        "organization": organization,
        "project": project,
        "place": place,
        "size": size,
        "filename": filename,
        "mime_type": mime_type,
        "purpose": purpose,
        "expires_after": None if expires_after is None else dict(expires_after),
    }
    if etag is not None:
        facts["etag"] = etag
    return hashlib.sha256(_CANONICAL.encode(facts).encode("ascii")).hexdigest()[:32]


def replay(records: Iterable[Record]) -> ResumeState | None:
    """The upload of `records`, oldest first, that began last; None if there is none."""
    by_upload: dict[str, list[Record]] = {}
    for record in records:
        by_upload.setdefault(record.upload, []).append(record)
    states = (_replay_one(upload, own) for upload, own in reversed(by_upload.items()))
    return next(filter(None, states), None)


def completed(records: Sequence[Record]) -> list[Completed]:
    """The Files that were made, the last one first, also where later uploads ended without one."""
    return [record for record in reversed(records) if isinstance(record, Completed)]


def why_again(recalled: ResumeState | None, *, asked: bool) -> str:
    """What to say to a person where a new upload begins: `asked` for, or because `recalled` can't go on."""
    if recalled is None or recalled.stage is Stage.COMPLETED or isinstance(recalled.opened, Posting):
        return ""
    if asked:
        return f"starting again, as requested; {recalled.upload_id} is left behind"
    ended = "is past its time" if recalled.stage is Stage.PENDING else f"is {recalled.stage}"
    return f"starting again: the earlier upload, {recalled.upload_id}, {ended}"


def non_overlapping(parts: Iterable[Part]) -> list[Part]:
    """Parts of which none overlaps another, in the order of the file.

    By offset, then the longest, then the smallest id: every run chooses the same. An id that was the response to two
    ranges may hold either: it is chosen for neither.
    """
    spans: dict[str, set[Range]] = {}
    parts = list(parts)
    for part in parts:
        spans.setdefault(part.id, set()).add(span_of(part))
    chosen: list[Part] = []
    reached = 0
    for part in sorted(parts, key=lambda part: (part.offset, -part.length, part.id)):
        if part.offset >= reached and len(spans[part.id]) == 1:
            chosen.append(part)
            reached = part.offset + part.length
    return chosen


def span_of(part: Part) -> Range:
    """The bytes that `part` holds."""
    return Range(part.offset, part.length)


def _replay_one(upload: str, records: Sequence[Record]) -> ResumeState | None:
    opened = next((record for record in records if isinstance(record, Opened)), None)
    completed = next((record for record in records if isinstance(record, Completed)), None)
    if opened is None and completed is None:
        return None
    return ResumeState(
        upload_id=upload,
        stage=_stage(records),
        opened=opened,
        parts=tuple(record for record in records if isinstance(record, Part) and _fits(record, opened)),
        completing=unanswered(records),
        posting=unanswered_posting(records),
        completed=completed,
        refused=next((record.status for record in reversed(records) if isinstance(record, Refused)), None),
    )


def _fits(part: Part, opened: Opened | None) -> bool:
    """Whether `part` can be one that we cut: on the grid, and within the file."""
    span, size = span_of(part), 0 if opened is None else opened.bytes
    ends_well = span.end == size or span.end % BLOCK == 0
    return span.offset % BLOCK == 0 and 0 <= span.offset < span.end <= size and ends_well


def _stage(records: Sequence[Record]) -> Stage:
    kinds = {type(record) for record in records}
    for kind, stage in ((Completed, Stage.COMPLETED), (Cancelled, Stage.CANCELLED), (Expired, Stage.EXPIRED)):
        if kind in kinds:
            return stage
    if Posting in kinds and Refused in kinds:
        return Stage.FAILED
    return Stage.COMPLETING if may_be_a_file(records) else Stage.PENDING
