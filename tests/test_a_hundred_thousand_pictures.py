"""docs/a-hundred-thousand-pictures.md tells the truth: its commands run, with a server whose batches take a moment."""

from __future__ import annotations

import re
import shlex
import subprocess
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from asyncsdk import ImageEdit
from asyncsdk.cli import app
from asyncsdk.cli.app import make_app
from asyncsdk.cli.edits.batches import batch_lines
from asyncsdk.cli.edits.dry_run import batches_of
from asyncsdk.cli.edits.forecast import Forecast, plan_lines
from asyncsdk.cli.edits.messages import Summary
from asyncsdk.cli.edits.moment import Moment, moving
from asyncsdk.cli.signals import Stop
from asyncsdk.images.batch.progress import BatchProgress, BatchStep
from asyncsdk.images.bulk.preview import PlanBuilder
from asyncsdk.images.costs.money import CostRange
from asyncsdk.server import LocalServer
from tests.pages import ROOT, blocks_of
from tests.stories.pictures import photo

PATH = "docs/a-hundred-thousand-pictures.md"
PAGE = (ROOT / PATH).read_text()
BLOCKS = [block for block in blocks_of(PATH) if block.language == "sh"]
COMMAND = re.compile(r"asyncsdk ((?:[^\n|&;>#'\"]|'[^']*'|\"[^\"]*\")+)")


def test_all_commands_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a reader does: in one directory, so that what one began another goes on with."""
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate(("one.png", "two.png")):
        photo(tmp_path / "photos" / name, (64, 64), seed=seed)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    codes, left = list[int](), "2 to send.\nThey make 1 batch, for half the price."
    with LocalServer(tmp_path / "server", batch_seconds=0.3) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        for line in "".join(block.code for block in BLOCKS if not block.not_run).splitlines():
            command, _, may_be = line.partition(" || ")
            waits = ["--poll", "1s"] if "--batch" in command else []
            codes.append(app.run([*shlex.split(command)[1:], *waits], Stop()))
            out, err = capfd.readouterr()
            assert codes[-1] == 0 or (codes[-1], may_be) == (75, "test $? = 75"), err
            assert ("--dry-run" in command) == out.startswith(left)
        assert [file.filename for file in server.files] == []
    assert 75 in codes
    assert (tmp_path / "photos.html").stat().st_size > 0


def test_the_script_that_waits_goes_on_while_something_is_in_batches(tmp_path: Path) -> None:
    script = next(block.code for block in BLOCKS if block.not_run == "it waits for half an hour")
    program = "asyncsdk() { echo run >>runs; test $(wc -l <runs) = 3 || return 75; }; sleep() { :; }\n"
    subprocess.run(["bash", "-e", "-c", program + script], cwd=tmp_path, check=True)
    assert (tmp_path / "runs").read_text() == "run\n" * 3


def test_all_commands_are_taken_by_the_program() -> None:
    commands = [command for block in BLOCKS for command in COMMAND.findall(block.code)]
    assert len(commands) >= 10
    for command in commands:
        make_app().parse_args(shlex.split(command), exit_on_error=False, print_error=False)


def test_what_the_program_prints_is_on_the_page_as_it_prints_it() -> None:
    edit, now = ImageEdit(image=b"", prompt="", model="gpt-image-2"), 0.0
    batches = batches_of(repeat(edit, 100_000), None)
    plan = PlanBuilder().plan(None)
    cost = CostRange(2, 4)
    plan = evolve(plan, to_send=100_000, pictures=100_000, input_images=100_000, cost=cost, batch_cost=cost.times(0.5))
    forecast = Forecast(edits=100_000, pictures=100_000, plan=plan, problems=Summary(), batches=batches)
    *lines, costs = plan_lines(plan, forecast, images_per_minute=None).splitlines()
    assert costs.startswith("It costs ")
    assert "\n".join(["", *lines, ""]) in PAGE
    under_way = [
        batch(5, "reading", recorded=31),
        batch(6, "finalizing", completed=341),
        batch(7, "in_progress", completed=209, failed=3, expected_end=now + 26 * 60),
        batch(8, "validating"),
    ]
    taken = 1204 + 38_000 + 240
    counts = {"done": 1190, "refused": 14}
    moment = Moment(counts=counts, total=100_000, in_flight=38_000, taken=taken, batches=under_way)
    printed = "\n".join([moving(moment), *batch_lines(under_way, now=now)])
    assert f"\n{printed}\n" in PAGE


def batch(number: int, step: BatchStep, **fields: Any) -> BatchProgress:
    return BatchProgress(number=number, model="gpt-image-2", step=step, edits=341, batch_id="batch_1", **fields)
