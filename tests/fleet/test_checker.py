"""The checker of a fleet finds what must not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.checker import COUNTED, END_OF_PNG, violations

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
