"""What edits cost is data with sources; estimates are ranges by documented rules, and unknown models have none."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from asyncsdk import ImageEdit
from asyncsdk.errors import ConfigurationError, InvalidEditError
from asyncsdk.images.costs.estimate import estimate
from asyncsdk.images.costs.money import CostRange, nanos_of, shown
from asyncsdk.images.costs.prices import read_table
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.costs.table import packaged, prices_from
from asyncsdk.images.costs.tokens import input_tokens, output_tokens
from asyncsdk.models import TokenDetails, Usage
from asyncsdk.server.edits.tokens import _patched as patched

TABLE = packaged()
PICTURE = "a.png"


def edit(model: str | None = "gpt-image-2", **fields: object) -> ImageEdit:
    return ImageEdit(image=PICTURE, prompt="make it blue", model=model, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(TABLE.models))
def test_each_price_has_a_public_source_and_a_day_on_which_it_was_read(name: str) -> None:
    price = TABLE.models[name]
    assert price.sources
    assert all(source.startswith("https://") for source in price.sources)
    assert date(2026, 1, 1) < price.date <= date.today()  # noqa: DTZ011 - a day is enough
    assert price.tokens is None or price.tokens.sources
    assert price.batch in {None, 0.5}


def test_known_figures_of_the_calculator_are_met_exactly() -> None:
    rules = TABLE.models["gpt-image-2"].tokens
    assert rules is not None
    figures = {
        ("high", "1024x1024"): 7024, ("high", "1536x1024"): 5488, ("high", "1024x640"): 3824,
        ("high", "3072x1024"): 3952, ("high", "2560x1440"): 7370, ("high", "3840x1280"): 5311,
        ("high", "2048x2048"): 14272, ("high", "3840x2160"): 13342, ("low", "1024x1024"): 196,
    }  # fmt: skip
    for (quality, size), tokens in figures.items():
        assert output_tokens(rules, edit(quality=quality, size=size)) == (tokens, tokens)


def test_the_documented_examples_of_tiles_and_tables_are_met() -> None:
    rules = TABLE.models["gpt-image-1"].tokens
    assert rules is not None
    assert output_tokens(rules, edit("gpt-image-1", quality="medium", size="1024x1536")) == (1584, 1584)
    assert input_tokens(rules, edit("gpt-image-1"), [(1024, 1024)]) == (65 + 129, 65 + 129)
    square = input_tokens(rules, edit("gpt-image-1", input_fidelity="high"), [(1024, 1024)])
    assert square == (65 + 129 + 4160, 65 + 129 + 4160)


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((3714, 1825), 3), ((2622, 1524), 2), ((3988, 3972), 2), ((512, 512), 1), ((513, 512), 2), ((2048, 512), 4),
        ((4096, 1024), 4), ((4000, 100), 4), ((1, 1), 1), ((1024, 512), 2), ((1030, 700), 2), ((100, 600), 2),
    ],
)  # fmt: skip
def test_tiles_are_counted_in_whole_numbers(size: tuple[int, int], tiles: int) -> None:
    rules = TABLE.models["gpt-image-1"].tokens
    assert rules is not None
    for each in (size, size[::-1]):
        assert input_tokens(rules, edit("gpt-image-1"), [each]) == (65 + 129 * tiles, 65 + 129 * tiles)


@pytest.mark.parametrize(
    "size", [(566, 2347), (3144, 274), (24, 2866), (300, 900), (1030, 700), (64, 48), (4000, 4000)]
)
def test_patches_are_between_what_was_measured_and_the_most(size: tuple[int, int]) -> None:
    rules = TABLE.models["gpt-image-2"].tokens
    assert rules is not None
    low, high = input_tokens(rules, edit(), [size])
    assert low <= patched(size) <= high == 1536


def test_what_the_model_chooses_counts_with_all_that_it_may_choose() -> None:
    rules = TABLE.models["gpt-image-2"].tokens
    assert rules is not None
    low, high = output_tokens(rules, edit())
    for quality in ("low", "medium", "high"):
        for size in ("1024x1024", "3840x2160", "2880x2880", "1152x576", "3072x1024"):
            tokens, _ = output_tokens(rules, edit(quality=quality, size=size))
            assert low <= tokens <= high


def test_partial_images_may_cost_a_hundred_tokens_each() -> None:
    rules = TABLE.models["gpt-image-2"].tokens
    assert rules is not None
    known = {"quality": "low", "size": "1024x1024"}
    assert output_tokens(rules, edit(stream=True, partial_images=3, **known)) == (196, 496)


def test_each_of_n_pictures_pays_for_the_input_again() -> None:
    one, four = (estimate(edit(quality="low", size="1024x1024", n=n), TABLE, [(800, 600)]) for n in (1, 4))
    assert one is not None
    assert four == CostRange(one.low * 4, one.high * 4)


ODD = [edit(n="3"), edit(size=1024), edit(quality=5), edit(partial_images=-1), edit(extra={"n": 4}), edit(n=True)]


@pytest.mark.parametrize("odd", ODD)
def test_an_edit_whose_fields_were_not_checked_has_no_estimate_instead_of_a_failure(odd: ImageEdit) -> None:
    assert Pricing(TABLE).most(odd) is None
    with pytest.raises(InvalidEditError, match="can't be told from its fields"):
        Pricing(TABLE, is_limited=True).most(odd)


def test_in_a_batch_an_edit_costs_half_of_the_most() -> None:
    one = edit(quality="low", size="1024x1024")
    most, half = Pricing(TABLE).most(one), Pricing(TABLE).most(one, batched=True)
    assert most is not None
    assert half is not None
    assert half == -(-most // 2)


def test_a_model_that_extra_names_has_another_price() -> None:
    used = Usage(input_tokens=1, output_tokens=1)
    assert Pricing(TABLE).cost(edit(), used) == 8000 + 30000
    assert Pricing(TABLE).cost(edit(extra={"model": "gpt-image-1"}), used) is None


@pytest.mark.parametrize("unknown", [edit("another"), edit(None), edit(output_format="svg")])
def test_a_model_that_is_not_known_has_no_estimate_and_an_svg_has_none(unknown: ImageEdit) -> None:
    assert estimate(unknown, TABLE) is None


def test_a_usage_costs_text_and_pictures_apart_and_what_was_cached_less() -> None:
    price = TABLE.models["gpt-image-2"]
    kinds = TokenDetails(image_tokens=1000, text_tokens=100)
    usage = Usage(input_tokens=1100, output_tokens=7024, total_tokens=8124, input_tokens_details=kinds)
    assert price.cost(usage) == nanos_of(100 * 5e-6 + 1000 * 8e-6 + 7024 * 30e-6)
    assert price.cost(usage, batched=True) * 2 == price.cost(usage)
    cached = {"cached_tokens_details": {"image_tokens": 1000, "text_tokens": 0}}
    kinds = TokenDetails(image_tokens=1000, text_tokens=100, extra=cached)
    usage = Usage(input_tokens=1100, output_tokens=0, input_tokens_details=kinds)
    assert price.cost(usage) == nanos_of(100 * 5e-6 + 1000 * 2e-6)


def test_what_others_measured_of_gpt_image_1_5_is_within_the_estimate() -> None:
    of_text = TokenDetails(image_tokens=272, text_tokens=209)  # text that is paid, and not returned
    of_input = TokenDetails(image_tokens=2 * (65 + 129 * 3), text_tokens=94)  # 81 more than the prompt
    usage = Usage(input_tokens=998, output_tokens=481, input_tokens_details=of_input, output_tokens_details=of_text)
    wanted = ImageEdit(image=["a.png", "b.png"], prompt="x", model="gpt-image-1.5", quality="low", size="1024x1024")
    cost, known = TABLE.cost("gpt-image-1.5", usage), estimate(wanted, TABLE, [(480, 1408)] * 2)
    assert cost == nanos_of(94 * 5e-6 + 904 * 8e-6 + 209 * 10e-6 + 272 * 32e-6)
    assert known is not None
    assert known.low <= cost <= known.high


def test_what_others_measured_of_gpt_image_2_6_is_within_the_estimate() -> None:
    rules = TABLE.models["gpt-image-2.6-flare"].tokens
    assert rules is not None
    measured = {
        ("low", "1536x1024"): 664,
        ("high", "1536x1024"): 1353,
        ("high", "3840x2160"): 3337,
        (None, "auto"): 5800,
    }
    for (quality, size), tokens in measured.items():
        low, high = output_tokens(rules, edit(quality=quality, size=size))
        assert low <= tokens <= high


@pytest.mark.parametrize("usage", [Usage(total_tokens=9), Usage(input_tokens=9), Usage(output_tokens=9), None])
def test_a_usage_that_leaves_kinds_out_has_no_cost_instead_of_none_at_all(usage: Usage | None) -> None:
    assert TABLE.cost("gpt-image-2", usage) is None


def test_a_usage_without_kinds_costs_rather_too_much() -> None:
    assert TABLE.models["gpt-image-2"].cost(Usage(input_tokens=10, output_tokens=1)) == nanos_of(10 * 8e-6 + 30e-6)


def test_prices_that_are_older_than_90_days_are_warned_of() -> None:
    assert TABLE.read is not None
    assert TABLE.warning(TABLE.read + timedelta(days=90)) is None
    assert "91 days ago" in (TABLE.warning(TABLE.read + timedelta(days=91)) or "")


async def test_a_file_of_ones_own_takes_the_place_of_the_table(tmp_path: Path) -> None:
    own = {"text": {"input": 1}, "image": {"input": 2, "output": 3}, "sources": ["https://x"], "date": "2026-11-01"}
    (tmp_path / "mine.json").write_text(json.dumps({"models": {"mine": own}}))
    table = await prices_from(tmp_path / "mine.json")
    assert list(table.models) == ["mine"]
    assert table.cost("mine", Usage(input_tokens=0, output_tokens=10**6)) == nanos_of(3)


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"models": {"m": {}}}', '{"models": {"m": {"text": {"input": -1}}}}', '{"models": {"m": 5}}'],
)
async def test_a_file_that_is_not_a_table_is_refused_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"mine\.json can't be read: .*Nothing was sent"):
        await prices_from(tmp_path / "mine.json")
    with pytest.raises(ConfigurationError, match=r"no\.json can't be read"):
        await prices_from(tmp_path / "no.json")


def test_amounts_are_shown_in_three_digits() -> None:
    amounts = [310.2, 4.2749, 0.0132, 0.5, 12345.6, 31.24]
    assert [shown(nanos_of(each)) for each in amounts] == ["$310", "$4.27", "$0.0132", "$0.500", "$12,346", "$31.24"]
    assert str(CostRange(nanos_of(310), nanos_of(340))) == "about $310 to $340"


OWN = {"text": {"input": 1}, "image": {"input": 1, "output": 1}, "sources": ["x"], "date": "2026-11-01"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch": 2}, "batch is 2"),
        ({"image": {"input": 1}}, "image has no price for output"),
        ({"image": {"input": 1, "output": 1, "cache": 0}}, "cache"),
        ({"tokens": {"input": "tiles"}}, "neither factors nor sizes"),
        ({"tokens": {"input": "tiles", "factors": {}}}, "neither factors nor sizes"),
        ({"tokens": {"input": "tiles", "sizes": {"1024x1024": {}}}}, "neither factors nor sizes"),
        ({"tokens": {"input": "tiles", "factors": [-1, 5]}}, "-1 is not a number of tokens"),
    ],
)
def test_a_table_in_which_an_edit_would_cost_nothing_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_table(json.dumps({"models": {"m": OWN | changed}}), "here")


@pytest.mark.parametrize("other", [{"currency": "EUR"}, {"per_tokens": 1000}])
def test_a_table_of_other_units_is_refused(other: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="USD for 1,000,000 tokens"):
        read_table(json.dumps({"models": {"m": OWN}} | other), "here")


def test_a_price_is_rounded_up_and_bounds_may_be_in_any_order() -> None:
    tokens = {"input": "tiles", "factors": [96, 16]}
    own = OWN | {"image": {"input": 0.0001, "output": 1}, "tokens": tokens}
    price = read_table(json.dumps({"models": {"m": own}}), "here").models["m"]
    assert (price.image.input, price.tokens and price.tokens.bounds) == (1, (16, 96))
