"""What a process has claimed of a shared ledger, the changes that it asks for, and what is said where that fails."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
from attrs import define, field, frozen

from asyncsdk.errors import EditError, LedgerBusyError, LedgerError, LedgerRewoundError
from asyncsdk.images.idempotency import EditKey
from asyncsdk.images.ledger import KnownItem
from asyncsdk.images.ledger.copied import COPIED_BY, COPIED_FROM, MOVED_TO
from asyncsdk.images.ledger.index import Spent, usage_fields
from asyncsdk.images.ledger.messages import moved
from asyncsdk.images.ledger.seen import SeenEdit
from asyncsdk.images.ledger.states import problem_fields
from asyncsdk.images.names import casefolded
from asyncsdk.images.outcome import Problem
from asyncsdk.models import Usage
from asyncsdk.postgres import DatabaseFault
from asyncsdk.postgres.database import Database
from asyncsdk.postgres.machine import is_gone_here

LAPSE_ATTEMPTS, LOCKED_SECONDS = 5, 0.1
NO_ROW: Mapping[str, Any] = {"answer": "no", "has_epoch": None}  # of a change


@frozen(kw_only=True)
class Granted:
    """What became of a request for claims: `is_held_back`: some were not granted since a limit is reached."""

    keys: frozenset[str]
    spent: Spent
    is_held_back: bool = False


@define(eq=False)
class Claim:
    """An edit that this process has claimed. `last` is the try of its last change.

    `owes`: it was turned away, and that is not written yet; `pending` is the try of a start whose end is not known.
    `asks`: for the answer to an attempt that may have been made. `sent_as` is its key; None: it has none.
    """

    key: str
    id: str
    epoch: int
    last: str
    digest: str | None = None
    source: str | None = None
    n: int = 1
    is_started: bool = False
    started: float = 0.0  # when that was asked for, in seconds of elapsed time
    owes: bool = False
    pending: str | None = None
    asks: bool = False
    sent_as: EditKey | None = None
    turn: anyio.Lock = field(factory=anyio.Lock, init=False, repr=False)

    @property
    def known(self) -> dict[str, Any]:
        """What is sent under it, as the statement takes it."""
        key = self.sent_as
        known = (
            {"generation": None, "header": None}
            if key is None
            else {"generation": key.generation, "header": key.header}
        )
        return {"digest": self.digest, "source": self.source, **known}


@frozen(eq=False)
class ChangeToMake:
    """A change of one edit, as the statement takes it."""

    fields: Mapping[str, Any]
    result: dict[str, Any]


@frozen
class Wanted:
    """An edit to claim, as it was seen, and what it costs at most. `asks`: for the answer that was lost, by its key."""

    key: str
    id: str
    seen: SeenEdit | None
    cost: int | None = None
    asks: bool = False

    def as_json(self, new: str) -> dict[str, Any]:
        """The claim as the statement takes it: `new` is its try."""
        seen = self.seen
        last = {"epoch": 0} if seen is None else {"epoch": seen.epoch, "last": seen.last}
        return {"key": self.key, "id": self.id, "new": new, "cost": self.cost, "again": self.asks, **last}


def granted_in(rows: Sequence[Any], edits: Sequence[Wanted], tries: Mapping[str, str]) -> dict[str, Claim]:
    """What was granted of the `edits` that were asked for, by their keys."""
    asked = {each.key: each for each in edits}
    epochs = {row["key"]: row["epoch"] for row in rows if row["key"] is not None}
    return {key: Claim(key, asked[key].id, epoch, tries[key], asks=asked[key].asks) for key, epoch in epochs.items()}


def ended(claim: Claim, usage: Usage | None, problem: Problem | None) -> dict[str, Any]:
    """What the statement takes of an edit that ended, of what is known with its claim, what it used and its problem."""
    tokens = (usage.total_tokens or 0) if usage else 0
    what: dict[str, Any] = {**claim.known, "n": claim.n, "tokens": tokens}
    return what | {"usage": usage and usage_fields(usage), "problem": problem and problem_fields(problem)}


async def is_held(database: Database, holder: uuid.UUID, claim: Claim) -> bool:
    """Whether the lease never lapsed since an edit was started, which is asked for again by its key.

    Where it did, the edit is let go, as if this process were gone: whoever comes next asks. Raises DatabaseFault.
    """
    await database.ensure_lease(holder)
    if database.is_held_since(claim.started):
        return True
    lapsed = json.dumps([{"key": claim.key, "epoch": claim.epoch, "last": claim.last}])
    for _ in range(LAPSE_ATTEMPTS):
        if await database.run("edit_lapse", lapsed, json.dumps([str(holder)]), False):  # noqa: FBT003 - as it takes it
            break
        await anyio.sleep(LOCKED_SECONDS)  # others had it locked, or have done so: else it would be ours for ever
    return False


def gone_in(edits: Iterable[SeenEdit | None]) -> str:
    """Those holders of the edits that are known to be gone, as JSON."""
    return json.dumps(sorted({seen.holder for seen in edits if seen and seen.is_gone and seen.holder}))


def rounds(changes: Sequence[ChangeToMake]) -> Iterator[list[ChangeToMake]]:
    """The changes in their order, no edit twice in a round: one whose caller was cancelled may wait before another."""
    rest = list(changes)
    while rest:
        first = {change.fields["key"]: change for change in reversed(rest)}
        yield list(first.values())
        rest = [change for change in rest if first[change.fields["key"]] is not change]


def keys_of(stem: str) -> Iterator[str]:
    """The keys of the edits that a picture of this name may be of, the likeliest first."""
    without_number = stem.rpartition(".")[0] if stem.rpartition(".")[2].isdigit() else stem
    for name in dict.fromkeys((stem, without_number)):
        yield casefolded(name)
        if "~" in name and name.rpartition("~")[2].partition("-")[0].isdigit():
            yield casefolded(name.rpartition("~")[0])


def owner_in(seen: Mapping[str, SeenEdit], stem: str) -> KnownItem | None:
    """The edit, of those that were seen, that has or may have a picture of this name."""
    each = next((seen[key] for key in keys_of(stem) if key in seen), None)
    return None if each is None or each.state is None else KnownItem(each.key, each.state, each.phase is not None)


@contextmanager
def worded(place: str, *, sent: bool = True) -> Iterator[None]:
    """Raise what the database can't do as LedgerError; `sent`: edits may be on their way."""
    try:
        yield
    except DatabaseFault as failed:
        safe = "Nothing more was sent; saved pictures are safe." if sent else "Nothing was sent."
        error = LedgerError(f"can't keep the ledger in {place}: {failed.reason}. {safe}\n  {failed.advice}")
        error.resumable = not failed.is_newer
        raise error from failed


def rewound(place: str) -> LedgerRewoundError:
    return LedgerRewoundError(
        f"{place}: this database has lost what it had acknowledged, or is another one than before (a standby that was "
        "promoted, a copy, a backup). Edits that it does not know may be paid. Nothing more was sent.\n"
        "  Bring back the database that has them. Or compare what is there with the pictures (asyncsdk ledger export), "
        "and accept what is lost: asyncsdk ledger accept."
    )


def check_is_here(place: str, options: Mapping[str, Any]) -> None:
    """Raise LedgerError for a ledger that was copied elsewhere, and for a copy that is not whole yet."""
    if MOVED_TO in options:
        raise moved(place, str(options[MOVED_TO]), options.get(COPIED_BY))
    if COPIED_FROM in options:
        raise LedgerError(
            f"{place}: a copy of {options[COPIED_FROM]} was begun there, and is not finished. Nothing was sent.\n"
            "  Give the same asyncsdk ledger copy once more: it goes on."
        )


def replaced(place: str) -> LedgerBusyError:
    """The error of a process that was away while others began a run with other options."""
    return LedgerBusyError(
        f"{place}: while this process was paused or cut off, a run with other options began there. Nothing more was "
        "sent; what is done is kept.\n  Wait until that run has ended: then the same call goes on."
    )


def stopped(lease: float) -> EditError:
    """The error of a run that another copy of it stopped."""
    error = EditError(
        "another copy of this run has stopped all of them. Nothing more was sent.\n  Once all have ended the same call "
        f"goes on; one that was killed counts as running for up to {lease:g} s."
    )
    error.resumable = True
    return error


def seen_edit(row: Any, here: float) -> SeenEdit:
    """An edit as a row of a page shows it, which was asked for at `here` by the clock of this machine."""
    return SeenEdit(
        key=row["key"],
        id=row["id"],
        status=row["status"],
        phase=row["phase"],
        epoch=row["epoch"],
        last=str(row["try"]),
        digest=row["digest"],
        source=row["source"],
        new_digest=row["new_digest"],
        run=row["run"],
        holder=None if row["holder"] is None else str(row["holder"]),
        is_alive=row["is_alive"],
        is_gone=is_gone_here(row["pid"], row["machine"]),
        started=row["started"],
        now=row["now"],
        here=here,
        row=row,
    )
