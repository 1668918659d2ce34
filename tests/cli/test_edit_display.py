"""How a run of edits is shown while it goes."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter

import pytest
from rich.console import Console

from asyncsdk.cli.edits import display as edit_display
from asyncsdk.cli.edits.bar import Bar, Screen
from asyncsdk.cli.edits.display import JsonLines, Lines, Silence, choose
from asyncsdk.cli.edits.messages import Moment

MOMENT = Moment(counts=Counter(done=3, refused=1), total=8, in_flight=2, images=3, seconds=60)


def look() -> Moment:
    return MOMENT


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_display_is_the_one_that_fits_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(choose("auto", look)) is Lines
    assert type(choose("auto", look, quiet=True)) is Silence
    assert type(choose("none", look)) is Silence
    assert type(choose("json", look)) is JsonLines
    assert type(choose("lines", look, quiet=True)) is Lines
    assert type(choose("bar", look)) is Bar
    monkeypatch.setattr(edit_display, "is_terminal", lambda: True)
    assert type(choose("auto", look)) is Bar
    assert type(choose("auto", look, verbose=True)) is Lines


async def test_it_looks_every_so_often_and_not_after_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Lines, "every", 0.001)
    seen = asyncio.Event()
    looks: list[int] = []

    def watched() -> Moment:
        looks.append(1)
        if len(looks) == 3:
            seen.set()
        return MOMENT

    with Lines(watched):
        await seen.wait()
    count = len(looks)
    await asyncio.sleep(0.01)
    assert len(looks) == count
    lines = capsys.readouterr().err.splitlines()
    assert set(lines) == {"4 of 8: 3 done, 1 refused; 2 in flight, 3 images a minute, 60 s left"}


async def test_silence_never_looks() -> None:
    def never() -> Moment:
        raise AssertionError

    with Silence(never) as display:
        display.show(MOMENT)
        display.aside()
        await asyncio.sleep(0)


def test_json_tells_each_number(capsys: pytest.CaptureFixture[str]) -> None:
    JsonLines(look).show(MOMENT)
    assert json.loads(capsys.readouterr().err) == {
        "counts": {"done": 3, "refused": 1},
        "total": 8,
        "in_flight": 2,
        "images": 3,
        "tokens": 0,
        "seconds": 60,
        "holding": 0.0,
        "left": 60,
    }


async def test_a_bar_makes_room_for_lines_and_is_wiped_at_the_end() -> None:
    screen = Terminal()
    bar = Bar(look, Console(file=screen, force_terminal=True, width=80, color_system=None))
    with bar:
        bar.show(MOMENT)
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
        bar.show(Moment(counts=MOMENT.counts))
        bar.show(MOMENT)
        assert screen.getvalue()[len(wiped) :].count("4 of 8") == 1
    assert bar._live is None
    assert all(len(line) <= 80 for line in screen.getvalue().replace("\r", "\n").split("\n") if "\x1b" not in line)


async def test_a_terminal_that_is_gone_stops_nothing() -> None:
    class Gone(Terminal):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    with Bar(look, Screen(file=Gone(), force_terminal=True)) as bar:
        bar.show(MOMENT)
        bar.show(MOMENT)
