"""Whole processes: killed at any moment, two on one file, asked to stop."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import FileJournal
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.journal import Part
from tests.faults.leaving import stopwatch
from tests.stories.support import MIB, MakeFile, md5_of


async def start(server: LocalServer, journal: Path, path: Path, *options: str) -> Process:
    environment = {
        **os.environ,
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": server.url,
        "ASYNCSDK_JOURNAL": str(journal),
    }
    command = [sys.executable, "-m", "asyncsdk", "upload", str(path), "--purpose", "vision", "--json", *options]
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)


async def finish(process: Process) -> dict[str, Any]:
    out, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    answer: dict[str, Any] = json.loads(out)
    return answer


async def parts_in(journal: Path) -> list[Part]:
    entries = await FileJournal(journal).entries()
    return [record for entry in entries for record in entry.records if isinstance(record, Part)]


async def until_parts(journal: Path, count: int) -> None:
    async with asyncio.timeout(20):
        while not journal.exists() or len(await parts_in(journal)) < count:
            await asyncio.sleep(0.01)


async def test_killed_again_and_again_it_completes_and_sends_no_remembered_part_twice(
    server: LocalServer, journal: Path, make_file: MakeFile
) -> None:
    path, kills = make_file(48 * MIB), 4  # more than is sent before the last kill, however late that comes
    for turn in range(kills):
        process = await start(server, journal, path, "--part-size", "1MiB", "--concurrency", "4", "--limit-rate", "8MB")
        await until_parts(journal, len(await parts_in(journal) if journal.exists() else []) + 1)
        await asyncio.sleep(random.Random(turn).random() * 0.3)
        process.kill()
        await process.communicate()
    remembered = await parts_in(journal)
    answer = await finish(await start(server, journal, path, "--part-size", "1MiB", "--concurrency", "4"))
    assert server.stored(answer["file"]["id"]).read_bytes() == path.read_bytes()
    assert answer["md5"] == md5_of(path)
    assert answer["bytes_resumed"] == sum(part.length for part in remembered) > 0
    assert server.calls["create"] == 1
    whole = [call for call in server.requests if call.route == "part" and call.status == 200]
    assert len(whole) - 48 <= 4 * kills
    assert server.max_parts_in_flight <= 4
    again = await finish(await start(server, journal, path))
    assert (again["reused"], again["bytes_sent"], again["file"]["id"]) == (True, 0, answer["file"]["id"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_asked_to_stop_it_leaves_within_a_second_and_says_how_to_go_on(
    server: LocalServer, journal: Path, make_file: MakeFile, number: signal.Signals, code: int
) -> None:
    path = make_file()
    process = await start(server, journal, path, "--part-size", "1MiB", "--limit-rate", "4MB")
    await until_parts(journal, 1)
    with stopwatch(process.pid) as watch:
        process.send_signal(number)
        _, said = await process.communicate()
        assert watch.seconds < 1
    assert process.returncode == code
    assert b"same command goes on" in said
    assert b"Traceback" not in said
    answer = await finish(await start(server, journal, path))
    assert answer["bytes_resumed"] > 0
    assert server.stored(answer["file"]["id"]).read_bytes() == path.read_bytes()


async def test_two_processes_on_one_file_make_one_upload_and_both_get_the_file(
    server: LocalServer, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    server.inject(Fault("part", "stall", "before", seconds=1.0))
    first = await start(server, journal, path, "--part-size", "1MiB")
    async with asyncio.timeout(20):
        while not server.parts_in_flight:
            await asyncio.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # however long the other takes to start, this one is not done
    second = await start(server, journal, path, "--progress", "json")
    assert second.stderr is not None
    async with asyncio.timeout(20):
        await second.stderr.readuntil(b'"waiting"')
    first.send_signal(signal.SIGCONT)
    one, two = await asyncio.gather(finish(first), finish(second))
    assert one["file"]["id"] == two["file"]["id"]
    assert (one["reused"], two["reused"], two["bytes_sent"]) == (False, True, 0)
    assert server.calls["create"] == server.calls["complete"] == 1


async def test_the_other_process_can_be_told_to_fail_at_once_and_names_the_owner(
    server: LocalServer, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    server.inject(Fault("part", "stall", "before", nth=2, every=1))  # the first one can't end meanwhile
    first = await start(server, journal, path, "--part-size", "512KiB")
    await until_parts(journal, 1)
    second = await start(server, journal, path, "--on-busy", "fail")
    _, said = await second.communicate()
    assert second.returncode == 75
    assert str(first.pid) in said.decode()
    first.kill()
    await first.communicate()
