"""Results in the --out directory that are given as SOURCEs, as an unquoted `*` does it: they are not paid for again."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

FIELDS = ("--prompt", "x", "--model", "gpt-image-2")


@pytest.fixture(autouse=True)
def pictures() -> None:
    for seed, name in enumerate(("a.png", "b.png"), 1):
        photo(Path(name), (16, 16), seed=seed)


def everything() -> list[str]:
    """What a shell puts in the place of `*`."""
    return sorted(path.name for path in Path().iterdir() if path.suffix != ".log" and path.name[0] != ".")


def test_a_second_run_over_everything_leaves_the_results_out_and_says_so(run: Run, server: LocalServer) -> None:
    assert run("edit-many", *everything(), *FIELDS, "-o", "fertig").code == 0
    again = run("edit-many", *everything(), *FIELDS, "-o", "fertig")
    left_out = "Left out: 1 in --out, where the results are, which are not edited again"
    assert (again.code, server.edits.edits) == (0, 2)
    assert again.err == f"{left_out}: fertig\n2 done before.\n  {left_out}.\n"
    dry = run("edit-many", *everything(), *FIELDS, "-o", "fertig", "--dry-run")
    assert f"{left_out}.\n" in dry.out
    assert dry.out.startswith("0 to send, 2 done before.")


@pytest.mark.parametrize("results", [["fertig/a.png", "fertig/b.png"], ["./fertig"], ["link"], ["fertig/deep/c.png"]])
def test_pictures_in_it_and_links_to_it_are_left_out_beside_originals(
    run: Run, server: LocalServer, results: list[str]
) -> None:
    assert run("edit-many", "a.png", "b.png", *FIELDS, "-o", "fertig").code == 0
    Path("link").symlink_to("fertig")
    Path("fertig/deep").mkdir()
    photo(Path("fertig/deep/c.png"), (16, 16), seed=3)
    again = run("edit-many", "a.png", *results, *FIELDS, "-o", "fertig")
    assert (again.code, server.edits.edits) == (0, 2)
    assert f"Left out: {len(results)} in --out" in again.err


@pytest.mark.parametrize("sources", [["fertig"], ["fertig/a.png"], ["fertig/a.png", "fertig"], ["fertig/*.png"]])
def test_where_nothing_else_is_given_it_is_an_error_that_says_so(
    run: Run, server: LocalServer, sources: list[str]
) -> None:
    assert run("edit-many", "a.png", "b.png", *FIELDS, "-o", "fertig").code == 0
    again = run("edit-many", *sources, *FIELDS, "-o", "fertig")
    assert (again.code, server.edits.edits) == (2, 2)
    assert again.err == (
        "error: fertig: every SOURCE is in --out, where the results are, which are not edited again. To edit them, "
        "give another --out. Nothing was sent.\n"
    )


def test_originals_in_it_are_edited_and_results_beside_them_are_not(run: Run, server: LocalServer) -> None:
    Path("photos").mkdir()
    Path("a.png").rename("photos/a.png")
    command = ("edit-many", "photos", *FIELDS, "-o", ".")
    assert run(*command).code == 0
    assert Path("a.png").exists()
    again = run(*command)
    assert (again.code, server.edits.edits, again.err) == (0, 1, "1 done before.\n")
    both = run("edit-many", "photos", "a.png", *FIELDS, "-o", ".")
    assert (both.code, server.edits.edits, "Left out: 1 in --out" in both.err) == (0, 1, True)


def test_a_job_file_in_it_stays_a_source(run: Run, server: LocalServer) -> None:
    assert run("edit-many", "a.png", *FIELDS, "-o", "fertig").code == 0
    Path("fertig/jobs.jsonl").write_text('{"image": "../b.png", "prompt": "x", "model": "gpt-image-2"}\n')
    ran = run("edit-many", "a.png", "fertig/jobs.jsonl", *FIELDS, "-o", "fertig")
    assert (ran.code, server.edits.edits) == (0, 2)
    assert run("edit-many", "fertig/jobs.jsonl", "-o", "fertig").code == 0
    assert server.edits.edits == 2


def test_a_directory_with_nothing_of_an_earlier_run_is_a_source_like_any_other(run: Run, server: LocalServer) -> None:
    assert run("edit-many", "a.png", *FIELDS, "-o", "new").code == 0
    Path("photos").mkdir()
    Path("b.png").rename("photos/b.png")
    assert run("edit-many", "photos", *FIELDS, "-o", ".").code == 0
    assert server.edits.edits == 2
