"""How uploads are shown on standard error: seldom as lines, as JSON for programs, as bars on a terminal."""

from __future__ import annotations

import asyncio
import io
import json
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from asyncsdk.cli import display, output, units
from asyncsdk.cli.display import BarDisplay, JsonDisplay, LineDisplay, NullDisplay, choose
from asyncsdk.cli.edits.bar import RunView
from asyncsdk.cli.edits.moment import Moment
from asyncsdk.cli.uploads import bars
from asyncsdk.cli.uploads.bars import BEFORE, LEFT, NOW, ON_ITS_WAY
from asyncsdk.cli.uploads.transfer import UploadsView
from asyncsdk.events import Progress, UploadPhase
from tests.pages import ROOT

MB = 10**6


def progress(**fields: Any) -> Progress:
    usual: dict[str, Any] = {"state": UploadPhase.SENDING, "source": "t", "bytes_total": 100 * MB}
    return Progress(**(usual | fields))


@pytest.mark.parametrize(
    ("mode", "place", "options", "kind"),
    [
        ("auto", "terminal", {}, BarDisplay),
        ("auto", "pipe", {}, LineDisplay),
        ("auto", "terminal", {"quiet": True}, NullDisplay),
        ("auto", "terminal", {"verbose": True}, LineDisplay),
        ("bar", "pipe", {}, BarDisplay),
        ("bar", "terminal", {"quiet": True}, BarDisplay),
        ("lines", "terminal", {}, LineDisplay),
        ("json", "terminal", {}, JsonDisplay),
        ("none", "terminal", {}, NullDisplay),
        ("auto", "pipe", {"is_brief": True}, NullDisplay),
        ("lines", "pipe", {"is_brief": True}, LineDisplay),
        ("auto", "terminal", {"is_brief": True}, BarDisplay),
    ],
)
def test_the_display_is_the_one_that_was_asked_for_or_suits_the_place(
    monkeypatch: pytest.MonkeyPatch, mode: Any, place: str, options: dict[str, bool], kind: type
) -> None:
    monkeypatch.setattr(display, "is_terminal", lambda: place == "terminal")
    assert type(choose(mode, UploadsView({"t": 1}), **options)) is kind


def test_without_standard_error_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert not output.is_terminal()


def test_a_dumb_terminal_gets_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert not output.is_terminal()
    monkeypatch.setenv("TERM", "xterm")
    assert output.is_terminal()


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with NullDisplay(UploadsView({})) as shown:
        shown.aside()
        shown.show(shown.view.update("t", progress()))
        shown.draw()
        shown.view.end("t")
    assert capsys.readouterr() == ("", "")


def test_each_snapshot_is_a_line_of_json_with_the_file_as_it_was_given() -> None:
    lines: list[str] = []
    shown = JsonDisplay(UploadsView({}), write=lines.append)
    shown.show(shown.view.update("dir/t", progress(bytes_done=7, upload_id="upload_1")))
    shown.draw()
    assert len(lines) == 1
    told = json.loads(lines[0])
    assert (told["source"], told["state"], told["bytes_done"], told["upload_id"]) == ("dir/t", "sending", 7, "upload_1")


async def test_a_line_comes_now_and_then_for_what_is_under_way() -> None:
    lines: list[str] = []
    view = UploadsView({})
    with LineDisplay(view, first=0.05, every=0.05, write=lines.append) as shown:
        shown.show(view.update("a", progress(bytes_done=10 * MB)))
        shown.show(view.update("b", progress()))
        view.end("b")
        while len(lines) < 2:
            await asyncio.sleep(0.01)
    assert lines[:2] == ["a: 10 of 100 MB, 10%"] * 2


async def test_after_the_end_no_line_comes() -> None:
    lines: list[str] = []
    with LineDisplay(UploadsView({}), first=0.01, every=0.01, write=lines.append) as shown:
        shown.show(shown.view.update("a", progress()))
    await asyncio.sleep(0.05)
    assert lines == []


SENDING = progress()
RETRYING = progress(state=UploadPhase.RETRYING, note="reset; trying again in 1 s")
WAITING = progress(state=UploadPhase.WAITING, note="process 7 is sending this file")
COMPLETING = progress(state=UploadPhase.COMPLETING)


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [
        (None, SENDING, "each"),
        (SENDING, progress(bytes_done=5), ""),
        (SENDING, COMPLETING, "each"),
        (SENDING, RETRYING, "calm each"),
        (RETRYING, progress(state=UploadPhase.RETRYING, note="reset; trying again in 2 s"), ""),
        (RETRYING, SENDING, "calm each"),
        (None, WAITING, "calm each"),
        (SENDING, progress(silent_for=10.2), "calm each"),
        (progress(silent_for=10.2), progress(silent_for=10.7), ""),
        (RETRYING, progress(state=UploadPhase.RETRYING, silent_for=10.2), "calm each"),
        (SENDING, progress(note="beginning afresh"), "calm each"),
        (progress(note="beginning afresh"), progress(note="beginning afresh", bytes_done=1), ""),
    ],
)
def test_trouble_and_its_end_are_news_and_with_lines_each_change_is(
    before: Progress | None, now: Progress, news: str
) -> None:
    view = UploadsView({})
    if before is not None:
        view.update("t", before)
    snapshot = view.update("t", now)
    assert snapshot.is_news(each_change=False) is ("calm" in news)
    assert snapshot.is_news(each_change=True) is ("each" in news)


async def test_news_is_a_line_at_once() -> None:
    lines: list[str] = []
    with LineDisplay(UploadsView({}), write=lines.append) as shown:
        shown.show(shown.view.update("a", SENDING))
        shown.show(shown.view.update("a", RETRYING))
    assert lines == ["a: 0 of 100 MB, 0%, reset; trying again in 1 s"]


@pytest.mark.parametrize(
    ("fields", "cells"),
    [
        ({}, {LEFT: 50}),
        ({"bytes_done": 50 * MB}, {NOW: 25, LEFT: 25}),
        ({"bytes_done": 50 * MB, "bytes_resumed": 30 * MB}, {BEFORE: 15, NOW: 10, LEFT: 25}),
        ({"bytes_done": 50 * MB, "bytes_in_flight": 20 * MB}, {NOW: 25, ON_ITS_WAY: 10, LEFT: 15}),
        ({"bytes_done": 90 * MB, "bytes_in_flight": 20 * MB}, {NOW: 45, ON_ITS_WAY: 5}),
        ({"bytes_done": 99_999_999}, {NOW: 49, LEFT: 1}),
        ({"bytes_done": 100 * MB}, {NOW: 50}),
        ({"state": UploadPhase.CHECKING, "bytes_hashed": 40 * MB}, {NOW: 20, LEFT: 30}),
        (  # sent, but the response to the last call was lost
            {"state": UploadPhase.CHECKING, "bytes_hashed": 40 * MB, "bytes_done": 100 * MB, "bytes_resumed": 100 * MB},
            {NOW: 20, LEFT: 30},
        ),
    ],
)
def test_a_bar_tells_bytes_of_earlier_runs_of_this_one_and_on_their_way_apart(
    fields: dict[str, Any], cells: dict[Any, int]
) -> None:
    assert {style: count for style, count in bars.cut(progress(**fields), 50) if count} == cells


def console(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, _environ={})


def drawn(view: UploadsView, width: int = 100) -> list[str]:
    place = console(width)
    with place.capture() as captured:
        place.print(view.frame(width - display.MARGIN))
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()]


def spaced(row: str) -> str:
    """`row` with single spaces: how columns are padded differs by rich's version."""
    return " ".join(row.split())


def test_a_row_has_name_bar_percent_bytes_and_pace() -> None:
    shown = UploadsView({"train.jsonl": 100 * MB})
    assert drawn(shown) == []
    shown.update("train.jsonl", progress(bytes_done=50 * MB, rate=1e6, eta=50.0))
    [row] = drawn(shown)
    assert row.startswith("train.jsonl ━━━")
    assert spaced(row).endswith("─── 50% 50 of 100 MB 1.0 MB/s, 50 s left")


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"state": UploadPhase.CHECKING, "bytes_hashed": 40 * MB}, "─── 40% 40 of 100 MB checking"),
        ({"state": UploadPhase.RETRYING, "bytes_in_flight": 30 * MB}, "─── 50% 50 of 100 MB retrying"),  # may be lost
    ],
)
def test_a_row_counts_what_was_read_of_a_file_that_is_checked_and_what_is_confirmed_in_an_outage(
    fields: dict[str, Any], end: str
) -> None:
    shown = UploadsView({"train.jsonl": 100 * MB})
    shown.update("train.jsonl", progress(bytes_done=50 * MB, **fields))
    assert spaced(drawn(shown)[0]).endswith(end)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"state": UploadPhase.COMPLETING}, "completing"),
        ({"bytes_resumed": 20 * MB}, "resumed 20 MB"),
        ({"silent_for": 12.9, "rate": 1e6}, "no answer for 12 s"),
        ({"rate": 1e6, "eta": 90.0}, "1.0 MB/s, 90 s left"),
        ({"rate": 999.0, "eta": 172000.0}, "999 bytes/s"),
        ({"state": UploadPhase.RETRYING}, "retrying"),
    ],
)
def test_a_row_ends_with_what_it_does_beside_sending(fields: dict[str, Any], end: str) -> None:
    assert bars.remark(progress(**fields)) == end


def test_several_files_have_a_total_and_trouble_has_a_line_of_its_own() -> None:
    sizes = {"a": 100 * MB, "b": 100 * MB, "c": 200 * MB}
    now = 0.0
    shown = UploadsView(sizes, lambda: now)
    shown.update("a", progress(rate=9e9))
    shown.update("b", RETRYING)
    shown.update("c", progress(bytes_total=200 * MB))
    now = 5.0
    shown.update("c", progress(bytes_total=200 * MB, bytes_sent=5 * MB))
    shown.end("c")
    shown.update("a", progress(bytes_done=50 * MB, rate=9e9))
    first, second, total, trouble = drawn(shown)
    assert (first[:2], second[:2]) == ("a ", "b ")
    assert total.startswith("1 of 3 files ━")
    assert spaced(total).endswith("─── 62% 250 of 400 MB 1.0 MB/s, 3 min left")
    assert trouble == "  reset; trying again in 1 s"


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"parts_in_flight": 32, "connections": 16}, "50 s left 16 connections"),  # the others pause
        ({"parts_in_flight": 1, "connections": 16}, "50 s left 1 connection"),
        ({"parts_in_flight": 8, "connections": 8, "state": UploadPhase.RETRYING}, "retrying"),
        ({"connections": 8, "state": UploadPhase.COMPLETING}, "completing"),
    ],
)
def test_a_wide_row_ends_with_how_many_connections_are_used(fields: dict[str, Any], end: str) -> None:
    shown = UploadsView({"a": 100 * MB})
    shown.update("a", progress(bytes_done=50 * MB, rate=1e6, eta=50.0, **fields))
    assert spaced(drawn(shown, 120)[0]).endswith(end)


def test_the_connections_that_several_files_share_are_in_the_row_of_the_total() -> None:
    shown = UploadsView({"a": 100 * MB, "b": 100 * MB, "c": 100 * MB})
    shown.update("a", progress(parts_in_flight=20, connections=24))
    shown.update("b", progress(parts_in_flight=12, connections=24))
    rows = drawn(shown, 120)
    assert [spaced(row).endswith("of 100 MB") for row in rows[:2]] == [True, True]
    assert rows[2].endswith("24 connections")


def test_a_file_that_failed_is_not_done_and_not_left() -> None:
    shown = UploadsView({"a": 100 * MB, "b": 100 * MB, "c": 200 * MB}, lambda: 0.0)
    shown.end("a")
    shown.end("c", failed=True)
    assert shown.lines() == ["1 of 3 files: 100 of 200 MB, 50%"]


def test_the_rate_of_the_total_is_that_of_what_all_sent_and_not_of_the_rows_there_are() -> None:
    now = 0.0
    shown = UploadsView({f"{number}": 10 * MB for number in range(100)}, lambda: now)
    for number in range(20):  # one file a second, each with a rate of its own that is not that of the line
        shown.update(f"{number}", progress(bytes_total=10 * MB, rate=80e6))
        now += 1.0
        shown.update(f"{number}", progress(bytes_total=10 * MB, bytes_done=10 * MB, bytes_sent=10 * MB, rate=0.0))
        shown.end(f"{number}")
        if number > 2:
            rate, left = 10 * MB, 99 - number
            done = units.part_of((number + 1) * 10 * MB, 1000 * MB)
            pace = f"{units.rate(rate)}, {units.duration(left)} left"
            assert shown.lines() == [f"{number + 1} of 100 files: {done}, {number + 1}%, {pace}"]


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"note": "beginning afresh: it had expired"}, ["beginning afresh: it had expired"]),
        ({"note": "going on with upload_1", "bytes_resumed": 10 * MB}, []),
        ({"state": UploadPhase.CHECKING, "note": "is it file-1?"}, []),
        ({"state": UploadPhase.WAITING}, ["waiting"]),
    ],
)
def test_a_note_has_a_line_where_it_has_to_be_read(fields: dict[str, Any], lines: list[str]) -> None:
    shown = UploadsView({"a": 100 * MB})
    shown.update("a", progress(**fields))
    assert [line.strip() for line in drawn(shown)[1:]] == lines


def test_many_files_show_a_few_rows_only() -> None:
    shown = UploadsView({str(n): 100 * MB for n in range(100)})
    for n in range(100):
        shown.update(str(n), progress())
    assert len(drawn(shown)) == bars.MOST_ROWS + 1


@pytest.mark.parametrize(
    ("name", "cells", "shown"),
    [
        ("train.jsonl", 11, "train.jsonl"),
        ("/data/of/this/year/train.jsonl", 18, "/data…/train.jsonl"),
        ("holiday-2026-0001.jpg", 13, "holi…0001.jpg"),
        ("影片影片影片影片.mp4", 12, "影…影片.mp4"),
    ],
)
def test_of_a_long_name_the_middle_goes(name: str, cells: int, shown: str) -> None:
    assert bars.shortened(name, cells) == shown
    assert cell_len(bars.shortened(name, cells)) <= cells


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (160, ["bar", "percent", "bytes", "pace", "connections"]),
        (104, ["bar", "percent", "bytes", "pace", "connections"]),
        (103, ["bar", "percent", "bytes", "pace"]),
        (80, ["bar", "percent", "bytes", "pace"]),
        (60, ["percent", "pace"]),
        (50, ["percent", "pace"]),
        (40, ["percent", "bytes"]),
        (30, ["percent"]),
    ],
)
def test_on_a_narrow_terminal_the_rate_and_the_time_left_stay_and_the_bar_goes(width: int, columns: list[str]) -> None:
    assert list(bars.fitting(width - display.MARGIN)) == columns


def test_at_sixty_columns_a_row_is_name_percent_rate_and_time_left() -> None:
    name = "backup/of/this/year/train.jsonl"
    shown = UploadsView({name: 100 * MB})
    shown.update(name, progress(bytes_done=50 * MB, rate=1e6, eta=6540.0))
    [row] = drawn(shown, 60)
    assert spaced(row) == "backup/…ar/train.jsonl 50% 1.0 MB/s, 1 h 49 min left"


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_a_note_breaks_no_word_whatever_the_width(width: int) -> None:
    note = "the server's responses can't be used; trying again in 12 s"
    shown = UploadsView({"a": 100 * MB})
    shown.update("a", progress(state=UploadPhase.RETRYING, note=note))
    assert " ".join(word for line in drawn(shown, width)[1:] for word in line.split()) == note
    assert all(len(line) <= width - display.MARGIN for line in drawn(shown, width))


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (60, ["8 in flight, 24 images a minute, 1,202 tokens, 3 min left"]),
        (40, ["8 in flight, 24 images a minute,", "1,202 tokens, 3 min left"]),
        (15, ["8 in flight,", "24 images a", "minute,", "1,202 tokens,", "3 min left"]),
    ],
)
def test_a_line_below_the_bars_that_is_too_long_breaks_between_facts(width: int, lines: list[str]) -> None:
    place = console(200)
    with place.capture() as captured:
        place.print(
            display.remarks(["8 in flight", "24 images a minute", "1,202 tokens", "3 min left"], width, style="")
        )
    assert [line.strip() for line in captured.get().splitlines()] == lines


def test_a_silent_server_is_named_in_the_row_and_on_the_line_in_place_of_the_rate() -> None:
    silent = progress(bytes_done=50 * MB, rate=3.0, eta=6e6, silent_for=20.4)
    shown = UploadsView({"a": 100 * MB})
    shown.update("a", silent)
    [row] = drawn(shown)
    assert spaced(row).endswith("50% 50 of 100 MB no answer for 20 s")
    assert shown.lines() == ["a: 50 of 100 MB, 50%, no answer for 20 s"]


async def test_the_first_line_comes_soon_and_the_others_now_and_then() -> None:
    lines: list[str] = []
    view = UploadsView({})
    with LineDisplay(view, first=0.01, every=60.0, write=lines.append) as shown:
        assert LineDisplay(view).first == 5.0
        assert LineDisplay(view).every == 30.0
        shown.show(view.update("a", progress()))
        await asyncio.sleep(0.1)
    assert lines == ["a: 0 of 100 MB, 0%"]


async def test_an_outage_has_a_line_at_its_start_now_and_then_while_it_lasts_and_at_its_end() -> None:
    lines: list[str] = []
    view = UploadsView({})
    out = progress(state=UploadPhase.RETRYING, note="no connection; trying again in 8 s", expires_at=4102444800)
    with LineDisplay(view, first=0.01, every=0.01, write=lines.append) as shown:
        view.update("a", SENDING)
        shown.show(view.update("a", out))
        while len(lines) < 3:
            await asyncio.sleep(0.01)
        shown.show(view.update("a", progress(bytes_done=10 * MB)))
    outage = "a: 0 of 100 MB, 0%, no connection; trying again in 8 s, what is sent is kept until "
    assert [line[: len(outage)] for line in lines[:3]] == [outage] * 3
    assert re.fullmatch(r"\w+ \d\d, \d\d:\d\d", lines[0][len(outage) :])
    assert lines[-1] == "a: 10 of 100 MB, 10%, going on"


async def test_of_a_storm_of_short_outages_one_in_half_a_minute_is_news_with_its_end() -> None:
    lines: list[str] = []
    now = 0.0
    view = UploadsView({}, lambda: now)
    with LineDisplay(view, write=lines.append) as shown:
        for second in range(64):
            now = float(second)
            shown.show(view.update("a", RETRYING if second % 2 else progress(rate=9e6, eta=3.0)))
    assert lines == ["a: 0 of 100 MB, 0%, reset; trying again in 1 s", "a: 0 of 100 MB, 0%, going on"] * 2


async def test_an_outage_that_begins_soon_after_another_is_news_once_it_lasts() -> None:
    lines: list[str] = []
    now = 0.0
    view = UploadsView({}, lambda: now)
    with LineDisplay(view, write=lines.append) as shown:
        for second, state in ((1, RETRYING), (2, SENDING), (3, RETRYING), (31, RETRYING), (32, RETRYING)):
            now = float(second)
            shown.show(view.update("a", state))
    assert [line.partition("%, ")[2] for line in lines] == [RETRYING.note, "going on", RETRYING.note]


def test_what_goes_on_with_an_upload_says_so_once() -> None:
    view = UploadsView({})
    view.update("a", WAITING)
    assert view.update("a", progress(note="going on with upload_1")).line() == (
        "a: 0 of 100 MB, 0%, going on with upload_1"
    )


def test_a_total_has_no_rate_while_all_are_out() -> None:
    now = 0.0
    view = UploadsView({"a": 100 * MB, "b": 100 * MB}, lambda: now)
    view.update("a", SENDING)
    now = 5.0
    view.update("a", progress(bytes_sent=5 * MB))
    assert "1.0 MB/s" in view.lines()[-1]
    view.update("a", RETRYING)
    assert view.lines()[-1] == "0 of 2 files: 0 of 200 MB, 0%"


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 80, 104, 200])
def test_no_row_is_wider_than_its_terminal_and_room_is_left_for_an_echo(width: int) -> None:
    shown = UploadsView({"a" * 60: 100 * MB})
    used = {"parts_in_flight": 256, "connections": 256}
    shown.update("a" * 60, progress(bytes_done=50 * MB, rate=1e6, eta=50.0, **used))
    assert all(len(line) <= width - display.MARGIN for line in drawn(shown, width))


async def test_lines_of_others_are_above_the_bars() -> None:
    place = console()
    with BarDisplay(UploadsView({"a": 100 * MB}), console=place) as shown:
        shown.view.update("a", progress())
        shown.draw()
        shown.aside()
        before = len(place.file.getvalue())  # type: ignore[attr-defined]  # a StringIO
        place.file.write("result\n")
        shown.draw()
    written = place.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert written[:before].endswith("\x1b[2K")  # they are wiped before the line
    assert written[before:].startswith("result\n")
    assert "0 of 100 MB" in written[before:]
    assert written.endswith("\x1b[2K")  # the bars are wiped at the end


async def test_bars_that_stay_are_there_at_the_end() -> None:
    place = console()
    with BarDisplay(UploadsView({"a": 100 * MB}), stays=True, console=place) as shown:
        shown.view.update("a", progress(bytes_done=100 * MB))
    _, last_frame, rest = place.file.getvalue().rpartition("100%")  # type: ignore[attr-defined]  # a StringIO
    assert last_frame
    assert "\x1b[2K" not in rest


def test_files_of_other_processes_are_in_the_total_and_while_nothing_else_is_done_in_a_record_a_second() -> None:
    view = UploadsView({"a": 10, "b": 20, "c": 30})
    view.update("a", Progress(state=UploadPhase.SENDING, source="a", bytes_total=10))
    for name in ("b", "c"):
        view.update(name, Progress(state=UploadPhase.CHECKING, source=name, bytes_total=20))
        view.pass_over(name)
    assert view.lines()[-1] == ("0 of 3 files: 0 of 60 bytes, 0%, waiting for 2 files that other processes are sending")
    assert view.records() == []
    view.end("a")
    [record] = view.records()
    assert (record["state"], record["source"], record["held_by_others"], record["bytes_done"]) == (
        "waiting",
        None,
        2,
        10,
    )
    assert drawn(view)[-1].strip() == "waiting for 2 files that other processes are sending"
    view.update("b", Progress(state=UploadPhase.SENDING, source="b", bytes_total=20))
    assert view.held == {"c"}
    view.end("c")
    assert view.held == set()


def line_on_page(page: str, field: str) -> dict[str, Any]:
    """The line of progress with that field on a page of the documentation."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    line: dict[str, Any] = json.loads(next(line for line in lines if line.startswith("{") and f'"{field}"' in line))
    return line


def test_the_pages_show_the_lines_of_progress_with_all_their_fields() -> None:
    shown = UploadsView({"a": 1}).update("a", progress()).record()
    assert list(line_on_page("upload.md", "parts_in_flight")) == list(shown)
    [record] = RunView(lambda: Moment(total=184)).records()
    assert list(line_on_page("edit-many.md", "holding")) == list(record)
