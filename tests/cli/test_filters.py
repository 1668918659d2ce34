"""Patterns of --include and --exclude: which files of a folder they take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from asyncsdk.cli.filters import Filters, PathPattern

FILES = (
    "a.jsonl",
    "a.txt",
    "B.JSONL",
    "old/a.jsonl",
    "old/deep/b.jsonl",
    "new/old/c.jsonl",
    "new/d.jsonl",
    "old.jsonl",
)


def taken(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    filters = Filters.of(include, exclude)
    return [name for name in FILES if filters.takes(name.split("/"))]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*.txt", ["a.txt"]),
        ("a.*", ["a.jsonl", "a.txt", "old/a.jsonl"]),
        ("?.jsonl", ["a.jsonl", "old/a.jsonl", "old/deep/b.jsonl", "new/old/c.jsonl", "new/d.jsonl"]),
        ("[!a].jsonl", ["old/deep/b.jsonl", "new/old/c.jsonl", "new/d.jsonl"]),
        ("old", ["old/a.jsonl", "old/deep/b.jsonl", "new/old/c.jsonl"]),
        ("old/", ["old/a.jsonl", "old/deep/b.jsonl", "new/old/c.jsonl"]),
        ("a.jsonl/", []),
        ("/old", ["old/a.jsonl", "old/deep/b.jsonl"]),
        ("./old", ["old/a.jsonl", "old/deep/b.jsonl"]),
        ("old/*.jsonl", ["old/a.jsonl"]),
        ("old/*", ["old/a.jsonl", "old/deep/b.jsonl"]),
        ("*/*.jsonl", ["old/a.jsonl", "new/d.jsonl"]),
        ("**/*.jsonl", [name for name in FILES if name.endswith(".jsonl")]),
        ("old/**/**/*.jsonl", ["old/a.jsonl", "old/deep/b.jsonl"]),
        ("**/old/**", ["old/a.jsonl", "old/deep/b.jsonl", "new/old/c.jsonl"]),
        ("/a.jsonl", ["a.jsonl"]),
    ],
)
def test_a_pattern_takes_what_it_matches_and_what_is_in_such_a_folder(pattern: str, matches: list[str]) -> None:
    assert taken((pattern,)) == matches
    assert taken((), (pattern,)) == [name for name in FILES if name not in matches]


def test_what_is_excluded_stays_so_and_one_of_several_is_enough_to_be_included() -> None:
    assert taken() == list(FILES)
    assert taken(("*.txt", "old.*")) == ["a.txt", "old.jsonl"]
    assert taken(("*.jsonl",), ("old", "a.*")) == ["new/d.jsonl", "old.jsonl"]


@pytest.mark.parametrize("pattern", ["", "/", ".", "..", "../*.jsonl", "a/../b"])
def test_a_pattern_that_leads_out_of_the_folder_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="a pattern is a name, or a path below the folder"):
        PathPattern.of(pattern)


NAMES = some.text("ab.", min_size=1).filter(lambda name: name not in {".", ".."})
PATHS = some.lists(NAMES, min_size=1, max_size=4)


@given(PATHS, some.lists(some.sampled_from(["a", "*", "**", "a*", "?", "b/", "**/a", "a/**"]), max_size=3))
def test_what_is_in_an_excluded_folder_is_excluded_and_a_folder_with_wanted_files_is_entered(
    path: list[str], patterns: list[str]
) -> None:
    excluding = Filters.of(exclude=patterns)
    including = Filters.of(include=patterns)
    for length in range(1, len(path)):
        if not excluding.takes(path[:length], is_folder=True):
            assert not excluding.takes(path)
        assert including.takes(path[:length], is_folder=True)
    assert including.takes(path) or patterns
