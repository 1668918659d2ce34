"""A gateway that makes an edit once for each key is asked again for a lost answer; none is made twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from asyncsdk import Client, ImageEdit, ImageEditor, PostgresLedger
from asyncsdk.clock import boot_time
from asyncsdk.errors import ConfigurationError, LimitReachedError
from asyncsdk.images import idempotency
from asyncsdk.images.idempotency import WINDOW, EditKey, is_known
from asyncsdk.images.ledger.copying import copy_ledger
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.server import Fault, LocalServer
from tests.postgres.server import PostgresServer
from tests.stories.test_costs import edits

KEY = "Idempotency-Key"
LOST = Fault("edit", "close", at="done", times=99)


async def run(
    server: LocalServer, wanted: list[ImageEdit], out: Path, header: str | None = KEY, **how: Any
) -> Counter[str]:
    async with Client("any", base_url=server.url) as client:
        editor = ImageEditor(client, idempotency_header=header)
        async with editor.edit_many(wanted, out=out, **how) as outcomes:
            return Counter([outcome.status async for outcome in outcomes])


def keys(server: LocalServer) -> list[str | None]:
    return [record.headers.get(KEY.lower()) for record in server.requests if record.route == "edit"]


async def test_of_ten_per_cent_lost_answers_none_is_uncertain_and_none_is_made_twice(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY) as server:
        server.inject(Fault("edit", "close", at="done", probability=0.1, seed=7))
        assert await run(server, edits(100), tmp_path) == {"done": 100}
        assert (server.edits.edits, max(server.edits.by_prompt.values())) == (100, 1)
        assert (len(set(keys(server))), len(keys(server)) > 100) == (100, True)


async def test_it_is_off_by_default_and_a_lost_answer_is_uncertain(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[Fault("edit", "close", at="done", nth=2)]) as server:
        assert await run(server, edits(3), tmp_path, None) == {"done": 2, "uncertain": 1}
        assert keys(server) == [None] * 3
        assert await run(server, edits(3), tmp_path, KEY) == {"skipped": 2, "uncertain": 1}, "it was sent without a key"


async def test_the_next_run_asks_again_with_the_same_key(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(3), tmp_path) == {"uncertain": 3}
        first = set(keys(server))
        assert await run(server, edits(3), tmp_path, None) == {"uncertain": 3}
        server.clear_faults()
        assert await run(server, edits(3), tmp_path, max_edits=3) == {"done": 3}
        assert (set(keys(server)), server.edits.edits) == (first, 3)
        assert await run(server, edits(4), tmp_path, max_edits=4) == {"skipped": 3, "done": 1}


async def test_a_plan_for_batches_asks_for_no_answer_again(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(2), tmp_path) == {"uncertain": 2}
        async with Client("any", base_url=server.url) as client:
            editor = ImageEditor(client, idempotency_header=KEY)
            plans = [await editor.plan(edits(2), out=tmp_path, batch=each) for each in (False, True)]
            async with editor.edit_batch(edits(2), out=tmp_path) as outcomes:
                found = Counter([outcome.status async for outcome in outcomes])
    assert [(plan.to_send, plan.uncertain) for plan in plans] == [(2, 0), (0, 2)]
    assert found == {"uncertain": 2}


async def test_what_was_cut_off_in_flight_is_asked_for_again(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[Fault("edit", "stall", at="done")]) as server:
        async with Client("any", base_url=server.url) as client:
            editor = ImageEditor(client, idempotency_header=KEY)
            async with editor.edit_many(edits(2), out=tmp_path, concurrency=2) as outcomes:
                async for _ in outcomes:
                    break
        assert await run(server, edits(2), tmp_path) == {"skipped": 1, "done": 1}
        assert server.edits.edits == 2


async def test_after_the_window_it_is_uncertain_and_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with LocalServer(idempotency_header=KEY, idempotency_seconds=0.0, faults=[LOST]) as server:
        monkeypatch.setattr(idempotency, "WINDOW", -1.0)  # a server that has forgotten the key makes it again
        assert await run(server, edits(2), tmp_path) == {"uncertain": 2}
        assert await run(server, edits(2), tmp_path) == {"uncertain": 2}
        assert server.edits.edits == 2


async def test_what_is_turned_away_when_it_is_asked_again_stays_uncertain(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path) == {"uncertain": 1}
        server.clear_faults()
        server.inject(
            Fault("edit", "answer", status=400, body={"error": {"message": "no", "type": "invalid_request_error"}})
        )
        assert await run(server, edits(1), tmp_path) == {"uncertain": 1}
        assert await run(server, edits(1), tmp_path) == {"done": 1}
        assert server.edits.edits == 1


async def test_what_outlives_its_window_while_it_waits_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(event: Any) -> None:
        if getattr(event, "status", None) == 429:
            monkeypatch.setattr(idempotency, "WINDOW", -1.0)

    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path) == {"uncertain": 1}
        made, server_calls = server.edits.edits, server.calls["edit"]
        server.clear_faults()
        server.inject(Fault("edit", "answer", status=429, headers={"retry-after": "0"}))
        async with Client("any", base_url=server.url, on_event=forget) as client:
            editor = ImageEditor(client, idempotency_header=KEY)
            async with editor.edit_many(edits(1), out=tmp_path) as outcomes:
                assert [outcome.status async for outcome in outcomes] == ["uncertain"]
        assert (server.edits.edits, server.calls["edit"]) == (made, server_calls + 1)


async def test_a_redo_has_a_key_of_its_own(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY) as server:
        assert await run(server, edits(2), tmp_path) == {"done": 2}
        assert await run(server, edits(2), tmp_path, redo=["0"]) == {"done": 1, "skipped": 1}
        assert (server.edits.edits, len(set(keys(server)))) == (3, 3)


async def test_what_is_sent_again_after_the_window_has_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path) == {"uncertain": 1}
        server.clear_faults()
        monkeypatch.setattr(idempotency, "WINDOW", -1.0)
        assert await run(server, edits(1), tmp_path, on_uncertain="retry") == {"done": 1}
        assert (server.edits.edits, len(set(keys(server)))) == (2, 2)


async def test_a_redo_without_a_key_leaves_none_that_answers_for_it(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY) as server:
        assert await run(server, edits(1), tmp_path) == {"done": 1}
        server.inject(LOST)
        assert await run(server, edits(1), tmp_path, None, redo=["0"]) == {"uncertain": 1}
        server.clear_faults()
        assert await run(server, edits(1), tmp_path, on_uncertain="retry") == {"done": 1}
        assert server.edits.edits == 3, "the picture of the first is not that of the redo"


@pytest.mark.parametrize("is_shared", [False, True])
async def test_what_was_sent_with_its_key_in_another_header_is_not_asked_for_again(
    database_url: str, tmp_path: Path, *, is_shared: bool
) -> None:
    how: dict[str, Any] = {"ledger": database_url} if is_shared else {}
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path, "X-Wrong", **how) == {"uncertain": 1}
        made = server.edits.edits
        server.clear_faults()
        assert await run(server, edits(1), tmp_path, KEY, **how) == {"uncertain": 1}
        assert server.edits.edits == made, "the server knows no key that came in a header that it does not honour"


async def test_a_header_in_other_letters_is_the_same_one_and_the_first_try_stays_the_first(
    database_url: str, database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path, ledger=database_url) == {"uncertain": 1}
        first = postgres_server.sql("select tried from asyncsdk.edit", database=database)
        assert await run(server, edits(1), tmp_path, KEY.upper(), ledger=database_url) == {"uncertain": 1}
        assert first == postgres_server.sql("select tried from asyncsdk.edit", database=database) != ""
        server.clear_faults()
        assert await run(server, edits(1), tmp_path, ledger=database_url) == {"done": 1}
        assert server.edits.edits == 1


async def test_what_is_sent_again_in_another_header_has_another_key(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path, "X-Wrong") == {"uncertain": 1}
        server.clear_faults()
        assert await run(server, edits(1), tmp_path, KEY, on_uncertain="retry") == {"done": 1}
        first = {record.headers.get("x-wrong") for record in server.requests if record.route == "edit"} - {None}
        assert len(first) == 1
        assert not first & set(keys(server))


async def test_costs_and_edits_are_counted_once_for_what_was_asked_again(tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY, documented_tokens=True, faults=[LOST]) as server:
        assert await run(server, edits(2), tmp_path, max_cost=1) == {"uncertain": 2}
        server.clear_faults()
        assert await run(server, edits(2), tmp_path, max_cost=1) == {"done": 2}
        async with (
            Client("any", base_url=server.url) as client,
            ImageEditor(client).edit_many([], out=tmp_path) as outcomes,
        ):
            spent = outcomes._run.ledger.spent  # type: ignore[union-attr]  # noqa: SLF001 - what the ledger has
        assert (spent.edits, spent.cost) == (2, 2 * (7 * 5000 + 12 * 8000 + 196 * 30000))


@pytest.mark.parametrize("rate", [None, 60])  # the second waits for its turn when the first has passed the limit
async def test_what_counts_already_is_asked_for_again_though_the_limit_is_passed(
    tmp_path: Path, rate: float | None
) -> None:
    async with LocalServer(idempotency_header=KEY, documented_tokens=True, faults=[LOST]) as server:
        assert await run(server, edits(2), tmp_path, max_cost=1) == {"uncertain": 2}
        server.clear_faults()
        with anyio.fail_after(20):
            assert await run(server, edits(2), tmp_path, max_cost=0.001, images_per_minute=rate) == {"done": 2}
            with pytest.raises(LimitReachedError):
                await run(server, edits(3), tmp_path, max_cost=0.001)
        assert server.edits.edits == 2


async def test_what_is_asked_for_again_in_the_same_run_is_so_though_the_limit_is_passed_meanwhile(
    tmp_path: Path,
) -> None:
    async with LocalServer(idempotency_header=KEY, documented_tokens=True) as server:
        server.inject(Fault("edit", "answer", at="done", status=504, retry_after=1))
        server.inject(Fault("edit", "stall", nth=2, seconds=0.3))
        with anyio.fail_after(20):
            assert await run(server, edits(2), tmp_path, max_tokens=10, concurrency=2) == {"done": 2}
        assert (server.edits.edits, server.calls["edit"]) == (2, 3)


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_plan_holds_nothing_back_that_counts_already(
    database_url: str, tmp_path: Path, *, is_shared: bool
) -> None:
    place: Any = {"ledger": database_url if is_shared else None}
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(3), tmp_path, **place) == {"uncertain": 3}
        server.clear_faults()
        for limits in ({"max_edits": 3}, {"max_cost": 1e-9}):
            async with Client("any", base_url=server.url) as client:
                editor = ImageEditor(client, idempotency_header=KEY)
                plan = await editor.plan(edits(5), out=tmp_path, **place, **limits)
            assert (plan.to_send, plan.sent, plan.held_back) == (5, 3, 2)
        with pytest.raises(LimitReachedError):
            await run(server, edits(5), tmp_path, max_cost=1e-9, **place)
        assert server.edits.edits == 3


async def test_copies_with_a_shared_ledger_ask_again_within_their_claim(database_url: str, tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY) as server:
        server.inject(Fault("edit", "close", at="done", probability=0.2, seed=3))
        assert await run(server, edits(30), tmp_path, ledger=database_url) == {"done": 30}
        assert (server.edits.edits, max(server.edits.by_prompt.values())) == (30, 1)


async def test_the_next_run_on_another_machine_asks_again_with_the_same_key(database_url: str, tmp_path: Path) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(3), tmp_path / "a", ledger=database_url) == {"uncertain": 3}
        first, calls = set(keys(server)), server.calls["edit"]
        assert await run(server, edits(3), tmp_path / "b", None, ledger=database_url) == {"uncertain": 3}
        assert server.calls["edit"] == calls, "without the header it is as before"
        server.clear_faults()
        assert await run(server, edits(3), tmp_path / "b", ledger=database_url, max_edits=3) == {"done": 3}
        assert (set(keys(server)), server.edits.edits) == (first, 3)
        assert await run(server, edits(4), tmp_path / "b", ledger=database_url, max_edits=4) == {
            "skipped": 3, "done": 1,
        }  # fmt: skip


async def test_with_a_shared_ledger_what_outlived_its_window_is_uncertain_and_not_sent(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LocalServer(idempotency_header=KEY, idempotency_seconds=0.0, faults=[LOST]) as server:
        monkeypatch.setattr(idempotency, "WINDOW", -1.0)  # a server that has forgotten the key makes it again
        assert await run(server, edits(2), tmp_path, ledger=database_url) == {"uncertain": 2}
        assert await run(server, edits(2), tmp_path, ledger=database_url) == {"uncertain": 2}
        assert server.edits.edits == 2


async def test_with_a_shared_ledger_what_is_sent_again_after_the_window_has_another_key(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = PostgresLedger(database_url)
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path, ledger=ledger) == {"uncertain": 1}
        server.clear_faults()
        assert (await ledger.release(None, force=True))[0] == ["0"]
        monkeypatch.setattr(idempotency, "WINDOW", -1.0)
        assert await run(server, edits(1), tmp_path, ledger=ledger) == {"done": 1}
        assert (server.edits.edits, len(set(keys(server)))) == (2, 2)


async def test_with_a_shared_ledger_a_redo_and_another_job_of_the_same_id_have_keys_of_their_own(
    database_url: str, tmp_path: Path
) -> None:
    async with LocalServer(idempotency_header=KEY) as server:
        assert await run(server, edits(2), tmp_path, ledger=database_url) == {"done": 2}
        assert await run(server, edits(2), tmp_path, ledger=database_url, redo=["0"]) == {"done": 1, "skipped": 1}
        other = [evolve(edit, prompt="another") for edit in edits(2)]
        assert await run(server, other, tmp_path, ledger=database_url) == {"done": 2}
        assert (server.edits.edits, len(set(keys(server)))) == (5, 5)


async def test_with_a_shared_ledger_a_redo_without_a_key_leaves_none_that_answers_for_it(
    database_url: str, tmp_path: Path
) -> None:
    ledger = PostgresLedger(database_url)
    async with LocalServer(idempotency_header=KEY) as server:
        assert await run(server, edits(1), tmp_path, ledger=ledger) == {"done": 1}
        server.inject(LOST)
        assert await run(server, edits(1), tmp_path, None, ledger=ledger, redo=["0"]) == {"uncertain": 1}
        assert await run(server, edits(1), tmp_path, ledger=ledger) == {"uncertain": 1}
        assert server.edits.edits == 2
        server.clear_faults()
        await ledger.release(None, force=True)
        assert await run(server, edits(1), tmp_path, ledger=ledger) == {"done": 1}
        assert server.edits.edits == 3, "the picture of the first is not that of the redo"


async def test_with_a_shared_ledger_costs_are_counted_once_for_what_was_asked_again(
    database_url: str, tmp_path: Path
) -> None:
    async with LocalServer(idempotency_header=KEY, documented_tokens=True, faults=[LOST]) as server:
        assert await run(server, edits(2), tmp_path, ledger=database_url, max_cost=1) == {"uncertain": 2}
        server.clear_faults()
        with anyio.fail_after(20):
            assert await run(server, edits(2), tmp_path, ledger=database_url, max_cost=0.001) == {"done": 2}
        shown = await PostgresLedger(database_url).show()
        assert shown is not None
        assert (shown["edits"], shown["cost"], server.edits.edits) == (2, 2 * (7 * 5000 + 12 * 8000 + 196 * 30000), 2)


async def test_with_a_shared_ledger_what_is_turned_away_when_it_is_asked_again_stays_uncertain(
    database_url: str, tmp_path: Path
) -> None:
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path, ledger=database_url) == {"uncertain": 1}
        server.clear_faults()
        server.inject(
            Fault("edit", "answer", status=400, body={"error": {"message": "no", "type": "invalid_request_error"}})
        )
        assert await run(server, edits(1), tmp_path, ledger=database_url) == {"uncertain": 1}
        assert await run(server, edits(1), tmp_path, ledger=database_url) == {"done": 1}
        assert server.edits.edits == 1


async def test_with_a_shared_ledger_what_is_asked_again_after_the_lease_lapsed_is_claimed_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = list[float]()
    clock: Callable[[], float] = lambda: boot_time() + sum(slept)  # noqa: E731 - short

    def sleep(event: Any) -> None:
        if getattr(event, "wait", None) is not None and not slept:
            slept.append(1000.0)  # the whole machine, before the lost answer is asked for again

    monkeypatch.setattr("asyncsdk.postgres.database.boot_time", clock)
    monkeypatch.setattr("asyncsdk.images.ledger.shared.boot_time", clock)
    async with LocalServer(idempotency_header=KEY, faults=[Fault("edit", "close", at="done")]) as server:
        async with Client("any", base_url=server.url, on_event=sleep) as client:
            editor = ImageEditor(client, idempotency_header=KEY)
            with anyio.fail_after(30):
                async with editor.edit_many(edits(1), out=tmp_path, ledger=database_url) as outcomes:
                    assert [outcome.status async for outcome in outcomes] == ["done"]
        assert (len(slept), server.edits.edits, len(set(keys(server)))) == (1, 1, 1)
        [entry] = [entry async for entry in PostgresLedger(database_url).entries()]
        assert entry["epoch"] == 2


async def test_what_a_killed_copy_was_about_to_ask_for_is_left_alone_as_what_it_was_before(
    database_url: str, database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    def ledger() -> PostgresLedger:
        return PostgresLedger(database_url, terms=LeaseTerms(lease=0.6, renew_every=0.15))

    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path, ledger=ledger()) == {"uncertain": 1}
        server.clear_faults()
        claimed = "epoch = epoch + 1, try = gen_random_uuid(), holder = gen_random_uuid(), asks = true, new_cost = cost"
        key = "new_generation = generation, new_tried = tried"
        postgres_server.sql(f"update asyncsdk.edit set phase = 'claimed', {claimed}, {key}", database=database)
        with anyio.fail_after(10):
            found = await run(server, edits(1), tmp_path, None, ledger=ledger(), on_uncertain="retry")
        assert (found, server.edits.edits) == ({"uncertain": 1}, 1)
        assert await run(server, edits(1), tmp_path, ledger=ledger()) == {"done": 1}
        assert server.edits.edits == 1


async def test_a_copied_database_has_the_keys_and_what_comes_from_files_has_none(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    first, second, third = (PostgresLedger(postgres_server.url(postgres_server.new_database())) for _ in range(3))
    async with LocalServer(idempotency_header=KEY, faults=[LOST]) as server:
        assert await run(server, edits(1), tmp_path / "shared", ledger=first) == {"uncertain": 1}
        assert await run(server, edits(1), tmp_path / "files") == {"uncertain": 1}
        made = server.edits.edits
        server.clear_faults()
        await copy_ledger(first, second)
        await copy_ledger(tmp_path / "files" / ".asyncsdk", third)
        assert await run(server, edits(1), tmp_path / "shared", ledger=second) == {"done": 1}
        assert await run(server, edits(1), tmp_path / "files", ledger=third) == {"uncertain": 1}
        assert server.edits.edits == made


def test_keys_say_nothing_and_are_known_for_twelve_hours() -> None:
    assert EditKey("a", 0, 0.0).value != EditKey("a", 1, 0.0).value != EditKey("b", 1, 0.0).value
    assert EditKey("a", 0, 0.0).value == EditKey("a", 0, 9.0).value
    assert [is_known(0.0, now) for now in (0.0, WINDOW - 1, WINDOW, -1.0)] == [True, True, False, False]
    assert not is_known(None, 0.0)


@pytest.mark.parametrize("bad", ["", "two words", "Authorization", "a:b", 5])
async def test_a_header_that_can_not_carry_a_key_is_refused(bad: Any) -> None:
    async with Client("any", base_url="http://nowhere.example") as client:
        with pytest.raises(ConfigurationError, match="idempotency_header"):
            ImageEditor(client, idempotency_header=bad)
