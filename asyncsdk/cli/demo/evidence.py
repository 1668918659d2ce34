"""What the demo asks its server, by a client that is not ours: what came, and what is stored."""

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
    """The parts that a server took: how many, and how many bytes their requests had."""

    count: int
    bytes: int

    def since(self, before: Parts) -> Parts:
        """What came after `before`."""
        return Parts(self.count - before.count, self.bytes - before.bytes)


@define
class Evidence:
    """Questions to the server at `base_url`; each blocks."""

    base_url: str
    _opener: OpenerDirector = field(factory=lambda: build_opener(ProxyHandler({})), init=False)

    def parts(self) -> Parts:
        """The parts that it took so far. Waits until none is under way."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._control("stats")["in_flight"].get("part") and time.monotonic() < deadline:
            time.sleep(0.05)
        taken = [it for it in self._control("requests")["requests"] if it["route"] == "part" and it["status"] == 200]
        return Parts(len(taken), sum(it["bytes"] for it in taken))

    def sha256_of(self, file_id: str) -> str:
        """The digest of what it stored."""
        digest = hashlib.sha256()
        asked = Request(f"{self.base_url}/files/{file_id}/content", headers={"Authorization": "Bearer demo"})  # noqa: S310 - our own server's address
        with self._opener.open(asked) as answer:
            while chunk := answer.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def _control(self, what: str) -> dict[str, Any]:
        with self._opener.open(f"{self.base_url.removesuffix('/v1')}/_control/{what}") as answer:
            return cast("dict[str, Any]", json.load(answer))


def sha256_of(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
