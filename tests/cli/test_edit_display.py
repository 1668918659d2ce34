"""How a run of edits is shown while it goes."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter

import pytest
from attrs import evolve
from rich.console import Console

from asyncsdk.cli import display
from asyncsdk.cli.display import BarDisplay, JsonDisplay, LineDisplay, NullDisplay, choose
from asyncsdk.cli.edits.bar import RunView
from asyncsdk.cli.edits.moment import Moment
from asyncsdk.images.ledger.progress import LedgerProgress

MOMENT = Moment(counts=Counter(done=3, refused=1), total=8, in_flight=2, images=3, seconds=60)


VIEW = RunView(lambda: MOMENT)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_display_is_the_one_that_fits_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(choose("auto", VIEW)) is LineDisplay
    assert type(choose("auto", VIEW, quiet=True)) is NullDisplay
    assert type(choose("none", VIEW)) is NullDisplay
    assert type(choose("json", VIEW)) is JsonDisplay
    assert type(choose("lines", VIEW, quiet=True)) is LineDisplay
    assert type(choose("bar", VIEW)) is BarDisplay
    monkeypatch.setattr(display, "is_terminal", lambda: True)
    assert type(choose("auto", VIEW)) is BarDisplay
    assert type(choose("auto", VIEW, verbose=True)) is LineDisplay


async def test_it_looks_every_so_often_and_not_after_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    seen = asyncio.Event()
    looks: list[int] = []

    def watched() -> Moment:
        looks.append(1)
        if len(looks) == 3:
            seen.set()
        return MOMENT

    with LineDisplay(RunView(watched), every=0.001, first=0.001):
        await seen.wait()
    count = len(looks)
    await asyncio.sleep(0.01)
    assert len(looks) == count
    lines = capsys.readouterr().err.splitlines()
    assert set(lines) == {"4 of 8: 3 done, 1 refused; 2 in flight, 3 images a minute, 60 s left"}


async def test_silence_never_looks() -> None:
    def never() -> Moment:
        raise AssertionError

    with NullDisplay(RunView(never)) as shown:
        shown.draw()
        shown.aside()
        await asyncio.sleep(0)


def test_json_tells_each_number(capsys: pytest.CaptureFixture[str]) -> None:
    JsonDisplay(VIEW).draw()
    assert json.loads(capsys.readouterr().err) == {
        "counts": {"done": 3, "refused": 1},
        "total": 8,
        "in_flight": 2,
        "images": 3,
        "tokens": 0,
        "cost": 0.0,
        "unpriced": 0,
        "prices": None,
        "seconds": 60,
        "holding": 0.0,
        "retrying": {},
        "not_pictures": 0,
        "results": 0,
        "left": 60,
    }


async def test_a_bar_makes_room_for_lines_and_is_wiped_at_the_end() -> None:
    screen, moments = Terminal(), [MOMENT]
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    bar = BarDisplay(RunView(lambda: moments[-1]), console=console)
    with bar:
        bar.draw()
        drawn = screen.getvalue()
        assert "4 of 8" in drawn
        assert "━" in drawn
        assert "3 done, 1 refused" in drawn
        assert "2 in flight" in drawn
        bar.aside()
        wiped = screen.getvalue()
        assert wiped.count("\x1b[2K") > drawn.count("\x1b[2K")
        bar.aside()
        assert screen.getvalue() == wiped
        moments.append(Moment(counts=MOMENT.counts))
        bar.draw()
        moments.append(MOMENT)
        bar.draw()
        assert screen.getvalue()[len(wiped) :].count("4 of 8") == 1
    ended = screen.getvalue()
    bar.aside()
    assert screen.getvalue() == ended
    assert all(len(line) <= 80 for line in screen.getvalue().replace("\r", "\n").split("\n") if "\x1b" not in line)


async def test_a_terminal_that_is_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Terminal):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    with BarDisplay(VIEW) as bar:
        bar.draw()
        bar.draw()


def test_of_a_shared_ledger_all_copies_are_shown_beside_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    whole = LedgerProgress(done=5, uncertain=1, here=2, held=3, copies=4)
    view = RunView(lambda: evolve(MOMENT, total=20, whole=whole))
    assert view.lines()[0].endswith("; 4 copies: 5 done, 1 uncertain, 3 with other copies, 9 waiting")
    batched = RunView(lambda: evolve(MOMENT, total=20, whole=evolve(whole, batched=4)))
    assert "4 in batches" in batched.lines()[0]
    assert batched.lines()[0].endswith("3 with other copies, 5 waiting")
    assert view.records()[0]["whole"]["held"] == 3
    drawn = io.StringIO()
    Console(file=drawn, width=100).print(view.frame(100))
    assert "4 copies: 5 done, 1 uncertain, 3 with other copies, 9 waiting" in drawn.getvalue()
