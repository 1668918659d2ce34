"""The server's disk: uploads, their parts and the files they become, below one directory.

::

    uploads/<upload id>/upload.json    the upload; without this it does not exist
    uploads/<upload id>/<part id>      a part, whole: it is renamed to here once all of it came
    files/<file id>                    a file's bytes
    files/<file id>.json               the file; without this it does not exist
    incoming/                          what is still arriving; emptied when the server starts

Names come from our own ids alone, never from a client. Everything appears by a rename, so that a server which was
killed and is started again serves what it had answered, and nothing half-written. (Nothing is synced: a power cut
may lose the last seconds.) Blocking work runs in the store's own threads.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import cattrs
import filelock
from attrs import asdict, define, field

from asyncsdk.server.errors import too_large
from asyncsdk.server.objects import File, Upload
from asyncsdk.server.workers import Workers

T = TypeVar("T")

logger = logging.getLogger(__name__)

BATCH_BYTES = 2**20
COPY_BYTES = 16 * 2**20
_NO_KERNEL_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


@define(eq=False)
class Store:
    """One directory, held by one server at a time. Without one it makes a temporary one and removes it in the end.

    Its calls raise OSError where the disk refuses.
    """

    directory: Path | None
    root: Path = field(init=False)
    _guard: filelock.FileLock | None = field(default=None, init=False)
    _workers: Workers = field(factory=Workers, init=False)

    async def open(self) -> tuple[list[tuple[Upload, dict[str, int]]], list[File]]:
        """Claim the directory; return the uploads with the sizes of their parts, and the files, oldest first.

        Raises RuntimeError when another server holds it.
        """
        return await self._workers.run(self._open)

    async def close(self) -> None:
        """Let go of the directory, once nothing is being written to it any more."""
        await self._workers.close(self._close)

    @asynccontextmanager
    async def incoming(self, limit: int) -> AsyncIterator[Incoming]:
        """A file of at most `limit` bytes that is about to arrive; gone at the end of the block unless it was kept."""
        incoming = Incoming(self._new_path(), limit, self._workers)
        try:
            yield incoming
        finally:
            await incoming.discard()

    async def write_upload(self, upload: Upload) -> None:
        await self._workers.run(self._write_upload, upload)

    async def end_upload(self, upload: Upload) -> None:
        """Write an upload that takes no more parts, and remove the parts."""
        await self._workers.run(self._end_upload, upload)

    async def remove_upload(self, upload_id: str) -> None:
        await self._workers.run(shutil.rmtree, self._upload(upload_id), ignore_errors=True)

    async def write_file(self, file: File) -> None:
        await self._workers.run(self._write_json, self._file_json(file.id), file)

    async def remove_file(self, file_id: str) -> None:
        await self._workers.run(self._remove_file, file_id)

    async def md5(self, upload_id: str, part_ids: Sequence[str]) -> bytes:
        """Return the md5 of the parts in this order."""
        return await self._workers.run(self._md5, [self.part(upload_id, part_id) for part_id in part_ids])

    async def assemble(self, upload: Upload, file: File) -> None:
        """Make `file` of a completed upload's parts, write both down, and remove the parts."""
        await self._workers.run(self._assemble, upload, file)

    async def read(self, file_id: str) -> AsyncGenerator[bytes, None]:
        """A file's bytes, block by block."""
        with await self._workers.run(open, self.content(file_id), "rb") as content:
            while block := await self._workers.run(content.read, BATCH_BYTES):
                yield block

    def part(self, upload_id: str, part_id: str) -> Path:
        return self._upload(upload_id) / part_id

    def content(self, file_id: str) -> Path:
        return self.root / "files" / file_id

    def _upload(self, upload_id: str) -> Path:
        return self.root / "uploads" / upload_id

    def _file_json(self, file_id: str) -> Path:
        return self.root / "files" / f"{file_id}.json"

    def _new_path(self) -> Path:
        return self.root / "incoming" / secrets.token_hex(16)

    def _open(self) -> tuple[list[tuple[Upload, dict[str, int]]], list[File]]:
        self.root = self.directory or Path(tempfile.mkdtemp(prefix="asyncsdk-"))
        self.root.mkdir(parents=True, exist_ok=True)
        self._guard = _claim(self.root)
        shutil.rmtree(self.root / "incoming", ignore_errors=True)
        for name in ("uploads", "files", "incoming"):
            (self.root / name).mkdir(exist_ok=True)
        return self._load_uploads(), self._load_files()

    def _close(self) -> None:
        if self._guard is not None:
            self._guard.release()
            if self.directory is None:
                shutil.rmtree(self.root)

    def _load_uploads(self) -> list[tuple[Upload, dict[str, int]]]:
        found = []
        for directory in (self.root / "uploads").iterdir():
            upload = _read_json(directory / "upload.json", Upload)
            if upload is not None:
                parts = {path.name: path.stat().st_size for path in directory.glob("part_*")}
                found.append((upload, parts))
        return found

    def _load_files(self) -> list[File]:
        records = sorted((self.root / "files").glob("file-*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [file for path in records if (file := _read_json(path, File)) is not None]

    def _write_upload(self, upload: Upload) -> None:
        self._upload(upload.id).mkdir(exist_ok=True)
        self._write_json(self._upload(upload.id) / "upload.json", upload)

    def _write_json(self, path: Path, value: Upload | File) -> None:
        new = self._new_path()
        new.write_text(json.dumps(asdict(value)))
        new.replace(path)

    def _end_upload(self, upload: Upload) -> None:
        self._write_upload(upload)
        for path in self._upload(upload.id).glob("part_*"):
            path.unlink()

    def _remove_file(self, file_id: str) -> None:
        self._file_json(file_id).unlink(missing_ok=True)
        self.content(file_id).unlink(missing_ok=True)

    def _assemble(self, upload: Upload, file: File) -> None:
        whole = self._new_path()
        try:
            self._concatenate([self.part(upload.id, part_id) for part_id in upload.part_ids], whole)
            whole.replace(self.content(file.id))
        finally:
            whole.unlink(missing_ok=True)
        self._write_json(self._file_json(file.id), file)
        self._end_upload(upload)

    def _concatenate(self, parts: Sequence[Path], whole: Path) -> None:
        with whole.open("xb", buffering=0) as target:
            for path in parts:
                with path.open("rb", buffering=0) as source:
                    while _copy_some(source.fileno(), target.fileno()):
                        self._workers.go_on()

    def _md5(self, parts: Sequence[Path]) -> bytes:
        digest = hashlib.md5(usedforsecurity=False)
        for path in parts:
            with path.open("rb", buffering=0) as source:
                while block := source.read(BATCH_BYTES):
                    self._workers.go_on()
                    digest.update(block)
        return digest.digest()


@define(eq=False)
class Incoming:
    """A file on its way in, written in batches while it comes.

    A thread may still be writing when its call is cancelled: the lock lets it end before the file is closed.
    """

    path: Path
    limit: int
    workers: Workers
    size: int = 0
    _batch: list[bytes] = field(factory=list)
    _batched: int = 0
    _file: BinaryIO | None = None
    _settled: bool = False
    _lock: threading.Lock = field(factory=threading.Lock)

    async def write(self, data: bytes, /) -> None:
        """Take the next bytes. Raises ApiError above the limit."""
        self.size += len(data)
        if self.size > self.limit:
            raise too_large("The file", self.limit)
        self._batch.append(data)
        self._batched += len(data)
        if self._batched >= BATCH_BYTES:
            batch, self._batch, self._batched = self._batch, [], 0
            await self.workers.run(self._append, batch)

    async def keep(self, target: Path) -> None:
        """Let the file, which is whole now, appear as `target`."""
        await self.workers.run(self._keep, target)

    async def discard(self) -> None:
        """Leave nothing behind of a file that was not kept."""
        if not self._settled:
            await self.workers.run(self._discard)

    def _append(self, batch: Sequence[bytes]) -> None:
        with self._lock:
            if not self._settled:
                self._open().writelines(batch)

    def _keep(self, target: Path) -> None:
        with self._lock:
            with self._open() as file:
                file.writelines(self._batch)
            self.path.replace(target)
            self._settled = True

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = self.path.open("xb")
        return self._file

    def _discard(self) -> None:
        with self._lock:
            self._settled = True
            if self._file is not None:
                with suppress(OSError):  # bytes that a full disk refuses are not wanted any more
                    self._file.close()
                self.path.unlink(missing_ok=True)


def _claim(root: Path) -> filelock.FileLock:
    guard = filelock.FileLock(root / "lock", thread_local=False)
    try:
        guard.acquire(timeout=0)
    except filelock.Timeout as error:
        message = f"{root} is held by another server. Stop that one, or give this one a directory of its own."
        raise RuntimeError(message) from error
    return guard


def _read_json(path: Path, kind: type[T]) -> T | None:
    try:
        return cattrs.structure(json.loads(path.read_bytes()), kind)
    except (OSError, ValueError, cattrs.BaseValidationError) as error:
        logger.warning("left out %s, which can't be read: %s", path, error)
        return None


def _copy_some(source: int, target: int) -> int:
    """Copy on from where both files stand, in the kernel where it can; return how many bytes, 0 at the end."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, COPY_BYTES)
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
    block = memoryview(os.read(source, BATCH_BYTES))
    copied = len(block)
    while block:
        block = block[os.write(target, block) :]
    return copied
