"""`failed.jsonl`: what is left of a run is itself a job file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.cli.edits.job_file import read_jobs
from asyncsdk.cli.edits.report import ids_left, left_of, save_left, still_left
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.outcome import EditOutcome, Problem


def left(name: str, path: Path) -> dict[str, Any]:
    edit = ImageEdit(image=path, prompt="x", n=2, id=name)
    return left_of(EditOutcome(edit=edit, id=name, status="failed", problem=Problem(type="E", message="no")))


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


async def test_it_is_a_job_file_and_tells_why(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = await save_left(tmp_path / "out", [left("a", tmp_path / "a.png")], reported={"a"}, is_whole=True)
    assert path == tmp_path / "out" / "failed.jsonl"
    [again] = read_jobs(path.read_bytes(), suffix=".jsonl", folder=Path("/x"), defaults={})
    assert again == ImageEdit(image=tmp_path / "a.png", prompt="x", n=2, id="a", line=1)
    told = json.loads(path.read_text())
    assert (told["status"], told["error"]["message"], told["error"]["type"]) == ("failed", "no", "E")


async def test_a_directory_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await save_left(tmp_path / "out", [left("a", tmp_path / "a.png")], reported={"a"}, is_whole=True)
    assert list(tmp_path.iterdir()) == []


async def test_a_whole_run_leaves_its_own_alone(tmp_path: Path) -> None:
    await save_left(tmp_path, [left("a", tmp_path), left("b", tmp_path)], reported={"a", "b"}, is_whole=True)
    await save_left(tmp_path, [left("c", tmp_path)], reported={"c"}, is_whole=True)
    assert ids(tmp_path / "failed.jsonl") == ["c"]
    assert await save_left(tmp_path, [], reported=set(), is_whole=True) is None
    assert list(tmp_path.iterdir()) == []


async def test_a_run_that_did_not_come_to_all_keeps_what_it_did_not_come_to(tmp_path: Path) -> None:
    await save_left(tmp_path, [left("a", tmp_path), left("b", tmp_path)], reported={"a", "b"}, is_whole=True)
    await save_left(tmp_path, [left("c", tmp_path)], reported={"a", "c"}, is_whole=False)
    assert ids(tmp_path / "failed.jsonl") == ["b", "c"]
    assert await save_left(tmp_path, [], reported={"b", "c"}, is_whole=False) is None


def test_a_line_that_is_none_stays_for_a_person_to_read() -> None:
    assert still_left('{"id": "a"}\nodd\n\n[1]\n', {"a"}) == ["odd", "[1]"]


async def test_whom_an_earlier_file_tells_of_is_known(tmp_path: Path) -> None:
    assert ids_left(tmp_path) == frozenset()
    await save_left(tmp_path, [left("a", tmp_path), left("b", tmp_path)], reported=set(), is_whole=True)
    assert ids_left(tmp_path) == {"a", "b"}
    (tmp_path / "failed.jsonl").write_bytes(b"\xff")
    assert ids_left(tmp_path) == frozenset()
