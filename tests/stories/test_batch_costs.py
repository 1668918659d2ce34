"""A limit in dollars for edits in batches: they count with half of their most until their results are in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from asyncsdk import (
    Client,
    ImageEdit,
    ImageEditor,
    LimitReachedError,
    Outcomes,
    PostgresLedger,
    api,
)
from asyncsdk.images.costs.money import NANOS, part_of
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.costs.table import packaged
from asyncsdk.images.ledger.file import load_ledger
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.stories.batches import (
    QUICK,
    batch,
    changed,
    direct,
    edits,
    ended,
    lines_of,
    message,
    only,
    ours,
    statuses,
    written,
)
from tests.waiting import until

PLAIN = {"model": "gpt-image-1", "quality": "low", "size": "1024x1024"}  # costs little less than at most
SHORT = LeaseTerms(lease=1.5, renew_every=0.3)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server", batch_seconds=0.2, documented_tokens=True) as running:
        yield running


@pytest.fixture
def timing() -> Timing:
    return QUICK


async def most_of(editor: ImageEditor, **fields: Any) -> float:
    """What an edit costs at most, in dollars, if it is sent directly."""
    plan = await editor.plan(edits(1, **fields))
    assert plan.cost is not None
    return plan.cost.dollars[1]


async def spent(out: Path) -> float:
    """What the ledger counts, in dollars."""
    return (await load_ledger(out / ".asyncsdk")).spent.cost / NANOS


def sent_directly(server: LocalServer) -> int:
    """How many edits were sent on their own."""
    return sum(request.route == "edit" and request.batch_id is None for request in server.requests)


async def in_batches(out: Path) -> int:
    """How many edits the ledger has in batches."""
    return sum(state.status == "batched" for _, state in (await load_ledger(out / ".asyncsdk")).index.states.items())


def real(server: LocalServer) -> float:
    """What all that the server made in batches costs at least, in dollars."""
    total = 0
    for each in (one for one in server.batches if one.model):
        price = packaged().models[each.model or ""]
        assert price.batch == 0.5
        total += part_of(each.usage.input * price.text.input + each.usage.output * price.image.output, 0.5)
    return total / NANOS


async def test_as_many_edits_go_into_batches_as_the_limit_allows_at_half_the_price(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    most = await most_of(editor, **PLAIN)
    limit = 2.6 * most  # five and a fifth of a batch, two of those that are sent directly
    with pytest.raises(LimitReachedError, match="What is in batches counts with the most"):
        await batch(editor, edits(9, **PLAIN), out, max_cost=limit, detach=True)
    assert await in_batches(out) == 5
    assert await spent(out) == pytest.approx(2.5 * most, rel=1e-6)
    await ended(server)
    with pytest.raises(LimitReachedError, match=r"max_cost=.* is reached: .* the next edit may cost .* With a higher"):
        await batch(editor, edits(9, **PLAIN), out, max_cost=limit)
    assert 5 <= server.edits.edits < 9
    assert real(server) <= await spent(out) <= limit
    found, _ = await batch(editor, edits(9, **PLAIN), out, max_cost=1)
    assert set(statuses(found).values()) == {"done", "skipped"}
    assert max(server.edits.by_prompt.values()) == 1


async def test_what_a_batch_did_not_cost_is_given_back_and_the_same_call_sends_more(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    most = await most_of(editor)  # without a size several times what it costs
    found, outcomes = await batch(editor, edits(12), out, max_cost=2 * most)
    assert statuses(found) == only("done", 12)
    sizes = [each.edits for each in outcomes.batches]
    assert sizes[0] == 4
    assert 1 < len(sizes) < 8  # each takes what the ones before have left, not edit for edit
    assert real(server) <= await spent(out) <= 2 * most
    assert ours(server) == []


async def test_what_is_in_batches_of_an_earlier_call_is_waited_for_and_gives_back(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    most = await most_of(editor)
    with pytest.raises(LimitReachedError):
        await batch(editor, edits(12), out, max_cost=2 * most, detach=True)
    async with asyncio.timeout(30):  # no edit that comes later keeps it from being read
        found, _ = await batch(editor, edits(12), out, max_cost=2 * most)
    assert set(found) == set(only("done", 12))
    assert set(statuses(found).values()) <= {"done", "skipped"}
    assert set(server.edits.by_prompt.values()) == {1}
    assert await spent(out) <= 2 * most


async def test_direct_edits_and_batches_share_one_limit(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    most, jobs = await most_of(editor, **PLAIN), edits(9, **PLAIN)
    with pytest.raises(LimitReachedError):
        await batch(editor, jobs, out, max_cost=1.5 * most, detach=True)
    assert await in_batches(out) == 3
    with pytest.raises(LimitReachedError):
        await direct(editor, jobs, out, max_cost=1.5 * most + 0.9 * most)
    assert sent_directly(server) == 0  # what is in the batch leaves no room for one that costs twice
    with pytest.raises(LimitReachedError):
        await direct(editor, jobs, out, max_cost=1.5 * most + 1.1 * most)
    assert sent_directly(server) == 1
    await ended(server)
    with pytest.raises(LimitReachedError):
        await batch(editor, jobs, out, max_cost=1.5 * most + 1.1 * most)
    assert set(server.edits.by_prompt.values()) == {1}
    assert await spent(out) <= 2.6 * most


@pytest.mark.parametrize("is_shared", [False, True])
async def test_what_is_done_after_it_had_failed_counts_once(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path, ledger: PostgresLedger, *, is_shared: bool
) -> None:
    def change(content: bytes) -> bytes:
        first, second = lines_of(content)
        failed = {"status_code": 500, "body": {"error": {"message": "try again"}}}
        return written([first | {"response": first["response"] | failed}, first, second])

    place: Any = {"ledger": ledger if is_shared else None}
    await batch(editor, edits(2, **PLAIN), out, detach=True, **place)
    await changed(server, client, change)
    found, outcomes = await batch(editor, edits(2, **PLAIN), out, **place)
    assert statuses(found) == only("done", 2)
    paid = round(sum(each.cost or 0 for each in found.values()) * NANOS)
    assert paid >= real(server) * NANOS > 0
    if is_shared:
        known: Any = await ledger.show()
        assert (known["edits"], known["cost"]) == (2, paid)
    else:
        spent, limits = (await load_ledger(out / ".asyncsdk")).spent, outcomes._run.limits  # noqa: SLF001
        assert (spent.edits, spent.cost) == (2, paid)
        assert (limits.edits, limits.cost, limits.in_flight) == (2, paid, 0)


async def test_what_may_be_paid_counts_with_its_most_and_what_failed_with_nothing(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path
) -> None:
    most = await most_of(editor, **PLAIN)
    await batch(editor, edits(4, **PLAIN), out, detach=True)

    def change(content: bytes) -> bytes:
        first, second, third, fourth = lines_of(content)
        first["response"]["body"] = {"created": 1}  # maybe paid
        second["response"] |= {"status_code": 500, "body": {"error": {"message": "try again"}}}
        third["response"] |= {"status_code": 400, "body": {"error": {"message": "no", "code": "moderation_blocked"}}}
        fourth["response"]["body"].pop("usage")  # paid, and not said with what
        return written([first, second, third, fourth])

    await changed(server, client, change)
    found, _ = await batch(editor, edits(4, **PLAIN), out)
    assert Counter(statuses(found).values()) == {"uncertain": 1, "failed": 1, "refused": 1, "done": 1}
    assert await spent(out) == pytest.approx(2 * most / 2, rel=1e-6)
    failed = next(each.edit for each in found.values() if each.status == "failed")
    with pytest.raises(LimitReachedError):
        await batch(editor, [failed], out, max_cost=1.4 * most)
    assert statuses((await batch(editor, [failed], out, max_cost=1.5 * most))[0]) == {failed.id: "done"}


@pytest.mark.parametrize("way", ["expired", "cancelled"])
async def test_a_batch_that_ends_early_gives_back_what_was_not_done(tmp_path: Path, out: Path, *, way: str) -> None:
    window = 2 if way == "expired" else 60
    async with (
        LocalServer(tmp_path / "slow", batch_seconds=4.0, batch_window=window, documented_tokens=True) as server,
        Client("sk-test", base_url=server.url, timing=QUICK) as client,
    ):
        editor = ImageEditor(client)
        most = await most_of(editor, **PLAIN)
        await batch(editor, edits(6, **PLAIN), out, detach=True, max_cost=3 * most)
        assert await spent(out) == pytest.approx(3 * most, rel=1e-6)
        if way == "cancelled":
            await client.send(api.cancel_batch(server.batches[0].id))
        found, _ = await batch(editor, edits(6, **PLAIN), out, max_cost=3 * most)
        done = sum(outcome.status == "done" for outcome in found.values())
        assert Counter(statuses(found).values()) == Counter({"done": done, "failed": 6 - done})
        assert bool(done) == (way == "expired")
        assert real(server) <= await spent(out) <= done * most / 2


async def test_a_batch_that_is_found_after_all_counts_once(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    most = await most_of(editor)
    await batch(editor, edits(3), out, detach=True)
    server.inject(Fault("batches.get", "answer", status=404, times=1000))
    assert statuses((await batch(editor, edits(3), out))[0]) == only("uncertain", 3)
    assert await spent(out) == pytest.approx(1.5 * most, rel=1e-6)
    server.clear_faults()
    await batch(editor, edits(3), out)
    assert 0 < await spent(out) < 0.5 * most
    assert (await load_ledger(out / ".asyncsdk")).spent.edits == 3


async def test_a_batch_that_fails_as_a_whole_is_counted_again_and_not_twice(tmp_path: Path, out: Path) -> None:
    async with (
        LocalServer(tmp_path / "full", batch_seconds=0.3, batch_tokens=700, documented_tokens=True) as server,
        Client("sk-test", base_url=server.url, timing=QUICK) as client,
    ):
        editor = ImageEditor(client)
        most = await most_of(editor, **PLAIN)
        found, _ = await batch(editor, edits(6, **PLAIN), out, batch_size=3, max_cost=3 * most)
    assert any(each.status == "failed" for each in server.batches)
    assert statuses(found) == only("done", 6)
    assert await spent(out) <= 3 * most


async def test_an_edit_that_can_not_be_priced_is_refused_before_anything_is_sent(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    jobs = edits(2, model="another")
    found, _ = await batch(editor, jobs, out, max_cost=5)
    problems = (await editor.plan(jobs, out=out, max_cost=5, batch=True)).problems
    assert statuses(found) == {each.id: each.status for each in problems} == only("refused", 2)
    for outcome in (*found.values(), *problems):
        assert "a limit in dollars needs to know what each edit costs" in message(outcome)
    assert not server.batches


async def test_a_plan_for_batches_has_their_limits_and_says_what_can_not_be_in_one(
    editor: ImageEditor, out: Path
) -> None:
    most = await most_of(editor, **PLAIN)
    others = [evolve(each, id=f"other {each.id}", model=None) for each in edits(2)]
    jobs = [*edits(9, **PLAIN), *others]
    plan = await editor.plan(jobs, out=out, max_cost=2.6 * most, batch=True)
    assert (plan.to_send, plan.sent) == (9, 5)
    assert [(each.id, each.status) for each in plan.problems] == [(each.id, "refused") for each in others]
    assert all("the edits of a batch need one" in str(each.error) for each in plan.problems)
    plan = await editor.plan(jobs[:9], out=out, max_cost=2.6 * most)
    assert (plan.to_send, plan.sent, plan.problems) == (9, 2, ())
    assert (await editor.plan(others)).to_send == 2


@pytest.fixture
def ledger(database_url: str) -> PostgresLedger:
    return PostgresLedger(database_url, terms=SHORT)


async def counted(ledger: PostgresLedger) -> float:
    """What the ledger in a database counts, in dollars."""
    return float(((await ledger.show()) or {})["cost"]) / NANOS


async def test_a_ledger_in_a_database_reserves_half(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: PostgresLedger
) -> None:
    most = (Pricing(packaged()).most(edits(1, **PLAIN)[0]) or 0) / NANOS  # before its picture is read
    with pytest.raises(LimitReachedError, match="What is in batches counts with the most"):
        await batch(editor, edits(9, **PLAIN), out, ledger=ledger, max_cost=2.6 * most, detach=True)
    assert ((await ledger.show()) or {})["states"] == {"batched": 5}
    assert await counted(ledger) == pytest.approx(2.5 * most, rel=1e-6)
    await ended(server)
    with pytest.raises(LimitReachedError, match="With a higher limit"):
        await batch(editor, edits(9, **PLAIN), out, ledger=ledger, max_cost=2.6 * most)
    assert real(server) <= await counted(ledger) <= 2.6 * most
    found, _ = await batch(editor, edits(9, **PLAIN), out, ledger=ledger, max_cost=1)
    assert set(statuses(found).values()) == {"done", "skipped"}
    assert set(server.edits.by_prompt.values()) == {1}


async def test_with_a_ledger_in_a_database_what_can_not_be_in_a_batch_is_refused_and_the_others_are_sent(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: PostgresLedger
) -> None:
    jobs = edits(3, **PLAIN)
    await batch(editor, jobs[:1], out, ledger=ledger)
    changed_since = evolve(jobs[0], model=None, prompt="another")
    found, _ = await batch(
        editor, [evolve(jobs[1], model=None), jobs[2], changed_since], out, ledger=ledger, max_cost=5
    )
    assert statuses(found) == {"e1": "refused", "e2": "refused", "e3": "done"}
    assert all("the edits of a batch need one" in message(found[each]) for each in ("e1", "e2"))
    assert server.edits.edits == 2


@pytest.mark.parametrize("is_enough", [True, False])
async def test_four_copies_share_one_limit_and_what_is_given_back(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: PostgresLedger, *, is_enough: bool
) -> None:
    fields = {} if is_enough else PLAIN
    most = await most_of(editor, **fields)
    limit = (3 if is_enough else 4) * most
    ends: list[Any] = []

    async def copy(first: int) -> None:
        jobs: list[ImageEdit] = edits(24, **fields)
        one = PostgresLedger(ledger.url, terms=SHORT)
        try:
            ends.append((await batch(editor, jobs[first:] + jobs[:first], out, ledger=one, max_cost=limit))[0])
        except LimitReachedError as error:
            ends.append(error)

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(copy(6 * number))
    assert set(server.edits.by_prompt.values()) == {1}
    assert real(server) <= await counted(ledger) <= limit
    if is_enough:
        assert all(set(each) == set(only("done", 24)) for each in ends)
        assert server.edits.edits == 24
    else:
        assert all(isinstance(each, LimitReachedError) for each in ends)
        assert 8 <= server.edits.edits < 24
    assert ours(server) == []


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_call_that_waits_for_room_is_stopped_at_once(
    tmp_path: Path, out: Path, ledger: PostgresLedger, *, is_shared: bool
) -> None:
    place: Any = ledger if is_shared else None
    async with (
        LocalServer(tmp_path / "slow", batch_seconds=600, documented_tokens=True) as server,
        Client("sk-test", base_url=server.url, timing=QUICK) as client,
    ):
        editor = ImageEditor(client)
        limit = 2 * await most_of(editor, **PLAIN)
        found: list[str] = []
        run: Any = {"out": out, "ledger": place, "poll": 0.02, "max_cost": limit}
        async with editor.edit_batch(edits(9, **PLAIN), **run) as outcomes, asyncio.timeout(20):
            await until(lambda: outcomes.in_flight and server.batches)
            await asyncio.sleep(0.5)
            assert len(server.batches) == 1
            outcomes.stop()
            found = [outcome.status async for outcome in outcomes]
        assert found == ["batched"] * (3 if is_shared else 4)


async def test_direct_and_batched_copies_share_the_limit_of_a_database(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: PostgresLedger
) -> None:
    limit = 6 * await most_of(editor, **PLAIN)
    costs: dict[str, float] = {}

    async def copy(number: int) -> None:
        jobs, one = edits(30, **PLAIN), PostgresLedger(ledger.url, terms=SHORT)
        options: Any = {"out": out, "ledger": one, "max_cost": limit}
        way = partial(editor.edit_batch, poll=0.02) if number % 2 else editor.edit_many
        with pytest.raises(LimitReachedError):
            await end(way(jobs[number * 7 :] + jobs[: number * 7], **options))

    async def end(run: AbstractAsyncContextManager[Outcomes]) -> None:
        async with run as outcomes:
            async for each in outcomes:
                if each.result is not None:  # it was sent directly
                    costs[each.id] = each.cost or 0.0

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(copy(number))
    assert set(server.edits.by_prompt.values()) == {1}
    paid = sum(costs.values())
    assert 0 < paid < real(server) + paid <= await counted(ledger) + 1e-9 <= limit + 1e-9
