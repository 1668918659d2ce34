"""Job files become edits, or a problem with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.api import ImageRef
from asyncsdk.cli.bulk_editing import agreed, defaults_of, read_redo
from asyncsdk.cli.edit_many import RunOptions
from asyncsdk.cli.edit_options import EditOptions
from asyncsdk.cli.edit_records import summary
from asyncsdk.cli.jobs import BadRow, Row, read_jobs, row_of, rows_of_pictures
from asyncsdk.cli.sources import rows_in
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.edit import ImageEdit

FOLDER = Path("/jobs")


def rows(data: bytes | str, suffix: str = ".jsonl", **defaults: Any) -> list[Row]:
    content = data.encode() if isinstance(data, str) else data
    return list(read_jobs(content, suffix=suffix, folder=FOLDER, defaults=defaults))


def edit(row: Row) -> ImageEdit:
    assert isinstance(row, ImageEdit), row
    return row


def problem(row: Row) -> str:
    assert isinstance(row, BadRow), row
    return f"{row.line}: {row.message}"


def test_a_line_is_an_edit_with_paths_relative_to_the_file() -> None:
    [found] = rows('{"image": ["a.png", "/b.png"], "mask": "m.png", "prompt": "x", "n": 2, "id": 7}')
    assert edit(found).image == (FOLDER / "a.png", Path("/b.png"))
    assert (edit(found).mask, edit(found).n, edit(found).id, edit(found).line) == (FOLDER / "m.png", 2, "7", 1)


def test_references_may_stand_for_pictures() -> None:
    [found] = rows('{"image": {"file_id": "file-1"}, "prompt": "x"}')
    assert edit(found).image == (ImageRef(file_id="file-1"),)


def test_defaults_fill_what_a_line_leaves_open() -> None:
    one, two = rows('{"image": "a"}\n\n{"image": "a", "prompt": "own", "n": null}', prompt="x", n=3, mask="m.png")
    assert (edit(one).prompt, edit(one).n, edit(one).mask) == ("x", 3, "m.png")
    assert (edit(two).prompt, edit(two).n, edit(two).line) == ("own", 3, 3)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("not json", "1: it is no JSON"), ("[]", "1: it is no JSON object."),
        ('{"prompt": "x"}', "1: 'image' is missing."),
        ('{"image": "a"}', "1: 'prompt' is missing."), ('{"image": "a", "promt": "x"}', "is 'prompt' meant?"),
        ('{"image": 5, "prompt": "x"}', "a picture is a path"), ('{"image": {"x": 1}, "prompt": "x"}', "1: "),
        ('{"image": "a", "prompt": "x", "zzzz": 1}', "'zzzz' is no field of an edit."),
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_named(line: str, why: str) -> None:
    [found] = rows(line)
    assert why in problem(found)


def test_a_table_is_read_by_its_header() -> None:
    text = 'image,prompt,n,stream,svg,id\na.png,x,2,true,,one\nb.png|c.png,y,,,"{""model"": ""m""}",\na,b,c,d,e,f,g\n'
    one, two, bad = rows(text, ".csv")
    assert (edit(one).n, edit(one).stream, edit(one).id) == (2, True, "one")
    assert edit(two).image == (FOLDER / "b.png", FOLDER / "c.png")
    assert edit(two).svg == {"model": "m"}
    assert "more cells than the header" in problem(bad)
    assert "no CSV" in problem(rows('image,prompt\n"a"b,c\n', ".csv")[0])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_spreadsheets_write_other_encodings(encoding: str) -> None:
    [found] = rows('{"image": "é.png", "prompt": "été"}'.encode(encoding))
    assert (edit(found).prompt, edit(found).image) == ("été", (FOLDER / "é.png",))


def test_what_failed_is_a_job_file_that_means_the_same() -> None:
    line = '{"image": ["a.png", "b.png"], "mask": "m.png", "prompt": "x", "n": 2, "extra": {"new": 1}}'
    [found] = rows(line)
    row = {**row_of(edit(found), "7"), "status": "failed", "error": {"type": "X"}}
    [again] = list(read_jobs(json.dumps(row).encode(), suffix=".jsonl", folder=Path("/elsewhere"), defaults={}))
    assert edit(again) == edit(rows(line[:-1] + ', "id": "7"}')[0])
    reference = edit(rows('{"image": {"image_url": "https://x"}, "prompt": "x"}')[0])
    assert row_of(reference, "r")["image"] == {"image_url": "https://x"}


def test_pictures_need_a_prompt() -> None:
    [bad] = rows_of_pictures([("a", Path("a.png"))], {})
    assert "--prompt" in problem(bad)


def test_a_directory_gives_its_pictures_with_their_paths_as_names(tmp_path: Path) -> None:
    for name in ("b.jpg", "deep/a.PNG", "notes.txt", ".hidden.png", "out/old.png", "deep/.asyncsdk/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [edit(row) for _, row in rows_in([str(tmp_path)], out=tmp_path / "out", defaults={"prompt": "x"})]
    assert [each.id for each in found] == ["b", "deep/a"]


def test_bad_sources_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "odd.jsonl").write_bytes(b"\xff\xff\xff")
    for sources in (
        [],
        ["missing.png"],
        [str(tmp_path)],
        [str(tmp_path / "empty.jsonl")],
        [str(tmp_path / "odd.jsonl")],
    ):
        with pytest.raises(ConfigurationError):
            rows_in(sources, out=tmp_path / "out", defaults={})


def test_the_prompt_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("from a file\n")
    run = RunOptions(prompt_file=str(tmp_path / "prompt.txt"))
    assert defaults_of(run, EditOptions(n=2)) == {"prompt": "from a file", "n": 2}
    with pytest.raises(ConfigurationError, match="prompt-file"):
        defaults_of(RunOptions(prompt_file=str(tmp_path / "missing")), EditOptions())


def test_rejects_are_ids_plain_or_as_json(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    path.write_text('{"id": "a"}\nb\n\n')
    assert read_redo(str(path)) == (["a", "b"], path.stat().st_mtime)
    assert read_redo(None) == ([], None)
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="--redo"):
        read_redo(str(path))


def test_nobody_is_asked_where_nobody_can_answer() -> None:
    assert agreed(10**6, RunOptions(yes=True))
    assert agreed(100, RunOptions())


def test_a_summary_counts_and_says_how_to_go_on() -> None:
    counts = {"done": 49873, "refused": 112, "failed": 11, "uncertain": 4}
    first, second = summary(counts, images=49873, tokens=10**6, seconds=600, failed="out/failed.jsonl")
    assert first.startswith("49,873 done, 11 failed, 112 refused, 4 maybe charged; 49,873 images, 1,000,000 tokens")
    assert first.endswith("Details: out/failed.jsonl")
    assert "--only uncertain --on-uncertain retry" in second
    assert summary({}, images=0, tokens=0, seconds=0, failed=None) == ["nothing was sent."]
