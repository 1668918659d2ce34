"""Edits as they are copied into a ledger in a database: rows of its table, made of states, and told apart (pure)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import define, field

from asyncsdk.images.ledger.index import usage_fields
from asyncsdk.images.ledger.seen import key_of_id
from asyncsdk.images.ledger.states import ItemState, StateTable, key_of, problem_fields

Row = Mapping[str, Any]

MOVED_TO, COPIED_FROM = "moved-to", "copied-from"  # in the place of a ledger's options: no run may begin
COPIED_BY = "by"  # beside both: the attempt to copy it, which a source has in common with no copy but its own
NOBODY = "00000000-0000-0000-0000-000000000000"
_TIMES = ("at", "started", "tried", "new_tried")
_RANKS = ("failed", "refused", "done", "uncertain", "sent")  # of edits with one id: what is or may be paid is kept


@define
class Chosen:
    """Which edit of a ledger in files becomes the row of each key: there one id may have had several.

    `others` are those left out; `numbered` are the ids that are numbers, as rows of job files without an id have.
    """

    items: dict[str, bytes] = field(factory=dict)
    others: int = 0
    numbered: int = 0

    @classmethod
    def of(cls, states: StateTable) -> Chosen:
        """Choose what is or may be paid, and else what came last."""
        chosen = cls()
        for item, state in states.items():
            key, packed = key_of_id(state.id), key_of(item)
            before = chosen.items.get(key)
            known = None if before is None else states.get(before)
            chosen.others += known is not None
            if known is None or _rank(known) <= _rank(state):
                chosen.items[key] = packed
        chosen.numbered = sum(key.isdigit() for key in chosen.items)
        return chosen

    def rows(self, states: StateTable) -> Iterator[dict[str, Any]]:
        """The rows, in the order of their keys as the database has it."""
        for key in sorted(self.items, key=lambda key: key.encode(errors="surrogatepass")):
            packed = self.items[key]
            state = states.get(packed)
            if state is not None:
                yield row_of(key, _digest_of(packed), state)


def row_of(key: str, digest: str | None, state: ItemState) -> dict[str, Any]:
    """The state of an edit as a row: one that was sent, and whose end nobody wrote down, may be paid.

    Its key is not kept: that of a row is made of other things, so that a server would not know it again.
    """
    status = "uncertain" if state.status == "sent" else state.status
    return {
        "key": key, "id": state.id, "status": status, "at": _iso(state.at), "run": None, "digest": digest,
        "source": None, "n": state.n, "files": list(state.files) or None,
        "usage": None if state.usage is None else usage_fields(state.usage),
        "problem": None if state.problem is None else problem_fields(state.problem),
        "images": None, "request_id": None, "cost": state.cost, "late": None, "phase": None,
        "epoch": 1, "holder": NOBODY, "try": NOBODY,
        "started": _iso(state.at) if status == "uncertain" else None,
        "new_digest": None, "new_source": None, "new_n": None, "new_cost": None,
        "generation": 0, "tried": None, "header": None, "new_generation": None, "new_tried": None, "asks": False,
    }  # fmt: skip


@define
class RowsDigest:
    """A count and a digest of rows, the same whatever server wrote them, and in whatever zone its times are."""

    rows: int = 0
    _sum: Any = field(factory=hashlib.sha256)

    def add(self, row: Row) -> None:
        """Add one; they come in the order of their keys."""
        same = {name: value for name, value in row.items() if value is not None}  # a source may not know all columns
        same |= {name: _moment(row.get(name)) for name in _TIMES}
        self._sum.update(json.dumps(same, sort_keys=True).encode())
        self.rows += 1

    def add_all(self, rows: Iterable[Row]) -> None:
        """Add some."""
        for row in rows:
            self.add(row)

    @property
    def value(self) -> tuple[int, str]:
        """What two ledgers with the same rows have in common."""
        return self.rows, self._sum.hexdigest()


def _rank(state: ItemState) -> tuple[int, float]:
    return _RANKS.index(state.status), state.at


def _digest_of(packed: bytes) -> str | None:
    """The digest of an item; None for one that is not called by a digest."""
    return packed[1:33].hex() if not packed[0] else None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(round(at, 3), UTC).isoformat()


def _moment(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
