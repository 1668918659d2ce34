"""A receiver that costs next to nothing and can list: it keeps of each file its name, size and purpose, no content.

python -m benchmarks.uploads.keeper      (prints its port)
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from subprocess import PIPE
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import define, field

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
FILENAME = re.compile(rb'filename="([^"]*)"')
PURPOSE = re.compile(rb'name="purpose"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)')
LONGEST_PAGE = 10_000

Value = dict[str, Any]


@contextmanager
def keeping() -> Iterator[str]:
    """Its URL, for the length of the block; a process of its own."""
    with subprocess.Popen([sys.executable, "-m", "benchmarks.uploads.keeper"], stdout=PIPE, text=True) as keeper:
        assert keeper.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(keeper.stdout.readline())}/v1"
        finally:
            keeper.terminate()


@define(eq=False)
class Keeper:
    """The files in the order in which they came, and the uploads that are open."""

    files: dict[str, tuple[str, int, str, int]] = field(factory=dict)  # filename, bytes, purpose, created_at
    uploads: dict[str, Value] = field(factory=dict)
    _numbers: Iterator[int] = field(factory=count)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Value]:
        url = urlsplit(target)
        match [*url.path.strip("/").split("/")[1:], method]:
            case ["uploads", "POST"]:
                return 200, self._opened(json.loads(body))
            case ["uploads", upload, "parts", "POST"]:
                return 200, {"id": f"part_{next(self._numbers)}", "object": "upload.part", "upload_id": upload}
            case ["uploads", upload, "complete", "POST"]:
                return 200, self._completed(self.uploads.pop(upload))
            case ["files", "POST"]:
                return 200, self._posted(body)
            case ["files", "GET"]:
                return 200, self._page(dict(parse_qsl(url.query)))
            case ["files", file, "GET"] if file in self.files:
                return 200, self._file(file)
        return 404, {"error": {"message": "not here"}}

    def _opened(self, asked: Value) -> Value:
        now = int(time.time())
        upload = {**asked, "id": f"upload_{next(self._numbers)}", "object": "upload", "status": "pending"}
        upload |= {"created_at": now, "expires_at": now + 3600}
        self.uploads[upload["id"]] = upload
        return upload

    def _completed(self, upload: Value) -> Value:
        file = self._kept(upload["filename"], upload["bytes"], upload["purpose"])
        return {**upload, "status": "completed", "file": file}

    def _posted(self, body: bytes) -> Value:
        """The file is the last field, or the purpose is: each ends where the next boundary begins."""
        filename, purpose = FILENAME.search(body), PURPOSE.search(body)
        assert filename is not None
        assert purpose is not None
        start = body.index(b"\r\n\r\n", filename.end()) + 4
        boundary = b"\r\n" + body[: body.index(b"\r\n")]
        return self._kept(filename[1].decode(), body.index(boundary, start) - start, purpose[1].decode())

    def _kept(self, filename: str, size: int, purpose: str) -> Value:
        name = f"file-{next(self._numbers)}"
        self.files[name] = (filename, size, purpose, int(time.time()))
        return self._file(name)

    def _file(self, name: str) -> Value:
        filename, size, purpose, at = self.files[name]
        told = {"id": name, "object": "file", "bytes": size, "created_at": at, "filename": filename}
        return {**told, "purpose": purpose, "status": "processed"}

    def _page(self, query: dict[str, str]) -> Value:
        names = iter(self.files if query.get("order") == "asc" else reversed(self.files))
        if "after" in query:
            next((name for name in names if name == query["after"]), None)
        limit = min(int(query.get("limit", LONGEST_PAGE)), LONGEST_PAGE)
        page = [self._file(name) for name in islice(names, limit) if self._is_wanted(name, query)]
        more = next(names, None) is not None
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return {"object": "list", "data": page, "has_more": more, **ends}

    def _is_wanted(self, name: str, query: dict[str, str]) -> bool:
        return query.get("purpose") in {None, self.files[name][2]}


async def serve(keeper: Keeper) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = LENGTH.search(head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                method, target, _ = head.split(b" ", 2)
                status, value = keeper.answer(method.decode(), target.decode(), body)
                told = json.dumps(value).encode()
                kind = b"Content-Type: application/json"
                writer.write(b"HTTP/1.1 %d .\r\n%b\r\nContent-Length: %d\r\n\r\n%b" % (status, kind, len(told), told))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Keeper()))
