"""A model that has ended is refused before anything is paid, one that ends soon is warned of."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asyncsdk import Client, ImageEditor
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bulk import model_ends
from asyncsdk.images.bulk.model_ends import ModelEnds
from asyncsdk.images.shutdown import DAY, ending
from asyncsdk.server import Fault, LocalServer
from tests.stories.test_costs import edits

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("day", "hour", "said"),
    [
        ("2026-11-28", 12, "ended"), ("2026-11-29", 12, "ends"), ("2026-11-30", 23, "ends"), ("2026-11-30", 12, "ends"),
        ("2026-12-01", 12, None), ("2027-11-29", 12, None), (None, 12, None), ("soon", 12, None),
    ],
)  # fmt: skip
def test_a_day_is_past_within_the_run_or_far_away(day: str | None, hour: int, said: str | None) -> None:
    found = ending("m", day, NOON + (hour - 12) * 3600, 0.0)
    assert (None if found is None else "ended" if found.has_ended else "ends") == said


def test_a_run_of_days_is_warned_earlier() -> None:
    assert ending("m", "2026-12-03", NOON, 2 * DAY) is None
    assert ending("m", "2026-12-03", NOON, 5 * DAY) is not None


def day(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


async def run(ends: Mapping[str, str] | None, out: Path, *faults: Fault, count: int = 3) -> LocalServer:
    async with LocalServer(model_ends=ends, faults=faults) as server:
        async with (
            Client("any", base_url=server.url) as client,
            ImageEditor(client).edit_many(edits(count), out=out) as outcomes,
        ):
            async for outcome in outcomes:
                assert outcome.status == "done"
        return server


async def test_a_model_that_ended_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    yesterday = day(-1)
    with pytest.raises(ConfigurationError, match=f"gpt-image-2 ended on {yesterday}.*Nothing was sent for it"):
        await run({"gpt-image-2": yesterday}, tmp_path)
    assert not list(tmp_path.glob("*.png"))


async def test_a_model_that_ends_tomorrow_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tomorrow = day(1)
    server = await run({"gpt-image-2": tomorrow}, tmp_path, count=5)
    assert (server.edits.edits, server.calls["models.get"]) == (5, 1)
    said = [record.message for record in caplog.records if record.name.startswith("asyncsdk.images")]
    assert [message.partition(",")[0] for message in said] == [f"the model gpt-image-2 ends on {tomorrow}"]


@pytest.mark.parametrize("ends", [{"gpt-image-2": day(365)}, {"gpt-image-2": ""}, {"another": day(-1)}, None])
async def test_of_a_model_that_goes_on_or_is_not_known_nothing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ends: Mapping[str, str] | None
) -> None:
    with caplog.at_level(logging.WARNING):
        server = await run(ends, tmp_path)
    assert server.edits.edits == 3
    assert not [record for record in caplog.records if record.name.startswith("asyncsdk.images")]


async def test_of_a_server_without_options_a_good_run_asks_for_nothing_that_is_not_there(tmp_path: Path) -> None:
    server = await run(None, tmp_path)
    assert {(record.route, record.status) for record in server.requests} == {("models.get", 200), ("edit", 200)}


@pytest.mark.parametrize("status", [401, 404, 405, 429, 500])
async def test_a_server_that_refuses_the_call_is_not_asked_again_and_nothing_is_said(
    tmp_path: Path, status: int
) -> None:
    server = await run({"gpt-image-2": day(-1)}, tmp_path, Fault("models.get", "answer", status=status, times=9))
    assert (server.edits.edits, server.calls["models.get"]) == (3, 1)


async def test_a_list_that_takes_days_at_its_rate_is_warned_of_a_later_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with LocalServer(model_ends={"gpt-image-2": day(4)}) as server, Client("any", base_url=server.url) as client:
        editor = ImageEditor(client)
        for out, rate in (("quick", 60.0), ("slow", 10 / (6 * 24 * 60))):  # ten in six days
            async with editor.edit_many(edits(10), out=tmp_path / out, images_per_minute=rate) as outcomes:
                async for _ in outcomes:
                    outcomes.stop()
                    break
            said = [record.message for record in caplog.records if record.name.startswith("asyncsdk.images")]
            assert ["ends on" in message for message in said] == ([] if out == "quick" else [True])


@pytest.mark.parametrize("model", [["gpt-image-2"], 5, None])
async def test_a_model_that_is_not_a_name_is_left_to_the_server(model: object) -> None:
    async with LocalServer(model_ends={}) as server, Client("any", base_url=server.url) as client:
        await ModelEnds(client).check(model)
        assert not server.requests


async def test_a_server_that_hangs_delays_a_run_once_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_ends, "LOOK_UP_SECONDS", 0.2)
    server = await run({"gpt-image-2": day(-1)}, tmp_path, Fault("models.get", "stall", times=9))
    assert (server.edits.edits, server.calls["models.get"]) == (3, 1)


async def test_a_single_edit_asks_nothing_of_its_model() -> None:
    async with LocalServer(model_ends={"gpt-image-2": day(-1)}) as server, Client("any", base_url=server.url) as client:
        await ImageEditor(client).edit(edits(1)[0])
        assert (server.edits.edits, "models.get" in server.calls) == (1, False)
