"""Patterns that the shell did not expand."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk.cli.patterns import expand
from asyncsdk.errors import ConfigurationError


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = ("a.jpg", "b.jpg", "b.png", "deep/c.jpg", "deep/er/d.jpg", "out/old.jpg")
    for name in (*shown, ".hidden.jpg", "@eaDir/a.jpg"):
        path = Path("photos", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("photos/*.jpg", ["photos/a.jpg", "photos/b.jpg"]),
        ("photos/[b].*", ["photos/b.jpg", "photos/b.png"]),
        ("photos/?.png", ["photos/b.png"]),
        ("photos/*/*.jpg", ["photos/deep/c.jpg", "photos/out/old.jpg"]),
        ("photos/deep*", ["photos/deep"]),
        ("photos/deep/**", ["photos/deep/c.jpg", "photos/deep/er/d.jpg"]),
        ("photos/a.jpg", ["photos/a.jpg"]),
        ("photos/missing.jpg", ["photos/missing.jpg"]),
    ],
)
def test_a_pattern_is_what_it_matches_and_other_names_stay(pattern: str, matches: list[str]) -> None:
    assert expand([pattern]) == matches
    assert expand([str(Path(pattern).absolute())]) == [str(Path(match).absolute()) for match in matches]
    assert expand(["first", pattern, "last"]) == ["first", *matches, "last"]


def test_folders_at_any_depth_match_as_a_directory_would_give_them() -> None:
    deep = ["photos/a.jpg", "photos/b.jpg", "photos/deep/c.jpg", "photos/deep/er/d.jpg"]
    assert expand(["photos/**/*.jpg"]) == [*deep, "photos/out/old.jpg"]
    assert expand(["photos/**/*.jpg"], apart_from=Path("photos/out")) == deep
    assert expand(["**/*.jpg"], apart_from=Path("photos/out")) == deep
    assert expand(["photos/out/*.jpg"], apart_from=Path("photos/out")) == ["photos/out/old.jpg"], "it is named"


def test_a_linked_folder_is_not_followed() -> None:
    Path("photos/deep/loop").symlink_to(Path("photos").absolute())
    assert expand(["photos/deep/**/*.jpg"]) == ["photos/deep/c.jpg", "photos/deep/er/d.jpg"]


def test_a_file_of_that_very_name_is_meant() -> None:
    Path("photos/[a].jpg").touch()
    assert expand(["photos/[a].jpg"]) == ["photos/[a].jpg"]


def test_a_pattern_without_a_match_is_an_error() -> None:
    case = " Upper and lower case count: photos/{} is there."
    hints = {"photos/*.gif": "", "nowhere/*.jpg": "", "photos/*.JPG": case, "photos/[B].JPG": "", "photos/B.[p]*": case}
    for pattern, hint in hints.items():
        with pytest.raises(ConfigurationError) as raised:
            expand(["photos/a.jpg", pattern])
        said = hint.format("b.png" if "B" in pattern else "a.jpg")
        assert str(raised.value) == f"nothing matches {pattern}.{said} Nothing was sent."
