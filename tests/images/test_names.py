"""Names of pictures stay in their directory, mean one file everywhere, and are given once."""

from __future__ import annotations

import tracemalloc
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.images.bulk import naming
from asyncsdk.images.bulk.naming import Names
from asyncsdk.images.names import (
    LONGEST_NAME,
    casefolded,
    name_digest,
    raw_stem,
    safe_name,
    stem_problem,
    stems,
    suffix_of,
    why_refused,
)
from tests.stories.pictures import png


@pytest.mark.parametrize(
    "name",
    [
        "a", "summer/beach/1", "été 2026", "a.b", "名前", "-dash", "x" * 200,
        "Screenshot 2026-01-01 at 1.23.45\u202fPM", "family 😀👩\u200d👩\u200d👧", "new \U0001faea",
        "عکس\u200cها", "\u3000a\u00a0",  # noqa: RUF001 - that is how people name their pictures
    ],
)  # fmt: skip
def test_a_usual_name_is_fine(name: str) -> None:
    assert stem_problem(name) is None
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Screenshot 21:37:54", "Screenshot 21%3A37%3A54"),
        ('say "hi"?', "say %22hi%22%3F"),
        ("a\\b|c*<d>", "a%5Cb%7Cc%2A%3Cd%3E"),
        ("a\x00\n\x7f", "a%00%0A%7F"),
        ("a\u202eb\x85", "a%E2%80%AEb%C2%85"),
        ("a\udcffb\ud800", "a%FFb%ED%A0%80"),
        ("100% a%3A%2", "100% a%253A%2"),
        ("con", "%63on"),
        ("deep/NUL.x/LPT1", "deep/%4EUL.x/%4CPT1"),
        ("console", "console"),
        ("a/COM1", "a/%43OM1"),
        ("a/com1.x/b.c d", "a/%63om1.x/b.c d"),
        ("a.", "a%2E"),
        ("...", "..%2E"),
        (" a ", "%20a%20"),
        (" ", "%20"),
    ],
)
def test_what_some_file_system_refuses_is_percent_encoded(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert stem_problem(safe) is None


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('%3A:./ nulCON*"\\'), max_size=30))
def test_an_encoded_name_can_be_decoded_so_that_no_two_become_one(name: str) -> None:
    safe = safe_name(name)
    assert unquote_to_bytes(safe.encode()) == name.encode(errors="surrogatepass")
    assert safe_name(name) == name or "%" in safe


def test_a_name_that_is_too_long_is_cut_and_stays_apart_from_others() -> None:
    cut = [safe_name(f"deep/{'é' * 120}{end}") for end in ("1", "2", ":")]
    assert all(len(name.partition("/")[2].encode()) <= LONGEST_NAME for name in cut)
    assert len(set(cut)) == 3
    assert all(stem_problem(name) is None for name in cut)
    assert safe_name("x" * LONGEST_NAME) == "x" * LONGEST_NAME


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../a", "a/../b", "/etc/passwd", "a//b", "a/", ".asyncsdk", ".asyncsdk/x", ".ASYNCSDK/x",
        "/".join(["x" * 100] * 11), ".asyn\u200dcsdk/x",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_or_nowhere_is_refused(name: str) -> None:
    assert stem_problem(name) is not None
    assert "Nothing was sent" in (Names().reserve(name, 1, 1) or "")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a", "with an id that leads out of the directory"),
        ("/etc/passwd", "with an id that leads out of the directory"),
        ("a/../../b", "with an id that leads out of the directory"),
        ("a/../b", "with an id that goes back with '..'"),
        ("a/b/..", "with an id that goes back with '..'"),
        ("a//b", "with an id that leads nowhere"),
        ("", "with an id that leads nowhere"),
        (".asyncsdk/x", "with an id that is kept for the ledger"),
        ("/".join(["x" * 100] * 11), "with an id that is too long"),
        ("fine", "as another"),
    ],
)
def test_what_is_wrong_with_a_name_is_said_in_its_own_words(name: str, reason: str) -> None:
    assert why_refused(name, "as another") == reason


@given(st.text(max_size=30))
def test_whatever_is_taken_stays_below_its_directory(name: str) -> None:
    name = safe_name(name)
    if stem_problem(name) is None:
        parts = PurePosixPath("out", name).parts
        assert parts[0] == "out"
        assert ".." not in parts
        assert len(parts) > 1


def test_a_name_is_given_once_whatever_its_case_and_spelling() -> None:
    names = Names()
    assert names.reserve("Été", 1, -17) is None
    for same in ("Été", "ÉTÉ", "e\u0301te\u0301"):
        told = f"line 18 has the id {same!r}, which edit 17 has too. Give each its own id"
        assert told in (names.reserve(same, 1, 18) or "")


def test_the_numbers_of_several_pictures_are_names_too() -> None:
    names = Names()
    assert stems("a", 3) == ["a", "a.1", "a.2"]
    assert names.reserve("a", 2, 1) is None
    assert names.reserve("a.1", 1, 1) is not None
    assert names.reserve("a.2", 1, 1) is None
    assert names.reserve("b.1", 1, 1) is None
    assert names.reserve("b", 2, 1) is not None
    assert names.reserve("b", 1, 1) is None


@given(st.lists(st.tuples(st.text("aAbß.1", min_size=1, max_size=3), st.integers(1, 3)), max_size=40))
def test_names_are_given_as_a_set_of_them_would(wanted: list[tuple[str, int]]) -> None:
    names, taken = Names(), dict[str, int]()
    for place, (name, pictures) in enumerate(wanted, 1):
        if stem_problem(safe_name(name)) is not None:
            continue
        keys = [casefolded(stem) for stem in stems(safe_name(name), pictures)]
        before = next((taken[key] for key in keys if key in taken), None)
        problem = names.reserve(name, pictures, place)
        assert (problem is None) == (before is None)
        assert before is None or f"which line {before} has too" in (problem or "")
        taken |= {} if problem else dict.fromkeys(keys, place)
    assert all(key in names for key in taken)


def test_names_whose_digests_begin_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "name_digest", lambda stem: bytes(8) + name_digest(stem)[8:])
    names = Names()
    assert [names.reserve(f"row {number}", 1, number) for number in range(1, 101)] == [None] * 100
    for number in range(1, 101):
        assert f"which line {number} has too" in (names.reserve(f"ROW {number}", 1, 200) or "")
    assert "row 101" not in names


@pytest.mark.parametrize("line", [(1 << 31) - 1, 1 - (1 << 31), 1, -1])
def test_the_line_that_has_a_name_is_told(line: int) -> None:
    names = Names()
    assert names.reserve("a", 1, line) is None
    told = f"line {line}" if line > 0 else f"edit {-line}"
    assert f"line 3 has the id 'A', which {told} has too" in (names.reserve("A", 1, 3) or "")


@pytest.mark.parametrize("line", [1 << 31, -(1 << 31), 1 << 70, "7", 1.5])
def test_a_line_that_is_not_one_takes_a_name_too(line: Any) -> None:
    names = Names()
    assert names.reserve("a", 1, line) is None
    assert names.reserve("b", 1, 2) is None
    assert "line 3 has the id 'A', which another edit has too" in (names.reserve("A", 1, 3) or "")
    assert "has the id 'b', which line 2 has too" in (names.reserve("b", 1, line) or "")


def test_a_name_that_is_taken_needs_twenty_bytes_at_most() -> None:
    tracemalloc.start()
    names = Names()
    before = tracemalloc.get_traced_memory()[0]
    assert all(names.reserve(f"row {number}", 1, number) is None for number in range(1, 100_001))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert names.reserve("ROW 77777", 1, 1) is not None
    assert grown <= 20 * 100_000


def test_the_suffix_is_of_what_the_bytes_are() -> None:
    assert suffix_of(png()) == ".png"
    assert suffix_of(b"\xff\xd8\xff\xe0") == ".jpg"
    assert suffix_of(b"<?xml?><svg/>") == ".svg"
    assert suffix_of(b"<html><svg/></html>") == ".bin"
    assert suffix_of(b"anything") == ".bin"


@given(st.text())
def test_what_is_kept_raw_has_a_name_that_stays_in_its_folder_and_is_seen(name: str) -> None:
    stem = raw_stem(name)
    assert PurePosixPath(stem).name == stem
    assert not stem.startswith(".")
    assert len(f"{stem}-1000.raw".encode()) <= 255


def test_what_is_kept_raw_is_named_after_its_edit() -> None:
    assert [raw_stem(name) for name in ("otter", "a/b c", "../x", "", "名前", "x" * 99)] == [
        "otter", "a_b_c", "_x", "edit", "名前", "x" * 40,
    ]  # fmt: skip
