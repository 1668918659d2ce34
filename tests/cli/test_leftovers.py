"""`failed.jsonl`: what is left of a run is itself a job file; a later run replaces the lines of the edits it knows."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.cli.edits.job_file import Place, read_jobs
from asyncsdk.cli.edits.leftovers import JobLine, Leftovers, left_of
from asyncsdk.cli.edits.report import leftovers_in, save_left
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.outcome import EditOutcome, Problem, Status

PROBLEM = Problem(type="E", message="no")


def ended(called: str, path: Path, status: Status = "failed", **fields: Any) -> EditOutcome:
    """An edit whose id a person wrote, unless `id` is None."""
    usual: dict[str, Any] = {"prompt": "x", "n": 2, "id": called}
    edit = ImageEdit(image=path, **(usual | fields))
    return EditOutcome(edit=edit, id=called, status=status, problem=None if status == "done" else PROBLEM)


async def run(out: Path, *outcomes: EditOutcome) -> Path | None:
    leftovers = leftovers_in(out)
    for outcome in outcomes:
        leftovers.note(outcome)
    path, _ = await save_left(out, [left_of(each) for each in outcomes if each.status != "done"], leftovers)
    return path


def ids(out: Path) -> list[str]:
    path = out / "failed.jsonl"
    return [json.loads(line)["id"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def a(tmp_path: Path) -> Path:
    (tmp_path / "a.png").touch()
    return tmp_path / "a.png"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    (tmp_path / "b.png").touch()
    return tmp_path / "b.png"


def test_of_a_job_file_only_lines_that_name_files_are_read_for_them(
    tmp_path: Path, a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[str]()

    def of_text(text: str) -> JobLine:
        read.append(text)
        return JobLine(json.loads(text))

    monkeypatch.setattr(JobLine, "read", of_text)
    saved = json.dumps({"id": "b", "image": str(a), "prompt": "x", "status": "uncertain", "files": [str(a)]})
    plain = json.dumps({"id": "a", "image": str(a), "prompt": "x"})
    assert [line.saved for line in leftovers_in(tmp_path, f"{plain}\n{saved}\n{plain}".encode()).saved.values()] == [
        (a,)
    ]
    assert read == [saved]


def test_files_of_a_line_are_read_however_another_program_wrote_their_name(tmp_path: Path, a: Path) -> None:
    saved = json.dumps({"id": "b", "image": str(a), "prompt": "x", "status": "uncertain", "files": [str(a)]})
    for number, letter in enumerate("files"):
        name = "files"[:number] + f"\\u{ord(letter):04X}" + "files"[number + 1 :]
        line = saved.replace('"files"', f'"{name}"')
        assert line != saved
        assert [each.saved for each in leftovers_in(tmp_path, line.encode()).saved.values()] == [(a,)]


async def test_it_is_a_job_file_and_tells_why(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = await run(tmp_path / "out", ended("a", tmp_path / "a.png"))
    assert path == tmp_path / "out" / "failed.jsonl"
    [again] = read_jobs(path.read_bytes(), suffix=".jsonl", place=Place(Path("/x"), bool), defaults={})
    assert again == ImageEdit(image=tmp_path / "a.png", prompt="x", n=2, id="a", line=1)
    told = json.loads(path.read_text())
    assert (told["status"], told["error"]["message"], told["error"]["type"]) == ("failed", "no", "E")


async def test_a_directory_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run(tmp_path / "out", ended("a", tmp_path / "a.png"))
    assert list(tmp_path.iterdir()) == []


async def test_lines_of_edits_that_a_run_reports_are_replaced_or_removed_and_the_others_stay(
    tmp_path: Path, a: Path, b: Path
) -> None:
    await run(tmp_path, ended("a", a), ended("b", b))
    await run(tmp_path, ended("c", a), ended("a", a, "done"))
    assert ids(tmp_path) == ["b", "c"]
    await run(tmp_path)
    assert ids(tmp_path) == ["b", "c"]
    assert await run(tmp_path, ended("b", b, "done"), ended("c", a, "done")) is None
    assert ids(tmp_path) == []


@pytest.mark.parametrize("name", ["A", "a"])
async def test_an_id_in_other_case_with_another_prompt_is_the_same_edit(tmp_path: Path, a: Path, name: str) -> None:
    await run(tmp_path, ended("a", a))
    await run(tmp_path, ended(name, a, "done", prompt="better"))
    assert ids(tmp_path) == []


async def test_a_made_name_of_another_picture_is_another_edit_and_gets_an_id_of_its_own(
    tmp_path: Path, a: Path, b: Path
) -> None:
    await run(tmp_path, ended("IMG_1", a, id=None, name="IMG_1"))
    await run(tmp_path, ended("IMG_1", b, "done", id=None, name="IMG_1"))
    [apart] = ids(tmp_path)
    assert apart.startswith("IMG_1-")
    await run(tmp_path, ended("IMG_1", b, id=None, name="IMG_1"))
    assert ids(tmp_path) == [apart, "IMG_1"]
    await run(tmp_path, ended("IMG_1-png", a, "done", id=None, name="IMG_1"))
    assert ids(tmp_path) == ["IMG_1"]


async def test_a_corrected_path_is_the_same_edit_though_its_name_is_the_number_of_its_line(
    tmp_path: Path, a: Path
) -> None:
    await run(tmp_path, ended("3", tmp_path / "misspelt.png", "refused", id=None, line=3))
    await run(tmp_path, ended("3", a, "done", id=None, line=3))
    assert ids(tmp_path) == []


async def test_a_row_on_another_line_is_the_same_edit(tmp_path: Path, a: Path, b: Path) -> None:
    await run(tmp_path, ended("3", a, id=None, line=3), ended("4", b, id=None, line=4))
    await run(tmp_path, ended("4", a, "done", id=None, line=4), ended("5", b, id=None, line=5))
    assert ids(tmp_path) == ["5"]


async def test_of_equal_edits_each_is_known_by_its_own_name(tmp_path: Path, a: Path) -> None:
    await run(tmp_path, ended("3", a, id=None, line=3), ended("7", a, "uncertain", id=None, line=7))
    await run(tmp_path, ended("7", a, "done", id=None, line=7))
    assert ids(tmp_path) == ["3"]


async def test_a_refused_picture_may_be_replaced_under_the_id_that_a_person_wrote(
    tmp_path: Path, a: Path, b: Path
) -> None:
    await run(tmp_path, ended("12", a, "refused"))
    await run(tmp_path, ended("12", b, "done"))
    assert ids(tmp_path) == []


@pytest.mark.parametrize("fields", [{"prompt": "another"}, {"n": 1}])
async def test_what_may_be_paid_stays_until_that_very_edit_is_reported(
    tmp_path: Path, a: Path, fields: dict[str, Any]
) -> None:
    await run(tmp_path, ended("a", a, "uncertain"))
    await run(tmp_path, ended("a", a, "done", **fields))
    [apart] = ids(tmp_path)
    assert apart.startswith("a-")
    await run(tmp_path, ended(apart, a, "done"))
    assert ids(tmp_path) == []


async def test_a_file_that_stays_as_it_is_keeps_its_time(tmp_path: Path, a: Path) -> None:
    await run(tmp_path, ended("a", a))
    os.utime(tmp_path / "failed.jsonl", (1, 1))
    for outcomes in ([], [ended("b", a, "done")], [ended("a", a)]):
        await run(tmp_path, *outcomes)
        assert (tmp_path / "failed.jsonl").stat().st_mtime == 1


def left(text: str, *outcomes: EditOutcome) -> Sequence[str]:
    leftovers = Leftovers.of(text)
    for outcome in outcomes:
        leftovers.note(outcome)
    return leftovers.still_left(text, [], is_there=lambda _: True)


def test_a_line_that_is_not_a_job_stays_for_a_person_to_read(tmp_path: Path) -> None:
    text = '{"id": "a", "image": "/a.png"}\nodd\n\n[1]\n{"id": 5}\n' + "[" * 100_000
    assert left(text, ended("a", Path("/a.png"))) == ["odd", "[1]", '{"id": 5}', "[" * 100_000]


def test_lines_that_were_written_meanwhile_stay() -> None:
    leftovers = Leftovers.of("")
    leftovers.note(ended("a", Path("/a.png"), "done"))
    line = '{"id": "a", "image": "/a.png"}'
    assert leftovers.still_left(line, [], is_there=lambda _: True) == [line]


async def test_what_is_not_text_stays_as_it_is(tmp_path: Path, a: Path) -> None:
    (tmp_path / "failed.jsonl").write_bytes(b"\xff\n")
    await run(tmp_path, ended("a", a))
    assert (tmp_path / "failed.jsonl").read_bytes().startswith(b"\xff\n{")


def test_ten_thousand_lines_take_no_longer_than_reading_them() -> None:
    outcomes = [ended(str(number), Path(f"/{number}.png"), id=None, line=number) for number in range(10_000)]
    text = "".join(json.dumps(left_of(outcome)) + "\n" for outcome in outcomes)
    assert left(text, *outcomes) == []
