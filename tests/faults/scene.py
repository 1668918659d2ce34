"""One file on its way to a server, call by call as separate programs make them, and all that may stay behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from attrs import define, field

from asyncsdk import AsyncSDKError, AsyncUploader, Client, RequestEvent, UploadResult
from asyncsdk.api import Request
from asyncsdk.clock import boot_time
from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.objects import StoredFile, StoredUpload
from asyncsdk.timing import DEFAULT_TIMING, Timing
from tests.faults.leaving import connections_of, left_behind, threads_of, within_a_second
from tests.faults.line import Line
from tests.stories.support import MIB, md5_of

PART = MIB
SIZE = 2 * PART + 12345
PATHS = {"create": "/uploads"} | {
    route: f"/uploads/{{upload_id}}/{name}"
    for route, name in [("part", "parts"), ("complete", "complete"), ("cancel", "cancel")]
}
_OF_THE_SERVER = "RequestHandler.start"
BRIEF_SEARCH = Timing(file_search=0.05, file_search_interval=0.01)
LIMIT = 20.0  # seconds after which a call that should have ended is a failure


@define(eq=False)
class Waits:
    """How long a client would have waited, and what happens after so many waits."""

    all: list[float] = field(factory=list)
    after: dict[int, Callable[[], Awaitable[None]]] = field(factory=dict)

    async def sleep(self, seconds: float) -> None:
        self.all.append(seconds)
        if (happens := self.after.get(len(self.all))) is not None:
            await happens()
        await anyio.sleep(0)


class _Limited(Client):
    """Has an answer limit of its own for some routes."""

    def __init__(self, limits: dict[str, float], **options: Any) -> None:
        super().__init__("sk-test-of-faults", **options)
        self._limits = {PATHS[route]: seconds for route, seconds in limits.items()}

    async def send(self, request: Request[Any], **options: Any) -> Any:
        return await super().send(request, timeout=self._limits.get(request.route), **options)


@define(eq=False)
class Scene:
    """`patience` (seconds) is the answer limit and the stall limit; `limits` has other ones for some routes."""

    server: LocalServer
    line: Line
    folder: Path
    patience: float = 10.0
    retries: int = 2
    limits: dict[str, float] = field(factory=dict)
    timing: Timing = DEFAULT_TIMING
    client_options: dict[str, Any] = field(factory=dict)
    uploader_options: dict[str, Any] = field(factory=dict)
    events: list[RequestEvent] = field(factory=list)
    elapsed: Callable[[], float] = boot_time
    wall: Callable[[], float] = time.time
    uploaders: list[AsyncUploader] = field(factory=list, init=False)
    path: Path = field(init=False)
    client: Client | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.path = self.folder / f"{uuid4()}.bin"
        self.path.write_bytes(random.Random(self.path.name).randbytes(SIZE))

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    async def call(self, what: Callable[[AsyncUploader], Awaitable[Any]]) -> Any:
        """Make one call as a program of its own would, and see that it leaves nothing."""
        options: dict[str, Any] = {"base_url": f"http://127.0.0.1:{self.line.entry}/v1", "timeout": self.patience}
        options |= {"max_retries": self.retries, "on_event": self.events.append, "timing": self.timing}
        options |= self.client_options
        try:
            async with _Limited(self.limits, **options) as client:
                self.client = client
                client.clock.elapsed, client.clock.local = self.elapsed, self.wall
                uploader = self.uploader(client)
                self.uploaders.append(uploader)
                try:
                    async with asyncio.timeout(LIMIT):
                        return await what(uploader)
                finally:
                    await within_a_second(lambda: self.left_of(uploader))
        finally:
            await within_a_second(lambda: left_behind([], port=self.line.entry, beside=_serving()))

    def uploader(self, client: Client) -> AsyncUploader:
        options: dict[str, Any] = {
            "part_size": PART,
            "concurrency": 3,
            "stall_timeout": self.limits.get("part", self.patience),
        }
        options |= {"max_retries": self.retries, "journal": self.journal} | self.uploader_options
        return AsyncUploader(client, **options)

    async def upload(self, **options: Any) -> UploadResult:
        result: UploadResult = await self.call(lambda uploader: uploader.upload(self.path, purpose="batch", **options))
        return result

    async def cancel(self, upload_id: str) -> None:
        await self.call(lambda uploader: uploader.cancel(upload_id))

    async def begin(self) -> str:
        """Send all parts and be told to stop there; the upload's id."""
        self.server.inject(Fault("complete", "answer", "before", status=400))
        with pytest.raises(AsyncSDKError) as stopped:
            await self.upload()
        assert stopped.value.progress is not None
        assert stopped.value.progress.upload_id is not None
        self.events.clear()
        return stopped.value.progress.upload_id

    @property
    def files(self) -> list[StoredFile]:
        return [file for file in self.server.files if file.filename == self.path.name]

    @property
    def uploads(self) -> list[StoredUpload]:
        return [upload for upload in self.server.uploads if upload.filename == self.path.name]

    def assert_arrived(self, result: UploadResult) -> None:
        """The file is there once, with its bytes."""
        assert [file.id for file in self.files] == [result.file.id]
        assert self.server.stored(result.file.id).read_bytes() == self.path.read_bytes()
        assert result.md5 == md5_of(self.path)

    def left_of(self, uploader: AsyncUploader) -> list[str]:
        taken = connections_of(uploader).taken
        return [
            *left_behind(threads_of(uploader), self.path, self.journal, beside=self.line.tasks | _serving()),
            *["a connection's place"] * taken,
        ]


def _serving() -> set[asyncio.Task[Any]]:
    """Where the server runs in the loop of the test: its tasks, one a connection."""
    return {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") == _OF_THE_SERVER}
