"""`python -m tests.fleet.process TASK`: one copy of a run, as on a machine of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from asyncsdk import Client, ImageEdit, ImageEditor, PostgresLedger
from asyncsdk.images.bulk import shared_intake
from asyncsdk.postgres import database, machine
from asyncsdk.postgres.lease import LeaseTerms
from tests.stories.pictures import png


def be_on_a_machine_of_its_own() -> None:
    """Let no other process here see that this one is gone, as no other pod could: its lease has to end."""
    for module in (machine, database):
        module.this_machine = lambda: f"pod {os.getpid()}"  # type: ignore[attr-defined] # from outside


async def work(task: dict[str, Any]) -> None:
    picture, count = png(), task["edits"]
    edits = [ImageEdit(image=picture, prompt=f"e{number}", model="m", id=f"e{number}") for number in range(count)]
    ledger = PostgresLedger(task["database"], terms=LeaseTerms(lease=task["lease"], renew_every=task["lease"] / 4))
    shared_intake.PAGE = task["page"]  # so that copies begin apart in a short list too
    mine = shared_intake.from_anywhere(lambda start, stop: edits[start:stop], count)
    options = {name: task[name] for name in ("concurrency", "max_edits", "images_per_minute", "rate_pool")}
    async with (
        Client("sk-test", base_url=task["url"]) as client,
        ImageEditor(client, idempotency_header=task["header"]).edit_many(
            mine, out=task["out"], ledger=ledger, **options
        ) as outcomes,
    ):
        async for outcome in outcomes:
            sys.stdout.write(json.dumps({"id": outcome.id, "status": outcome.status}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    be_on_a_machine_of_its_own()
    asyncio.run(work(json.loads(sys.argv[1])))
