"""`python -m tests.faults.fleet_process TASK`: one process of a fleet, as on a machine of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from asyncsdk import AsyncUploader, Client, PostgresJournal, UploadJob
from asyncsdk.errors import JournalError
from asyncsdk.postgres import database, machine
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.uploads.journal import Part, Record
from asyncsdk.uploads.journal.postgres import PostgresLog


def be_on_a_machine_of_its_own() -> None:
    """Let no other process here see that this one is gone, as no other pod could: its lease has to end."""
    for module in (machine, database):
        module.this_machine = lambda: f"pod {os.getpid()}"  # type: ignore[attr-defined] # from outside


def note_refusals() -> list[dict[str, str]]:
    """What the journal did not take, as it comes: why, and the part that the server did take."""
    append = PostgresLog.append
    refused: list[dict[str, str]] = []

    async def append_and_note(log: PostgresLog, record: Record) -> None:
        try:
            await append(log, record)
        except JournalError as error:
            refused.append({"why": str(error), "part": record.id if isinstance(record, Part) else ""})
            raise

    PostgresLog.append = append_and_note  # type: ignore[method-assign,assignment] # from outside
    return refused


async def upload_all(task: dict[str, Any], names: list[str], refused: list[dict[str, str]]) -> list[str]:
    """Upload these; returns those that failed, having said of each how it ended."""
    fleet, failed = task["fleet"], []
    terms = LeaseTerms(lease=fleet["lease"], renew_every=fleet["lease"] / 3)
    async with Client("sk-test", base_url=task["url"]) as client:
        uploader = AsyncUploader(
            client,
            journal=PostgresJournal(task["database"], terms=terms),
            part_size=fleet["part_size"],
            concurrency=fleet["concurrency"],
            limit_rate=fleet["rate"],
            remote_options=task["store"],
        )
        jobs = [UploadJob(f"s3://night/{name}", "batch", method="uploads") for name in names]
        async with uploader.upload_many(jobs) as outcomes:
            async for outcome in outcomes:
                name = str(outcome.job.source).rpartition("/")[2]
                failed += [name] if outcome.error is not None else []
                said: dict[str, Any] = {"name": name, "error": None if outcome.error is None else str(outcome.error)}
                said |= {"file": None if outcome.result is None else outcome.result.file.id}
                said |= {"refused": [*refused]}
                refused.clear()
                sys.stdout.write(json.dumps(said) + "\n")
                sys.stdout.flush()
    return failed


def main() -> None:
    task = json.loads(sys.argv[1])
    be_on_a_machine_of_its_own()
    refused = note_refusals()
    names = task["names"][task["number"] :] + task["names"][: task["number"]]
    failed = asyncio.run(upload_all(task, names, refused))
    if failed:  # the same call again
        asyncio.run(upload_all(task, failed, refused))


if __name__ == "__main__":
    main()
