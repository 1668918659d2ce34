"""Where the directory of the pictures is gone or full, what is paid is saved elsewhere and named."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncsdk import files, scarcity
from asyncsdk.cli.edits import rescue
from asyncsdk.server import LocalServer
from tests.cli.support import Ran, Run
from tests.stories.pictures import photo

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    photo(tmp_path / "x.png", (16, 16))
    rows = [{"id": f"i{n}", "image": "x.png", "prompt": f"red {n}", "model": "gpt-image-2"} for n in range(30)]
    (tmp_path / "jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return tmp_path / "elsewhere"


def statuses(ran: Ran) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in ran.records:
        found.setdefault(record["status"], []).append(record["id"])
    return found


def break_at_the_third(monkeypatch: pytest.MonkeyPatch, deed: Any) -> None:
    save, calls = files.save, 0

    async def saving(path: Path, *arguments: Any, **named: Any) -> OSError | None:
        nonlocal calls
        calls += 1
        if calls == 3:
            deed()
        return await save(path, *arguments, **named)

    monkeypatch.setattr(files, "save", saving)


def test_a_directory_that_is_renamed_is_not_made_again_and_all_that_is_paid_is_named(
    run: Run, server: LocalServer, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = server.edits.edits
    break_at_the_third(monkeypatch, lambda: (tmp_path / "out").rename(tmp_path / "moved"))
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--json", "--concurrency", "2", "--gallery", "out/page.html")
    assert ran.code == 1  # the same command by itself would pay again
    assert "Put the directory back where it was: the same command goes on and pays nothing twice" in ran.err
    assert not (tmp_path / "out").exists()
    found = statuses(ran)
    assert server.edits.edits - before == len(found["done"]) + len(found["uncertain"]) <= 6
    for name in found["uncertain"]:
        [path] = elsewhere.rglob(f"{name}.png")
        assert f"{name}: its pictures are saved elsewhere: {path}" in ran.err
        with Image.open(path) as picture:
            picture.load()
    [left] = elsewhere.rglob("failed.jsonl")
    assert {json.loads(line)["id"] for line in left.read_text().splitlines()} == set(found["uncertain"])
    assert str(left) in ran.err
    monkeypatch.undo()
    (tmp_path / "moved").rename(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    again = run("edit-many", "jobs.jsonl", "--out", "out", "--json")
    assert again.code == 3
    assert server.edits.edits - before == 30


def test_a_ledger_that_is_removed_is_said_to_be_the_memory_of_what_was_paid(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_at_the_third(monkeypatch, lambda: shutil.rmtree(tmp_path / "out" / ".asyncsdk"))
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--json", "--concurrency", "1")
    assert ran.code == 1
    assert "it was removed" in ran.err
    assert "Without it nothing is remembered, and the same command would pay again for all" in ran.err


def test_what_could_not_be_rescued_is_tried_once_more_when_all_else_has_ended(
    run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scarcity, "FULL_SECONDS", 0.0)
    save, refused = files.save, [0]

    async def full(path: Path, *arguments: Any, **named: Any) -> OSError | None:
        if path.suffix == ".png":
            refused[0] += 1
            if path.parent.name == "out" or refused[0] < 3:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return await save(path, *arguments, **named)

    monkeypatch.setattr(files, "save", full)
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--json", "--concurrency", "1")
    assert ran.code == 3
    [name] = statuses(ran)["uncertain"]
    assert refused == [3]  # in its directory, elsewhere, and at the end
    [path] = elsewhere.rglob(f"{name}.png")
    assert f"{name}: its pictures are saved elsewhere: {path}" in ran.err
    assert "could not be wholly saved elsewhere" not in ran.err


def test_a_temporary_directory_that_can_not_be_made_for_a_moment_is_made_then(
    run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, make, tries = files.save, rescue._make_directory, [0]

    async def full(path: Path, *arguments: Any, **named: Any) -> OSError | None:
        if path.parent.name == "out" and path.suffix == ".png":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return await save(path, *arguments, **named)

    def make_late() -> Path:
        tries[0] += 1
        if tries[0] < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return make()

    monkeypatch.setattr(files, "save", full)
    monkeypatch.setattr(rescue, "_make_directory", make_late)
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--json", "--concurrency", "1")
    assert ran.code == 3
    assert len(list(elsewhere.rglob("i*.png"))) == 1
