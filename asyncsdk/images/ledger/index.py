"""Replays a ledger's facts, in the order in which they were written, into the state of each edit (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, evolve, field, fields, frozen

from asyncsdk.images.ledger.book import KINDS, BatchBook
from asyncsdk.images.ledger.states import (
    TOKENS,
    ItemState,
    State,
    StateTable,
    is_not_delivered,
    item_of,
    key_of,
    problem_fields,
    problem_from,
)
from asyncsdk.images.names import name_digest, safe_name, stems
from asyncsdk.models import Usage

Fields = Mapping[str, Any]

_ENDS: dict[str, State] = {"done": "done", "failed": "failed", "refused": "refused", "uncertain": "uncertain"}


@frozen
class Spent:
    """What was paid, or may have been, over all runs: an edit that was sent twice counts twice."""

    edits: int = 0
    tokens: int = 0
    cost: int = 0  # in billionths of a dollar; of what is not known yet, what it costs at most
    unpriced: int = 0  # tokens whose price was not known when they were used

    def most(self, dearest: int) -> int:
        """What that cost, where tokens whose price was not known cost as much as the `dearest`."""
        return self.cost + self.unpriced * dearest


@frozen
class Costs:
    """What of the sum is paid, and what may be, in billionths of a dollar: the rest are earlier sendings of edits.

    Attributes:
        cost_paid: Of edits that are done, or paid and not all saved, by the last time that each was sent.
        cost_possible: What the edits that are uncertain, in flight or in a batch cost at most.
    """

    cost_paid: int = 0
    cost_possible: int = 0


def spent_of(row: Mapping[str, Any]) -> Spent:
    """What `row` says of it, which may be older than some of it."""
    return Spent(*(row.get(each.name, 0) for each in fields(Spent)))


@define
class LedgerIndex:
    """The state of all edits. `lines` counts all that it was read from, to decide when compacting pays."""

    states: StateTable = field(factory=StateTable)
    book: BatchBook = field(factory=BatchBook)
    lines: int = 0
    _edits: int = 0
    _tokens: int = 0
    _cost: int = 0
    _unpriced: int = 0
    _owners: dict[bytes, bytes] = field(factory=dict)  # digests of names, and the keys of the items they belong to
    _redos: dict[float, float] = field(factory=dict)  # times that were ahead of the clock, and when each was first used

    @property
    def spent(self) -> Spent:
        return Spent(self._edits, self._tokens, self._cost, self._unpriced)

    @property
    def costs(self) -> Costs:
        """What of `spent` is paid, and what may be."""
        paid = possible = 0
        for _, known in self.states.items():  # noqa: PERF102 - it is not a dict
            state = self._true(known)
            while state is not None:
                if state.status == "done" or (state.status == "uncertain" and state.usage is not None):
                    paid += state.cost or 0
                elif state.status in {"sent", "batched", "uncertain"}:
                    possible += state.cost or 0
                state = state.before
        return Costs(paid, possible)

    def state_of(self, item: str) -> ItemState | None:
        """The state of an edit; None for one that was never sent."""
        return self._true(self.states.get(key_of(item)))

    def owner_of(self, stem: str) -> str | None:
        """The edit that has, or may have, written a picture of this name (without suffix)."""
        owner = self._owners.get(name_digest(stem))
        return None if owner is None else item_of(owner)

    def redo_before(self, time: float, now: float) -> float:
        """Up to when a redo as of `time` reaches: where that was ahead of the clock, up to when it was first used.

        Else what the redo itself has done would be done, and paid, again by the next run.
        """
        return min(time, self._redos.get(time, now))

    def apply(self, fields: Fields, at: float) -> None:
        """Apply one fact. Raises KeyError, TypeError or ValueError where it does not have the shape of one."""
        self.lines += 1
        kind = fields["t"]
        if kind in KINDS or kind == "batched":
            self._change_batch(kind, fields, at)
        elif kind == "intent":
            self._intend(key_of(fields["item"]), fields, at)
        elif kind in _ENDS:
            self._end(key_of(fields["item"]), _ENDS[kind], fields, at)
        elif kind == "released":
            self._release(key_of(fields["item"]))
        elif kind == "moved":
            self._move(key_of(fields["item"]), dict(fields["files"]))
        elif kind == "delivered":
            self._deliver(key_of(fields["item"]), _ENDS[fields["status"]], tuple(map(str, fields["files"])))
        elif kind == "redo":
            self._redos.setdefault(float(fields["before"]), at)
        elif kind == "spent":
            self._edits, self._tokens = int(fields["edits"]), int(fields["tokens"])
            self._cost, self._unpriced = int(fields.get("cost", 0)), int(fields.get("unpriced", self._tokens))
        elif kind == "afresh":
            self.states, self.book, self._owners, self._redos = StateTable(), BatchBook(), {}, {}
            self._edits = self._tokens = self._cost = self._unpriced = 0

    def facts(self) -> Iterator[tuple[dict[str, Any], float]]:
        """The same index in as few facts as possible, each with its time; they replace all that were before."""
        yield {"t": "afresh"}, 0.0
        yield from ((fact, 0.0) for fact in self.book.facts())
        for item, state in self.states.items():
            true = self._true(state)
            if true is not None:
                yield from _facts_of(item, true)
        yield from ((fact, 0.0) for fact in self.book.facts_of_batches())
        for before, at in self._redos.items():
            yield {"t": "redo", "before": before}, at
        paid = {"cost": self._cost, "unpriced": self._unpriced}
        yield {"t": "spent", "edits": self._edits, "tokens": self._tokens, **paid}, 0.0

    def _intend(self, key: bytes, fields: Fields, at: float) -> None:
        name, n, source = str(fields["id"]), int(fields["n"]), fields.get("source")
        before = self._before(key)
        cost, attempt = cost_from(fields), 0 if before is None else before.attempt
        known = key_fields(fields) or _no_key(before)
        self.states.put(
            key, ItemState("sent", name, at, n=n, source=source, before=before, cost=cost, attempt=attempt, **known)
        )
        self._edits += 1
        self._cost += cost or 0
        self._own(key, name, n)

    def _put_in_batch(self, key: bytes, fields: Fields, at: float) -> None:
        """It counts once the batch is created: before that it is as it was."""
        name, n, source = str(fields["id"]), int(fields["n"]), fields.get("source")
        before, batch, attempt = self._before(key), str(fields["batch"]), int(fields["try"])
        known: dict[str, Any] = {"batch": batch, "attempt": attempt, "cost": cost_from(fields)} | _no_key(before)
        self.states.put(key, ItemState("batched", name, at, n=n, source=source, before=before, **known))
        self._own(key, name, n)

    def _before(self, key: bytes) -> ItemState | None:
        """The state of an edit that is about to be sent again, or put in a batch."""
        state = self._true(self.states.get(key))
        return None if state is None else state.alone()

    def _change_batch(self, kind: str, fields: Fields, at: float) -> None:
        if kind == "batched":
            self._put_in_batch(key_of(fields["item"]), fields, at)
            return
        batch = str(fields.get("batch"))
        was_open = batch in self.book.open
        if kind == "withdrawn" and was_open:
            self._count_batch(batch, -1)
        self.book.apply(fields)
        if kind == "creating" and not was_open:
            self._count_batch(batch, 1)
        if kind in {"closed", "withdrawn"}:
            self.states.forget_batch(batch)

    def _count_batch(self, batch: str, sign: int) -> None:
        """The edits that are in a batch count with the most that they cost, or do no more."""
        for _, state in self.states.of_batch(batch):
            if state.status == "batched":
                self._edits += sign
                self._cost += sign * (state.cost or 0)

    def _true(self, state: ItemState | None) -> ItemState | None:
        """The state of an edit, which was not sent if the batch that it was put in was surely not created."""
        if state is None or state.status != "batched" or state.batch in self.book.open:
            return state
        if state.before is not None:
            return state.before
        # one that was never done keeps its entry, as in `_release`
        return evolve(state, status="failed", batch=None, attempt=state.attempt - 1, cost=None)

    def _release(self, key: bytes) -> None:
        state = self.states.get(key)
        if state is None or state.status != "sent":
            return
        self._edits -= 1
        self._cost -= state.cost or 0
        # one that was never done keeps its entry: of equal edits, none may take the place of another
        self.states.put(key, state.before or evolve(state, status="failed", tried=None))

    def _end(self, key: bytes, status: State, fields: Fields, at: float) -> None:
        name, files = str(fields["id"]), tuple(map(str, fields.get("files", ())))
        usage, problem = usage_from(fields.get("usage")), problem_from(fields.get("problem"))
        sent = self._true(self.states.get(key))
        was_sent, is_paid = sent is not None and self._counts(sent, fields), status in {"done", "uncertain"}
        if sent is not None and (was_sent or sent.batch is not None):
            n, source, batch, attempt = sent.n, sent.source, sent.batch, sent.attempt
        else:
            # of one that was released first, what is known of it stays
            known_n, known_source = (1, None) if sent is None else (sent.n, sent.source)
            n, source = int(fields.get("n", known_n)), fields.get("source", known_source)
            batch, attempt = fields.get("batch"), int(fields.get("try", 0))
        self._edits += is_paid - was_sent
        tokens = (usage.total_tokens or 0) if usage else 0
        self._tokens += tokens
        cost, most = cost_from(fields), sent.cost if sent is not None and was_sent else None
        if is_paid and cost is None:
            cost = most  # as long as it is not known
        self._cost += (cost or 0) - (most or 0)
        self._unpriced += tokens if cost is None else 0
        known = key_fields(fields) or ({} if sent is None else _key_of(sent))
        known |= {"batch": batch, "attempt": attempt} | ({} if is_paid else {"tried": None})
        self.states.put(key, ItemState(status, name, at, files, usage, problem, n, source, cost=cost, **known))
        self._own(key, name, n, files)

    def _counts(self, sent: ItemState, end: Fields) -> bool:
        """Whether an edit counts already of which this is the end."""
        # one that was uncertain and is asked for again by its key, or whose line is found after all
        is_found = bool(end.get("again")) or sent.batch in self.book.open
        return sent.status in {"sent", "batched"} or (sent.status == "uncertain" and is_found)

    def _move(self, key: bytes, moved: Mapping[str, str]) -> None:
        state = self.states.get(key)
        if state is not None:
            self.states.put(key, evolve(state, files=tuple(moved.get(file, file) for file in state.files)))

    def _deliver(self, key: bytes, status: State, files: tuple[str, ...]) -> None:
        state = self.states.get(key)
        if state is not None:  # it is paid, and counted, already
            problem = None if status == "done" or is_not_delivered(state) else state.problem  # nothing waits any more
            self.states.put(key, evolve(state.alone(), status=status, files=files, problem=problem))
            self._own(key, state.id, state.n, files)

    def _own(self, key: bytes, name: str, n: int, files: Iterable[str] = ()) -> None:
        """Give an edit the names of its `files`, and those that its pictures would have and no other's picture has."""
        made = {_stem(file) for file in files}
        for stem in made.union(stems(safe_name(name), n)):
            digest = name_digest(stem)
            if stem in made or not self._is_of_another(digest, key):
                self._owners[digest] = key

    def _is_of_another(self, digest: bytes, key: bytes) -> bool:
        """Whether a picture of this name was made by another edit, and was not moved aside."""
        owner = self._owners.get(digest, key)
        state = None if owner == key else self.states.get(owner)
        return state is not None and any(name_digest(_stem(file)) == digest for file in state.files)


def _stem(file: str) -> str:
    return file.rpartition(".")[0]


def _facts_of(item: str, state: ItemState) -> Iterator[tuple[dict[str, Any], float]]:
    if state.before is not None:
        yield from _facts_of(item, state.before)
    fact: dict[str, Any] = {"t": state.status, "item": item, "id": state.id, "n": state.n}
    known = {"source": state.source, "cost": state.cost, "batch": state.batch, "try": state.attempt or None}
    fact |= {name: value for name, value in known.items() if value is not None}
    if state.generation or state.tried is not None:
        fact |= _key_of(state)
    if state.status == "sent":
        yield fact | {"t": "intent"}, state.at
        return
    if state.files:
        fact["files"] = list(state.files)
    if state.usage is not None:
        fact["usage"] = usage_fields(state.usage)
    if state.problem is not None:
        fact["problem"] = problem_fields(state.problem)
    yield fact, state.at


def usage_fields(usage: Usage) -> dict[str, int]:
    """The tokens of an edit as they are written down: the sums, which limits and summaries count."""
    tokens = {name: getattr(usage, name) for name in TOKENS}
    return {name: value for name, value in tokens.items() if value is not None}


def cost_from(fields: Fields) -> int | None:
    """What an edit cost, or costs at most, in billionths of a dollar; None where that is not known."""
    cost = fields.get("cost")
    return None if cost is None else int(cost)


def key_fields(fields: Fields) -> dict[str, Any]:
    """How often an edit was redone, when that was first sent with a key, in which header; {} where that is not said."""
    if "generation" not in fields:
        return {}
    tried = fields.get("tried")
    header, first = fields.get("header"), None if tried is None else float(tried)
    return {"generation": int(fields["generation"]), "tried": first, "header": None if header is None else str(header)}


def _key_of(state: ItemState) -> dict[str, Any]:
    return {"generation": state.generation, "tried": state.tried, "header": state.header}


def _no_key(before: ItemState | None) -> dict[str, Any]:
    """What is known of the key of an edit that is sent without one: a key that was used `before` is not its own."""
    is_used = before is not None and (before.generation or before.tried is not None)
    return {"generation": before.generation + 1} if before is not None and is_used else {}


def usage_from(value: Any) -> Usage | None:
    if value is None or not isinstance(value, Mapping):  # to ask None whether it is one takes long
        return None
    tokens: Any = {name: int(value[name]) for name in TOKENS if value.get(name) is not None}
    return Usage(**tokens)
