"""Uploads in turn: however many wait, they hold no file and no lock, and they begin in the order in which they came."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio

from asyncsdk import AsyncUploader, Client
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from asyncsdk.wal.ranges import locks_at
from tests.faults.leaving import open_files

WAITING = 20


async def test_who_waits_holds_nothing_and_all_begin_in_order(server: LocalServer, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.bin" for number in range(1 + WAITING)]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    server.clear_faults()
    server.inject(Fault("part", "stall", "before"))
    begun: list[Path] = []
    async with Client("sk-test", base_url=server.url) as client, asyncio.TaskGroup() as group:
        uploader = AsyncUploader(client, journal=tmp_path / "journal", concurrency=1)

        async def send(path: Path) -> None:
            def listen(_: object) -> None:
                if path not in begun:
                    begun.append(path)

            await uploader.upload(path, purpose="batch", in_turn=True, on_progress=listen)

        first, *_ = [group.create_task(send(path)) for path in paths]
        line = uploader._context.queue._line  # noqa: SLF001 - that all of them wait shows nowhere else
        with anyio.fail_after(20):
            while server.unmet_faults() or len(line) < WAITING:
                await asyncio.sleep(0.01)
        assert open_files(*paths[1:]) == []
        locks = locks_at(tmp_path / "journal" / "small" / "keys.lock").holders()
        owners = list((tmp_path / "journal" / "locks").glob("*.owner"))
        assert len(locks) + len(owners) == 1
        first.cancel()
    assert begun == paths
    assert len(server.files) == WAITING


async def test_small_files_begin_as_soon_as_there_is_room(server: LocalServer, tmp_path: Path) -> None:
    contents, before = [b"%d" % number for number in range(WAITING)], len(server.files)
    async with Client("sk-test", base_url=server.url, timing=Timing(admission_poll=3600)) as client:
        uploader = AsyncUploader(client, journal=tmp_path / "journal", concurrency=2)
        with anyio.fail_after(20):
            await asyncio.gather(
                *(uploader.upload(content, purpose="batch", key=content.decode(), in_turn=True) for content in contents)
            )
    assert len(server.files) - before == WAITING
