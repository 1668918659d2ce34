"""Whole processes that edit in bulk: killed at any moment, asked to stop, run again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from asyncsdk.server import Fault, LocalServer
from tests.stories.pictures import photo

JOBS = 60


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    photo(tmp_path / "otter.png", (16, 16))
    lines = [
        json.dumps({"image": "otter.png", "prompt": f"beret {number}", "id": f"j{number}", "model": "gpt-image-2"})
        for number in range(JOBS)
    ]
    path = tmp_path / "jobs.jsonl"
    path.write_text("\n".join(lines))
    return path


async def start(server: LocalServer, jobs: Path, *options: str) -> Process:
    environment = os.environ | {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.url}
    command = [sys.executable, "-m", "asyncsdk", "edit-many", str(jobs), "--out", str(jobs.parent / "out"), "--json"]
    return await asyncio.create_subprocess_exec(*command, *options, stdout=PIPE, stderr=PIPE, env=environment)


async def until_edits(server: LocalServer, count: int) -> None:
    async with asyncio.timeout(20):
        while server.edits.edits < count:
            await asyncio.sleep(0.005)


async def records_of(process: Process) -> list[dict[str, object]]:
    out, _ = await process.communicate()
    return [json.loads(line) for line in out.splitlines()]


async def test_killed_at_any_moment_no_edit_is_paid_twice(tmp_path: Path, jobs: Path) -> None:
    faults = [
        Fault("edit", "reset", at="done", every=20),
        Fault("edit", "answer", every=10, status=429, headers={"retry-after-ms": "1"}),
    ]
    async with LocalServer(tmp_path / "server", faults=faults, edit_seconds=0.02) as server:
        for turn in range(3):
            process = await start(server, jobs, "--concurrency", "4")
            await until_edits(server, server.edits.edits + 5 + random.Random(turn).randrange(5))
            process.kill()
            await process.communicate()
        process = await start(server, jobs, "--concurrency", "4")
        found = {str(record["id"]): record for record in await records_of(process)}
        assert process.returncode == 3
        assert set(found) == {f"j{number}" for number in range(JOBS)}
        statuses = Counter(str(record["status"]) for record in found.values())
        assert set(statuses) == {"done", "skipped", "uncertain"}
        for number in range(JOBS):
            paid, status = server.edits.by_prompt.get(f"beret {number}", 0), found[f"j{number}"]["status"]
            assert paid == 1 or (paid == 0 and status == "uncertain")
    for path in (tmp_path / "out").glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    assert list((tmp_path / "out").rglob(".asyncsdk-*")) == []


async def test_the_first_interrupt_awaits_what_is_in_flight(tmp_path: Path, jobs: Path) -> None:
    async with LocalServer(tmp_path / "server", edit_seconds=0.3) as server:
        process = await start(server, jobs, "--concurrency", "4")
        await until_edits(server, 1)
        process.send_signal(signal.SIGINT)
        found = await records_of(process)
        assert process.returncode == 130
        assert {record["status"] for record in found} == {"done"}
        assert len(found) == server.edits.edits < JOBS


async def test_the_second_interrupt_leaves_at_once_and_what_is_in_flight_is_uncertain(
    tmp_path: Path, jobs: Path
) -> None:
    async with LocalServer(tmp_path / "server", faults=[Fault("edit", "stall", at="after", every=1)]) as server:
        process = await start(server, jobs, "--concurrency", "4")
        async with asyncio.timeout(20):
            while server.calls.get("edit", 0) < 4:
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        await process.stderr.readuntil(b"Stopping")
        await asyncio.sleep(0.5)  # it waits: were it gone, the second could not be sent
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            _, said = await process.communicate()
        assert process.returncode == 130
        assert b"4 uncertain" in said
    async with LocalServer(tmp_path / "server2") as server:
        found = await records_of(await start(server, jobs))
    assert Counter(str(record["status"]) for record in found) == {"uncertain": 4, "done": JOBS - 4}
