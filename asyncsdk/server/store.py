"""The server's disk: uploads, their parts and the files they become, below one directory.

::

    uploads/<upload id>/upload.json    the upload; without this it does not exist
    uploads/<upload id>/<part id>      a part, whole: it is renamed to here once all of it came
    files/<file id>                    a file's bytes
    files/<file id>.json               the file; without this it does not exist
    pictures/img-<token>.png           a picture that an answer points to; its mtime is the end of its hour
    incoming/                          what is still arriving; emptied when the server starts

Names come from our own ids alone, never from a client. Everything appears by a rename, so that a server which was
killed and is started again serves what it had answered, and nothing half-written. (Nothing is synced: a power cut
may lose the last seconds.) All of it blocks, and is to be called in a thread.
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
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import cattrs
import filelock
from attrs import asdict, define, field

from asyncsdk.server.objects import File, Upload

T = TypeVar("T")

logger = logging.getLogger(__name__)

READ_BYTES = 2**20
COPY_BYTES = 16 * 2**20
_NO_KERNEL_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


@define(eq=False)
class Store:
    """One directory, held by one server at a time. Without one it makes a temporary one and removes it in the end.

    All calls block and raise OSError where the disk refuses. `go_on` is called between the steps of long ones, and
    stops them by raising.
    """

    directory: Path | None
    go_on: Callable[[], None]
    root: Path = field(init=False)
    _guard: filelock.FileLock | None = field(default=None, init=False)

    def open(self) -> tuple[list[tuple[Upload, dict[str, int]]], list[File]]:
        """Claim the directory; return the uploads with the sizes of their parts, and the files, oldest first.

        Raises RuntimeError when another server holds it.
        """
        self.root = self.directory or Path(tempfile.mkdtemp(prefix="asyncsdk-"))
        self.root.mkdir(0o700, parents=True, exist_ok=True)
        self._guard = _claim(self.root)
        shutil.rmtree(self.root / "incoming", ignore_errors=True)
        for name in ("uploads", "files", "pictures", "incoming"):
            _make_private(self.root / name)
        return self._load_uploads(), self._load_files()

    def close(self) -> None:
        """Let go of the directory."""
        if self._guard is not None:
            self._guard.release()
            if self.directory is None:
                shutil.rmtree(self.root)

    def spool(self) -> Spool:
        """A new file that is about to arrive."""
        return Spool(self._new_path())

    def part(self, upload_id: str, part_id: str) -> Path:
        return self._upload(upload_id) / part_id

    def content(self, file_id: str) -> Path:
        return self.root / "files" / file_id

    def write_upload(self, upload: Upload) -> None:
        self._upload(upload.id).mkdir(0o700, exist_ok=True)
        self._write_json(self._upload(upload.id) / "upload.json", upload)

    def end_upload(self, upload: Upload) -> None:
        """Write an upload that takes no more parts, and remove the parts."""
        self.write_upload(upload)
        for path in self._upload(upload.id).glob("part_*"):
            path.unlink()

    def remove_upload(self, upload_id: str) -> None:
        shutil.rmtree(self._upload(upload_id), ignore_errors=True)

    def write_file(self, file: File) -> None:
        self._write_json(self._file_json(file.id), file)

    def pictures(self) -> dict[str, float]:
        """The names of the pictures, and until when each is kept."""
        return {path.name: path.stat().st_mtime for path in (self.root / "pictures").iterdir()}

    def write_picture(self, name: str, content: bytes, until: float) -> None:
        new = self._new_path()
        with _created(new) as file:
            file.write(content)
        os.utime(new, (until, until))
        new.replace(self._picture(name))

    def read_picture(self, name: str) -> bytes:
        return self._picture(name).read_bytes()

    def remove_picture(self, name: str) -> None:
        self._picture(name).unlink(missing_ok=True)

    def remove_file(self, file_id: str) -> None:
        self._file_json(file_id).unlink(missing_ok=True)
        self.content(file_id).unlink(missing_ok=True)

    def read(self, file_id: str, offset: int) -> bytes:
        """Return the file's next `READ_BYTES` from `offset` on, b"" at its end."""
        with self.content(file_id).open("rb") as content:
            content.seek(offset)
            return content.read(READ_BYTES)

    def md5(self, upload_id: str, part_ids: Sequence[str]) -> bytes:
        """Return the md5 of the parts in this order."""
        digest = hashlib.md5(usedforsecurity=False)
        for part_id in part_ids:
            with self.part(upload_id, part_id).open("rb", buffering=0) as source:
                while block := source.read(READ_BYTES):
                    self.go_on()
                    digest.update(block)
        return digest.digest()

    def assemble(self, upload: Upload, file: File) -> None:
        """Make `file` of a completed upload's parts, write both down, and remove the parts."""
        whole = self._new_path()
        try:
            self._concatenate([self.part(upload.id, part_id) for part_id in upload.part_ids], whole)
            whole.replace(self.content(file.id))
        finally:
            whole.unlink(missing_ok=True)
        self.write_file(file)
        self.end_upload(upload)

    def _concatenate(self, parts: Sequence[Path], whole: Path) -> None:
        with _created(whole) as target:
            for path in parts:
                with path.open("rb", buffering=0) as source:
                    while _copy_some(source.fileno(), target.fileno()):
                        self.go_on()

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

    def _write_json(self, path: Path, value: Upload | File) -> None:
        new = self._new_path()
        with _created(new) as file:
            file.write(json.dumps(asdict(value)).encode())
        new.replace(path)

    def _upload(self, upload_id: str) -> Path:
        return self.root / "uploads" / upload_id

    def _file_json(self, file_id: str) -> Path:
        return self.root / "files" / f"{file_id}.json"

    def _picture(self, name: str) -> Path:
        return self.root / "pictures" / name

    def _new_path(self) -> Path:
        return self.root / "incoming" / secrets.token_hex(16)


@define(eq=False)
class Spool:
    """A file while it comes in. Whoever comes after it was kept or discarded changes nothing.

    A thread may still be writing when its call is cancelled: the lock lets it end before the file is closed.
    """

    path: Path
    _file: BinaryIO | None = field(default=None, init=False)
    _settled: bool = field(default=False, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def append(self, batch: Sequence[bytes]) -> None:
        with self._lock:
            if not self._settled:
                self._opened().writelines(batch)

    def keep(self, rest: Sequence[bytes], target: Path) -> None:
        """Append the rest, and let the whole file appear as `target`."""
        with self._lock:
            with self._opened() as file:
                file.writelines(rest)
            self.path.replace(target)
            self._settled = True

    def discard(self) -> None:
        """Leave nothing behind of a file that was not kept."""
        with self._lock:
            if self._file is not None and not self._settled:
                with suppress(OSError):  # bytes that a full disk refuses are not wanted any more
                    self._file.close()
                self.path.unlink(missing_ok=True)
            self._settled = True

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = _created(self.path)
        return self._file


def _created(path: Path) -> BinaryIO:
    """A new file, for this user alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb")


def _make_private(folder: Path) -> None:
    folder.mkdir(0o700, exist_ok=True)
    if folder.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))


def _claim(root: Path) -> filelock.FileLock:
    guard = filelock.FileLock(root / "lock", mode=0o600, thread_local=False)
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
    block = memoryview(os.read(source, READ_BYTES))
    copied = len(block)
    while block:
        block = block[os.write(target, block) :]
    return copied
