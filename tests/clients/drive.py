"""Every operation through the official Python client: `drive.py URL KEY FOLDER sync|async|aiohttp` tells what it got.

It runs in any environment that has `openai`, of whatever version: it needs nothing of this project.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai

MODEL = "gpt-image-2"
EDITS = "/v1/images/edits"
Facts = dict[str, Any]


async def got(value: Any) -> Any:
    """What a call gives, of the blocking client or of the asynchronous one."""
    return await value if inspect.isawaitable(value) else value


async def every(items: Any) -> list[Any]:
    """All items of all pages, or of a stream."""
    return [item async for item in items] if hasattr(items, "__aiter__") else list(items)


async def status_of(call: Callable[[], Any]) -> list[Any]:
    """How a call is refused."""
    try:
        await got(call())
    except openai.APIStatusError as error:
        known = bool(error.request_id) and error.request_id == error.response.headers["x-request-id"]
        return [error.status_code, error.param, error.code, known]
    return [200]


async def uploads(client: Any, folder: Path) -> Facts:
    """Create, parts out of order, complete, cancel, and the helper that does it all."""
    data = (folder / "data.jsonl").read_bytes()
    half, md5 = len(data) // 2, hashlib.md5(data, usedforsecurity=False).hexdigest()
    fields = {"bytes": len(data), "mime_type": "text/jsonl", "purpose": "fine-tune"}
    week = {"anchor": "created_at", "seconds": 604800}
    upload = await got(client.uploads.create(filename="träin.jsonl", expires_after=week, **fields))
    second = await got(client.uploads.parts.create(upload.id, data=data[half:]))
    first = await got(client.uploads.parts.create(upload.id, data=data[:half]))
    done = await got(client.uploads.complete(upload.id, part_ids=[first.id, second.id], md5=md5))
    dropped = await got(client.uploads.create(filename="b", **fields))
    cancelled = await got(client.uploads.cancel(dropped.id))
    refused = await status_of(lambda: client.uploads.complete(dropped.id, part_ids=[]))
    chunked = await got(
        client.uploads.upload_file_chunked(
            file=folder / "data.jsonl", mime_type="text/jsonl", purpose="fine-tune", part_size=1 << 16, md5=md5
        )
    )
    return {
        "uploaded": [done.status, done.file.id, done.file.filename, done.file.expires_at - done.created_at],
        "chunked": [chunked.status, chunked.file.id, chunked.file.filename],
        "cancelled": [cancelled.status, refused[0]],
    }


async def files(client: Any, folder: Path) -> Facts:
    """Create, list page by page, retrieve, content, delete."""
    path = folder / "data.jsonl"
    made = await got(
        client.files.create(file=path, purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
    )
    ready = await got(client.files.wait_for_processing(made.id))
    listed = await every(client.files.list(limit=1, order="asc"))
    batches = await every(client.files.list(purpose="batch"))
    again = await got(client.files.retrieve(made.id))
    content = await got(client.files.content(made.id))
    gone = await got(client.files.delete(made.id))
    return {
        "made": [ready.status, again.filename, again.bytes, again.expires_at - again.created_at],
        "listed": [file.filename for file in listed],
        "batches": len(batches),
        "content": hashlib.sha256(content.content).hexdigest(),
        "deleted": gone.deleted,
        "missing": await status_of(lambda: client.files.retrieve(made.id)),
    }


async def edits(client: Any, folder: Path) -> Facts:
    """With a mask, of several pictures, streamed."""
    path, mask = folder / "otter.png", folder / "mask.png"
    several = await got(
        client.images.edit(image=path, mask=mask, prompt="a beret", model=MODEL, n=2, output_format="jpeg")
    )
    one = await got(client.images.edit(image=[path, path], prompt="together", model=MODEL, size="1024x1024"))
    stream = await got(client.images.edit(image=path, prompt="slowly", model=MODEL, stream=True, partial_images=2))
    events = await every(stream)
    return {
        "several": [picture_kind(each.b64_json) for each in several.data],
        "usage": one.usage.total_tokens == one.usage.input_tokens + one.usage.output_tokens > 0,
        "one": [picture_kind(each.b64_json) for each in one.data],
        "events": [event.type for event in events],
        "last": picture_kind(events[-1].b64_json),
        "refused": await status_of(lambda: client.images.edit(image=path, prompt="x", model=MODEL, n=11)),
        "moderated": await status_of(lambda: client.images.edit(image=path, prompt="forbidden", model=MODEL)),
    }


async def batches(client: Any, folder: Path) -> Facts:
    """Create, retrieve until it is done, its files, list page by page, cancel."""
    seen = await got(client.files.create(file=folder / "otter.png", purpose="vision"))
    fields = {"model": MODEL, "images": [{"file_id": seen.id}]}
    prompts = {"good": "a beret", "bad": "forbidden"}
    lines = [
        {"custom_id": name, "method": "POST", "url": EDITS, "body": fields | {"prompt": prompt}}
        for name, prompt in prompts.items()
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    file = await got(client.files.create(file=("in.jsonl", content), purpose="batch"))
    wanted = {"input_file_id": file.id, "endpoint": EDITS, "completion_window": "24h"}
    batch = await got(client.batches.create(**wanted, metadata={"run": "7"}))
    while batch.status not in {"completed", "failed"}:
        await asyncio.sleep(0.01)
        batch = await got(client.batches.retrieve(batch.id))
    ids = (batch.output_file_id, batch.error_file_id)
    outputs = [json.loads((await got(client.files.content(each))).text) for each in ids]
    stopped = await got(client.batches.cancel((await got(client.batches.create(**wanted))).id))
    listed = await every(client.batches.list(limit=1))
    counts = batch.request_counts
    return {
        "batch": [batch.status, counts.total, counts.completed, counts.failed, batch.metadata],
        "lines": [[each["custom_id"], each["response"]["status_code"]] for each in outputs],
        "output": picture_kind(outputs[0]["response"]["body"]["data"][0]["b64_json"]),
        "stopped": stopped.status,
        "all": [each.id for each in listed] == [stopped.id, batch.id],
        "late": await status_of(lambda: client.batches.cancel(batch.id)),
    }


def picture_kind(b64: str) -> str:
    return {b"\x89PN": "png", b"\xff\xd8\xff": "jpeg"}[base64.b64decode(b64)[:3]]


async def drive(client: Any, stranger: Any, folder: Path) -> Facts:
    """All of it; a stranger's key is refused."""
    parts: tuple[Callable[[Any, Path], Awaitable[Facts]], ...] = (uploads, files, edits, batches)
    facts: Facts = {"stranger": await status_of(stranger.files.list)}
    for part in parts:
        facts |= await part(client, folder)
    for each in (client, stranger):
        await got(each.close())
    return facts


def main(url: str, key: str, folder: str, kind: str) -> None:
    """Print the facts as JSON."""

    async def run() -> Facts:
        def client(key: str) -> Any:
            options: dict[str, Any] = {"base_url": url, "api_key": key, "max_retries": 0}
            if kind == "sync":
                return openai.OpenAI(**options)
            if kind == "aiohttp":
                options["http_client"] = openai.DefaultAioHttpClient()
            return openai.AsyncOpenAI(**options)

        return await drive(client(key), client("sk-stranger"), Path(folder))

    print(json.dumps({"version": openai.__version__, **asyncio.run(run())}))  # noqa: T201 - it is a program


if __name__ == "__main__":
    main(*sys.argv[1:])
