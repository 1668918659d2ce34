"""Clocks that step, lids that close, hours that end: said in time, and never at the cost of what was sent."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from attrs import define

from asyncsdk import (
    AsyncSDKError,
    BadRequestError,
    Progress,
    RequestEvent,
    UploadExpiredError,
    UploadResult,
    UploadTooSlowError,
)
from asyncsdk.clock import boot_time
from asyncsdk.server import Fault, LocalServer
from tests.faults.leaving import stopwatch
from tests.faults.line import line_to
from tests.faults.scene import BRIEF_SEARCH, PART, Scene, Waits

HOUR = 3600.0


@define(eq=False)
class World:
    """`late` is by how many seconds the true time has moved on, `wrong` by how many the local wall clock is off."""

    late: float = 0.0
    wrong: float = 0.0

    def true(self) -> float:
        return _time() + self.late

    def elapsed(self) -> float:
        return boot_time() + self.late

    def wall(self) -> float:
        return self.true() + self.wrong


_time = time.time


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr("asyncsdk.uploads.uploader.time.time", world.wall)
    return world


@pytest.fixture
async def scene(tmp_path: Path, world: World) -> AsyncIterator[Scene]:
    async with (
        LocalServer(tmp_path / "server", clock=world.true) as server,
        line_to(server.port) as line,
    ):
        scene = Scene(server, line, tmp_path)
        scene.elapsed, scene.wall = world.elapsed, world.wall
        scene.uploader_options["concurrency"] = 1
        yield scene


def when(scene: Scene, route: str, count: int, happens: Callable[[], None]) -> None:
    """Let something happen once `route` was answered so often."""
    answered: list[str] = []

    def look(event: RequestEvent) -> None:
        answered.append(event.route.rsplit("/", 1)[-1])
        if event.error is None and answered[-1] == route and answered.count(route) == count:
            happens()

    scene.client_options["on_event"] = look


@pytest.mark.parametrize(
    ("route", "count"),
    [
        pytest.param("uploads", 1, id="before the first part"),
        pytest.param("parts", 1, id="between parts"),
        pytest.param("parts", 3, id="just before complete"),
    ],
)
@pytest.mark.parametrize("seconds", [HOUR + 5, HOUR + 900])
async def test_the_hour_ends(scene: Scene, world: World, route: str, count: int, seconds: float) -> None:
    def end_the_hour() -> None:
        world.late = seconds

    when(scene, route, count, end_the_hour)
    with pytest.raises(UploadExpiredError, match="has expired") as expired:
        await scene.upload()
    assert expired.value.resumable
    assert expired.value.expires_in == 0
    assert "it starts again" in expired.value.advice
    assert scene.files == []
    scene.client_options.clear()
    result = await scene.upload()
    assert result.bytes_resumed == 0
    scene.assert_arrived(result)


@pytest.mark.parametrize("route", ["part", "complete"])
async def test_the_server_ends_it_long_before_its_time(scene: Scene, route: str) -> None:
    scene.server.inject(Fault(route, "expire", "before"))  # type: ignore[arg-type]  # one of the routes
    with pytest.raises(UploadExpiredError, match=r"is gone on the server .*is expired, not pending") as expired:
        await scene.upload()
    assert expired.value.resumable
    assert expired.value.advice == "The server has dropped what was sent. Repeat the call: it starts again."
    assert isinstance(expired.value.__cause__, BadRequestError)
    assert scene.files == []
    result = await scene.upload()
    assert result.bytes_resumed == 0
    scene.assert_arrived(result)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_a_wall_clock_that_steps_while_it_goes_up_changes_nothing(
    scene: Scene, world: World, seconds: float
) -> None:
    def step() -> None:
        world.wrong = seconds

    when(scene, "parts", 1, step)
    scene.assert_arrived(await scene.upload())
    assert len(scene.uploads) == 1


@pytest.mark.parametrize("wrong", [-HOUR, -60.0, 60.0, HOUR - 60])
async def test_a_wrong_wall_clock_does_not_lose_what_an_earlier_run_sent(
    scene: Scene, world: World, wrong: float
) -> None:
    await stopped_after_two_parts(scene)
    world.wrong = wrong
    result = await scene.upload()
    assert result.bytes_resumed == 2 * PART
    scene.assert_arrived(result)
    assert len(scene.uploads) == 1


async def stopped_after_two_parts(scene: Scene) -> None:
    scene.server.inject(Fault("part", "answer", "before", nth=3, every=1, status=400))
    with pytest.raises(BadRequestError):
        await scene.upload()
    scene.server.clear_faults()


async def test_a_wall_clock_far_behind_after_the_hour_begins_afresh_by_the_servers_word(
    scene: Scene, world: World
) -> None:
    await stopped_after_two_parts(scene)
    world.late, world.wrong = 2 * HOUR, -3 * HOUR
    result = await scene.upload()
    assert result.bytes_resumed == 0
    scene.assert_arrived(result)


@pytest.mark.parametrize(("asleep", "error"), [(HOUR / 2, None), (HOUR + 60, UploadExpiredError)])
async def test_a_machine_that_slept_knows_for_how_long(
    scene: Scene, world: World, asleep: float, error: type[AsyncSDKError] | None
) -> None:
    """Boot time counts while the lid is closed; the connections are gone then."""

    def sleep() -> None:
        world.late = asleep
        scene.line.cut()

    when(scene, "parts", 2, sleep)
    outcome: UploadResult | AsyncSDKError
    try:
        outcome = await scene.upload()
    except AsyncSDKError as raised:
        outcome = raised
    if error is None:
        assert isinstance(outcome, UploadResult)
        scene.assert_arrived(outcome)
    else:
        assert isinstance(outcome, error)
        assert scene.server.calls["part"] == 2
    assert len(scene.uploads) == 1


@pytest.fixture
async def short(tmp_path: Path) -> AsyncIterator[Scene]:
    """Where an upload lives for four seconds."""
    async with LocalServer(tmp_path / "server", upload_ttl=4) as server, line_to(server.port) as line:
        yield Scene(server, line, tmp_path)


async def test_too_slow_for_its_hour_it_says_so_early_and_in_figures(short: Scene) -> None:
    short.uploader_options["limit_rate"] = 380_000  # as a line would be that is just too slow
    with stopwatch() as watch, pytest.raises(UploadTooSlowError) as slow:
        await short.upload()
    assert watch.seconds < 4
    figures = re.search(r"at ([\d.]+) kB/s .* needs (\d+) s more.* in (\d+) s", str(slow.value))
    assert figures is not None
    assert 200 < float(figures[1]) < 500
    assert short.files == []
    assert "faster connection" in slow.value.advice


async def test_a_limit_at_which_it_cant_be_in_time_is_named_at_once_with_one_that_would_do(short: Scene) -> None:
    short.uploader_options["limit_rate"] = 100_000
    with stopwatch() as watch, pytest.raises(UploadTooSlowError, match=r"at 100\.0 kB/s .* needs \d\d s more") as slow:
        await short.upload()
    assert watch.seconds < 1.5
    said = re.fullmatch(
        r"Raise limit_rate to at least (\d+)kB/s, then repeat the call: it resumes\.", slow.value.advice
    )
    assert said is not None
    assert 600 <= int(said[1]) <= 999
    assert slow.value.advice in str(slow.value)


async def test_one_that_only_starts_slowly_is_not_ended(short: Scene) -> None:
    short.uploader_options["limit_rate"] = 380_000

    def speed_up(now: Progress) -> None:
        if now.bytes_sent > 300_000 and short.uploaders:
            short.uploaders[-1]._context.throttle.rate = 100.0 * PART  # noqa: SLF001 - nobody but a line changes its rate half-way

    short.assert_arrived(await short.upload(on_progress=speed_up))


async def test_what_waits_for_the_server_ends_with_the_hour(scene: Scene, world: World, waits: Waits) -> None:
    """Retry-After beyond the upload's time is not waited for: the error comes at once."""
    scene.timing = BRIEF_SEARCH
    late = {"Retry-After": "3700"}
    scene.server.inject(Fault("part", "answer", "before", every=1, status=503, headers=late))
    with pytest.raises(AsyncSDKError, match="503"):
        await scene.upload()
    assert waits.all == []
