"""`edit-many --redo FILE`, where FILE is dated ahead of the clock: paid once, and the user is warned."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

COMMAND = ("edit-many", "a.png", "--prompt", "x", "--model", "gpt-image-2", "--out", "out")
PHOTOS = ("edit-many", "photos", "--model", "gpt-image-2", "--out", "out", "--prompt")


def test_three_runs_pay_once_and_each_warns(run: Run, server: LocalServer) -> None:
    photo(Path("a.png"), (16, 16))
    assert run(*COMMAND).code == 0
    rejects = Path("rejects.jsonl")
    rejects.write_text('{"id": "a"}\n')
    os.utime(rejects, times=(time.time(), time.time() + 7800))
    dry = run(*COMMAND, "--redo", rejects, "--dry-run")
    assert dry.out.startswith("1 to send.")
    for _ in range(3):
        ran = run(*COMMAND, "--redo", rejects)
        assert ran.code == 0
        assert "warning: --redo rejects.jsonl was written 2 h 1" in ran.err
    assert server.edits.edits == 2


def test_an_edit_that_is_newer_than_the_file_is_not_called_redone(run: Run, server: LocalServer) -> None:
    photo(Path("a.png"), (16, 16))
    Path("rejects.jsonl").write_text('{"id": "a"}\n')
    time.sleep(0.02)
    assert run(*COMMAND).code == 0
    ran = run(*COMMAND, "--redo", "rejects.jsonl")
    assert (ran.code, server.edits.edits) == (0, 1)
    assert "1 edit named in rejects.jsonl was done since that was saved, and not sent again." in ran.err
    assert "redone" not in ran.err


@pytest.mark.parametrize(("only", "code"), [((), 0), (("--only", "redo"), 1)])
def test_a_run_of_the_redo_alone_that_names_no_row_has_failed(
    run: Run, server: LocalServer, only: Sequence[str], code: int
) -> None:
    photo(Path("a.png"), (16, 16))
    assert run(*COMMAND).code == 0
    Path("rejects.jsonl").write_text('{"id": "b"}\n{"id": "c"}\n')
    ran = run(*COMMAND, "--redo", "rejects.jsonl", *only)
    assert (ran.code, server.edits.edits) == (code, 1)
    assert "--redo names 2 ids that no row has: b, c" in ran.err
    Path("rejects.jsonl").write_text('{"id": "a"}\n{"id": "c"}\n')
    ran = run(*COMMAND, "--redo", "rejects.jsonl", *only)
    assert (ran.code, server.edits.edits) == (0, 2)
    assert "--redo names 1 id that no row has: c" in ran.err


@pytest.mark.parametrize(("only", "code"), [((), 0), (("--only", "redo"), 1)])
def test_a_dry_run_names_the_ids_that_no_row_has_and_ends_as_a_run_does(
    run: Run, server: LocalServer, only: Sequence[str], code: int
) -> None:
    photo(Path("a.png"), (16, 16))
    assert run(*COMMAND).code == 0
    Path("rejects.jsonl").write_text('{"id": "b"}\n{"id": "c"}\n')
    command = (*COMMAND, "--redo", "rejects.jsonl", *only)
    dry = run(*command, "--dry-run")
    assert dry.code == code == run(*command).code
    assert "\n--redo names 2 ids that no row has: b, c\n" in dry.out
    record = run(*command, "--dry-run", "--json").records[-1]
    assert record["unknown_in_redo"] == ["b", "c"]
    Path("rejects.jsonl").write_text('{"id": "a"}\n{"id": "c"}\n')
    dry = run(*command, "--dry-run")
    assert (dry.code, "--redo names 1 id that no row has: c" in dry.out) == (0, True)
    assert server.edits.edits == 1


def test_a_dry_run_of_one_status_does_not_say_that_no_row_has_the_others(run: Run) -> None:
    photo(Path("a.png"), (16, 16))
    assert run(*COMMAND).code == 0
    Path("rejects.jsonl").write_text('{"id": "a"}\n')
    dry = run(*COMMAND, "--redo", "rejects.jsonl", "--only", "failed", "--dry-run")
    assert (dry.code, "that no row has" in dry.out + dry.err) == (0, False)


def test_a_dry_run_knows_rows_without_a_name_by_their_lines(run: Run) -> None:
    photo(Path("a.png"), (16, 16))
    Path("jobs.csv").write_text("image\na.png\na.png\n")
    Path("rejects.jsonl").write_text('{"id": "3"}\n{"id": "4"}\n')
    dry = run("edit-many", "jobs.csv", "--prompt", "x", "--out", "out", "--redo", "rejects.jsonl", "--dry-run")
    assert "--redo names 1 id that no row has: 4\n" in dry.out


def test_a_run_of_one_status_does_not_say_that_no_row_has_the_others(run: Run, server: LocalServer) -> None:
    photo(Path("a.png"), (16, 16))
    assert run(*COMMAND).code == 0
    time.sleep(0.02)
    Path("rejects.jsonl").write_text('{"id": "a"}\n')
    for only in ("failed", "failed", "refused"):
        ran = run(*COMMAND, "--redo", "rejects.jsonl", "--only", only)
        assert (ran.code, server.edits.edits) == (0, 2)
        assert "that no row has" not in ran.err


class TestOnlyRedo:
    """With another prompt each edit is a new one: `--only redo` sends those that FILE names, and no others."""

    @pytest.fixture(autouse=True)
    def done(self, run: Run, server: LocalServer) -> None:
        Path("photos").mkdir()
        for seed, name in enumerate(("a.png", "a.jpg", "b.png", "c.png"), 1):
            photo(Path("photos", name), (16, 16), seed=seed)
        assert run(*PHOTOS, "x").code == 0
        Path("rejects.jsonl").write_text('{"id": "a-png"}\n{"id": "c"}\n')
        later = time.time() + 0.01
        os.utime("rejects.jsonl", times=(later, later))
        time.sleep(0.02)
        assert server.edits.edits == 4

    def test_only_what_is_named_is_sent_and_once(self, run: Run, server: LocalServer) -> None:
        ran = run(*PHOTOS, "better", "--redo", "rejects.jsonl", "--only", "redo", "--json")
        assert (ran.code, {record["id"] for record in ran.records}, server.edits.edits) == (0, {"a-png", "c"}, 6)
        assert Path("out/.asyncsdk/replaced").is_dir()
        again = run(*PHOTOS, "better", "--redo", "rejects.jsonl", "--only", "redo", "--json")
        assert (again.code, server.edits.edits) == (0, 6)
        assert [record["status"] for record in again.records] == ["skipped", "skipped"]

    def test_with_the_same_prompt_it_is_a_redo(self, run: Run, server: LocalServer) -> None:
        for _ in range(2):
            assert run(*PHOTOS, "x", "--redo", "rejects.jsonl", "--only", "redo").code == 0
            assert server.edits.edits == 6

    def test_rows_without_a_name_are_known_by_their_lines(self, run: Run, server: LocalServer) -> None:
        command = ("edit-many", "jobs.csv", "--out", "rows", "--model", "gpt-image-2", "--prompt")
        Path("jobs.csv").write_text("image\nphotos/a.png\nphotos/b.png\n")
        assert run(*command, "x").code == 0
        Path("rejects.jsonl").write_text('{"id": "3"}\n')
        for _ in range(2):
            ran = run(*command, "better", "--redo", "rejects.jsonl", "--only", "redo")
            assert (ran.code, server.edits.edits) == (0, 7)
            assert "that no row has" not in ran.err

    def test_what_can_not_be_read_and_is_not_named_is_not_reported(self, run: Run, server: LocalServer) -> None:
        Path("photos/b.png").write_bytes(b"no picture")
        assert run(*PHOTOS, "better", "--redo", "rejects.jsonl", "--only", "redo").code == 0
        assert server.edits.edits == 6

    def test_a_dry_run_says_that_more_is_sent_than_is_named(self, run: Run) -> None:
        remark = "--redo names 2 of these; to send only them: --only redo\n"
        assert remark in run(*PHOTOS, "better", "--redo", "rejects.jsonl", "--dry-run").out
        assert remark not in run(*PHOTOS, "x", "--redo", "rejects.jsonl", "--dry-run").out
        only = run(*PHOTOS, "better", "--redo", "rejects.jsonl", "--only", "redo", "--dry-run")
        assert (only.out.startswith("2 to send."), remark in only.out) == (True, False)

    def test_it_needs_a_file(self, run: Run, server: LocalServer) -> None:
        ran = run(*PHOTOS, "better", "--only", "redo")
        assert (ran.code, server.edits.edits) == (2, 4)
        assert ran.err == "error: --only redo sends the ids in a file: add --redo FILE. Nothing was sent.\n"
