"""`asyncsdk edit-many` as people use it who come from a spreadsheet, and with what they mistake for a SOURCE."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

OUT = ("--model", "gpt-image-2", "--out", "out")


@pytest.fixture(autouse=True)
def photos() -> None:
    for seed, name in enumerate(("photos/a.png", "photos/b.png", "photos/deep/c.png")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        photo(Path(name), (16, 16), seed=seed)


def test_a_table_of_excel_is_edited_and_one_warning_names_what_is_ignored(run: Run, server: LocalServer) -> None:
    Path("jobs.csv").write_bytes(
        b"\xef\xbb\xbfsep=;\r\nImage;PROMPT;N;Notes;Client\r\nphotos\\a.png;red;2.0;hm;Bob\r\nphotos\\deep\\c.png;;;;Al\r\n"
    )
    ran = run("edit-many", "jobs.csv", "--prompt", "blue", *OUT)
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[:3] == [
        "warning: jobs.csv: columns that are not fields of an edit are ignored: 'Notes', 'Client'",
        "note: jobs.csv has its own prompt; -p is for rows without one",
        "2 done.",
    ]
    assert server.edits.by_prompt == {"red": 1, "blue": 1}
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["3.1.png", "3.png", "4.png"]
    dry = run("edit-many", "jobs.csv", "--prompt", "blue", *OUT, "--dry-run")
    assert dry.err.count("warning: jobs.csv") == 1


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("jobs.csv", b"image,promt\nphotos/a.png,x\n", "did you mean 'prompt'?"),
        ("jobs.csv", "image,prompt\nphotos/a.png,é\n".encode("cp1252"), 'in Excel, save it as "CSV UTF-8"'),
        ("jobs.xlsx", b"PK\x03\x04", 'in Excel, save it as "CSV UTF-8"'),
        ("jobs.xls", b"\xd0\xcf\x11\xe0", 'in Excel, save it as "CSV UTF-8"'),
        ("jobs.ods", b"PK\x03\x04", 'in Excel, save it as "CSV UTF-8"'),
        ("jobs.numbers", b"PK\x03\x04", 'in Excel, save it as "CSV UTF-8"'),
        ("rejects.jsonl", b'{"id": "a", "item": null}\n{"id": "b"}\n', "did you mean --redo rejects.jsonl?"),
    ],
)
def test_what_is_not_a_job_file_is_refused_with_what_to_do(
    run: Run, server: LocalServer, name: str, content: bytes, why: str
) -> None:
    Path(name).write_bytes(content)
    ran = run("edit-many", name, "photos", "--prompt", "x", *OUT)
    assert (ran.code, ran.out, server.calls.get("edit", 0)) == (2, "", 0)
    assert ran.err.startswith(f"error: {name}")
    assert why in ran.err


def test_a_quoted_pattern_is_expanded_without_the_results_of_earlier_runs(run: Run, server: LocalServer) -> None:
    command = ("edit-many", "photos/*.png", "**/c.png", "--prompt", "x", *OUT)
    assert sorted(run(*command, "--quiet").out.split()) == ["a", "b", "c"]
    assert (run(*command).code, server.edits.edits) == (0, 3)
    ran = run("edit-many", "photos/*.gif", "--prompt", "x", *OUT)
    assert (ran.code, ran.err.startswith("error: nothing matches photos/*.gif")) == (2, True)


def test_a_list_on_one_line_names_its_elements(run: Run) -> None:
    Path("jobs.json").write_text('[{"image": "photos/a.png"}, 5, {"image": "photos/b.png"}]')
    ran = run("edit-many", "jobs.json", "--prompt", "x", *OUT, "--json")
    assert {record["id"] for record in ran.records} == {"jobs.json:2", "1", "3"}


def test_a_rerun_counts_what_was_done_before_and_prints_it_on_request_only(run: Run) -> None:
    command = ("edit-many", "photos", "--prompt", "x", *OUT)
    run(*command)
    photo(Path("photos/new.png"), (16, 16), seed=9)
    ran = run(*command)
    assert (ran.out.splitlines()[0].partition(":")[0], len(ran.out.splitlines())) == ("new", 1)
    assert ran.err.splitlines()[0] == "1 done, 3 done before."
    again = run(*command)
    assert (again.code, again.out, again.err) == (0, "", "4 done before.\n")
    shown = run(*command, "--verbose").out.splitlines()
    assert (len(shown), "a: out/a.png, done before; nothing was sent" in shown) == (4, True)
    assert {record["status"] for record in run(*command, "--json").records} == {"skipped"}
    assert sorted(run(*command, "--quiet").out.split()) == ["a", "b", "deep/c", "new"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("jobs.csv", "image,prompt,quality\notter.png,blue,low\notter.png,,high\n"),
        ("jobs.jsonl", '{"image": "otter.png", "prompt": "blue"}\n{"image": "otter.png", "quality": "low"}\n'),
    ],
)
def test_a_file_with_its_own_values_of_options_is_noted_once(
    run: Run, server: LocalServer, name: str, content: str
) -> None:
    photo(Path("otter.png"), (16, 16))
    Path(name).write_text(content)
    command = ("edit-many", name, "-p", "red", "--model", "gpt-image-2", "--quality", "high", "-o", "out")
    note = f"note: {name} has its own prompt and quality; -p and --quality are for rows without one\n"
    assert run(*command, "--dry-run").err == note
    ran = run(*command)
    assert (ran.code, ran.err.startswith(note), server.edits.by_prompt) == (0, True, {"blue": 1, "red": 1})


def test_values_that_are_the_same_are_not_noted(run: Run) -> None:
    photo(Path("otter.png"), (16, 16))
    Path("jobs.csv").write_text("image,prompt\notter.png,red\notter.png,\n")
    assert run("edit-many", "jobs.csv", "-p", "red", "-o", "out", "--dry-run").err == ""


def test_blanks_around_a_path_are_no_matter(run: Run, server: LocalServer) -> None:
    Path("jobs.csv").write_text("image,prompt\n photos/a.png ,x\n photos\\b.png,y\n")
    ran = run("edit-many", "jobs.csv", *OUT)
    assert (ran.code, server.edits.edits) == (0, 2), ran.err
