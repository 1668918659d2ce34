"""Whatever happens on the way: what was asked is done, or ends in the promised error in time; then it goes on."""

from __future__ import annotations

import time
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import AsyncSDKError, BadRequestError, FileJournal
from asyncsdk.server import Fault
from tests.faults.leaving import stopwatch
from tests.faults.network import DATE, ROUTES, TIMES, TROUBLES, Route, Times, Trouble, expected, table
from tests.faults.scene import BRIEF_SEARCH, PART, SIZE, Scene, Waits

QUICK = 0.2  # seconds for each answer of a route that stalls for good; nothing else is hurried
PATIENT = 1.0  # where it stalls once: the next answer of that route has to come within it
DATE_SECONDS = 1.5  # how far an order that is a date, in whole seconds, may be off
SLACK = 3.0  # seconds for all that is not waiting, less what the machine had no time for


def plan(scene: Scene, trouble: Trouble, route: Route, times: Times) -> None:
    """Let `trouble` happen to `route`, and forget what was planned before."""
    scene.server.clear_faults()
    if trouble.where == "line":
        scene.line.trickle(route, times=1 if times == "once" else 1000)
        return
    fault: dict[str, Any] = {**trouble.fault, **({"times": 1} if times == "once" else {"every": 1})}
    if "headers" in fault:
        dated = {"Retry-After": formatdate(time.time() + 9, usegmt=True)}
        fault["headers"] = {**fault["headers"], **(dated if DATE in fault["headers"].values() else {})}
    scene.server.inject(Fault(route, **fault))


def be_quick(scene: Scene, trouble: Trouble, route: Route, times: Times) -> float:
    """Set how long a stall is borne; seconds that a try may take for that."""
    if trouble.fault.get("kind") not in {"stall", "slow"}:
        return 0.0
    if times == "once":
        scene.limits = {route: PATIENT}
    else:
        scene.limits, scene.retries = {route: QUICK}, 1
    return scene.limits[route]


def longest_waits(scene: Scene, trouble: Trouble, route: Route) -> float:
    """Seconds that all waits between tries come to at most: as ordered, else by `backoff`'s bound."""
    requests = -(-SIZE // PART) if route == "part" else 1
    once = trouble.waits + DATE_SECONDS if trouble.waits else scene.timing.first_delay * 2.0 ** (scene.retries - 1)
    return requests * scene.retries * once


async def meet(scene: Scene, route: Route, upload_id: str) -> AsyncSDKError | None:
    """Make the call that meets the trouble; the error that it ends in."""
    try:
        await (scene.cancel(upload_id) if route == "cancel" else scene.upload())
    except AsyncSDKError as error:
        return error
    return None


async def assert_it_goes_on(scene: Scene, route: Route, upload_id: str) -> None:
    """With the trouble over, the same call, as by a new process, does what was asked, and only once."""
    scene.server.clear_faults()
    if route == "cancel":
        with suppress(BadRequestError):  # where the first asking was heard
            await scene.cancel(upload_id)
        assert [each.status for each in scene.server.uploads if each.id == upload_id] == ["cancelled"]
        assert scene.files == []
        return
    scene.assert_arrived(await scene.upload())


CELLS = [
    pytest.param(trouble, route, times, id=f"{route}-{trouble.name}-{times}")
    for route in ROUTES
    for trouble in TROUBLES
    for times in TIMES
    if trouble.where in {"server", "line"}
]


@pytest.mark.parametrize(("trouble", "route", "times"), CELLS)
async def test_the_table(scene: Scene, waits: Waits, trouble: Trouble, route: Route, times: Times) -> None:
    scene.timing = BRIEF_SEARCH
    upload_id = await scene.begin() if route == "cancel" else ""
    patience = be_quick(scene, trouble, route, times)
    plan(scene, trouble, route, times)
    waits.all.clear()
    with stopwatch() as watch:
        error = await meet(scene, route, upload_id)
        assert watch.seconds <= (scene.retries + 1) * patience + SLACK
    assert sum(waits.all) <= longest_waits(scene, trouble, route), waits
    scene.limits = {}
    assert type(error) in (expected(trouble, route, times) or (type(None),)), f"{error!r} after {scene.events}"
    assert scene.line.met or any(request.fault for request in scene.server.requests[-50:])
    assert len(scene.files) <= 1
    if route == "cancel" and error is None:
        (entry,) = await FileJournal(scene.journal).entries()
        assert {type(record).__name__ for record in entry.records} == {"Opened", "Cancelled"}
    if trouble.waits is not None:
        assert any(
            abs(waited - trouble.waits) <= (DATE_SECONDS if trouble.waits > 8 else 0.001) for waited in waits.all
        ), waits
    await assert_it_goes_on(scene, route, upload_id)


def test_the_table_in_the_docs_is_this_one() -> None:
    told = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    assert "\n".join(table()) in told
