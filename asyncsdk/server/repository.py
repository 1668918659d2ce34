"""The uploads, parts, files, batches and pictures that the server holds. A change is on disk before it is visible."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import ParamSpec, TypeVar

from attrs import define, evolve, field

from asyncsdk.server.batches.objects import StoredBatch
from asyncsdk.server.errors import not_found
from asyncsdk.server.incoming import IncomingFile
from asyncsdk.server.objects import StoredFile, StoredUpload, UploadStatus
from asyncsdk.server.rules import as_of, changes_at, completed_as, file_of, has_expired, is_forgotten
from asyncsdk.server.store import Store
from asyncsdk.server.workers import Workers

P = ParamSpec("P")
T = TypeVar("T")

PICTURE_SECONDS = 3600.0
PAINTERS = 2  # a large picture takes seconds and hundreds of MiB; parts and files do not wait for it


@define(eq=False)
class UploadEntry:
    """An upload and the sizes of its parts. Hold its lock to change it."""

    upload: StoredUpload
    parts: dict[str, int] = field(factory=dict)
    lock: asyncio.Lock = field(factory=asyncio.Lock)


@define(eq=False)
class Repository:
    """All uploads and files by id. `clock` returns unix seconds; all times and expiries use it."""

    directory: Path | None
    clock: Callable[[], float]
    uploads: dict[str, UploadEntry] = field(factory=dict, init=False)
    batches: dict[str, StoredBatch] = field(factory=dict, init=False)
    store: Store = field(init=False)
    _changing: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _workers: Workers = field(factory=Workers, init=False)
    _painters: Workers = field(factory=lambda: Workers(PAINTERS), init=False)
    _files: dict[str, StoredFile] = field(factory=dict, init=False)
    _due: float = field(default=-math.inf, init=False)  # before when nothing expires
    _pictures: dict[str, float] = field(factory=dict, init=False)  # name to expiry, in unix seconds

    def __attrs_post_init__(self) -> None:
        self.store = Store(self.directory, self._workers.go_on)

    async def load(self) -> None:
        """Load what an earlier run left on disk. Raises RuntimeError if another server holds it, OSError."""
        uploads, files = await self._workers.run(self.store.open)
        self.uploads = {upload.id: UploadEntry(upload, parts) for upload, parts in uploads}
        self._files = {file.id: file for file in files}
        self.batches = {batch.id: batch for batch in await self._workers.run(self.store.batches)}
        self._pictures = await self._workers.run(self.store.pictures)

    async def close(self) -> None:
        """Release the directory, once nothing is written to it any more."""
        await self._painters.close(lambda: None)
        await self._workers.close(self.store.close)

    async def paint(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job that needs much time and memory in a thread; at most `PAINTERS` at a time."""
        return await self._painters.run(job, *args, **kwargs)

    @asynccontextmanager
    async def incoming(self, limit: int) -> AsyncIterator[IncomingFile]:
        """A new file of at most `limit` bytes; removed at the end of the block unless it was kept."""
        incoming = IncomingFile(limit, self.store.spool(), self._workers)
        try:
            yield incoming
        finally:
            await incoming.discard()

    def now(self) -> int:
        return int(self.clock())

    def upload(self, upload_id: str) -> UploadEntry | None:
        entry = self.uploads.get(upload_id)
        return None if entry is None or is_forgotten(entry.upload, self.clock()) else entry

    def file(self, file_id: str) -> StoredFile | None:
        file = self._files.get(file_id)
        return None if file is None or has_expired(file, self.clock()) else file

    def files(self) -> list[StoredFile]:
        """Return all files that have not expired, oldest first."""
        now = self.clock()
        return [file for file in list(self._files.values()) if not has_expired(file, now)]

    def all_uploads(self) -> list[StoredUpload]:
        """Return all uploads that are remembered, with their current status."""
        now = self.clock()
        return [as_of(entry.upload, now) for entry in list(self.uploads.values())]

    async def add_upload(self, upload: StoredUpload) -> None:
        await self._workers.run(self.store.write_upload, upload)
        self.uploads[upload.id] = UploadEntry(upload)
        self._due = min(self._due, changes_at(upload))

    async def add_part(self, entry: UploadEntry, part_id: str, incoming: IncomingFile) -> None:
        await incoming.keep(self.store.part(entry.upload.file_id, part_id))
        entry.parts[part_id] = incoming.size

    async def md5(self, entry: UploadEntry, part_ids: Sequence[str]) -> bytes:
        """Return the md5 of these parts in this order."""
        return await self._workers.run(self.store.md5, entry.upload.file_id, part_ids)

    async def complete(self, entry: UploadEntry, part_ids: tuple[str, ...]) -> None:
        file = file_of(entry.upload, part_ids)
        upload = completed_as(entry.upload, file)
        await self._workers.run(self.store.complete_upload, upload, file)
        self._add(file)
        entry.upload, entry.parts = upload, {}

    async def end(self, entry: UploadEntry, status: UploadStatus) -> None:
        """End an upload without a file; its parts are removed."""
        upload = evolve(entry.upload, status=status)
        await self._workers.run(self.store.end_upload, upload)
        entry.upload, entry.parts = upload, {}

    async def expire(self, upload_id: str | None) -> None:
        """Let an upload expire now, if it exists and is pending."""
        entry = self.uploads.get(upload_id or "")
        if entry is not None and entry.upload.status == "pending":
            async with entry.lock:
                entry.upload = evolve(entry.upload, expires_at=min(entry.upload.expires_at, self.now()))
                self._due = min(self._due, changes_at(entry.upload))
                await self._workers.run(self.store.write_upload, entry.upload)

    async def add_batch(self, batch: StoredBatch) -> None:
        await self._workers.run(self.store.write_batch, batch)
        self.batches[batch.id] = batch

    async def change_batch(self, batch_id: str, change: Callable[[StoredBatch], StoredBatch]) -> StoredBatch:
        """Bring a batch to another status, and return it. What it counts meanwhile is kept."""
        async with self._changing:
            await self._workers.run(self.store.write_batch, change(self.batches[batch_id]))
            self.batches[batch_id] = change(self.batches[batch_id])
            return self.batches[batch_id]

    async def expire_batch(self, batch_id: str | None) -> None:
        """Let a batch expire now, if it exists."""
        if batch_id in self.batches:
            now = self.now()
            await self.change_batch(batch_id, lambda batch: evolve(batch, expires_at=min(batch.expires_at, now)))

    async def add_file(self, file: StoredFile, incoming: IncomingFile) -> None:
        await incoming.keep(self.store.part(file.id, file.part_ids[0]))
        await self._workers.run(self.store.write_file, file)
        self._add(file)

    def _add(self, file: StoredFile) -> None:
        self._files[file.id] = file
        if file.expires_at is not None:
            self._due = min(self._due, file.expires_at)

    async def read_file(self, file: StoredFile) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes, block by block. Raises ApiError if it is deleted meanwhile."""
        for part_id in file.part_ids:
            offset = 0
            while block := await self._read(file, part_id, offset):
                yield block
                offset += len(block)

    async def _read(self, file: StoredFile, part_id: str, offset: int) -> bytes:
        try:
            return await self._workers.run(self.store.read, file.id, part_id, offset)
        except FileNotFoundError:
            if file.id in self._files:
                raise
            raise not_found("File", file.id) from None

    async def whole(self, file: StoredFile) -> Path:
        """Return where a file's bytes are in one piece, which may first be made. Raises OSError."""
        return await self._workers.run(self.store.whole, file)

    async def remove_file(self, file_id: str) -> None:
        self._files.pop(file_id, None)
        await self._workers.run(self.store.remove_file, file_id)

    async def keep_picture(self, name: str, content: bytes) -> None:
        """Keep a picture for an hour."""
        until = self.clock() + PICTURE_SECONDS
        await self._workers.run(self.store.write_picture, name, content, until)
        self._pictures[name] = until
        self._due = min(self._due, until)

    async def picture(self, name: str) -> bytes | None:
        if self._pictures.get(name, 0.0) <= self.clock():
            return None
        return await self._workers.run(self.store.read_picture, name)

    async def sweep(self) -> None:
        """Forget what has expired, and remove it from disk. It looks at all there is only where that is due."""
        now = self.clock()
        if now < self._due:
            return
        for entry in [entry for entry in self.uploads.values() if not entry.lock.locked()]:
            if is_forgotten(entry.upload, now):
                self.uploads.pop(entry.upload.id, None)
                await self._workers.run(self.store.remove_upload, entry.upload)
            elif as_of(entry.upload, now) != entry.upload:
                async with entry.lock:
                    await self.end(entry, "expired")
        for file in [file for file in self._files.values() if has_expired(file, now)]:
            await self.remove_file(file.id)
        for name in [name for name, until in self._pictures.items() if until <= now]:
            self._pictures.pop(name, None)  # another sweep may have removed it already
            await self._workers.run(self.store.remove_picture, name)
        changes = (changes_at(entry.upload) for entry in self.uploads.values())
        expiries = (file.expires_at for file in self._files.values() if file.expires_at is not None)
        self._due = min(chain(changes, expiries, self._pictures.values()), default=math.inf)
