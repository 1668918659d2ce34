"""What a ledger's lines say of each edit (pure): a fold over facts, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import asdict, define, evolve, field, frozen

from asyncsdk.images.names import folded, stems
from asyncsdk.images.outcome import Problem
from asyncsdk.models import Usage, from_json

State = Literal["sent", "done", "failed", "refused", "uncertain"]
Fields = Mapping[str, Any]

_ENDS: dict[str, State] = {"done": "done", "failed": "failed", "refused": "refused", "uncertain": "uncertain"}


@frozen
class ItemState:
    """How an edit stands. "sent" is an intent without a last word: the process ended between the two.

    `files` are relative to the directory of the pictures; `at` is unix time; `before` is how it stood before
    it was sent again.
    """

    status: State
    id: str
    at: float
    files: tuple[str, ...] = ()
    usage: Usage | None = None
    problem: Problem | None = None
    before: ItemState | None = None


@frozen
class Spent:
    """What was paid, or may have been, over all runs: an edit that was sent twice counts twice."""

    edits: int = 0
    tokens: int = 0


@define
class Book:
    """The state of all edits. `lines` counts what it was read from, to tell when compacting pays."""

    states: dict[str, ItemState] = field(factory=dict)
    spent: Spent = field(factory=Spent)
    lines: int = 0
    _owners: dict[str, str] = field(factory=dict)

    def owner_of(self, stem: str) -> str | None:
        """The edit that has, or may have, written a picture of this name (without suffix)."""
        return self._owners.get(folded(stem))

    def apply(self, fields: Fields, at: float) -> None:
        """Take one fact in. Raises KeyError, TypeError or ValueError where it has not the shape of one."""
        self.lines += 1
        kind = fields["t"]
        if kind == "spent":
            self.spent = Spent(int(fields["edits"]), int(fields["tokens"]))
        elif kind == "intent":
            self._intend(fields["item"], str(fields["id"]), int(fields["n"]), at)
        elif kind == "released":
            self._release(fields["item"])
        elif kind in _ENDS:
            self._end(fields["item"], _ENDS[kind], fields, at)

    def facts(self) -> Iterator[tuple[dict[str, Any], float]]:
        """The same book in as few facts as will do, each with its time."""
        for item, state in self.states.items():
            yield from _facts_of(item, state)
        yield {"t": "spent", "edits": self.spent.edits, "tokens": self.spent.tokens}, 0.0

    def _intend(self, item: str, name: str, n: int, at: float) -> None:
        before = self.states.get(item)
        self.states[item] = ItemState("sent", name, at, before=None if before is None else evolve(before, before=None))
        self.spent = evolve(self.spent, edits=self.spent.edits + 1)
        for stem in stems(name, n):
            self._owners[folded(stem)] = item

    def _release(self, item: str) -> None:
        state = self.states.get(item)
        if state is None or state.status != "sent":
            return
        self._take_back()
        if state.before is None:
            del self.states[item]
        else:
            self.states[item] = state.before

    def _end(self, item: str, status: State, fields: Fields, at: float) -> None:
        was_sent = item in self.states and self.states[item].status == "sent"
        paid = status in {"done", "uncertain"}
        if was_sent and not paid:
            self._take_back()
        elif paid and not was_sent:
            self.spent = evolve(self.spent, edits=self.spent.edits + 1)
        files, usage = tuple(map(str, fields.get("files", ()))), _usage(fields.get("usage"))
        self.spent = evolve(self.spent, tokens=self.spent.tokens + ((usage.total_tokens or 0) if usage else 0))
        self.states[item] = ItemState(status, str(fields["id"]), at, files, usage, _problem(fields.get("problem")))
        for file in files:
            self._owners[folded(file.rpartition(".")[0])] = item

    def _take_back(self) -> None:
        self.spent = evolve(self.spent, edits=self.spent.edits - 1)


def problem_fields(problem: Problem) -> dict[str, Any]:
    """A problem as it is written down: without what it does not know."""
    return {name: value for name, value in asdict(problem).items() if value is not None}


def _facts_of(item: str, state: ItemState) -> Iterator[tuple[dict[str, Any], float]]:
    if state.before is not None:
        yield from _facts_of(item, state.before)
    if state.status == "sent":
        yield {"t": "intent", "item": item, "id": state.id, "n": 1}, state.at
        return
    fact: dict[str, Any] = {"t": state.status, "item": item, "id": state.id}
    if state.files:
        fact["files"] = list(state.files)
    if state.usage is not None:
        fact["usage"] = usage_fields(state.usage)
    if state.problem is not None:
        fact["problem"] = problem_fields(state.problem)
    yield fact, state.at


def usage_fields(usage: Usage) -> dict[str, int]:
    """The tokens of an edit as they are written down: the sums, which limits and summaries count."""
    known = {name: getattr(usage, name) for name in ("input_tokens", "output_tokens", "total_tokens")}
    return {name: value for name, value in known.items() if value is not None}


def _usage(told: Any) -> Usage | None:
    return from_json(Usage, told) if isinstance(told, Mapping) else None


def _problem(told: Any) -> Problem | None:
    return Problem(**told) if isinstance(told, Mapping) else None
