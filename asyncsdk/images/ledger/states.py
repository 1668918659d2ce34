"""The states of a million edits in little memory (pure): those that have ended are kept packed."""

from __future__ import annotations

import marshal
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import asdict, define, evolve, field, fields, frozen

from asyncsdk.images.costs.money import NANOS
from asyncsdk.images.destination import NOT_DELIVERED
from asyncsdk.images.outcome import Problem
from asyncsdk.models import Usage

State = Literal["sent", "batched", "done", "failed", "refused", "uncertain"]

_SHA_256 = re.compile(r"[0-9a-f]{64}")  # what an item begins with
TOKENS = ("input_tokens", "output_tokens", "total_tokens")
_KNOWN_OF_PROBLEMS = frozenset(attribute.name for attribute in fields(Problem))


@frozen
class ItemState:
    """The state of one edit. "sent" is an intent without an end: the process ended between the two. "batched" is in a
    batch, which has no other end.

    `files` are relative to the directory of the pictures; `at` is unix time; `n` is how many pictures were requested;
    `source` is a digest of where its first picture came from; `before` is its state before it was sent again; `cost` is
    what it cost, or at most, in billionths of a dollar, None where that is not known. `generation` is how often it was
    redone, and `tried` when that was first sent with a key, by which the server knows it again, in this `header`.
    `batch` is our key of the batch that it is in, or ended in, and `attempt` counts how often it was in one.
    """

    status: State
    id: str
    at: float
    files: tuple[str, ...] = ()
    usage: Usage | None = None
    problem: Problem | None = None
    n: int = 1
    source: str | None = None
    before: ItemState | None = None
    cost: int | None = None
    generation: int = 0
    tried: float | None = None
    header: str | None = None
    batch: str | None = None
    attempt: int = 0

    @property
    def dollars(self) -> float | None:
        """What it cost; None where that is not known: what it counts with, at most, is not what it cost."""
        return None if self.cost is None or self.usage is None else self.cost / NANOS

    def alone(self) -> ItemState:
        """The same without `before`."""
        return self if self.before is None else evolve(self, before=None)


def is_not_delivered(state: ItemState) -> bool:
    """Whether it is paid and whole, and its pictures wait on this machine for the way to their bucket."""
    return state.status == "uncertain" and state.problem is not None and state.problem.code == NOT_DELIVERED


@define
class StateTable:
    """Each edit's state by the key of its item, in the order of their last facts; those in flight come last."""

    _ended: dict[bytes, bytes] = field(factory=dict)
    _in_flight: dict[bytes, ItemState] = field(factory=dict)
    _of_batches: dict[str, dict[bytes, None]] = field(factory=dict)  # in the order of their lines

    def __len__(self) -> int:
        return len(self._ended) + len(self._in_flight)

    def get(self, key: bytes) -> ItemState | None:
        """The state of an edit; None for one that was never sent."""
        known = self._ended.get(key)
        return self._in_flight.get(key) if known is None else unpacked(known)

    def put(self, key: bytes, state: ItemState) -> None:
        """Set the state of an edit."""
        self.drop(key)
        if state.status == "sent":
            self._in_flight[key] = state
        else:
            self._ended[key] = packed(state)
        if state.batch is not None:
            self._of_batches.setdefault(state.batch, {})[key] = None

    def drop(self, key: bytes) -> None:
        """Remove an edit."""
        self._ended.pop(key, None)
        self._in_flight.pop(key, None)

    def of_batch(self, batch: str) -> Iterator[tuple[str, ItemState]]:
        """The edits that are in a batch, or ended in it, in the order of its lines."""
        for key in self._of_batches.get(batch, ()):
            state = self.get(key)
            if state is not None and state.batch == batch:
                yield item_of(key), state

    def forget_batch(self, batch: str) -> None:
        """A batch is over: nobody asks for its edits any more."""
        self._of_batches.pop(batch, None)

    def items(self) -> Iterator[tuple[str, ItemState]]:
        """All of them, by their items."""
        for key, known in self._ended.items():
            yield item_of(key), unpacked(known)
        for key, state in self._in_flight.items():
            yield item_of(key), state


def key_of(item: str) -> bytes:
    """An item in few bytes: its SHA-256 in binary, not as hex digits."""
    if _SHA_256.match(item):
        return b"\0" + bytes.fromhex(item[:64]) + item[64:].encode()
    return b"\1" + item.encode()


def item_of(key: bytes) -> str:
    """The item that was made into this key."""
    return key[1:].decode() if key[0] else key[1:33].hex() + key[33:].decode()


def packed(state: ItemState) -> bytes:
    """An edit's state as bytes that only this process reads; `before` only of one that is in a batch."""
    usage = None if state.usage is None else tuple(getattr(state.usage, name) for name in TOKENS)
    problem = None if state.problem is None else problem_fields(state.problem)
    fields: tuple[Any, ...] = (
        state.status, state.id, state.at, state.n, state.files, usage, problem, state.source,
        state.cost, state.generation, state.tried, state.header,
    )  # fmt: skip
    if state.batch is not None or state.attempt:
        before = packed(state.before) if state.status == "batched" and state.before is not None else None
        fields = (*fields, state.batch, state.attempt, before)
    return marshal.dumps(fields)


def unpacked(known: bytes) -> ItemState:
    """The state that was packed."""
    status, name, at, n, files, usage, problem, source, *more = marshal.loads(known)  # noqa: S302 - it never left this process
    tokens = None if usage is None else Usage(**dict(zip(TOKENS, usage, strict=True)))
    cost, generation, tried, header, batch, attempt, packed_before = more if len(more) > 4 else (*more, None, 0, None)
    return ItemState(
        status, name, at, files, tokens, problem_from(problem), n, source,
        before=None if packed_before is None else unpacked(packed_before),
        cost=cost, generation=generation, tried=tried, header=header, batch=batch, attempt=attempt,
    )  # fmt: skip


def problem_fields(problem: Problem) -> dict[str, Any]:
    """A problem as it is written down: without fields that are empty."""
    return {name: value for name, value in asdict(problem).items() if value not in (None, ())}


def problem_from(value: Any) -> Problem | None:
    """The problem that was written down. Raises TypeError where a field is missing."""
    if value is None or not isinstance(value, Mapping):
        return None
    return Problem(**{name: item for name, item in value.items() if name in _KNOWN_OF_PROBLEMS})
