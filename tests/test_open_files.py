"""How many edits fit into the descriptors that a process may open, and what a program with few of them does."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from asyncsdk import Client, ConfigurationError, ImageEditor, open_files
from asyncsdk.server import LocalServer
from tests.stories.edits import MODEL, jobs
from tests.stories.pictures import photo

resource = pytest.importorskip("resource")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server") as running:
        yield running


@pytest.mark.parametrize(
    ("limit", "is_open", "edits"), [(256, 10, 118), (1024, 12, 501), (24, 8, 3), (20, 8, 1), (19, 8, 0), (14, 14, 0)]
)
def test_each_edit_needs_two_and_some_are_kept_for_all(limit: int, is_open: int, edits: int) -> None:
    assert open_files.carried(limit, is_open) == edits


def test_what_is_open_is_counted() -> None:
    before = open_files.most_edits()
    assert before is not None
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(2 * open_files.PER_EDIT)]
    try:
        assert open_files.most_edits() == before - 2
    finally:
        for fd in held:
            os.close(fd)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_a_process_that_can_open_nothing_more_carries_no_edit(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(_: str) -> list[str]:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "listdir", full)
    assert open_files.most_edits() == 0


async def test_fewer_are_taken_at_a_time_where_fewer_fit(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(open_files, "most_edits", lambda: 3)
    async with Client("sk-test", base_url=server.url) as client:
        async with ImageEditor(client).edit_many(jobs(9), out=tmp_path / "out", concurrency=8) as outcomes:
            assert outcomes.concurrency == 3
            assert Counter([outcome.status async for outcome in outcomes]) == {"done": 9}
        async with ImageEditor(client).edit_many(jobs(9), out=tmp_path / "out", concurrency=2) as outcomes:
            assert outcomes.concurrency == 2
    assert [record.message for record in caplog.records if "concurrency" in record.message] == [
        open_files.lowered(8, 3)
    ]
    monkeypatch.setattr(open_files, "most_edits", lambda: 0)
    async with Client("sk-test", base_url=server.url) as client:
        with pytest.raises(ConfigurationError, match=r"too few to save the pictures of one edit\. Nothing was sent"):
            async with ImageEditor(client).edit_many(jobs(9), out=tmp_path / "out"):
                pass
    assert server.edits.edits == 9


async def edit_many(server: LocalServer, folder: Path, files: int, concurrency: int) -> Any:
    """The command in a process that may open that many files."""
    photo(folder / "x.png", (16, 16))
    rows = [{"id": f"i{n}", "image": "x.png", "prompt": f"beret {n}", "model": MODEL} for n in range(60)]
    (folder / "jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = [sys.executable, "-m", "asyncsdk", "edit-many", "jobs.jsonl", "--out", "out", "--json"]
    environment = os.environ | {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.url}

    def run() -> Any:
        return subprocess.run(
            ["/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command, "--concurrency", str(concurrency)],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return await to_thread.run_sync(run)


@pytest.mark.parametrize(("files", "concurrency"), [(14, 16), (20, 16), (24, 16), (28, 16), (64, 250)])
async def test_with_few_descriptors_all_that_is_paid_is_kept_or_nothing_is_sent(
    server: LocalServer, tmp_path: Path, files: int, concurrency: int
) -> None:
    ran = await edit_many(server, tmp_path, files, concurrency)
    if ran.returncode == 2:
        assert "Nothing was sent" in ran.stderr
        assert server.requests == []
        assert files < 20
        return
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count(f"concurrency lowered from {concurrency} to ") == 1
    assert f"this process may open {files} files (ulimit -n)" in ran.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == server.edits.edits == 60


async def test_the_program_opens_as_many_files_as_its_user_may(server: LocalServer, tmp_path: Path) -> None:
    code = "import resource, asyncsdk.__main__ as it; it._let_open_files(); print(*resource.getrlimit(7))"
    command = f"ulimit -S -n 100; ulimit -H -n 700; exec {sys.executable} -c '{code}'"
    ran = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["700", "700"]
