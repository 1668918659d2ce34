"""A folder's files in order; what can't be looked at is named, and what systems keep among them is counted."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from asyncsdk.cli.filters import Filters
from asyncsdk.cli.left_out import LeftOut
from asyncsdk.cli.walk import walk


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(folder: Path, apart_from: Path | None = None) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in walk(folder, apart_from=apart_from).files]


def forbid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder be unreadable, for root too."""
    real = os.scandir

    def scandir(path: Path) -> object:
        if path == folder:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_files_come_ordered_by_their_paths(tmp_path: Path) -> None:
    fill(tmp_path, "b", "a/z", "a/b/c", "a.txt", "ab/1", "Z", "a/B")
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [tmp_path / name for name in names(tmp_path)] == sorted(everything)


def test_a_folder_that_can_not_be_read_is_named_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "ok/1", "secret/2", "z")
    forbid(tmp_path / "secret", monkeypatch)
    found = walk(tmp_path)
    assert found.files == [tmp_path / "ok/1", tmp_path / "z"]
    assert found.left_out == [LeftOut(tmp_path / "secret", "Permission denied")]
    with pytest.raises(PermissionError):
        walk(tmp_path / "secret")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_rights_forbid_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "secret/2", "shown/3")
    (tmp_path / "link").symlink_to("secret/2")
    (tmp_path / "secret").chmod(0)
    try:
        found = walk(tmp_path)
    finally:
        (tmp_path / "secret").chmod(0o700)
    assert found.files == [tmp_path / "shown/3"]
    assert [(left.path.name, left.reason) for left in found.left_out] == [
        ("link", "Permission denied"),
        ("secret", "Permission denied"),
    ]


def test_links_to_files_are_followed_and_all_others_named(tmp_path: Path) -> None:
    fill(tmp_path, "away/1", "photos/real")
    photos = tmp_path / "photos"
    for name, target in {"file": "real", "folder": "../away", "gone": "nowhere", "loop": "loop", "up": ".."}.items():
        (photos / name).symlink_to(target)
    os.mkfifo(photos / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(photos / "socket"))
        found = walk(photos)
    assert found.files == [photos / "file", photos / "real"]
    assert [(left.path.name, left.reason) for left in found.left_out] == [
        ("folder", "a link to a folder, which is not followed"),
        ("gone", "a broken link"),
        ("loop", os.strerror(40)),
        ("pipe", "neither a file nor a folder"),
        ("socket", "neither a file nor a folder"),
        ("up", "a link to a folder, which is not followed"),
    ]


def test_folders_of_systems_and_what_is_hidden_are_counted_and_not_entered(tmp_path: Path) -> None:
    fill(tmp_path, "1.jpg", "@eaDir/1.jpg/THUMB.jpg", "deep/@eaDir/x", "#recycle/old.jpg", "$RECYCLE.BIN/old.jpg")
    fill(tmp_path, ".Trash-1000/old.jpg", "deep/.DS_Store", "@Recycle/o", "System Volume Information/x", "lost+found/x")
    fill(
        tmp_path, "#snapshot/x", "@Recently-Snapshot/x", ".asyncsdk/ledger", "recycled art/1.jpg", "deep/lost+found.jpg"
    )
    found = walk(tmp_path)
    assert names(tmp_path) == ["1.jpg", "deep/lost+found.jpg", "recycled art/1.jpg"]
    assert found.left_out == []
    assert found.ignored == {
        "hidden": 2, "@eaDir": 2, "#recycle": 1, "$RECYCLE.BIN": 1, "@Recycle": 1, "System Volume Information": 1,
        "lost+found": 1, "#snapshot": 1, "@Recently-Snapshot": 1,
    }  # fmt: skip


def test_a_file_may_have_the_name_of_such_a_folder_and_such_a_folder_may_be_meant(tmp_path: Path) -> None:
    fill(tmp_path, "photos/lost+found", "#recycle/old.jpg")
    assert names(tmp_path / "photos") == ["lost+found"]
    assert names(tmp_path / "#recycle") == ["old.jpg"]


def test_one_folder_may_be_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a", "out/b", "deep/out/c")
    assert names(tmp_path, apart_from=tmp_path / "out") == ["a", "deep/out/c"]
    monkeypatch.chdir(tmp_path)
    assert names(Path(), apart_from=Path("out")) == ["a", "deep/out/c"]


def test_filters_hold_for_what_is_left_out_too_and_an_excluded_folder_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a.txt", "b.jsonl", "old/c.jsonl", "new/d.jsonl", "secret/x", "new/secret/y")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    (tmp_path / "gone.jsonl").symlink_to("nowhere")
    (tmp_path / "linked").symlink_to("new")
    forbid(tmp_path / "secret", monkeypatch)
    forbid(tmp_path / "new/secret", monkeypatch)
    found = walk(tmp_path, filters=Filters.of(["*.jsonl"], ["old", "/secret"]))
    assert [path.name for path in found.files] == ["b.jsonl", "d.jsonl"]
    assert [os.fspath(left.path.relative_to(tmp_path)) for left in found.left_out] == [
        "gone.jsonl",
        "linked",
        "new/secret",
    ]
    monkeypatch.chdir(tmp_path)
    below = walk(Path(), filters=Filters.of(["new/*.jsonl"]))
    assert below.files == [Path("new/d.jsonl")]


def test_links_to_folders_are_followed_where_that_is_wanted_and_each_folder_is_looked_through_once(
    tmp_path: Path,
) -> None:
    fill(tmp_path, "away/1", "photos/deep/2", "photos/z")
    photos = tmp_path / "photos"
    for name, target in {"folder": "../away", "loop": "loop", "up": "..", "deeper": "deep"}.items():
        (photos / name).symlink_to(target)
    (photos / "deep" / "home").symlink_to(photos)
    found = walk(photos, follow_links=True)
    assert found.files == [photos / "deep/2", photos / "folder/1", photos / "z"]
    assert found.left_out == [LeftOut(photos / "loop", os.strerror(40))]
    again = ["deep/home", "deeper", "up/away", "up/photos"]
    assert found.again == [photos / name for name in again]
