"""A redo is paid once for each time that it is asked for, whatever its date says."""

from __future__ import annotations

import math
import time
from pathlib import Path

import anyio
import pytest

from asyncsdk import Client, ConfigurationError, ImageEditor
from asyncsdk.images.ledger.file import load_ledger, open_ledger
from asyncsdk.server import LocalServer
from tests.stories.edits import all_of, jobs


async def run(client: Client, out: Path, redo_before: float | None = None) -> dict[str, int]:
    redo = () if redo_before is None else ("2",)
    async with ImageEditor(client).edit_many(jobs(3), out=out, redo=redo, redo_before=redo_before) as outcomes:
        await all_of(outcomes)
        return outcomes.counts


@pytest.mark.parametrize("ahead", [0.5, 7200.0, 1e9])
async def test_a_redo_that_is_dated_ahead_of_the_clock_is_paid_once(
    server: LocalServer, client: Client, tmp_path: Path, ahead: float
) -> None:
    assert await run(client, tmp_path) == {"done": 3}
    date = time.time() + ahead
    assert await run(client, tmp_path, date) == {"skipped": 2, "done": 1}
    for _ in range(2):
        assert await run(client, tmp_path, date) == {"skipped": 3}
    assert server.edits.edits == 4


async def test_it_stays_paid_once_after_the_clock_has_passed_its_date(
    server: LocalServer, client: Client, tmp_path: Path
) -> None:
    await run(client, tmp_path)
    date = time.time() + 1
    assert await run(client, tmp_path, date) == {"skipped": 2, "done": 1}
    await anyio.sleep(max(0.0, date - time.time()) + 0.1)
    assert await run(client, tmp_path, date) == {"skipped": 3}
    assert await run(client, tmp_path, time.time()) == {"skipped": 2, "done": 1}
    assert server.edits.edits == 5


async def test_a_plan_counts_such_a_redo_and_writes_nothing(
    server: LocalServer, client: Client, tmp_path: Path
) -> None:
    await run(client, tmp_path)
    date = time.time() + 7200
    for _ in range(2):
        plan = await ImageEditor(client).plan(jobs(3), out=tmp_path, redo=("2",), redo_before=date)
        assert (plan.to_send, plan.done) == (1, 2)
    assert await run(client, tmp_path, date) == {"skipped": 2, "done": 1}
    plan = await ImageEditor(client).plan(jobs(3), out=tmp_path, redo=("2",), redo_before=date)
    assert plan.to_send == 0


async def test_a_compacted_ledger_remembers_when_it_met_a_date(tmp_path: Path) -> None:
    place, date = tmp_path / ".asyncsdk", time.time() + 7200
    async with open_ledger(place) as ledger:
        met = await ledger.redo_before(date)
    facts = list((await load_ledger(place)).index.facts())
    async with open_ledger(place) as ledger:
        for fact, at in facts:
            ledger.index.apply(fact, at)
        assert ledger.index.redo_before(date, time.time()) == pytest.approx(met, abs=0.01)


@pytest.mark.parametrize("date", [math.inf, math.nan])
async def test_what_is_not_a_time_is_refused(client: Client, tmp_path: Path, date: float) -> None:
    with pytest.raises(ConfigurationError, match="redo_before"):
        await run(client, tmp_path, date)
