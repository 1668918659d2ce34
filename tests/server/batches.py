"""Helpers for batches: their input files, their states, and the lines of the files that they end with."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterable
from typing import Any

import aiohttp

from tests.server.edits import picture
from tests.server.support import Answer, Caller

ENDPOINT = "/v1/images/edits"
ENDED = {"completed", "failed", "expired", "cancelled"}
MODEL = "gpt-image-2"

Json = dict[str, Any]


async def file_of(call: Caller, content: bytes, *, purpose: str = "batch", name: str = "in.jsonl") -> str:
    """Make a file; return its id."""
    form = aiohttp.FormData({"purpose": purpose})
    form.add_field("file", io.BytesIO(content), filename=name, content_type="application/octet-stream")
    file_id: str = (await call("POST", "files", data=form)).json["id"]
    return file_id


async def vision_file(call: Caller, seed: int = 1) -> str:
    return await file_of(call, picture(seed=seed), purpose="vision", name="a.png")


def body(file_id: str, prompt: str = "a beret", **more: Any) -> Json:
    return {"model": MODEL, "prompt": prompt, "images": [{"file_id": file_id}], **more}


def line(custom_id: str, edit: Json, **changes: Any) -> Json:
    fields = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": edit, **changes}
    return {name: value for name, value in fields.items() if value is not ...}


def written(lines: Iterable[Json]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


async def create(call: Caller, file_id: str, **more: Any) -> Answer:
    fields = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h", **more}
    return await call("POST", "batches", json={name: value for name, value in fields.items() if value is not ...})


async def created(call: Caller, lines: Iterable[Json] | bytes, **more: Any) -> Json:
    """Create a batch of these lines."""
    content = lines if isinstance(lines, bytes) else written(lines)
    answer = await create(call, await file_of(call, content), **more)
    assert answer.status == 200, answer.json
    batch: Json = answer.json
    return batch


async def reached(call: Caller, batch_id: str, *statuses: str) -> Json:
    """Ask for the batch until it has one of these statuses; by default one at its end."""
    async with asyncio.timeout(20):
        while True:
            batch: Json = (await call("GET", f"batches/{batch_id}")).json
            if batch["status"] in (statuses or ENDED):
                return batch
            await asyncio.sleep(0.005)


async def ended(call: Caller, lines: Iterable[Json] | bytes, **more: Any) -> Json:
    return await reached(call, (await created(call, lines, **more))["id"])


async def results(call: Caller, file_id: str | None) -> dict[str, Json]:
    """The lines of an output or error file by their custom_id, in their order."""
    if file_id is None:
        return {}
    async with call.session.get(f"files/{file_id}/content") as answer:
        assert answer.status == 200
        lines = [json.loads(each) for each in (await answer.read()).splitlines()]
    assert all(set(each) == {"id", "custom_id", "response", "error"} for each in lines)
    return {each["custom_id"]: each for each in lines}
