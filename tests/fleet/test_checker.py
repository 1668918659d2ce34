"""The checker of a fleet finds what must not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.checker import COUNTED, END_OF_PNG, busiest_minute, rate_violations, slowest_minute, violations

DONE = {"id": "a", "status": "done", "phase": None, "files": ["a.png"], "epoch": 1, "late": None}


def found(out: Path, rows: list[dict[str, Any]], made: dict[str, int], **options: Any) -> str:
    paid = sum(row["status"] in {"done", "uncertain"} for row in rows)
    table = "\n".join(map(json.dumps, rows))
    given = {"ids": {"a"}, **options}
    return " ".join(violations(made, lambda text: str(paid) if text == COUNTED else table, out, **given))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(b"..." + END_OF_PNG)
    return tmp_path


def test_what_is_as_it_must_be_passes(out: Path) -> None:
    assert found(out, [DONE], {"a": 1}) == ""


@pytest.mark.parametrize(
    ("row", "made", "why"),
    [
        (DONE, {"a": 2}, "made more than once"),
        (DONE, {}, "the server never made it"),
        (DONE | {"files": ["b.png"]}, {"a": 1}, "these are whole: []"),
        (DONE | {"phase": "started"}, {"a": 1}, "nobody works at it"),
        (DONE | {"status": "failed", "files": None}, {"a": 1}, "is failed, and was made 1 times"),
        (DONE | {"status": "uncertain", "files": None}, {"a": 2}, "is uncertain, and was made 2 times"),
    ],
)
def test_each_wrong_is_found(out: Path, row: dict[str, Any], made: dict[str, int], why: str) -> None:
    assert why in found(out, [row], made)


def test_a_picture_of_no_row_a_cut_one_and_a_missing_row_are_found(out: Path) -> None:
    (out / "b.png").write_bytes(b"")
    assert "pictures that no row has: ['b.png']" in found(out, [DONE], {"a": 1})
    assert "are whole: []" in found(out, [DONE | {"files": ["b.png"]}], {"a": 1})
    assert "b is not in the table" in found(out, [DONE], {"a": 1}, ids={"a", "b"})


@pytest.mark.parametrize(
    ("content", "epoch", "asked_again", "is_found"),
    [(b"...", 2, True, False), (b"other", 2, True, True), (b"...", 1, True, True), (b"...", 2, False, True)],
)
def test_a_picture_beside_its_own_twin_is_left_only_by_who_was_killed_before_it_was_asked_for_again(
    out: Path, content: bytes, epoch: int, *, asked_again: bool, is_found: bool
) -> None:
    (out / "a-2.png").write_bytes(content + END_OF_PNG)
    row = DONE | {"files": ["a-2.png"], "epoch": epoch}
    assert ("pictures that no row has" in found(out, [row], {"a": 1}, asked_again=asked_again)) is is_found


EVEN = [(number / 16, 1) for number in range(2400)]  # 960 a minute, in fractions without rounding


def test_an_even_rate_passes_and_its_busiest_and_slowest_minutes_are_it() -> None:
    assert rate_violations(EVEN, 960) == []
    assert busiest_minute(EVEN)[0] == 960
    assert slowest_minute(EVEN, quiet=[(0.0, 149.0)]) == 960
    assert slowest_minute(EVEN, quiet=[(0.0, 30.0), (40.0, 99.0)]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        [(number / 17, 1) for number in range(2400)],  # each minute has 5 % more
        [*EVEN[:1600], *((100.0, 1) for _ in range(40)), *EVEN[1600:]],  # a burst, in one moment
        [(at, 2 if 30 < at < 35 else 1) for at, _ in EVEN],  # a few are of two pictures
        [(at, 1) for at, _ in EVEN for _ in range(2)],  # two processes, each with a limit of its own
    ],
)
def test_too_much_in_any_minute_is_found(wrong: list[tuple[float, int]]) -> None:
    [violation] = rate_violations(wrong, 960, largest=1)
    assert "came within the minute" in violation


def test_one_item_and_3_of_a_hundred_above_the_limit_are_allowed() -> None:
    assert rate_violations([*EVEN[:960], (59.96, 29)], 960) == []
    assert rate_violations([*EVEN[:960], (59.96, 38)], 960, largest=10) == []
    assert rate_violations([*EVEN[:960], (59.96, 39)], 960, largest=10) != []


def test_a_minute_in_which_too_little_came_is_found() -> None:
    idle = [(at, number) for at, number in EVEN if not 70 < at < 73]
    assert slowest_minute(idle, quiet=[(0.0, 150.0)]) == 960 - 47
