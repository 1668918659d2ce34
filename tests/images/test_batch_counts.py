"""What edits in batches count with in a ledger in files, fact by fact, and in one that was compacted in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.images.ledger.index import LedgerIndex

COSTS = st.none() | st.integers(0, 10**10)
ENDS = st.sampled_from(["under way", "done", "done without usage", "failed", "refused", "uncertain", "found", "lost"])
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
Fact = dict[str, Any]
Counted = tuple[int, int]  # edits, billionths of a dollar


def put(batch: str, item: str, most: int | None) -> Fact:
    fact: Fact = {"t": "batched", "item": item, "id": item, "n": 1, "batch": batch, "try": 1}
    return fact | ({} if most is None else {"cost": most})


def creating(batch: str, edits: int) -> Fact:
    return {"t": "creating", "batch": batch, "number": 1, "model": "m", "edits": edits, "input": "f", "since": 0.0}


def ends_of(item: str, end: str, most: int | None) -> Iterator[tuple[Fact, Counted]]:
    """The facts by which an edit ends, each with what it counts from then on."""
    real = (most or 0) // 3
    done = {"t": "done", "item": item, "id": item, "usage": USAGE}
    lost = {"t": "uncertain", "item": item, "id": item}
    if end == "done":
        yield done | {"cost": real}, (1, real)
    elif end == "done without usage":
        yield {"t": "done", "item": item, "id": item}, (1, most or 0)
    elif end in {"failed", "refused"}:
        yield {"t": end, "item": item, "id": item}, (0, 0)
    elif end in {"uncertain", "found"}:
        yield lost, (1, most or 0)
    elif end == "lost":
        yield lost | {"usage": USAGE, "cost": real}, (1, real)
    if end == "found":
        yield done | {"cost": real}, (1, real)


def story(plan: list[tuple[str, list[tuple[int | None, str]]]]) -> Iterator[tuple[Fact, Counted]]:
    """All facts of some batches, each with what the ledger counts after it."""
    counts = dict[str, Counted]()
    for number, (fate, edits) in enumerate(plan):
        batch, items = f"b{number}", {f"e{number}-{each}#0": edit for each, edit in enumerate(edits)}
        for item, (most, _) in items.items():
            yield put(batch, item, most), summed(counts)
        if fate == "rows alone":
            continue
        counts |= {item: (1, most or 0) for item, (most, _) in items.items()}
        yield creating(batch, len(items)), summed(counts)
        if fate == "withdrawn":
            counts |= dict.fromkeys(items, (0, 0))
            yield {"t": "withdrawn", "batch": batch}, summed(counts)
            continue
        for item, (most, end) in items.items():
            for fact, counted in ends_of(item, end, most):
                counts[item] = counted
                yield fact, summed(counts)
        if fate == "closed" and all(end != "under way" for _, end in items.values()):
            yield {"t": "closed", "batch": batch}, summed(counts)


def summed(counts: dict[str, Counted]) -> Counted:
    return sum(edits for edits, _ in counts.values()), sum(cost for _, cost in counts.values())


def compacted(index: LedgerIndex) -> LedgerIndex:
    """What is read from the ledger after it was compacted."""
    fresh = LedgerIndex()
    for fact, at in index.facts():
        fresh.apply(fact, at)
    return fresh


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "closed", "withdrawn", "rows alone"]),
            st.lists(st.tuples(COSTS, ENDS), min_size=1, max_size=3),
        ),
        max_size=3,
    ),
    st.integers(0, 20),
)
def test_an_edit_counts_with_its_most_from_the_create_of_its_batch_to_its_end(
    plan: list[tuple[str, list[tuple[int | None, str]]]], cut: int
) -> None:
    index, before = LedgerIndex(), ""
    for number, (fact, counted) in enumerate(story(plan)):
        if number >= cut and before != "batched":  # a batch is not created by another process than wrote its rows
            index = compacted(index)
        index.apply(fact, 1.0)
        before = fact["t"]
        assert (index.spent.edits, index.spent.cost) == counted, fact
        assert compacted(index).spent == index.spent
