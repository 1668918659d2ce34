"""What edits cost, on the command line: prices, dry runs, limits, and what a run says that it cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from asyncsdk.cli.edits.forecast import limit_of
from asyncsdk.images.costs import table
from asyncsdk.images.costs.table import packaged
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

KNOWN = ("-m", "gpt-image-2", "--quality", "low", "--size", "1024x1024", "-o", "out")
MANY = ("edit-many", "photos", "-p", "x", *KNOWN)


@pytest.fixture(autouse=True)
def photos(environment: pytest.MonkeyPatch) -> None:
    Path("photos").mkdir()
    for number in range(4):
        photo(Path("photos", f"p{number}.png"), (64, 48), seed=number)


@pytest.fixture
def priced(environment: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    yesterday = (date.today() - timedelta(days=1)).isoformat()  # noqa: DTZ011 - two days are apart in any zone
    with LocalServer(documented_tokens=True, model_ends={"gone": yesterday, "gpt-image-2": ""}) as server:
        environment.setenv("OPENAI_BASE_URL", server.url)
        yield server


def test_prices_shows_the_table_its_sources_and_its_age(run: Run, environment: pytest.MonkeyPatch) -> None:
    shown = run("prices").out
    assert "gpt-image-2             5.00" in shown
    assert all(source in shown for price in packaged().models.values() for source in price.sources)
    assert f"read on {packaged().read}" in shown
    [record] = run("prices", "--json").records
    Path("mine.json").write_text(json.dumps(record))
    assert run("prices", "--prices", "mine.json", "--json").records == [record]
    environment.setattr(table, "today", lambda: date(2027, 12, 1))
    assert "days ago: what edits cost may have changed" in run("prices").err
    assert "warning: the prices from the package were read on" in run(*MANY, "--dry-run").err


def test_a_dry_run_says_what_it_costs_directly_and_as_a_batch(run: Run) -> None:
    assert "It costs about $0.0239 to $0.0753, as a batch half (prices of" in run(*MANY, "--dry-run").out
    [record] = run(*MANY, "--dry-run", "--json").records
    assert record["cost"]["low"] == pytest.approx(2 * record["batch_cost"]["low"])
    assert "3 to send, of which" not in run(*MANY, "--dry-run", "--max-cost", "5").out
    assert (
        "4 to send, of which --max-cost 0.04 lets at least 2 be sent."
        in run(*MANY, "--dry-run", "--max-cost", "0.04").out
    )
    batch = (*MANY, "--dry-run", "--batch", "--max-cost")
    assert run(*batch, "0.04").out.startswith("4 to send.\nThey make 1 batch, for half the price.")
    assert "4 to send, of which --max-cost 0.02 lets at least 2 be sent." in run(*batch, "0.02").out
    assert (
        "It costs about $0.0120 to $0.0377 in batches, twice that directly (" in run(*MANY, "--dry-run", "--batch").out
    )
    unknown = run(*MANY[:4], "-m", "gpt-image-2.6-flare", *MANY[6:], "--dry-run", "--batch").out
    assert "They make 1 batch. Each picture" in unknown
    assert "half" not in unknown
    assert re.search(r"It costs about \$\S+ to \$\S+ directly; as a batch that is not known \(prices of", unknown)
    unknown = run("edit-many", "photos", "-p", "x", "-m", "mine", "-o", "out", "--dry-run", "--batch").out
    assert "half" not in unknown
    assert "4 of these edits have a model or an output without a known price" in unknown


@pytest.mark.parametrize(
    ("model", "given", "named"),
    [
        ("gpt-image-2", (), "--size and --quality"),
        ("gpt-image-2", ("--size", "1024x1024"), "--quality"),
        ("gpt-image-2", ("--quality", "low", "--size", "auto"), "--size"),
        ("gpt-image-1", (), "--size and --quality"),
        ("gpt-image-1", ("--quality", "low"), "--size"),
        ("gpt-image-1", ("--quality", "low", "--size", "1024x1024"), None),
        ("gpt-image-1", ("--size", "512x512"), "--quality"),  # a size that is given is not left to the server
        ("gpt-image-2", ("--output-format", "gif"), "--quality"),  # whose size the model chooses
        ("gpt-image-2", ("--quality", "low", "--size", "1024x1024"), None),
        (
            "gpt-image-2.6-sunburst",
            ("--size", "1024x1024"),
            None,
        ),  # its tokens don't hang on the quality, as far as is known
    ],
)
def test_what_would_narrow_the_range_is_named_where_it_is_left_to_the_server(
    run: Run, model: str, given: tuple[str, ...], named: str | None
) -> None:
    out = run("edit-many", "photos", "-p", "x", "-m", model, *given, "-o", "out", "--dry-run").out
    line = f"Give {named} for a narrower range: else all that the server may choose counts.\n"
    assert line in out if named else "narrower" not in out


def test_a_limit_that_lets_none_be_sent_names_what_would_help(run: Run, priced: LocalServer) -> None:
    open_ = ("edit-many", "photos", "-p", "x", "-m", "gpt-image-2", "-o", "out", "--max-cost", "0.1")
    dry = run(*open_, "--dry-run").out
    assert dry.startswith("4 to send, of which --max-cost 0.1 lets 0 be sent.\n")
    assert "Give --size and --quality to have more sent: else all that the server may choose counts.\n" in dry
    for more in ((), ("--batch", "--poll", "1s")):
        ran = run(*open_, *more)
        assert (ran.code, priced.edits.edits) == (4, 0)
        assert "(less with size and quality given)." in ran.err
    ran = run(*MANY[:-2], "-o", "other", "--max-cost", "0.01")
    assert ran.code == 4
    assert "given" not in ran.err


def test_copies_name_what_would_help_too(run: Run, priced: LocalServer, database_url: str) -> None:
    command = ("edit-many", "photos", "-p", "x", "-m", "gpt-image-2", "--ledger", database_url, "--max-cost", "0.1")
    ran = run(*command, "-o", "out")
    assert (ran.code, priced.edits.edits) == (4, 0)
    assert "(less with size and quality given)." in ran.err


def test_a_dry_run_says_the_least_that_a_limit_in_dollars_lets_be_sent(run: Run, priced: LocalServer) -> None:
    limited = (*MANY, "--max-cost", "0.035")
    assert "4 to send, of which --max-cost 0.035 lets at least 1 be sent." in run(*limited, "--dry-run").out
    ran = run(*limited, "-c", "1")
    assert (ran.code, priced.edits.edits) == (4, 3)


def test_limits_are_said_as_they_were_given() -> None:
    assert limit_of(1_000_000, 12_345_678, 1_234_567.5) == (
        "--max-edits 1000000 and --max-tokens 12345678 and --max-cost 1234567.5"
    )
    assert limit_of(None, None, 0.05) == "--max-cost 0.05"


def test_a_limit_in_dollars_ends_with_code_4_and_what_was_spent_is_said(run: Run, priced: LocalServer) -> None:
    ran = run(*MANY, "--max-cost", "0.02", "-c", "1", "--json", "--gallery", "g.html")
    assert (ran.code, [record["cost"] for record in ran.records]) == (4, [0.005981])
    assert "It cost $0.00598 by the prices of" in ran.err
    assert "--max-cost 0.02 is reached: $0.00599 were spent or may have been, earlier runs included" in ran.err
    assert "$0.00598" in Path("g.html").read_text()
    assert "1 edits" in (shown := run("ledger", "show", "--ledger", "out/.asyncsdk").out)
    assert ": $0.00598 paid\n" in shown
    assert run(*MANY, "--max-cost", "1").code == 0
    assert priced.edits.edits == 4


def test_a_row_without_a_model_is_refused_by_name_where_a_limit_in_dollars_needs_it(
    run: Run, priced: LocalServer
) -> None:
    rows = [
        "id,image,prompt,model",
        *(f"{name},photos/p{name}.png,x,gpt-image-2" for name in "012"),
        "z,photos/p3.png,x,",
    ]
    Path("late.csv").write_text("\n".join(rows))
    late = ("edit-many", "late.csv", "-o", "out", "--quality", "low", "--size", "1024x1024", "--max-cost", "5")
    line = (
        "z: refused: a limit in dollars needs to know what each edit costs, and this one leaves its model to the "
        "server. Give --model, or its row a `model`. Nothing was sent."
    )
    dry = run(*late, "--dry-run")
    assert (dry.code, line in dry.err.splitlines(), priced.edits.edits) == (3, True, 0)
    assert "3 to send, 1 refused (1 without a known price)." in dry.out
    for counts in ("3 done, 1 refused (1 before sending).", "3 done before, 1 refused (1 before sending)."):
        ran = run(*late)
        assert (ran.code, line in ran.err.splitlines(), priced.edits.edits) == (3, True, 3)
        assert counts in ran.err
    assert run(*late, "--model", "gpt-image-2").code == 0
    assert priced.edits.edits == 4


@pytest.mark.usefixtures("priced")
def test_one_edit_says_what_it_cost_by_the_same_rule(run: Run) -> None:
    one = ("edit", "photos/p0.png", "-p", "x", *KNOWN, "--overwrite")
    [record], [of_many] = run(*one, "--json").records, run(*MANY[:-1], "many", "--max-edits", "1", "--json").records
    assert (record["cost"], record["usage"]) == (of_many["cost"], of_many["usage"])
    assert record["cost"] == 0.005981
    assert re.fullmatch(r"out/p0\.png, [\d,]+ tokens, \$0\.00598\n", run(*one).out)
    another = ["another" if argument == "gpt-image-2" else argument for argument in one]
    unknown = run(*another, "--json")
    assert (unknown.records[0]["cost"], unknown.code) == (None, 0)


def test_a_table_of_prices_that_is_not_one_is_refused_before_one_edit_is_sent(run: Run, priced: LocalServer) -> None:
    one = ("edit", "photos/p0.png", "-p", "x", *KNOWN)
    [prices] = run("prices", "--json").records
    Path("mine.json").write_text(json.dumps(prices).replace("30.0", "300.0"))
    dear = run(*one, "--prices", "mine.json", "--json").records[0]["cost"]
    assert dear > 0.05
    Path("mine.json").write_text("{}")
    refused = run(*one, "--prices", "mine.json", "--overwrite")
    assert (refused.code, priced.edits.edits) == (2, 1)
    assert "Nothing was sent." in refused.err


@pytest.mark.parametrize("kept_in", ["files", "database"])
def test_what_is_paid_and_what_may_be_are_two_sums_in_a_ledger(
    run: Run, priced: LocalServer, request: pytest.FixtureRequest, kept_in: str
) -> None:
    named = ["out"] if kept_in == "files" else [request.getfixturevalue("database_url")]
    command = (*MANY, "-c", "1", *(["--ledger", *named] if kept_in == "database" else []))
    priced.inject(Fault("edit", "answer", at="done", status=504))
    assert run(*command).code == 3
    assert ": $0.0179 paid, and up to $0.0189 for what is uncertain" in run("ledger", "show", *named).out
    [record] = run("ledger", "show", *named, "--json").records
    assert record["cost_paid"] == pytest.approx(3 * 0.005981)
    assert record["cost"] == pytest.approx(record["cost_paid"] + record["cost_possible"])
    [name] = run("ledger", "uncertain", *named, "--quiet").out.split()
    if kept_in == "database":
        run("ledger", "release", name, "--force", "--ledger", *named)
    assert run(*command, "--on-uncertain", "retry").code == 0
    shown = run("ledger", "show", *named).out
    assert ": $0.0239 paid, and up to $0.0189 for earlier tries\n" in shown
    earlier, (record,) = record["cost_possible"], run("ledger", "show", *named, "--json").records
    assert (record["cost_possible"], record["cost_earlier"]) == (0, pytest.approx(earlier))
    assert record["cost"] == pytest.approx(record["cost_paid"] + record["cost_earlier"])


def test_a_limit_in_dollars_holds_for_batches_at_their_price(run: Run, priced: LocalServer) -> None:
    limited = (*MANY, "--batch", "--poll", "1s", "--max-cost", "0.02")  # two at most in a batch, which cost 0.006
    left = run(*limited, "--detach")
    assert left.code == 75
    assert "error: --max-cost 0.02 is reached: $0.0189 were spent or may have been, earlier runs included" in left.err
    assert "once these have ended, the same command goes on with what is left" in left.err
    ran = run(*limited, "--json")
    assert {record["status"] for record in ran.records} == {"done"}
    assert {record["cost"] for record in ran.records} == {0.0029905}
    assert (ran.code, priced.edits.edits, len(priced.batches) > 1) == (0, 4, True)
    assert "It cost $0.0120 by the prices of" in ran.err
    assert "$0.012" in run("ledger", "show", "--ledger", "out/.asyncsdk").out


def test_a_model_that_ended_is_refused_with_code_2(run: Run, priced: LocalServer) -> None:
    ran = run("edit-many", "photos", "-p", "x", "-m", "gone", "-o", "out")
    assert (ran.code, priced.edits.edits) == (2, 0)
    assert "the model gone ended on" in ran.err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--max-cost", "0", "--max-cost"),
        ("--max-cost", "$50", "--max-cost: '$50' is not an amount of dollars; use for example 50 or 12.50."),
        ("--images-per-minute", "many", "--images-per-minute: 'many' is not a number."),
        ("--prices", "none.json", "none.json can't be read: No such file"),
        ("--idempotency-header", "Authorization", "can't carry a key"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    run: Run, priced: LocalServer, option: str, value: str, said: str
) -> None:
    ran = run(*MANY, option, value)
    assert (ran.code, priced.edits.edits) == (2, 0)
    assert said in ran.err
    assert "Nothing was sent." in ran.err
