"""The same call several times at once over one ledger in a database: each edit is paid once, whatever happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen

from asyncsdk import (
    EditError,
    EditOutcome,
    ImageEdit,
    ImageEditor,
    InvalidEditError,
    LedgerBusyError,
    LedgerRewoundError,
    LimitReachedError,
    Outcomes,
    PostgresLedger,
)
from asyncsdk.clock import boot_time
from asyncsdk.images.bulk import shared_intake
from asyncsdk.images.bulk.identity import source_digest
from asyncsdk.images.ledger.claims import Wanted
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.postgres.statements import schema_script
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.journal.postgres import PostgresJournal
from asyncsdk.version import __version__
from tests.postgres.server import PostgresServer
from tests.stories.edits import until
from tests.stories.pictures import png

MODEL = "gpt-image-2"
PICTURE = png()
SHORT = LeaseTerms(lease=1.2, renew_every=0.2)


def job(number: int, **fields: Any) -> ImageEdit:
    given = {"prompt": f"p{number}", "id": f"Row {number}"} | fields
    return ImageEdit(image=PICTURE, model=MODEL, **given)


@frozen
class Fleet:
    """What the copies of a run share."""

    editor: ImageEditor
    out: Path
    url: str
    sql: Callable[[str], str]


@pytest.fixture
def fleet(editor: ImageEditor, out: Path, postgres_server: PostgresServer, database: str, database_url: str) -> Fleet:
    return Fleet(editor, out, database_url, partial(postgres_server.sql, database=database))


def as_another(url: str, number: int) -> str:
    """The URL as another process has it: those of one process share their connections."""
    return f"{url}{'&' if '?' in url else '?'}application_name=copy{number}"


async def run(editor: ImageEditor, edits: list[ImageEdit], **options: Any) -> dict[str, EditOutcome]:
    async with editor.edit_many(edits, **options) as outcomes:
        return {outcome.id: outcome async for outcome in outcomes}


def statuses(found: dict[str, EditOutcome]) -> set[str]:
    return {outcome.status for outcome in found.values()}


async def test_of_four_copies_each_edit_is_sent_by_one_and_each_copy_sees_all_end(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str
) -> None:
    edits = [job(number) for number in range(60)]
    copies = await asyncio.gather(
        *(run(editor, edits, out=out, ledger=as_another(database_url, each)) for each in range(4))
    )
    assert server.edits.by_prompt == {f"p{number}": 1 for number in range(60)}
    assert all(len(copy) == 60 for copy in copies)
    assert all(statuses(copy) <= {"done", "skipped"} for copy in copies)
    done = [outcome for copy in copies for outcome in copy.values() if outcome.status == "done"]
    assert len(done) == 60
    assert sorted(path.name for path in out.glob("*.png")) == sorted(f"Row {number}.png" for number in range(60))
    assert [outcome.files for outcome in copies[0].values()] != []
    shown = await PostgresLedger(database_url).show()
    assert shown is not None
    assert (shown["states"], shown["edits"], shown["workers"]) == ({"done": 60}, 60, [])


async def test_what_is_done_is_known_without_reading_pictures(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PICTURE)
    await run(editor, [ImageEdit(image=path, prompt="p", model=MODEL, id="a")], out=out, ledger=database_url)
    path.unlink()
    again = await run(editor, [ImageEdit(image=path, prompt="p", model=MODEL, id="A")], out=out, ledger=database_url)
    assert again["A"].status == "skipped"
    assert again["A"].files == (out / "a.png",)
    assert server.edits.edits == 1


async def test_what_is_done_is_compared_with_its_pictures_where_that_is_asked_for(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PICTURE)
    edits = [ImageEdit(image=path, prompt="p", model=MODEL, id="a")]
    await run(editor, edits, out=out, ledger=database_url)
    assert statuses(await run(editor, edits, out=out, ledger=database_url, verify=True)) == {"skipped"}
    path.write_bytes(png(size=(32, 16)))
    assert statuses(await run(editor, edits, out=out, ledger=database_url)) == {"skipped"}
    assert (await editor.plan(edits, out=out, ledger=database_url, verify=True)).to_send == 1
    again = await run(editor, edits, out=out, ledger=database_url, verify=True)
    assert statuses(again) == {"done"}
    assert again["a"].files == (out / "a~2.png",)
    assert server.edits.edits == 2


async def test_another_prompt_under_an_id_that_has_ended_is_a_new_edit_and_the_old_picture_keeps_its_name(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str
) -> None:
    [first] = (await run(editor, [job(1)], out=out, ledger=database_url)).values()
    kept = first.files[0].read_bytes()
    copies = await asyncio.gather(
        *(run(editor, [job(1, prompt="other")], out=out, ledger=as_another(database_url, each)) for each in range(3))
    )
    assert server.edits.by_prompt == {"p1": 1, "other": 1}
    assert (out / "Row 1.png").read_bytes() == kept
    assert (out / "Row 1~2.png").exists()
    assert {outcome.status for copy in copies for outcome in copy.values()} <= {"done", "skipped"}


async def test_a_name_that_is_taken_on_the_disk_is_not_overwritten(
    editor: ImageEditor, out: Path, database_url: str
) -> None:
    out.mkdir()
    (out / "Row 1.png").write_bytes(b"mine")
    [outcome] = (await run(editor, [job(1)], out=out, ledger=database_url)).values()
    assert outcome.files == (out / "Row 1~1.png",)
    assert (out / "Row 1.png").read_bytes() == b"mine"


async def test_what_was_turned_away_is_sent_again_and_counts_once(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str
) -> None:
    server.inject(Fault("edit", "answer", status=429, times=3, headers={"retry-after-ms": "5"}))
    found = await run(editor, [job(number) for number in range(6)], out=out, ledger=database_url)
    assert statuses(found) == {"done"}
    shown = await PostgresLedger(database_url).show()
    assert shown is not None
    assert shown["edits"] == 6


async def test_exactly_as_many_are_sent_by_all_as_the_limit_says(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str
) -> None:
    edits = [job(number) for number in range(60)]

    async def copy(number: int) -> str:
        try:
            await run(editor, edits, out=out, ledger=as_another(database_url, number), max_edits=25)
        except LimitReachedError as error:
            return str(error)
        return ""

    said = await asyncio.gather(*(copy(number) for number in range(4)))
    assert server.edits.edits == 25
    assert all("max_edits=25 is reached: 25 edits were sent so far" in each for each in said)


async def test_exactly_as_many_are_sent_though_a_killed_process_had_claimed_some(
    fleet: Fleet, server: LocalServer, tmp_path: Path
) -> None:
    ledger = PostgresLedger(fleet.url, terms=SHORT)
    async with ledger.open(tmp_path, {}) as killed:
        wanted = [Wanted(f"x{number}", f"x{number}", None) for number in range(3)]
        await killed.claim(wanted, max_edits=5, max_tokens=None)
        killed.claims.clear()
    with pytest.raises(LimitReachedError, match="max_edits=5 is reached: 5 edits were sent"):
        await run(fleet.editor, [job(number) for number in range(9)], out=fleet.out, ledger=ledger, max_edits=5)
    assert server.edits.edits == 5


async def test_an_edit_whose_answer_was_lost_is_uncertain_for_all(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str
) -> None:
    server.inject(Fault("edit", "answer", at="done", status=504))
    first = await run(editor, [job(1)], out=out, ledger=database_url)
    assert statuses(first) == {"uncertain"}
    again = await run(editor, [job(1)], out=out, ledger=database_url, on_uncertain="retry")
    assert statuses(again) == {"uncertain"}
    [outcome] = again.values()
    assert outcome.problem is not None
    assert "It may be sent again, and paid twice, with on_uncertain='retry' from" in outcome.problem.message
    ledger = PostgresLedger(database_url)
    free, later = await ledger.release(None)
    assert (free, list(later)) == ([], ["Row 1"])
    assert await ledger.release(["row 1"], force=True) == (["Row 1"], {})
    assert statuses(await run(editor, [job(1)], out=out, ledger=database_url)) == {"done"}
    shown = await ledger.show()
    assert shown is not None
    assert shown["edits"] == 2


async def test_what_ended_before_counts_as_it_is_given_and_a_stop_does_not_come_to_the_rest(fleet: Fleet) -> None:
    edits = [job(number) for number in range(30)]
    await run(fleet.editor, edits, out=fleet.out, ledger=fleet.url)
    async with fleet.editor.edit_many(edits, out=fleet.out, ledger=fleet.url) as outcomes:
        given = [(await anext(outcomes)).id for _ in range(3)]
        assert (given, outcomes.counts) == (["Row 0", "Row 1", "Row 2"], {"skipped": 3})
        outcomes.stop()
        assert [outcome async for outcome in outcomes] == []
    assert (outcomes.counts, outcomes.abandoned) == ({"skipped": 3}, ())


async def test_what_ended_before_is_given_page_by_page_and_one_page_is_read_ahead_at_most(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_intake, "PAGE", 20)
    edits, read, turns = [job(number) for number in range(100)], 0, 0
    await run(fleet.editor, edits, out=fleet.out, ledger=fleet.url)

    def counted() -> Iterator[ImageEdit]:
        nonlocal read
        for edit in edits:
            read += 1
            yield edit

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with fleet.editor.edit_many(counted(), out=fleet.out, ledger=fleet.url) as outcomes:
        found = [(await anext(outcomes)).status]
        await asyncio.sleep(0.2)
        assert read == 20
        counting = asyncio.ensure_future(count_turns())
        found += [(await anext(outcomes)).status for _ in range(19)]
        assert (turns, read) == (0, 20)
        counting.cancel()
        found += [outcome.status async for outcome in outcomes]
    assert found == ["skipped"] * 100


async def test_what_others_had_is_looked_at_again_before_the_list_has_ended(
    fleet: Fleet, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_intake, "PAGE", 10)
    edits, read, seen = [job(number) for number in range(200)], 0, dict[str, int]()
    server.inject(Fault("edit", "stall", seconds=2, every=1, times=10))
    other = as_another(fleet.url, 1)

    async def walk() -> AsyncIterator[ImageEdit]:
        nonlocal read
        for edit in edits:
            if read == 20:  # the first page was looked at, which the other copy has
                assert others.in_flight == 10
                assert [outcome.status async for outcome in others] == ["done"] * 10
            read += 1
            yield edit

    async with fleet.editor.edit_many(edits[:10], out=fleet.out, ledger=other, concurrency=10) as others:
        while others.in_flight < 10:
            await asyncio.sleep(0.01)
        async with fleet.editor.edit_many(walk(), out=fleet.out, ledger=fleet.url) as outcomes:
            async for outcome in outcomes:
                seen[outcome.id] = read
    assert len(seen) == 200
    assert max(seen[f"Row {number}"] for number in range(10)) <= 60
    assert server.edits.by_prompt == {f"p{number}": 1 for number in range(200)}


@frozen
class Source:
    """Edits of an asynchronous iterable, and whether it was closed."""

    edits: list[ImageEdit]
    closed: list[bool] = field(factory=list)

    async def walk(self) -> AsyncIterator[ImageEdit]:
        try:
            for edit in self.edits:
                yield edit
        finally:
            self.closed.append(True)


@pytest.mark.parametrize("leaving", ["break", "cancel", "stop"])
async def test_a_run_that_is_left_in_the_middle_of_a_page_leaves_nothing_behind(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, leaving: str
) -> None:
    monkeypatch.setattr(shared_intake, "PAGE", 10)
    source = Source([job(number) for number in range(40)])
    await run(fleet.editor, source.edits, out=fleet.out, ledger=fleet.url)
    tasks, at_13 = asyncio.all_tasks(), asyncio.Event()

    async def leave() -> Outcomes:
        async with fleet.editor.edit_many(source.walk(), out=fleet.out, ledger=fleet.url) as outcomes:
            for _ in range(13):
                await anext(outcomes)
            if leaving == "cancel":
                at_13.set()
                await asyncio.Event().wait()
            if leaving == "stop":  # and not iterated any more
                outcomes.stop()
        return outcomes

    async with asyncio.timeout(20):
        leaver = asyncio.ensure_future(leave())
        if leaving == "cancel":
            await at_13.wait()
            leaver.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaver
        else:
            outcomes = await leaver
            assert (outcomes.counts, outcomes.abandoned) == ({"skipped": 13}, ())
    assert source.closed == [True]
    assert asyncio.all_tasks() == tasks


async def test_a_run_that_halts_in_the_middle_of_a_page_gives_what_was_in_flight_and_says_why(
    fleet: Fleet, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_save(*_: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr(shared_intake, "PAGE", 10)
    edits = [job(number) for number in range(40)]
    await run(fleet.editor, [*edits[:7], *edits[10:]], out=fleet.out, ledger=fleet.url)
    server.inject(Fault("edit", "stall", seconds=0.5, every=1, times=3))
    found = list[str]()
    async with (
        asyncio.timeout(20),
        fleet.editor.edit_many(edits, out=fleet.out, ledger=fleet.url, save=no_save) as outcomes,
    ):
        found += [(await anext(outcomes)).id for _ in range(8)]
        assert found[-1] == "Row 10"
        while outcomes.counts.total() < 8 + 3:
            await asyncio.sleep(0.01)
        found += [(await anext(outcomes)).id for _ in range(3)]
        with pytest.raises(EditError, match="`save` failed for 3 paid edits in a row"):
            await anext(outcomes)
    assert sorted(found[8:]) == ["Row 7", "Row 8", "Row 9"]
    assert (outcomes.counts.total(), outcomes.abandoned) == (11, ())


async def test_what_the_server_refuses_in_every_edit_stops_each_copy_and_changed_all_are_sent(
    fleet: Fleet, server: LocalServer
) -> None:
    async def refused(number: int) -> int:
        edits, ledger = [job(each, quality="best") for each in range(60)], as_another(fleet.url, number)
        async with fleet.editor.edit_many(edits, out=fleet.out, ledger=ledger, concurrency=2) as outcomes:
            await until(outcomes, EditError, match="10 edits in a row were refused in the same way")
        return outcomes.counts["refused"]

    await asyncio.gather(refused(1), refused(2))
    assert 20 <= server.calls["edit"] < 20 + 4
    shown = await PostgresLedger(fleet.url).show()
    assert shown is not None
    assert (shown["states"]["refused"], shown["workers"]) == (server.calls["edit"], [])
    same = [job(each, quality="best") for each in range(20)]
    later = await run(fleet.editor, same, out=fleet.out, ledger=fleet.url)
    assert {(each.status, each.is_earlier) for each in later.values()} == {("refused", True)}
    changed = [job(each, quality="low") for each in range(60)]
    assert statuses(await run(fleet.editor, changed, out=fleet.out, ledger=fleet.url)) == {"done"}
    assert server.edits.edits == 60


async def test_a_page_has_what_ended_and_what_is_sent(fleet: Fleet, server: LocalServer) -> None:
    edits = [job(number) for number in range(12)]
    await run(fleet.editor, edits[::2], out=fleet.out, ledger=fleet.url)
    twice = [*edits, job(99, id="row 3")]
    plan = await fleet.editor.plan(twice, out=fleet.out, ledger=fleet.url)
    assert (plan.done, plan.to_send, len(plan.problems)) == (6, 6, 1)
    async with fleet.editor.edit_many(twice, out=fleet.out, ledger=fleet.url) as outcomes:
        ended = [(outcome.id, outcome.status) async for outcome in outcomes]
    assert ended[:7] == [*((f"Row {number}", "skipped") for number in range(0, 12, 2)), ("row 3", "refused")]
    assert sorted(ended[7:]) == sorted((f"Row {number}", "done") for number in range(1, 12, 2))
    assert outcomes.counts == {"skipped": 6, "refused": 1, "done": 6}
    assert server.edits.edits == 12


async def test_what_is_done_is_seen_in_a_schema_without_costs_and_in_the_same_one_once_it_has_them(
    fleet: Fleet, server: LocalServer
) -> None:
    fleet.sql(schema_script(3))
    fleet.sql(
        "insert into asyncsdk.edit (key, id, status, at, run, source, usage, epoch, holder, try) values "
        "('row 1', 'Row 1', 'done', now(), 1, 'x', '{\"total_tokens\": 9}', 1, gen_random_uuid(), gen_random_uuid())"
    )
    opened = PostgresLedger(fleet.url)
    plan = await fleet.editor.plan([job(1), job(2)], out=fleet.out, ledger=opened)
    assert (plan.done, plan.to_send) == (0, 2)
    fleet.sql(f"update asyncsdk.edit set source = '{source_digest(job(1))}'")
    plan = await fleet.editor.plan([job(1), job(2)], out=fleet.out, ledger=opened)
    assert (plan.done, plan.to_send) == (1, 1)
    assert fleet.sql("select max(version) from asyncsdk.schema_version") == "3"
    found = await run(fleet.editor, [job(1), job(2)], out=fleet.out, ledger=opened)
    assert {each.id: (each.status, each.cost) for each in found.values()} == {
        "Row 1": ("skipped", None),
        "Row 2": ("done", found["Row 2"].cost),
    }
    assert found["Row 2"].cost is not None
    fleet.sql("update asyncsdk.edit set cost = 5000000000 where key = 'row 1'")
    again = await run(fleet.editor, [job(1), job(2)], out=fleet.out, ledger=opened)
    assert [(each.status, each.cost) for each in again.values()] == [
        ("skipped", 5.0),
        ("skipped", found["Row 2"].cost),
    ]
    assert server.edits.edits == 1


async def test_a_limit_in_dollars_refuses_what_has_no_price_and_the_other_edits_are_sent(
    fleet: Fleet, server: LocalServer
) -> None:
    edits = [job(each, quality="low") for each in (1, 2, 3)]
    edits[1] = evolve(edits[1], model=None)
    found = await run(fleet.editor, edits, out=fleet.out, ledger=fleet.url, max_cost=5)
    assert {name: outcome.status for name, outcome in found.items()} == {
        "Row 1": "done",
        "Row 2": "refused",
        "Row 3": "done",
    }
    assert server.edits.edits == 2


@pytest.mark.parametrize("limits", [{}, {"max_cost": 5}])
@pytest.mark.parametrize("number", [10**12, -(10**12), "3", 2.5])
async def test_a_number_of_pictures_that_none_has_is_refused_and_the_other_edits_are_sent(
    fleet: Fleet, server: LocalServer, number: Any, limits: dict[str, Any]
) -> None:
    edits = [job(each, quality="low", n=number if each == 2 else None) for each in (1, 2, 3)]
    assert (await fleet.editor.plan(edits, out=fleet.out, ledger=fleet.url, **limits)).to_send == 2
    found = await run(fleet.editor, edits, out=fleet.out, ledger=fleet.url, **limits)
    assert {name: outcome.status for name, outcome in found.items()} == {
        "Row 1": "done",
        "Row 2": "refused",
        "Row 3": "done",
    }
    assert server.edits.edits == 2


@pytest.mark.parametrize("is_checked", [True, False])
async def test_fields_that_are_not_to_be_checked_are_left_to_the_server(
    fleet: Fleet, server: LocalServer, *, is_checked: bool
) -> None:
    odd = job(1, background="transparent", output_format="jpeg")
    plan = await fleet.editor.plan([odd], out=fleet.out, ledger=fleet.url, check=is_checked)
    assert plan.to_send == (0 if is_checked else 1)
    await run(fleet.editor, [odd], out=fleet.out, ledger=fleet.url, check=is_checked)
    assert server.calls.get("edit", 0) == (0 if is_checked else 1)


async def test_a_copy_stops_all_copies(fleet: Fleet, server: LocalServer) -> None:
    edits = [job(number) for number in range(200)]
    server.inject(Fault("edit", "stall", at="after", seconds=0.05, every=1, times=60))

    async def other(number: int) -> str:
        try:
            await run(fleet.editor, edits, out=fleet.out, ledger=as_another(fleet.url, number), concurrency=2)
        except EditError as error:
            return f"{error} {error.resumable}"
        return ""

    others = [asyncio.ensure_future(other(number)) for number in range(2)]
    async with fleet.editor.edit_many(edits, out=fleet.out, ledger=fleet.url, concurrency=2) as outcomes:
        await anext(outcomes)
        asyncio.get_running_loop().call_soon(partial(outcomes.stop, all_copies=True))  # as a signal does
        assert {outcome.status async for outcome in outcomes} <= {"done", "skipped"}
    said = await asyncio.gather(*others)
    assert [each.startswith("another copy of this run has stopped all") for each in said] == [True, True]
    assert [each.endswith("True") for each in said] == [True, True]
    assert all("Once all have ended the same call goes on; one that was killed counts" in each for each in said)
    assert server.edits.edits < 200
    shown = await PostgresLedger(fleet.url).show()
    assert shown is not None
    assert set(shown["states"]) <= {"done", "new"}
    assert statuses(await run(fleet.editor, edits, out=fleet.out, ledger=fleet.url)) <= {"done", "skipped"}
    assert server.edits.edits == 200


async def test_what_came_in_the_place_of_a_picture_is_kept(fleet: Fleet, server: LocalServer) -> None:
    server.inject(Fault("edit", "answer", at="done", status=200, body={"created": 1, "data": [{"b64_json": "AAAA"}]}))
    [outcome] = (await run(fleet.editor, [job(1)], out=fleet.out, ledger=fleet.url)).values()
    assert outcome.status == "uncertain"
    assert outcome.problem is not None
    [kept] = outcome.problem.raw_files
    assert Path(kept).parent == fleet.out / ".asyncsdk" / "raw"
    [entry] = [entry async for entry in PostgresLedger(fleet.url).entries("uncertain")]
    assert entry["problem"]["raw_files"] == [kept]


async def test_copies_with_other_options_are_refused_while_one_lives(
    editor: ImageEditor, out: Path, database_url: str
) -> None:
    async with editor.edit_many(
        [job(1)], out=out, ledger=PostgresLedger(database_url, options={"prompt": "a", "model": "m"})
    ) as outcomes:
        with pytest.raises(LedgerBusyError, match="with other options: prompt"):
            await run(
                editor, [job(1)], out=out, ledger=PostgresLedger(database_url, options={"prompt": "b", "model": "m"})
            )
        assert [outcome.status async for outcome in outcomes] == ["done"]
    ledger = PostgresLedger(database_url, options={"prompt": "b"})
    assert statuses(await run(editor, [job(1)], out=out, ledger=ledger)) == {"skipped"}


async def test_a_copy_that_was_away_while_others_began_with_other_options_claims_nothing_more(
    fleet: Fleet, server: LocalServer
) -> None:
    edits = [job(number) for number in range(60)]
    async with fleet.editor.edit_many(edits, out=fleet.out, ledger=fleet.url, concurrency=1) as outcomes:
        await anext(outcomes)
        fleet.sql("update asyncsdk.ledger set options = '{}'")
        with pytest.raises(LedgerBusyError, match="a run with other options began there"):
            [outcome async for outcome in outcomes]
    assert server.edits.edits <= 16


async def test_a_copy_on_another_machine_learns_that_the_directory_has_to_be_shared(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet.editor.edit_many([job(1)], out=fleet.out, ledger=fleet.url) as outcomes:
        fleet.sql("update asyncsdk.holder set host = 'pod-7'")
        await run(fleet.editor, [job(2)], out=fleet.out, ledger=fleet.url)
        assert [outcome.status async for outcome in outcomes] == ["done"]
    assert "these edits are also made on pod-7" in caplog.text


async def test_rows_without_an_id_and_an_id_twice_are_refused(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str
) -> None:
    edits = [job(1), job(2, id=None), job(3, id="row 1")]
    found = await run(editor, edits, out=out, ledger=database_url)
    assert [outcome.status for outcome in found.values()].count("refused") == 2
    assert sum("knows an edit by its id" in str(each.problem) for each in found.values()) == 1
    assert server.edits.edits == 1


async def test_a_database_that_lost_commits_stops_all_until_a_person_accepts_it(
    fleet: Fleet, server: LocalServer
) -> None:
    editor, out, database_url = fleet.editor, fleet.out, fleet.url
    await run(editor, [job(1)], out=out, ledger=database_url)
    fleet.sql("update asyncsdk.ledger set timeline = '00000009'")
    with pytest.raises(LedgerRewoundError, match="asyncsdk ledger accept"):
        await run(editor, [job(2)], out=out, ledger=database_url)
    await PostgresLedger(database_url).accept()
    assert statuses(await run(editor, [job(2)], out=out, ledger=database_url)) == {"done"}
    assert server.edits.edits == 2


async def test_a_copy_that_was_under_way_when_commits_were_lost_stops(fleet: Fleet, server: LocalServer) -> None:
    editor, out, database_url = fleet.editor, fleet.out, fleet.url
    async with editor.edit_many([job(n) for n in range(40)], out=out, ledger=database_url, concurrency=1) as outcomes:
        await anext(outcomes)
        fleet.sql("update asyncsdk.ledger_worker set writes = 0")
        with pytest.raises(LedgerRewoundError):
            [outcome async for outcome in outcomes]
    assert server.edits.edits < 5


async def test_a_claim_that_lapsed_is_taken_over_and_what_was_started_is_uncertain(
    fleet: Fleet, server: LocalServer
) -> None:
    editor, out, database_url = fleet.editor, fleet.out, fleet.url
    server.inject(Fault("edit", "stall", at="done", seconds=4))
    slow = PostgresLedger(database_url, terms=SHORT)
    edits = [job(number) for number in range(8)]
    async with editor.edit_many(edits, out=out, ledger=slow, concurrency=1) as first:
        late = asyncio.ensure_future(anext(first))
        while not server.edits.edits:  # it is done, and its response is not on its way yet
            await asyncio.sleep(0.01)
        first.stop()
        await asyncio.to_thread(_let_lapse, fleet)
        second = await run(editor, edits, out=out, ledger=slow)
        counts = sorted(outcome.status for outcome in second.values())
        assert counts == ["done"] * 7 + ["uncertain"]
        outcome = await late
        assert outcome.status == "done"  # its answer came late
    assert server.edits.edits == 8
    assert statuses(await run(editor, edits, out=out, ledger=slow)) == {"skipped"}


async def test_an_edit_whose_lease_lapsed_before_its_first_byte_is_not_sent_under_it(
    fleet: Fleet, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    intend, slept = SharedLedger.intend, list[float]()
    clock: Callable[[], float] = lambda: boot_time() + sum(slept)  # noqa: E731 - short

    async def intend_and_sleep(ledger: SharedLedger, item: str, **rest: Any) -> None:
        await intend(ledger, item, **rest)
        if not slept:  # and others have found it meanwhile
            slept.append(1000.0)
            await asyncio.to_thread(fleet.sql, "update asyncsdk.edit set status = 'uncertain', phase = null, run = 1")

    monkeypatch.setattr("asyncsdk.postgres.database.boot_time", clock)
    monkeypatch.setattr("asyncsdk.images.ledger.shared.boot_time", clock)
    monkeypatch.setattr(SharedLedger, "intend", intend_and_sleep)
    assert statuses(await run(fleet.editor, [job(1)], out=fleet.out, ledger=fleet.url)) == {"done"}
    [entry] = [entry async for entry in PostgresLedger(fleet.url).entries()]
    assert (entry["status"], entry["epoch"], server.edits.by_prompt) == ("done", 2, {"p1": 1})


async def test_what_a_killed_process_had_started_is_released_without_another_run(fleet: Fleet) -> None:
    ledger = PostgresLedger(fleet.url)
    await run(fleet.editor, [job(1), job(2)], out=fleet.out, ledger=fleet.url)
    fleet.sql("update asyncsdk.edit set phase = 'started', status = null, started = clock_timestamp()")
    assert await ledger.release(None, force=True) == ([], {})  # its lease may be alive
    fleet.sql("update asyncsdk.holder set until = clock_timestamp() - interval '1 second'")
    assert sorted([entry["id"] async for entry in ledger.entries("uncertain")]) == ["Row 1", "Row 2"]
    free, later = await ledger.release(None)
    assert (free, sorted(later)) == ([], ["Row 1", "Row 2"])
    assert await ledger.release(["row 1"], force=True) == (["Row 1"], {})
    assert fleet.sql("select key, phase, status, epoch, run from asyncsdk.edit order by key").splitlines() == [
        "row 1||failed|2|", "row 2|started||1|1",
    ]  # fmt: skip


async def test_what_a_person_releases_is_sent_by_the_run_that_is_under_way(fleet: Fleet, server: LocalServer) -> None:
    server.inject(Fault("edit", "answer", at="done", status=504))
    edits = [job(1)]
    async with fleet.editor.edit_many(edits, out=fleet.out, ledger=fleet.url) as outcomes:
        assert [outcome.status async for outcome in outcomes] == ["uncertain"]
        assert await PostgresLedger(fleet.url).release(["row 1"], force=True) == (["Row 1"], {})
        assert statuses(await run(fleet.editor, edits, out=fleet.out, ledger=fleet.url)) == {"done"}  # the same run


def _let_lapse(fleet: Fleet) -> None:
    """From now on the lease of the one process that there is has lapsed, however often it renews it."""
    first = fleet.sql("select id from asyncsdk.holder")
    fleet.sql(
        "create function asyncsdk.lapse() returns trigger language plpgsql as $$ begin "
        f"if new.id = '{first}' then new.until := clock_timestamp() - interval '1 second'; end if; return new; end $$; "
        "create trigger lapse before update on asyncsdk.holder for each row execute function asyncsdk.lapse()"
    )


async def test_no_key_no_prompt_and_no_picture_is_in_the_database(
    editor: ImageEditor, out: Path, postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    edits = [job(1, prompt="CANARY of a prompt")]
    await run(editor, edits, out=out, ledger=PostgresLedger(database_url, options={"prompt": "CANARY of a prompt"}))
    rows = postgres_server.sql(
        "select row_to_json(e) from asyncsdk.edit e", "select row_to_json(l) from asyncsdk.ledger l", database=database
    )
    assert "CANARY" not in rows
    assert json.loads(rows.splitlines()[0])["id"] == "Row 1"


async def until_sql(fleet: Fleet, query: str, answer: str) -> None:
    async with asyncio.timeout(20):
        while fleet.sql(query) != answer:
            await asyncio.sleep(0.05)


async def test_all_of_a_process_have_two_connections_and_what_is_over_holds_nothing(
    fleet: Fleet, tmp_path: Path
) -> None:
    ledger, journal = PostgresLedger(fleet.url, terms=SHORT), PostgresJournal(fleet.url, terms=SHORT)
    alike = {"asyncsdk": __version__, "out": str(fleet.out)}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(journal.claim("key"))
        for _ in range(2):
            edits = [job(1)]
            await stack.enter_async_context(fleet.editor.edit_many(edits, out=fleet.out, ledger=ledger))
        async with ledger.open(tmp_path, alike) as over:
            await over.claim([Wanted("a", "a", None)], max_edits=None, max_tokens=None)
            count = "select count(*) from pg_stat_activity where application_name = 'asyncsdk' and datname = "
            await until_sql(fleet, f"{count} current_database()", "2")
            await asyncio.sleep(2 * SHORT.renew_every)
            assert int(fleet.sql(f"{count} current_database()")) == 2
            over.claims.clear()  # such as one that could not be given back
        alive = "select count(*) from asyncsdk.holder where until > clock_timestamp()"
        await until_sql(fleet, alive, "3")  # not that of the ledger that is closed
        async with ledger.open(tmp_path, alike) as other:
            [seen] = (await other.look(["a"])).values()
            assert seen.standing(may_take=True) == "free"


async def test_a_plan_tells_what_would_be_sent_and_claims_nothing(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str
) -> None:
    edits = [job(number) for number in range(5)]
    plan = await editor.plan(edits, out=out, ledger=database_url)
    assert (plan.to_send, plan.done) == (5, 0)
    await run(editor, edits[:2], out=out, ledger=database_url)
    plan = await editor.plan(edits, out=out, ledger=database_url, max_edits=4)
    assert (plan.to_send, plan.done, plan.held_back) == (3, 2, 1)
    assert server.edits.edits == 2


@pytest.mark.parametrize("fields", [{"n": 10**30}, {"partial_images": 10**30, "stream": True}, {"n": True}])
async def test_without_checks_what_no_ledger_can_count_is_refused_and_the_others_are_sent(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str, fields: dict[str, Any]
) -> None:
    options: dict[str, Any] = {"out": out, "ledger": database_url, "check": False}
    found = await run(editor, [job(1), job(2, **fields)], **options)
    assert {name: outcome.status for name, outcome in found.items()} == {"Row 1": "done", "Row 2": "refused"}
    assert isinstance(found["Row 2"].error, InvalidEditError)
    assert server.edits.edits == 1
