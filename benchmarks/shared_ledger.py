"""A ledger in Postgres: what it costs beside one in files, alone, in several processes, and when all is done already.

    python -m benchmarks.shared_ledger [--scale 1.0] [PART...]

Parts: `alone` (200,000 edits through the ledger, without a server; then the size of the tables), `processes` (four of
them against a stub, beside four with a ledger in files each), `done` (a copy that begins over 1,000,000 edits that are
done, by the command line), `memory` (10,000 and 200,000 edits in one process), `dask` (the same by three workers of
Dask; the driver's memory and theirs). `--scale 0.01` is a hundredth of each, and takes a minute; the whole about an
hour. It starts a Postgres of its own, which syncs, and leaves nothing.
Exits with 1 where a goal is missed, at full scale only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import Process, Queue
from pathlib import Path
from subprocess import DEVNULL, Popen, run
from typing import Any

from asyncsdk import Client, ImageEdit, ImageEditor, PostgresLedger
from asyncsdk.images.bulk.identity import source_digest
from asyncsdk.images.bulk.shared_intake import from_anywhere
from asyncsdk.images.ledger.claims import Wanted
from asyncsdk.images.ledger.seen import key_of_id
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.models import Usage
from benchmarks.bulk_memory import PIXEL, serve
from tests.fleet.dask_cluster import DaskCluster
from tests.postgres.server import PostgresServer, running

AT_ONCE = 64  # edits in flight, and claimed by one statement, as edit_many does with that concurrency
PROCESSES = 4
DASK_WORKERS = 3
# Dask keeps what its own profiler sees, a quarter of a mebibyte each second, for an hour
WITHOUT_PROFILER = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
GOALS = {"alone": 1000.0, "ratio": 0.6, "bloat": 2.0, "done": 60.0, "growth": 1.25, "growth by Dask": 1.25}
SERVER = {"fsync": "on", "shared_buffers": "256MB", "max_wal_size": "2GB"}
MODEL = "gpt-image-2"


def edits_of(
    count: int, picture: str, name: str = "row", start: int = 0, stop: int | None = None
) -> Iterator[ImageEdit]:
    for number in range(count)[start:stop]:
        yield ImageEdit(image=picture, prompt="a beret", model=MODEL, id=f"{name} {number:07}")


async def through(ledger: SharedLedger, edit_id: str) -> None:
    """Bring an edit that is claimed to its end."""
    claim = ledger.claims[key_of_id(edit_id)]
    claim.digest, claim.source = "0" * 64, "1" * 32
    await ledger.intend(claim.key, id=edit_id, n=1)
    usage = Usage(input_tokens=600, output_tokens=1000, total_tokens=1600)
    await ledger.end(
        claim.key, "done", id=edit_id, files=(f"{edit_id}.png",), usage=usage, images=1, request_id="r" * 36
    )


async def alone(url: str, count: int) -> float:
    """Edits a second through the ledger, by as many tasks as are in flight, for which one at a time claims."""
    began, numbers, turn, claimed = time.monotonic(), iter(range(count)), asyncio.Lock(), deque[str]()
    async with PostgresLedger(url).open(Path(), {}) as ledger:

        async def next_one() -> str | None:
            async with turn:
                if not claimed and (ids := [f"row {number:07}" for number in islice(numbers, AT_ONCE)]):
                    await ledger.claim(
                        [Wanted(key_of_id(each), each, None) for each in ids], max_edits=None, max_tokens=None
                    )
                    claimed.extend(ids)
                return claimed.popleft() if claimed else None

        async def worker() -> None:
            while (edit_id := await next_one()) is not None:
                await through(ledger, edit_id)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return count / (time.monotonic() - began)


def table_sizes(sql: Callable[..., str]) -> float:
    """How many times as large the tables of edits are as the same rows written once, with their index."""
    sql(
        "create table live (like asyncsdk.edit including all)",
        "insert into live select * from asyncsdk.edit order by key",
    )
    names = ("asyncsdk.edit", "asyncsdk.ledger_worker", "live")
    edit, worker, live = (int(sql(f"select pg_total_relation_size('{name}')")) for name in names)
    sql("drop table live")
    print(f"  tables: {(edit + worker) / 2**20:.1f} MiB, their live rows written once {live / 2**20:.1f} MiB")
    return (edit + worker) / live


async def work(task: dict[str, Any]) -> None:
    """One process of a run, over all rows or over a part of its own."""
    edits = partial(edits_of, task["count"], task["picture"], task["name"])
    is_copy = task["ledger"] is not None and task.get("dask") is None
    mine = from_anywhere(edits, task["count"]) if is_copy else edits()
    async with Client("sk-x", base_url=task["url"]) as client:
        options: Any = {"out": task["out"], "ledger": task["ledger"], "concurrency": task["concurrency"]}
        options["dask"] = task.get("dask")
        async with ImageEditor(client).edit_many(mine, **options) as outcomes:
            async for _ in outcomes:
                pass


def started(**task: Any) -> Popen[bytes]:
    return Popen([sys.executable, "-m", "benchmarks.shared_ledger", "--task", json.dumps(task)], stderr=DEVNULL)


def in_processes(tasks: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Seconds from the first start to the last end, and the largest memory of one in MiB."""
    began, processes, peak = time.monotonic(), [started(**task) for task in tasks], 0.0
    for process in processes:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode, peak = os.waitstatus_to_exitcode(status), max(peak, used.ru_maxrss / 1024)
        if process.returncode:
            sys.exit(f"a process failed with {process.returncode}")
    return time.monotonic() - began, peak


@contextmanager
def stub() -> Iterator[str]:
    port: Queue[int] = Queue()
    process = Process(target=serve, args=(port,), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{port.get()}/v1"
    process.kill()
    process.join()


def processes(server: PostgresServer, folder: Path, count: int) -> float:
    """The rate of four processes with one ledger in Postgres, by that of four with one in files each."""
    with stub() as url:
        common: dict[str, Any] = {"picture": picture_in(folder), "url": url, "concurrency": 16}
        start, _ = in_processes([{**common, "count": 0, "name": "x", "ledger": None, "out": str(folder / "none")}])
        seconds = {}
        parts = [
            {
                **common,
                "count": count // PROCESSES,
                "name": f"part {each}",
                "ledger": None,
                "out": str(folder / f"of {each}"),
            }
            for each in range(PROCESSES)
        ]
        seconds["four with a ledger in files each"] = in_processes(parts)[0]
        one = {**common, "count": count, "name": "row", "ledger": None, "out": str(folder / "one")}
        seconds["one with a ledger in files"] = in_processes([one])[0]
        shared = {**one, "ledger": server.url(server.new_database()), "out": str(folder / "shared")}
        seconds["four with one ledger in Postgres"] = in_processes([shared] * PROCESSES)[0]
        seconds["one with a ledger in Postgres"] = in_processes(
            [{**shared, "ledger": server.url(server.new_database()), "out": str(folder / "shared one")}]
        )[0]
    rates = {name: count / (each - start) for name, each in seconds.items()}
    for name, rate in rates.items():
        print(f"  {name}: {rate:,.0f} edits/s")
    return rates["four with one ledger in Postgres"] / rates["four with a ledger in files each"]


def picture_in(folder: Path) -> str:
    path = folder / "picture.png"
    path.write_bytes(PIXEL)
    return str(path)


def cpu_of_children() -> float:
    """Seconds that processes used which have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def done(server: PostgresServer, folder: Path, count: int) -> float:
    """Seconds of a copy that begins where all is done, by the command line, its start included."""
    name, picture = server.new_database(), picture_in(folder)
    url = server.url(name)
    environment = os.environ | {
        "OPENAI_API_KEY": "sk-x",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "ASYNCSDK_LEDGER": url,
    }
    asyncio.run(alone(url, 1))
    server.sql("delete from asyncsdk.edit", database=name)
    jobs, rows = folder / "jobs.jsonl", folder / "rows.csv"
    with jobs.open("w") as lines, rows.open("w") as table:
        for edit in edits_of(count, picture):
            lines.write(json.dumps({"image": picture, "prompt": "a beret", "model": MODEL, "id": edit.id}) + "\n")
            key, nobody = key_of_id(edit.id or ""), uuid.UUID(int=0)
            table.write(f"{key},{edit.id},done,2026-11-29,{'0' * 64},{source_digest(edit)},1,{nobody},{nobody}\n")
    columns = "key, id, status, at, digest, source, epoch, holder, try"
    server.sql(f"\\copy asyncsdk.edit ({columns}) from '{rows}' csv", "analyze asyncsdk.edit", database=name)
    command = [sys.executable, "-m", "asyncsdk", "edit-many", str(jobs), "-o", str(folder / "out"), "--yes"]
    began, used = time.monotonic(), cpu_of_children()
    ended = run([*command, "--progress", "none"], env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    print(f"  {ended.stderr.strip()} in {seconds:.1f} s, {cpu_of_children() - used:.1f} s of CPU in the copy")
    if f"{count:,} done before." not in ended.stderr:
        sys.exit("not all was done before")
    return seconds


def memory(server: PostgresServer, folder: Path, counts: Sequence[int]) -> float:
    """How many times the memory of a process is with the last count what it is with the first."""
    with stub() as url:
        common: dict[str, Any] = {"picture": picture_in(folder), "url": url, "concurrency": 16, "name": "row"}
        peaks = []
        for count in counts:
            task = {
                **common,
                "count": count,
                "ledger": server.url(server.new_database()),
                "out": str(folder / f"{count}"),
            }
            peaks.append(in_processes([task])[1])
            print(f"  {count:,} edits: {peaks[-1]:.0f} MiB at the peak")
    return peaks[-1] / peaks[0]


def dask(server: PostgresServer, folder: Path, counts: Sequence[int]) -> float:
    """The same for the driver and the workers of Dask, whichever grows more."""
    peaks = []
    with stub() as url:
        for count in counts:
            environment = {"OPENAI_API_KEY": "sk-x", "PGPASSWORD": server.password, **WITHOUT_PROFILER}
            cluster = DaskCluster(folder / f"logs of {count}", environment)
            cluster.start(DASK_WORKERS)
            try:
                cluster.until_there(DASK_WORKERS)
                task: dict[str, Any] = {"picture": picture_in(folder), "url": url, "concurrency": 16, "name": "row"}
                ledger = server.url(server.new_database())
                task |= {"count": count, "ledger": ledger, "out": str(folder / f"{count} by Dask")}
                seconds, driver = in_processes([{**task, "dask": cluster.address}])
                peaks.append([driver, *(peak_of(worker.pid) for worker in cluster.workers)])
            finally:
                cluster.stop()
            shown = ", ".join(f"{peak:.0f}" for peak in peaks[-1][1:])
            print(f"  {count:,} edits in {seconds:.0f} s: {driver:.0f} MiB in the driver, {shown} in the workers")
    return max(last / first for first, last in zip(map(float, peaks[0]), map(float, peaks[-1]), strict=True))


def peak_of(process: int) -> float:
    """The largest memory of a process so far, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("part", nargs="*", help="alone, processes, done, memory, dask; all of them by default")
    options.add_argument("--scale", type=float, default=1.0)
    options.add_argument("--task", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.task:
        asyncio.run(work(json.loads(given.task)))
        return
    found: dict[str, float] = {}
    parts = given.part or ["alone", "processes", "done", "memory", "dask"]

    def scaled(count: int) -> int:
        return max(100, round(count * float(given.scale)))

    with running(**SERVER) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "alone" in parts:
            database = server.new_database()
            found["alone"] = asyncio.run(alone(server.url(database), scaled(200_000)))
            print(f"alone: {found['alone']:,.0f} edits/s")
            found["bloat"] = table_sizes(partial(server.sql, database=database))
        if "processes" in parts:
            print("processes:")
            found["ratio"] = processes(server, folder, scaled(20_000))
        if "done" in parts:
            print("done:")
            found["done"] = done(server, folder, scaled(1_000_000))
        if "memory" in parts:
            print("memory:")
            found["growth"] = memory(server, folder, [scaled(10_000), scaled(200_000)])
        if "dask" in parts:
            print("dask:")
            found["growth by Dask"] = dask(server, folder, [scaled(10_000), scaled(200_000)])
    missed = []
    for goal, value in found.items():
        is_met = value >= GOALS[goal] if goal in {"alone", "ratio"} else value <= GOALS[goal]
        print(f"{goal}: {value:,.2f}, {'at least' if goal in {'alone', 'ratio'} else 'at most'} {GOALS[goal]:g} wanted")
        missed += [] if is_met else [goal]
    sys.exit(1 if missed and given.scale >= 1 else None)


if __name__ == "__main__":
    main()
