"""An edit of a shared ledger as a page of it shows it, and what may be done with it (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve, field, frozen

from asyncsdk.images.ledger.index import usage_from
from asyncsdk.images.ledger.rows import Ended, Phase, sent_again_at
from asyncsdk.images.ledger.states import ItemState, problem_from
from asyncsdk.images.names import casefolded, safe_name

HOST_OF_BATCHES = "a batch"  # in the place of a machine: what holds an edit that is in one
Standing = Literal["free", "held", "lapsed", "ended"]


def key_of_id(edit_id: str) -> str:
    """How a shared ledger calls an edit: by its id, as names are compared."""
    return casefolded(safe_name(edit_id))


@frozen(kw_only=True)
class SeenEdit:
    """One edit as it was seen at `now` (unix time of the database), which is `here` by the clock of this machine.

    `last` is the try of its last change. `is_gone`: the process that has the open claim is known to be gone. `run` is
    the run in which it ended.
    """

    key: str
    id: str
    status: Ended | None
    phase: Phase | None
    epoch: int
    last: str
    digest: str | None
    source: str | None
    new_digest: str | None
    run: int | None
    holder: str | None
    is_alive: bool
    is_gone: bool
    started: float | None
    now: float
    here: float = 0.0
    row: Mapping[str, Any] = field(repr=False, eq=False)
    _known: list[ItemState | None] = field(factory=list, init=False, repr=False, eq=False)

    def standing(self, *, may_take: bool) -> Standing:
        """Who may do something. `may_take`: this process may say that a lease has lapsed."""
        if self.phase is None:
            return "free" if self.status in {None, "failed"} else "ended"
        if not (self.is_gone or (may_take and not self.is_alive)):
            return "held"
        return "free" if self.phase == "claimed" else "lapsed"

    @property
    def attempted(self) -> str | None:
        """The digest of what was sent last; None where that is not known."""
        return self.new_digest if self.phase == "started" else self.digest

    @property
    def batch(self) -> str | None:
        """Our key of the batch that it is in: that is what holds it, and never lapses."""
        if self.phase != "started" or self.row.get("host") != HOST_OF_BATCHES:
            return None
        return str(self.row.get("machine"))

    @property
    def is_uncertain(self) -> bool:
        """Whether its last attempt may be paid, also where a claim is open that only asks for the answer to that."""
        asks = bool(self.row.get("asks"))
        return self.phase == "started" or (self.status == "uncertain" and (self.phase is None or asks))

    @property
    def seems_lapsed(self) -> bool:
        """Whether the lease of who has the open claim has lapsed, as far as this page shows."""
        return self.phase is not None and not self.is_alive and not self.is_gone

    def sent_again_in(self, lease: float) -> float:
        """For how many seconds it is left alone yet, if it is uncertain."""
        return 0.0 if self.started is None else max(0.0, sent_again_at(self.started, lease) - self.now)

    @property
    def state(self) -> ItemState | None:
        """How its last attempt ended; None for one that none was made of. An open claim that was started is "sent"."""
        if not self._known:  # a list of a million edits that are done is gone through in a minute
            self._known.append(self._state())
        return self._known[0]

    def _state(self) -> ItemState | None:
        row = self.row
        if self.batch is not None:
            state = ItemState("batched", self.id, self.started or 0.0, n=row["n"], source=row["new_source"])
            return evolve(state, batch=self.batch, attempt=self.epoch, cost=row["new_cost"])
        if self.phase == "started":
            state = ItemState("sent", self.id, self.started or 0.0, n=row["n"], source=row["new_source"])
            return evolve(
                state, generation=row["new_generation"] or 0, tried=self._tried(row["new_tried"]), header=row["header"]
            )
        if self.status is None:
            return None
        return ItemState(
            self.status,
            self.id,
            row["at"],
            files=tuple(_read(row["files"]) or ()),
            usage=usage_from(_read(row["usage"])),
            problem=problem_from(_read(row["problem"])),
            n=row["n"],
            source=self.source,
            cost=row["cost"],
            generation=row["generation"],
            tried=self._tried(row["tried"]),
            header=row["header"],
        )

    def _tried(self, at: float | None) -> float | None:
        """When a key was sent first, by the clock of this machine: how long ago that is, the database knows."""
        return None if at is None else at - self.now + self.here


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text)
