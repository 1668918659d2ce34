"""A gateway that gives two concurrent requests each other's answers, or both the same one; and what comes of it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
import re
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from asyncsdk import AsyncSDKError, AsyncUploader, Client
from asyncsdk.timing import Timing
from asyncsdk.uploads.chunking import BLOCK
from tests.faults.table import Row
from tests.raw_server import Received, Talk, reply, serving

ROUTES = ("create", "part", "complete")
PARTNER_SECONDS = 0.15  # how long an answer waits for another one to be crossed with
NAME = "data.bin"
HASTY = Timing(first_delay=0.001, file_search=0.01, file_search_interval=0.005)


@frozen
class Plan:
    """The answers to the `first` and the `second` request (a route, and which one of it) are `swapped`, or the first
    answer is given twice. `replays`: a complete that is repeated gives the File that there is, whatever is asked.
    """

    first: tuple[str, int]
    second: tuple[str, int]
    swapped: bool
    replays: bool
    parts: int
    md5: bool


@define(eq=False)
class Gateway:
    """An API in memory whose clock stands still, so that twins differ in nothing but their ids."""

    plan: Plan | None = None
    uploads: dict[str, dict[str, Any]] = field(factory=dict)
    parts: dict[str, tuple[str, bytes]] = field(factory=dict)
    contents: dict[str, bytes] = field(factory=dict)
    answered: int = 0
    crossed: int = 0
    _seen: Counter[str] = field(factory=Counter)
    _number: Any = field(factory=lambda: itertools.count(1))
    _held: asyncio.Future[tuple[bytes, asyncio.Future[bytes]]] | None = None
    _now: int = field(factory=lambda: int(time.time()))

    async def handle(self, talk: Talk) -> None:
        while True:
            received = await talk.hear()
            route = self.route(received)
            self._seen[route] += 1
            answer = self.answer(route, received)
            self.answered += 1
            await talk.say(await self.cross((route, self._seen[route]), answer))

    async def cross(self, request: tuple[str, int], answer: bytes) -> bytes:
        """The answer that `request` gets in the place of its own."""
        plan = self.plan
        if plan is None or request not in {plan.first, plan.second}:
            return answer
        if self._held is None:
            self._held = asyncio.get_running_loop().create_future()
            theirs: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._held.set_result((answer, theirs))
            with suppress(TimeoutError):
                return await asyncio.wait_for(theirs, PARTNER_SECONDS)
            return answer
        other, waiting = self._held.result()
        if waiting.done():
            return answer
        self.crossed += 1
        waiting.set_result(answer if plan.swapped else other)
        return other

    def route(self, received: Received) -> str:
        path = received.target.partition("?")[0].removeprefix("/v1")
        if path == "/files":
            return "list"
        return {"uploads": "create", "parts": "part", "complete": "complete"}.get(path.rpartition("/")[2], "get")

    def answer(self, route: str, received: Received) -> bytes:
        words = received.target.partition("?")[0].split("/")
        if route == "create":
            return self.create(json.loads(received.body))
        if route == "list":
            files = [upload["file"] for upload in self.uploads.values() if upload["file"]]
            return reply(body={"object": "list", "data": files, "has_more": False})
        if route == "get":
            found = [each["file"] for each in self.uploads.values() if each["file"] and each["file"]["id"] == words[3]]
            return reply(body=found[0]) if found else _refusal(404)
        upload = self.uploads[words[3]]
        if route == "part":
            return self.add(upload, received)
        return self.complete(upload, json.loads(received.body))

    def create(self, fields: dict[str, Any]) -> bytes:
        upload_id = f"upload_{next(self._number)}"
        told = {name: fields[name] for name in ("bytes", "filename", "purpose")}
        times = {"created_at": self._now, "expires_at": self._now + 3600}
        self.uploads[upload_id] = (
            {"id": upload_id, "object": "upload", "status": "pending", "file": None} | told | times
        )
        return reply(body=self.uploads[upload_id])

    def add(self, upload: dict[str, Any], received: Received) -> bytes:
        if upload["file"]:
            return _refusal(400)
        boundary = re.search(r"boundary=\"?([^\";]+)", received.headers["content-type"])
        assert boundary is not None
        content = received.body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--" + boundary[1].encode())[0]
        part_id = f"part_{next(self._number)}"
        self.parts[part_id] = (upload["id"], content)
        told = {"object": "upload.part", "created_at": self._now, "upload_id": upload["id"]}
        return reply(body={"id": part_id} | told)

    def complete(self, upload: dict[str, Any], fields: dict[str, Any]) -> bytes:
        if upload["file"]:
            return reply(body=upload) if self.plan is None or self.plan.replays else _refusal(400)
        held = [self.parts.get(part_id, ("", b"")) for part_id in fields["part_ids"]]
        content = b"".join(piece for _, piece in held)
        known = all(owner == upload["id"] for owner, _ in held) and len(content) == upload["bytes"]
        if not known or fields.get("md5") not in {None, hashlib.md5(content).hexdigest()}:
            return _refusal(400)
        file = {"id": f"file-{next(self._number)}", "object": "file", "status": "processed"}
        file |= {name: upload[name] for name in ("bytes", "created_at", "filename", "purpose")}
        upload |= {"status": "completed", "file": file}
        self.contents[file["id"]] = content
        return reply(body=upload)


def _refusal(status: int) -> bytes:
    return reply(status, {"error": {"message": "no", "type": "invalid_request_error"}})


def plan_of(numbers: random.Random) -> Plan:
    """Any two answers: without md5 an upload has one part, for then nothing tells its parts apart."""
    md5 = numbers.random() < 0.7
    parts = numbers.randint(1, 3) if md5 else 1
    first, second = numbers.choice(ROUTES), numbers.choice(ROUTES)
    if numbers.random() < 0.2:
        second = numbers.choice(("list", "get"))
    return Plan(
        (first, 1), (second, 2 if first == second else 1), numbers.random() < 0.5, numbers.random() < 0.5, parts, md5
    )


async def play(plan: Plan, folder: Path) -> tuple[Gateway, list[str]]:
    """Two files of one name and size go up at once under `plan`, and again until both are there; what was wrong."""
    gateway, wrong = Gateway(plan), list[str]()
    async with (
        serving(gateway.handle, limit=1 << 24) as server,
        Client("sk-test", base_url=server.url, timing=HASTY) as client,
    ):
        paths = [_written(folder / name / NAME, plan.parts, seed) for seed, name in enumerate(("a", "b"))]
        uploader = AsyncUploader(
            client, journal=folder / "journal", part_size=BLOCK, md5="hex" if plan.md5 else None, max_retries=2
        )

        async def send(path: Path, **options: Any) -> bool:
            try:
                result = await uploader.upload(path, purpose="batch", **options)
            except AsyncSDKError:
                return False
            if gateway.contents[result.file.id] != path.read_bytes():
                wrong.append(f"{plan}: {path.parent.name} is {result.file.id}, of other content")
            return True

        await asyncio.gather(*(send(path) for path in paths))
        gateway.plan = evolve(plan, first=("none", 0), second=("none", 0))
        for path in paths:
            if not (await send(path) or await send(path) or await send(path, resume=False)):
                wrong.append(f"{plan}: {path.parent.name} never arrived")
    return gateway, wrong


def _written(path: Path, parts: int, seed: int) -> Path:
    path.parent.mkdir()
    path.write_bytes(random.Random(seed).randbytes(parts * BLOCK))
    return path


async def cross_answers(exchanges: int, *, seed: int) -> Row:
    """Play one plan after another until so many answers were given."""
    row, numbers, crossed, plays = Row("crossed"), random.Random(seed), 0, 0
    while row.cases < exchanges:
        with tempfile.TemporaryDirectory() as folder:
            gateway, wrong = await play(plan_of(numbers), Path(folder))
        row.cases, crossed, plays = row.cases + gateway.answered, crossed + gateway.crossed, plays + 1
        row.violations += wrong
    row.figures = {"plays": f"{plays:,}", "crossed": f"{crossed:,}"}
    return row
