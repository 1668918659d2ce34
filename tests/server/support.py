"""A running server, and plain HTTP calls to it without a client library."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, frozen

from asyncsdk.server import LocalServer

NOW = 1_795_000_000
BOUNDARY = "a-boundary"
LOST = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)


@frozen
class Answer:
    """A response; `json` is None where the body is not JSON."""

    status: int
    headers: Mapping[str, str]
    json: Any

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        of_file = self.status == 404 and "No such File" in error["message"]
        assert set(self.json) == ({"error", "detail"} if of_file else {"error"})
        assert set(error) == {"message", "type", "param", "code"}
        return error


@define
class Clock:
    """Unix time as a test wants it."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@frozen
class Caller:
    """Makes plain calls with a key."""

    session: aiohttp.ClientSession

    async def __call__(self, method: str, path: str, **options: Any) -> Answer:
        async with self.session.request(method, path, **options) as response:
            is_json = response.content_type == "application/json"
            return Answer(response.status, response.headers, await response.json() if is_json else None)

    async def create(self, **changes: Any) -> Answer:
        return await self("POST", "uploads", json=upload_fields(**changes))

    async def created(self, size: int, **changes: Any) -> str:
        upload_id: str = (await self.create(bytes=size, **changes)).json["id"]
        return upload_id

    async def add_part(self, upload_id: str, data: bytes) -> Answer:
        form = aiohttp.FormData()
        form.add_field("data", io.BytesIO(data), filename="upload")
        return await self("POST", f"uploads/{upload_id}/parts", data=form)

    async def complete(self, upload_id: str, *part_ids: str, **more: Any) -> Answer:
        return await self("POST", f"uploads/{upload_id}/complete", json={"part_ids": part_ids, **more})

    async def cancel(self, upload_id: str) -> Answer:
        return await self("POST", f"uploads/{upload_id}/cancel")

    async def uploaded(self, data: bytes, **changes: Any) -> Answer:
        """Make a file of one part; return the answer of complete."""
        upload_id = await self.created(len(data), **changes)
        return await self.complete(upload_id, (await self.add_part(upload_id, data)).json["id"])


def upload_fields(**changes: Any) -> dict[str, Any]:
    fields = {"bytes": 10, "filename": "train.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune", **changes}
    return {name: value for name, value in fields.items() if value is not ...}


@asynccontextmanager
async def calling(server: LocalServer, **options: Any) -> AsyncIterator[Caller]:
    options.setdefault("headers", {"Authorization": "Bearer a key"})
    async with aiohttp.ClientSession(server.url + "/", **options) as session:
        yield Caller(session)


@asynccontextmanager
async def running(directory: Path | None = None, **options: Any) -> AsyncIterator[tuple[LocalServer, Caller]]:
    async with LocalServer(directory, **options) as server, calling(server) as call:
        yield server, call


@asynccontextmanager
async def connected(server: LocalServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection, closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def files_below(directory: Path) -> list[str]:
    found = (path for path in directory.rglob("*") if path.is_file() and path.name != "lock")
    return sorted(str(path.relative_to(directory)) for path in found)


def kept_parts(server: LocalServer) -> int:
    """How many parts lie there that are in no file."""
    found = server.directory_in_use.glob("files/*/part_*")
    return len([path for path in found if not path.parent.with_suffix(".json").exists()])


def form_of(*fields: bytes, head: bytes = b"", tail: bytes = b"") -> bytes:
    """Write a form by hand; each field is its headers, an empty line, and its content."""
    delimiter = b"--" + BOUNDARY.encode()
    return head + b"".join(delimiter + b"\r\n" + field + b"\r\n" for field in fields) + delimiter + b"--\r\n" + tail


def data_field(data: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="data"; filename="upload"\r\n\r\n' + data


FORM_HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part_request(upload_id: str, form: bytes, *, length: int | None = None) -> bytes:
    """Write the whole request that adds a part."""
    head = [
        f"POST /v1/uploads/{upload_id}/parts HTTP/1.1",
        "Host: 127.0.0.1",
        "Authorization: Bearer a key",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {len(form) if length is None else length}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + form
