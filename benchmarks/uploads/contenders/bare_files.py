"""The floor for small files: aiohttp alone, one POST /files each, md5, and two durable lines a file in one journal.

Nothing is checked, nothing is tried again, and nothing can be resumed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import ssl
from pathlib import Path

import aiohttp
from attrs import define, field

from benchmarks.uploads.contenders.arguments import Arguments, arguments

HEADERS = {"Authorization": "Bearer sk-benchmark", "Content-Type": "multipart/form-data; boundary=b"}
PURPOSE = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
FILE = '--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
END = b"\r\n--b--\r\n"


@define(eq=False)
class Lines:
    """Lines in one file: all that wait are synced by one call."""

    descriptor: int
    _waiting: list[bytes] = field(factory=list)
    _appended: int = 0
    _synced: int = 0
    _turn: asyncio.Lock = field(factory=asyncio.Lock)

    async def append(self, fact: object) -> None:
        self._waiting.append(json.dumps(fact).encode() + b"\n")
        self._appended += 1
        mine = self._appended
        async with self._turn:
            if self._synced < mine:
                batch, self._waiting, upto = b"".join(self._waiting), [], self._appended
                await asyncio.to_thread(self._write, batch)
                self._synced = upto

    def _write(self, batch: bytes) -> None:
        os.write(self.descriptor, batch)
        os.fdatasync(self.descriptor)


async def main(given: Arguments) -> None:
    journal = Path(os.environ["ASYNCSDK_JOURNAL"])
    journal.mkdir()
    lines = Lines(os.open(journal / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    slots = asyncio.Semaphore(given.connections)
    trust = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    url = os.environ["OPENAI_BASE_URL"] + "/files"
    connector = aiohttp.TCPConnector(limit=given.connections, ssl=trust)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

        async def send(path: Path) -> None:
            async with slots:
                content = path.read_bytes()
                await lines.append({"name": path.name, "md5": hashlib.md5(content).hexdigest()})
                body = b"".join((PURPOSE, FILE.format(name=path.name).encode(), content, END))
                async with session.post(url, data=body) as response:
                    response.raise_for_status()
                    await lines.append({"name": path.name, "file": (await response.json())["id"]})

        await asyncio.gather(*map(send, sorted(given.path.iterdir())))


if __name__ == "__main__":
    asyncio.run(main(arguments()))
