"""`out/failed.jsonl` through runs that know its edits and runs that don't."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

MODEL = ("--prompt", "x", "--model", "gpt-image-2", "--out", "out")
LEFT = Path("out/failed.jsonl")


def left() -> dict[str, str]:
    rows = map(json.loads, LEFT.read_text().splitlines()) if LEFT.exists() else ()
    return {row["id"]: row["status"] for row in rows}


@pytest.fixture(autouse=True)
def photos() -> None:
    for seed, name in enumerate(("photos/a.png", "photos/b.png", "other/a.png", "other/c.png", "unrelated.png")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        photo(Path(name), (16, 16), seed=seed)


@pytest.fixture
def failed(run: Run, server: LocalServer) -> None:
    """One picture of `photos` failed, the other may be paid."""
    server.inject(Fault("edit", "answer", nth=1, status=404), Fault("edit", "reset", nth=2, at="done"))
    run("edit-many", "photos", *MODEL, "--concurrency", "1")
    assert left() == {"a": "failed", "b": "uncertain"}


@pytest.mark.usefixtures("failed")
@pytest.mark.parametrize(
    "arguments",
    [
        ("missing.png", *MODEL),
        ("unrelated.png", *MODEL),
        ("unrelated.png", *MODEL, "--max-edits", "0"),
        ("bad.jsonl", *MODEL),
        ("photos", *MODEL, "--only", "refused"),
        ("photos", *MODEL, "--dry-run"),
        ("photos", *MODEL, "--max-edits", "1"),  # which the uncertain one used up
    ],
)
def test_a_run_that_does_not_know_its_edits_leaves_it_as_it_is(run: Run, arguments: tuple[str, ...]) -> None:
    Path("bad.jsonl").write_text("no json\n")
    os.utime(LEFT, (1, 1))
    before = LEFT.read_bytes()
    run("edit-many", *arguments)
    assert (LEFT.read_bytes(), LEFT.stat().st_mtime) == (before, 1)


@pytest.mark.usefixtures("failed")
def test_a_run_that_knows_them_replaces_them_and_says_what_stays(run: Run) -> None:
    ran = run("edit-many", "unrelated.png", *MODEL)
    assert ran.code == 0
    assert ran.err.endswith("out/failed.jsonl still has 2 edits of earlier runs, which this run did not report.\n")
    ran = run("edit-many", "photos", *MODEL)
    assert (left(), "still has" in ran.err) == ({"b": "uncertain"}, False)
    run("edit-many", "photos", *MODEL, "--only", "uncertain", "--on-uncertain", "retry")
    assert left() == {}
    assert not LEFT.exists()


@pytest.mark.usefixtures("failed")
def test_another_folder_with_pictures_of_the_same_names_takes_none_away(run: Run) -> None:
    assert run("edit-many", "other", *MODEL).code == 0
    assert left() == {"a": "failed", "b": "uncertain"}


def test_a_refused_picture_stays_under_another_id_where_another_folder_has_its_name(
    run: Run, server: LocalServer
) -> None:
    whole = Path("photos/a.png").read_bytes()
    Path("photos/a.png").write_bytes(whole[:60])
    run("edit-many", "photos", *MODEL)
    assert left() == {"a": "refused"}
    assert run("edit-many", "other", *MODEL).code == 0
    [(apart, status)] = left().items()
    assert (apart.startswith("a-"), status) == (True, "refused")
    Path("photos/a.png").write_bytes(whole)
    assert run("edit-many", LEFT, "--out", "out").code == 0
    assert not LEFT.exists()
    assert run("edit-many", "photos", "other", *MODEL).err == "4 done before.\n"
    assert server.edits.edits == 4


def test_a_redo_of_the_file_does_not_pay_for_a_picture_of_the_same_name(run: Run, server: LocalServer) -> None:
    Path("photos/a.png").write_bytes(b"")
    run("edit-many", "photos", *MODEL)
    run("edit-many", "other", *MODEL)
    assert run("edit-many", "other", *MODEL, "--redo", LEFT).code == 0
    assert server.edits.edits == 3


@pytest.mark.usefixtures("failed")
def test_what_is_done_by_now_does_not_stay(run: Run) -> None:
    earlier = LEFT.read_bytes()
    run("edit-many", "photos", *MODEL)
    LEFT.write_bytes(earlier)  # as where the program was killed before it wrote the file
    assert run("edit-many", "photos", *MODEL).code == 3
    assert left() == {"b": "uncertain"}


def test_an_id_in_other_case_is_the_same_edit(run: Run, server: LocalServer) -> None:
    server.inject(Fault("edit", "answer", nth=1, status=404))
    for name in ("IMG", "img"):
        Path("jobs.jsonl").write_text(json.dumps({"id": name, "image": "unrelated.png"}) + "\n")
        run("edit-many", "jobs.jsonl", *MODEL)
    assert left() == {}


@pytest.mark.usefixtures("failed")
def test_a_redo_of_the_file_pays_once_for_each_time_that_it_is_written(run: Run, server: LocalServer) -> None:
    run("edit-many", "unrelated.png", *MODEL)
    for _ in range(2):
        run("edit-many", "photos", *MODEL, "--redo", LEFT if LEFT.exists() else "rejects.txt")
        Path("rejects.txt").write_text("a\nb\n")
        os.utime("rejects.txt", (1, 1))
    assert left() == {}
    assert server.edits.by_prompt["x"] == 4, "the unrelated one, a, and b twice"


def test_a_row_whose_id_no_edit_can_have_does_not_stay_once_it_is_done_under_another(run: Run) -> None:
    rows = [{"id": "../a", "image": "photos/a.png"}, {"id": "../b", "image": "photos/b.png"}]
    jobs = Path("jobs.jsonl")
    jobs.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert run("edit-many", jobs, *MODEL).code == 2
    assert left() == {"../a": "refused", "../b": "refused"}
    jobs.write_text("".join(f"{json.dumps(row)}\n" for row in [rows[0] | {"id": "a"}, rows[1]]))
    assert run("edit-many", jobs, *MODEL).code == 3
    assert left() == {"../b": "refused"}
