"""What the demo's server received and stored, by urllib rather than our own client."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, cast
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from attrs import define, field, frozen

CHUNK = 1 << 20
PATIENCE_SECONDS = 5.0


@frozen
class Parts:
    """The parts that a server accepted: their number, and the bytes of their requests."""

    count: int
    bytes: int

    def since(self, before: Parts) -> Parts:
        """The parts that came after `before`."""
        return Parts(self.count - before.count, self.bytes - before.bytes)


@define
class Evidence:
    """Requests to the server at `base_url`; each blocks."""

    base_url: str
    _opener: OpenerDirector = field(factory=lambda: build_opener(ProxyHandler({})), init=False)

    def parts(self) -> Parts:
        """The parts that it accepted so far. Waits until none is in flight."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._control("stats")["in_flight"].get("part") and time.monotonic() < deadline:
            time.sleep(0.05)
        log = self._control("requests")["requests"]
        sizes = [call["bytes"] for call in log if call["route"] == "part" and call["status"] == 200]
        return Parts(len(sizes), sum(sizes))

    def sha256_of(self, file_id: str) -> str:
        """The SHA-256 of a stored file."""
        digest = hashlib.sha256()
        request = Request(f"{self.base_url}/files/{file_id}/content", headers={"Authorization": "Bearer demo"})  # noqa: S310 - our own server's address
        with self._opener.open(request) as response:
            while chunk := response.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def _control(self, what: str) -> dict[str, Any]:
        with self._opener.open(f"{self.base_url.removesuffix('/v1')}/_control/{what}") as response:
            return cast("dict[str, Any]", json.load(response))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
