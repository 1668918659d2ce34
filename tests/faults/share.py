"""Several copies of one `asyncsdk upload` over the same files: some are killed, one stops past its lease."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from attrs import define, field, frozen

from asyncsdk.__main__ import main as program
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.uploads.journal.postgres import PostgresJournal
from tests.faults.support import LIMIT, MIB, ServerProcess, make_file, processes, serving
from tests.faults.table import Row
from tests.postgres.server import running
from tests.remote.s3_server import S3Server, s3_server

SIZES = (1, 3_000, 70_000, MIB, 4 * MIB + 1, 9 * MIB)
WEIGHTS = (5, 40, 25, 20, 8, 2)
PART = 512 * 1024
CONCURRENCY = 4
LEASE = 4.0  # seconds, where a test can't wait for a minute


def make_files(folder: Path, count: int, *, seed: int) -> dict[str, Path]:
    """So many files of mixed sizes, some in folders, no two with the same bytes."""
    numbers, files = random.Random(seed), {}
    for number in range(count):
        name = f"{number:04}.bin"
        below = folder / f"part{number % 3}" if number % 2 else folder
        below.mkdir(parents=True, exist_ok=True)
        size = numbers.choices(SIZES, WEIGHTS)[0] + number
        files[name] = make_file(below / name, size, seed=seed + number)
    return files


@frozen
class Command:
    """What each copy runs. `sources` are directories, lists or prefixes."""

    server: ServerProcess
    journal: str
    sources: Sequence[str]
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(factory=dict)
    lease: float = LEASE

    def start(self) -> Copy:
        arguments = [
            "upload", *self.sources, "--purpose", "batch", "--journal", self.journal, "--json",
            "--part-size", str(PART), "--concurrency", str(CONCURRENCY), *self.options,
        ]  # fmt: skip
        environment = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": self.server.url, **self.environment}
        folder = Path(mkdtemp(dir=self.server.data))
        process = processes.Process(target=_work, args=(arguments, environment, folder, self.lease), daemon=True)
        process.start()
        return Copy(process, folder)


def _work(arguments: Sequence[str], environment: Mapping[str, str], folder: Path, lease: float) -> None:
    """Run the program with leases of so many seconds; what it writes goes to files in `folder`."""
    for number, name in ((1, "out"), (2, "err")):
        with (folder / name).open("wb") as file:
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "ASYNCSDK_"))]:
        del os.environ[name]
    os.environ.update(environment)
    made, terms = PostgresJournal.__init__, LeaseTerms(lease=lease, renew_every=lease / 3)
    PostgresJournal.__init__ = lambda self, url: made(self, url, terms=terms)  # type: ignore[method-assign,assignment,misc] # from outside
    sys.argv = ["asyncsdk", *arguments]
    sys.exit(program())


@define(eq=False)
class Copy:
    """One that runs, or ran."""

    process: ForkServerProcess
    _folder: Path

    async def until_reported(self, files: int) -> None:
        """Wait until it has reported so many files, or has ended."""
        deadline = time.monotonic() + LIMIT
        while self.process.exitcode is None and self._written("out").count("\n") < files:
            assert time.monotonic() < deadline, f"it did not come so far: {self._written('err')}"
            await asyncio.sleep(0.01)

    def send(self, signum: signal.Signals) -> None:
        assert self.process.pid is not None
        if self.process.exitcode is None:
            os.kill(self.process.pid, signum)

    async def ended(self, within: float = LIMIT) -> Ended:
        """Wait for its end."""
        await asyncio.to_thread(self.process.join, within)
        assert self.process.exitcode is not None, f"it does not end: {self._written('err')}"
        records = [json.loads(line) for line in self._written("out").splitlines() if line.endswith("}")]
        return Ended(self.process.exitcode, records, self._written("err"))

    def _written(self, name: str) -> str:
        try:
            return (self._folder / name).read_text()
        except FileNotFoundError:
            return ""


@frozen
class Ended:
    """How a copy ended: its exit code, what it said of each file, and its messages."""

    code: int
    records: list[dict[str, Any]]
    err: str

    @property
    def summary(self) -> str:
        return next((line for line in reversed(self.err.splitlines()) if " file" in line[:12]), "")

    @property
    def ids(self) -> dict[str, str]:
        """The File of each source."""
        return {record["source"]: record["file"]["id"] for record in self.records if record["file"]}

    @property
    def duplicates(self) -> set[str]:
        """Further Files that it reports: of a request whose copy was stopped while it was on its way."""
        return {each for record in self.records for each in record["duplicates"]}

    def count(self, **fields: bool) -> int:
        return sum(all(record[name] == value for name, value in fields.items()) for record in self.records)


async def share(command: Command, names: Collection[str], *, copies: int = 4, killed: int = 2) -> list[Ended]:
    """Start so many copies: some are killed, and one of the others is stopped until the rest has ended.

    Returns how those ended that were not killed, the one that was stopped last.
    """
    started = [command.start() for _ in range(copies)]
    try:
        due = max(1, len(names) // (4 * copies))
        for number, copy in enumerate(started[:killed], 1):
            await copy.until_reported(due * number)
            copy.send(signal.SIGKILL)
            await copy.ended()
        late, rest = started[-1], started[killed:-1]
        await late.until_reported(due)
        late.send(signal.SIGSTOP)
        others = [await copy.ended(6 * LIMIT) for copy in rest]
        late.send(signal.SIGCONT)
        return [*others, await late.ended(6 * LIMIT)]
    finally:
        for copy in started:
            copy.send(signal.SIGKILL)  # one that is stopped, too: it would never end


def violations(server: ServerProcess, files: Mapping[str, Path], ended: Sequence[Ended]) -> list[str]:
    """What must not be after a run of some copies over these files."""
    row, contents = Row("share"), {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    there = Counter(file["filename"] for file in server.files())
    wanted, reported = Counter(contents.keys()), {each for copy in ended for each in copy.duplicates}
    wanted += Counter(file["filename"] for file in server.files() if file["id"] in reported)
    row.must(there == wanted, f"there twice: {sorted(there - wanted)[:5]}, missing: {sorted(wanted - there)[:5]}")
    for file in server.files():
        same = sha256(server.content(file["id"])).hexdigest() == contents.get(file["filename"])
        row.must(same, f"{file['filename']} has other bytes there")
    ids = {file["id"] for file in server.files()} - reported
    for number, copy in enumerate(ended):
        row.must(copy.code == 0, f"copy {number} ended with {copy.code}: {copy.err[-500:]}")
        sources = Counter(record["source"] for record in copy.records)
        row.must(
            set(sources.values()) == {1} and len(sources) == len(contents),
            f"copy {number} reported {len(sources)} of {len(contents)}",
        )
        row.must(set(copy.ids.values()) == ids, f"copy {number} names other files")
        row.must(copy.ids == ended[0].ids, f"copy {number} and the first name different files")
        row.must("Traceback" not in copy.err, f"copy {number}: {copy.err[-800:]}")
    return row.violations


async def share_everywhere(folder: Path, count: int, *, seed: int, lease: float = 60.0) -> Row:
    """The long form: a folder, then a bucket, in parts and by one request; of four copies two are killed, one stops."""
    row = Row("share")
    files = make_files(folder / "in", count, seed=seed)
    with running() as postgres, s3_server() as store:
        prefix = fill(store, files, folder / "in")
        for source in (str(folder / "in"), prefix):
            for method in ("uploads", "auto"):
                kind = f"{'bucket' if source == prefix else 'folder'}, {method}"
                async with serving(folder / f"server {row.cases}") as server:
                    journal, options = postgres.url(postgres.new_database()), ["--method", method]
                    command = Command(server, journal, [source], options, store.environment, lease)
                    began = time.monotonic()
                    ended = await share(command, files)
                    took = time.monotonic() - began
                    row.cases += 1
                    row.violations += [f"{kind}: {what}" for what in violations(server, files, ended)]
                    row.figures[kind] = await _figures(server, files, ended, took)
    return row


def fill(store: S3Server, files: Mapping[str, Path], top: Path) -> str:
    """Put the files below `top` into a new bucket; returns their prefix."""
    store.put("night")
    store.put_all({f"night/in/{path.relative_to(top)}": path.read_bytes() for path in files.values()})
    return "s3://night/in/"


async def _figures(server: ServerProcess, files: Mapping[str, Path], ended: Sequence[Ended], took: float) -> str:
    stats, size = await server.stats(), sum(path.stat().st_size for path in files.values())
    more = stats["bytes_received"] - size
    said = "; ".join(copy.summary for copy in ended)
    twice = len({each for copy in ended for each in copy.duplicates})
    there = f"{len(server.uploads())} uploads, {len(server.files())} files, {twice} of them reported to be there twice"
    return f"({there}, {more / MIB:.1f} MiB again, {took:.0f} s: {said})"
