"""SOURCEs: what is taken from a directory, and which ones are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asyncsdk.cli.edits.sources import rows_in
from asyncsdk.errors import ConfigurationError


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def ids(*sources: object, out: Path) -> list[str | None]:
    rows = rows_in([str(source) for source in sources], out=out, defaults={"prompt": "x"})
    return [edit.id or edit.name for edit in rows.edits()]


def test_a_directory_gives_its_pictures_in_order_with_their_paths_as_names(tmp_path: Path) -> None:
    fill(tmp_path, "b.jpg", "deep/a.PNG", "notes.txt", ".hidden.png", "out/old.png", "deep/.asyncsdk/x.png", "c.webp")
    (tmp_path / "folder.png").mkdir()
    assert ids(tmp_path, out=tmp_path / "out") == ["b", "c", "deep/a"]


@pytest.mark.parametrize("out", [".", "..", "photos", "elsewhere"])
def test_only_pictures_in_the_directory_of_results_are_left_out(tmp_path: Path, out: str) -> None:
    fill(tmp_path / "photos", "a.JPG")  # whose result has another name
    assert ids(tmp_path / "photos", out=tmp_path / out) == ["a"]


def test_the_directory_of_results_is_known_behind_a_link(tmp_path: Path) -> None:
    fill(tmp_path / "photos", "a.png", "out/old.png")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    assert ids(tmp_path / "link", out=tmp_path / "photos" / "out") == ["a"]


def test_a_folder_whose_pictures_can_not_be_looked_at_says_why(tmp_path: Path) -> None:
    fill(tmp_path / "away", "a.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "away")
    with pytest.raises(
        ConfigurationError,
        match=r"contains no picture .*linked: a link to a folder, which is not followed",
    ):
        ids(tmp_path / "photos", out=tmp_path / "out")
    assert ids(tmp_path / "photos" / "linked", out=tmp_path / "out") == ["a"]


def test_a_picture_that_is_given_twice_is_taken_once_and_that_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "photos" / "c.png").symlink_to("a.png")
    monkeypatch.chdir(tmp_path)
    sources = ["photos", "photos/a.png", "photos/../photos/b.png", str(tmp_path / "photos")]
    rows = rows_in(sources, out=tmp_path / "out", defaults={"prompt": "x"})
    assert [edit.name for edit in rows.edits()] == ["a", "b", "c"]
    assert (rows.total, len(rows.twice), rows.left_out) == (3, 5, [])


def test_what_is_left_out_of_a_folder_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    fill(tmp_path / "one", "a.png", "b.txt", "@eaDir/a.png", ".hidden.png", "deep/c.png", "deep/d.txt")
    (tmp_path / "one" / "gone.png").symlink_to("nowhere")
    sources = [str(tmp_path / name) for name in ("one", "one", "one/deep")]
    rows = rows_in(sources, out=tmp_path / "out", defaults={"prompt": "x"})
    assert (rows.total, len(rows.left_out), len(rows.others), len(rows.twice)) == (3, 1, 2, 3)
    assert rows.ignored == {"@eaDir": 1, "hidden": 1}


def test_what_is_left_out_of_all_folders_counts_together(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fill(tmp_path / name, "a.png", "b.txt", "@eaDir/a.png", ".hidden.png", "out/.asyncsdk/x")
        (tmp_path / name / "gone.png").symlink_to("nowhere")
    rows = rows_in([str(tmp_path / name) for name in ("one", "two")], out=tmp_path / "out", defaults={"prompt": "x"})
    assert (rows.total, len(rows.left_out), len(rows.others)) == (4, 2, 2)
    assert rows.ignored == {"@eaDir": 2, "hidden": 2}


def test_sources_of_all_kinds_go_together_each_bad_row_with_its_source(tmp_path: Path) -> None:
    fill(tmp_path, "one.png", "two.jpg")
    (tmp_path / "jobs.jsonl").write_text('{"image": "one.png"}\nodd\n')
    (tmp_path / "JOBS.CSV").write_text("image,id\none.png,three\n,four\n")
    sources = [str(tmp_path / name) for name in ("two.jpg", "jobs.jsonl", "JOBS.CSV")]
    rows = rows_in(sources, out=tmp_path / "out", defaults={"prompt": "x"})
    assert (rows.total, [(str(path), row.line) for path, row in rows.bad]) == (5, [(sources[1], 2), (sources[2], 3)])
    assert ids(*sources, out=tmp_path / "out") == ["two", None, "three"]


def test_a_job_file_that_changes_during_a_run_does_not_change_the_run(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text('{"image": "one.png", "id": "a"}\n')
    rows = rows_in([str(path)], out=tmp_path / "out", defaults={"prompt": "x"})
    path.write_text("half a li")
    assert [edit.id for edit in rows.edits()] == [edit.id for edit in rows.edits()] == ["a"]


def test_bad_sources_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    fill(tmp_path, "empty.jsonl", "good.png")
    (tmp_path / "odd.jsonl").write_bytes(b"\xff\xff\xff")
    (tmp_path / "odd.csv").write_text("image,promt\n")
    (tmp_path / "nothing").mkdir()
    words = {
        "missing.png": "No such file",
        "missing.csv": "No such file",
        "nothing": "contains no picture",
        "empty.jsonl": "contains no job",
        "odd.jsonl": "not text in UTF-8",
        "odd.csv": r"did you mean 'prompt'\? If it is something else, rename it\. Nothing was sent",
    }
    for name, why in words.items():
        with pytest.raises(ConfigurationError, match=why) as raised:
            ids(tmp_path / "good.png", tmp_path / name, out=tmp_path / "out")
        assert name in str(raised.value)
        assert str(raised.value).endswith("Nothing was sent.")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("jobs.xlsx", "it is a spreadsheet, not a job file: in Excel, save it as .CSV UTF-8., and give that file"),
        ("JOBS.XLS", "it is a spreadsheet"),
        ("jobs.ods", "it is a spreadsheet"),
        ("jobs.parquet", "it is a data file, not a job file: write it as JSON lines"),
        ("jobs.jsonl.gz", "it is an archive, not a job file: unpack it and give the file within"),
        ("jobs.txt", "it is a text file, not a job file: name it .csv if it is a table, or .jsonl if each line"),
    ],
)
def test_a_file_that_can_not_be_a_job_file_is_named_for_what_it_is(tmp_path: Path, name: str, why: str) -> None:
    fill(tmp_path, name)
    with pytest.raises(ConfigurationError, match=why) as raised:
        ids(tmp_path / name, out=tmp_path / "out")
    assert str(raised.value).endswith(". Nothing was sent.")


@pytest.mark.parametrize("name", ["jobs.ndjson", "jobs.json", "JOBS.JSON"])
def test_job_files_of_json_have_several_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"image": "a.png", "id": "a"}\n')
    assert ids(tmp_path / name, out=tmp_path / "out") == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_source_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "jobs.jsonl")
    (tmp_path / "jobs.jsonl").chmod(0)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        ids(tmp_path / "jobs.jsonl", out=tmp_path)


def test_pictures_without_a_prompt_are_refused_once_not_each(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png")
    for source in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(ConfigurationError, match="give --prompt TEXT"):
            rows_in([str(source)], out=tmp_path / "out", defaults={})
