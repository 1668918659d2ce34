"""What edits cost: estimates that the real cost is within, and a limit in dollars that holds over kills and copies."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from PIL import Image

from asyncsdk import Client, ImageEdit, ImageEditor, PriceTable
from asyncsdk.errors import ConfigurationError, InvalidEditError, LimitReachedError
from asyncsdk.images.costs.table import packaged
from asyncsdk.server import Fault, LocalServer

MODELS = ["gpt-image-2", "gpt-image-2.5-flare", "gpt-image-1"]
SIZES = [(320, 240), (64, 64), (300, 900), (1030, 700)]
QUALITIES = ["low", "medium", "high", None]
KNOWN = {"model": "gpt-image-2", "quality": "low", "size": "1024x1024"}


def photo(width: int, height: int) -> bytes:
    """A PNG of this size."""
    content = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(content, "PNG")
    return content.getvalue()


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with LocalServer(documented_tokens=True) as running:
        yield running


@pytest.fixture
async def editor(server: LocalServer) -> AsyncIterator[ImageEditor]:
    async with Client("any", base_url=server.url) as client:
        yield ImageEditor(client)


def edits(count: int, **fields: object) -> list[ImageEdit]:
    picture = photo(64, 48)
    return [
        ImageEdit(image=picture, prompt=f"paint it in the colour {number}", id=str(number), **(KNOWN | fields))  # type: ignore[arg-type]
        for number in range(count)
    ]


async def run(editor: ImageEditor, wanted: list[ImageEdit], out: Path, **limits: object) -> dict[str, float]:
    costs = {}
    async with editor.edit_many(wanted, out=out, **limits) as outcomes:  # type: ignore[arg-type]
        async for outcome in outcomes:
            if outcome.cost is not None and outcome.result is not None:
                costs[outcome.id] = outcome.cost
    return costs


@pytest.mark.parametrize("model", MODELS)
async def test_the_real_cost_is_within_the_estimate_and_never_above_it(
    editor: ImageEditor, tmp_path: Path, model: str
) -> None:
    pictures = [photo(*size) for size in SIZES]
    wanted = [
        ImageEdit(
            image=pictures[number % 4],
            prompt="paint it blue " * (1 + number % 3),
            id=str(number),
            model=model,
            quality=QUALITIES[number // 4 % 4],
            size=["1024x1024", "1536x1024", None][number % 3] if number % 8 or model == "gpt-image-1" else None,
            n=1 + (number % 7 == 0),
        )
        for number in range(16)
    ]
    singles = [await editor.plan([each]) for each in wanted]
    plan = await editor.plan(wanted)
    costs = await run(editor, wanted, tmp_path)
    assert plan.cost is not None
    low, high = plan.cost.dollars
    assert low <= sum(costs.values()) <= high
    for edit, alone in zip(wanted, singles, strict=True):
        assert alone.cost is not None
        low, high = alone.cost.dollars
        assert low <= costs[edit.id or ""] <= high


async def test_a_limit_in_dollars_stops_before_it_is_passed_and_a_higher_one_goes_on(
    editor: ImageEditor, tmp_path: Path
) -> None:
    wanted = edits(12)
    said = r"max_cost=0.05 is reached: \$0\.0\d+ were spent .*, and the next edit may cost \$0\.01\d+\. Nothing more"
    with pytest.raises(LimitReachedError, match=said):
        await run(editor, wanted, tmp_path, max_cost=0.05)
    async with editor.edit_many([], out=tmp_path) as outcomes:
        spent = outcomes._run.ledger.spent  # type: ignore[union-attr]  # noqa: SLF001 - what the ledger has
    assert 0.05 - 0.02 < spent.cost / 1e9 <= 0.05
    costs = await run(editor, wanted, tmp_path, max_cost=1)
    assert len(costs) == 12 - spent.edits


async def test_what_is_in_flight_gives_back_what_it_did_not_cost(editor: ImageEditor, tmp_path: Path) -> None:
    wanted = edits(10, size=None)  # each may cost 0.03, and costs 0.012
    plan = await editor.plan(wanted[:1])
    assert plan.cost is not None
    most = plan.cost.dollars[1]
    costs = await run(editor, wanted, tmp_path, max_cost=3 * most, concurrency=8)
    assert len(costs) == 10


async def test_what_may_be_paid_counts_with_its_most_also_in_the_next_run(
    server: LocalServer, editor: ImageEditor, tmp_path: Path
) -> None:
    server.inject(Fault("edit", "close", at="done", times=3))
    await run(editor, edits(3), tmp_path, concurrency=1)
    async with editor.edit_many(edits(3), out=tmp_path) as outcomes:
        assert [(each.status, each.cost) async for each in outcomes] == [("uncertain", None)] * 3
    plan = await editor.plan(edits(1))
    assert plan.cost is not None
    three = 3 * plan.cost.dollars[1]
    with pytest.raises(LimitReachedError):
        await run(editor, edits(9)[3:], tmp_path, max_cost=three + plan.cost.dollars[1] * 0.9)
    assert server.edits.edits == 3


async def test_an_edit_that_was_turned_away_costs_nothing(
    server: LocalServer, editor: ImageEditor, tmp_path: Path
) -> None:
    server.inject(Fault("edit", "answer", status=503, times=2, headers={"retry-after": "0"}))
    plan = await editor.plan(edits(4))
    assert plan.cost is not None
    costs = await run(editor, edits(4), tmp_path, max_cost=plan.cost.dollars[1])
    assert len(costs) == 4


RUN = """
import asyncio, sys
from pathlib import Path
from asyncsdk import Client, ImageEditor, LimitReachedError
from tests.stories.test_costs import edits, run

async def main(url, out):
    async with Client("any", base_url=url) as client:
        await run(ImageEditor(client), edits(80), Path(out), max_cost=0.3, concurrency=4)

try:
    asyncio.run(main(*sys.argv[1:]))
except LimitReachedError:
    print("reached")
"""


async def test_a_limit_in_dollars_holds_over_kills_in_mid_flight(tmp_path: Path) -> None:
    async with LocalServer(documented_tokens=True, edit_seconds=0.1) as server:

        async def start() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-c", RUN, server.url, str(tmp_path / "out"), stdout=asyncio.subprocess.PIPE
            )

        for kill in range(2):
            running = await start()
            while server.edits.edits < 3 * (kill + 1):
                await asyncio.sleep(0.01)
            running.kill()
            await running.wait()
        output, _ = await (await start()).communicate()
        assert output == b"reached\n"
        each = (7 * 5000 + 12 * 8000 + 196 * 30000) / 1e9
        # two kills leave at most eight edits that count with their most, $0.019 each, and the next has no room
        assert 0.3 - 9 * 0.019 < server.edits.edits * each <= 0.3


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"model": None}, "this one leaves its model to the server. Give it a `model`."),
        ({"model": "another"}, "have none for another. Give its price in a table of your own, or limit tokens"),
        ({"output_format": "svg"}, "for an SVG that is not known. Limit tokens or edits instead."),
        ({"extra": {"n": 2}}, "that of this one can't be told from its fields. Limit tokens or edits instead."),
    ],
)
async def test_a_limit_in_dollars_refuses_the_edits_that_it_can_not_count_and_sends_the_others(
    server: LocalServer, editor: ImageEditor, tmp_path: Path, fields: dict[str, Any], why: str
) -> None:
    many = edits(5)
    many[2] = evolve(many[2], **fields)
    for out in (tmp_path, None):
        async with editor.edit_many(many, out=out, max_cost=5, check=False) as outcomes:
            found = {each.id: each async for each in outcomes}
        refused = found.pop("2")
        assert (refused.status, isinstance(refused.error, InvalidEditError)) == ("refused", True)
        assert "a limit in dollars needs to know what each edit costs" in str(refused.error)
        assert why in str(refused.error)
        assert {each.status for each in found.values()} == {"done"}
    assert server.edits.edits == 8
    [problem] = (await editor.plan(many, out=tmp_path, max_cost=5, check=False)).problems
    assert (problem.id, problem.status) == ("2", "refused")


async def test_what_was_done_without_a_limit_needs_no_price_under_one(editor: ImageEditor, tmp_path: Path) -> None:
    many = edits(2, model=None)
    await run(editor, many, tmp_path)
    async with editor.edit_many(many, out=tmp_path, max_cost=5) as outcomes:
        assert {each.status async for each in outcomes} == {"skipped"}


async def test_tokens_of_earlier_runs_without_a_price_count_as_the_dearest(server: LocalServer, tmp_path: Path) -> None:
    async with Client("any", base_url=server.url) as client:
        assert await run(ImageEditor(client, prices=PriceTable({})), edits(3), tmp_path) == {}
        with pytest.raises(LimitReachedError):
            await run(ImageEditor(client), edits(9)[3:], tmp_path, max_cost=3 * 200 * 40e-6)


async def test_an_edit_that_costs_more_than_its_most_is_warned_of_once_and_counts(
    server: LocalServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = {"input": "patches", "factors": [1, 2]}
    entry = {"text": {"input": 5}, "image": {"input": 8, "output": 30}, "sources": ["x"], "date": "2026-11-01"}
    (tmp_path / "mine.json").write_text(json.dumps({"models": {"gpt-image-2": entry | {"tokens": tokens}}}))
    async with Client("any", base_url=server.url) as client:
        editor = ImageEditor(client, prices=tmp_path / "mine.json")
        with caplog.at_level("WARNING"), pytest.raises(LimitReachedError, match="is exceeded"):
            await run(editor, edits(9, quality="high"), tmp_path / "out", max_cost=0.3, concurrency=1)
    assert server.edits.edits == 2
    said = [record.message for record in caplog.records if "was counted as its most" in record.message]
    assert [message.partition(",")[0] for message in said] == ["an edit cost $0.211"]


@pytest.mark.parametrize("bad", [0, -1, True, "5", float("nan"), float("inf")])
async def test_a_limit_that_is_not_an_amount_is_refused(editor: ImageEditor, tmp_path: Path, bad: object) -> None:
    with pytest.raises(ConfigurationError, match="max_cost"):
        editor.edit_many([], out=tmp_path, max_cost=bad)  # type: ignore[arg-type]


async def test_a_plan_says_what_fits_into_the_limit_and_what_has_no_price(editor: ImageEditor) -> None:
    alone = await editor.plan(edits(1))
    assert alone.cost is not None
    plan = await editor.plan(edits(10), max_cost=alone.cost.dollars[1] * 4)
    assert (plan.to_send, plan.sent, plan.held_back) == (10, 4, 6)
    assert plan.batch_cost == plan.cost.times(0.5) if plan.cost else False
    plan = await editor.plan([*edits(1), *edits(2, model="another")])
    assert (plan.unpriced, plan.unpriced_models) == (2, ("another",))


async def test_prices_of_ones_own_count(server: LocalServer, tmp_path: Path) -> None:
    entry = {
        "text": {"input": 0},
        "image": {"input": 0, "output": 1000},
        "sources": ["https://x"],
        "date": "2026-11-01",
    }
    (tmp_path / "mine.json").write_text(json.dumps({"models": {"gpt-image-2": entry}}))
    async with Client("any", base_url=server.url) as client:
        editor = ImageEditor(client, prices=tmp_path / "mine.json")
        assert await run(editor, edits(1), tmp_path / "out") == {"0": 196 * 1000e-6}


async def test_eight_copies_pass_a_limit_in_dollars_by_nothing(
    server: LocalServer, database_url: str, tmp_path: Path
) -> None:
    wanted = edits(60)
    async with Client("any", base_url=server.url) as client:
        alone = await ImageEditor(client).plan(wanted[:1])
        assert alone.cost is not None

        async def copy(number: int) -> None:
            with pytest.raises(LimitReachedError, match="and the next edit may cost"):
                await run(ImageEditor(client), wanted, tmp_path, max_cost=0.3, ledger=database_url, concurrency=4)

        await asyncio.gather(*map(copy, range(8)))
    price = packaged().models["gpt-image-2"]
    each = (7 * price.text.input + 12 * price.image.input + 196 * price.image.output) / 1e9
    assert 0.3 - 16 * alone.cost.dollars[1] < server.edits.edits * each <= 0.3
