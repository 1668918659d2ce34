"""Words that the stories of edits in batches share: calls, and results that are other than the server wrote them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import evolve

from asyncsdk import BatchOutcomes, Client, EditOutcome, ImageEdit, ImageEditor, api
from asyncsdk.server import LocalServer
from asyncsdk.timing import Timing
from tests.stories.pictures import png

MODEL = "gpt-image-2"
PICTURE = png()
POLL = 0.02
QUICK = Timing(batch_search=0.6, batch_search_interval=0.05, first_delay=0.01)

Lines = list[dict[str, Any]]


def edits(count: int, **fields: Any) -> list[ImageEdit]:
    """Edits with the ids e1, e2 and so on."""
    return [
        ImageEdit(**{"image": PICTURE, "prompt": f"beret {number}", "model": MODEL, "id": f"e{number}"} | fields)
        for number in range(1, count + 1)
    ]


async def batch(
    editor: ImageEditor, jobs: Iterable[ImageEdit] | AsyncIterable[ImageEdit], out: Path, **options: Any
) -> tuple[dict[str, EditOutcome], BatchOutcomes]:
    """A call of `edit_batch`: its outcomes by id, and the object that gave them."""
    async with editor.edit_batch(jobs, out=out, **{"poll": POLL} | options) as outcomes:
        return {outcome.id: outcome async for outcome in outcomes}, outcomes


async def direct(editor: ImageEditor, jobs: Iterable[ImageEdit], out: Path, **options: Any) -> dict[str, EditOutcome]:
    """A call of `edit_many`."""
    async with editor.edit_many(jobs, out=out, **options) as outcomes:
        return {outcome.id: outcome async for outcome in outcomes}


def statuses(found: dict[str, EditOutcome]) -> dict[str, str]:
    """The status of each."""
    return {name: outcome.status for name, outcome in sorted(found.items())}


def message(outcome: EditOutcome) -> str:
    """What is said of its problem."""
    assert outcome.problem is not None
    return outcome.problem.message


def only(status: str, count: int) -> dict[str, str]:
    """All of `count` edits with this status."""
    return {f"e{number}": status for number in sorted(range(1, count + 1), key=str)}


async def ended(server: LocalServer) -> None:
    """Wait until all batches of the server have ended."""
    async with asyncio.timeout(20):
        while not all(batch.is_ended for batch in server.batches):
            await asyncio.sleep(0.01)


async def changed(server: LocalServer, client: Client, change: Callable[[bytes], bytes]) -> None:
    """Give the last batch an output file with other content."""
    await ended(server)
    batch = server.batches[-1]
    file_id = batch.output_file_id
    content = b"" if file_id is None else await client.send(api.file_content(file_id))
    if file_id is not None:
        await client.send(api.delete_file(file_id))
    made = await client.send(api.create_file(file=change(content), filename="other.jsonl", purpose="batch"))
    server._repository.batches[batch.id] = evolve(batch, output_file_id=made.id)  # noqa: SLF001


def lines_of(content: bytes) -> Lines:
    """The lines of a file."""
    return [json.loads(line) for line in content.splitlines()]


def written(lines: Lines) -> bytes:
    """Lines as a file."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def ours(server: LocalServer) -> list[str]:
    """What of our files is on the server."""
    return [file.filename for file in server.files]
