"""A Dask cluster of real processes on this machine, and programs of its own: a driver, and a look at the scheduler.

`python -m tests.fleet.dask_cluster drive TASK | recorded ADDRESS | retire ADDRESS WORKER`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from asyncsdk import Client, ImageEdit, ImageEditor, PostgresLedger
from asyncsdk.images.dask import driver
from asyncsdk.postgres.lease import LeaseTerms
from tests.fleet.process import be_on_a_machine_of_its_own

ROOT = Path(__file__).parent.parent.parent
READY = "looking"
STARTS = 60.0  # seconds, within which a process of Dask has started


def dask_setup(_: Any) -> None:
    """What a worker calls that preloads this module."""
    be_on_a_machine_of_its_own()


@define(eq=False)
class DaskCluster:
    """A scheduler and workers, each a process; `logs` has what they wrote."""

    logs: Path
    environment: Mapping[str, str]
    address: str = field(default="", init=False)
    workers: list[subprocess.Popen[bytes]] = field(factory=list, init=False)
    scheduler: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, workers: int, preload: str = "tests.fleet.dask_cluster") -> None:
        self.logs.mkdir(parents=True)
        file = self.logs / "scheduler.json"
        options = ["--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(file)]
        self.scheduler = self._process("scheduler", *options)
        self.address = json.loads(_until_written(file))["address"]
        for _ in range(workers):
            self.add_worker(preload)

    def add_worker(self, preload: str = "tests.fleet.dask_cluster") -> subprocess.Popen[bytes]:
        name = f"worker-{len(self.workers)}"
        options = ["--no-nanny", "--nthreads", "1", "--name", name, "--memory-limit", "0"]
        options += ["--host", "127.0.0.1", "--local-directory", str(self.logs), "--preload", preload]
        self.workers.append(self._process("worker", self.address, *options, log=name))
        return self.workers[-1]

    def until_there(self, workers: int) -> None:
        """Return once that many workers have registered."""
        deadline = time.monotonic() + STARTS
        while self.log().count("Register worker") < workers:
            assert time.monotonic() < deadline, "the workers do not start"
            time.sleep(0.05)

    def retire(self, number: int) -> None:
        run("retire", self.address, f"worker-{number}")

    def stop(self) -> None:
        """End what is left."""
        for process in filter(None, [*self.workers, self.scheduler]):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self.logs.glob("*.log"))

    def _process(self, kind: str, *options: str, log: str = "scheduler") -> subprocess.Popen[bytes]:
        with (self.logs / f"{log}.log").open("ab") as file:
            command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options, "--no-dashboard"]
            return subprocess.Popen(command, cwd=ROOT, env=self._environment(), stdout=file, stderr=file)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}


def command_of(task: Mapping[str, Any]) -> list[str]:
    """A driver as a process of its own."""
    return [sys.executable, "-m", "tests.fleet.dask_cluster", "drive", json.dumps(task)]


def looking(address: str) -> subprocess.Popen[str]:
    """A program that prints what the scheduler records of the next tasks that it gets; it looks already."""
    command = [sys.executable, "-m", "tests.fleet.dask_cluster", "recorded", address]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == READY
    return process


def run(program: str, *arguments: str) -> str:
    """Run a program of this module, and return what it printed."""
    command = [sys.executable, "-m", "tests.fleet.dask_cluster", program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=STARTS).stdout


async def drive(task: dict[str, Any]) -> None:
    driver.ANSWER_SECONDS = task["patience"]
    edits = (
        ImageEdit(image=task["picture"], prompt=f"e{number}", model="m", id=f"e{number}")
        for number in range(task["edits"])
    )
    terms = LeaseTerms(lease=task["lease"], renew_every=task["lease"] / 4)
    ledger = PostgresLedger(task["database"], terms=terms)
    async with Client("sk-driver", base_url=task["url"]) as client:
        editor, options = ImageEditor(client), {"concurrency": task["concurrency"], "max_edits": task.get("max_edits")}
        async with editor.edit_many(edits, out=task["out"], ledger=ledger, dask=task["dask"], **options) as outcomes:
            async for outcome in outcomes:
                sys.stdout.write(json.dumps({"id": outcome.id, "status": outcome.status}) + "\n")
                sys.stdout.flush()


def recorded(dask_scheduler: Any) -> bytes:
    """All that a scheduler knows of the tasks that it has now, and what it has noted."""
    from distributed.protocol import pickle  # what is called is a local function

    tasks = {key: (state.run_spec, repr(state)) for key, state in dask_scheduler.tasks.items()}
    noted = [
        list(dask_scheduler.transition_log),
        dict(dask_scheduler.events if hasattr(dask_scheduler, "events") else {}),
    ]
    dumps: Any = pickle.dumps
    dumped: bytes = dumps((tasks, repr(noted), list(dask_scheduler.get_logs())))
    return dumped


def has_tasks(dask_scheduler: Any) -> bool:
    return bool(dask_scheduler.tasks)


def _until_written(file: Path) -> str:
    deadline = time.monotonic() + STARTS
    while not (file.exists() and file.read_text().endswith("}")):
        assert time.monotonic() < deadline, "the scheduler does not start"
        time.sleep(0.05)
    return file.read_text()


def main(program: str, *arguments: str) -> None:
    if program == "drive":
        asyncio.run(drive(json.loads(arguments[0])))
        return
    import distributed

    kind: Any = distributed.Client  # which has types in part
    with kind(arguments[0], timeout=STARTS) as client:
        if program == "retire":
            client.retire_workers(names=[arguments[1]])
        else:
            sys.stdout.write(f"{READY}\n")
            sys.stdout.flush()
            while not client.run_on_scheduler(has_tasks):
                time.sleep(0.02)
            sys.stdout.write(client.run_on_scheduler(recorded).decode("latin-1"))


if __name__ == "__main__":
    main(*sys.argv[1:])
