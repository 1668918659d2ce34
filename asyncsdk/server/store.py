"""Reads and writes uploads, their parts, files, batches and pictures below one directory on disk. Blocking.

::

    uploads/<upload id>.json      the upload; without this it does not exist
    files/<file id>.json          the file; without this it does not exist. Their mtimes are in the order of the files
    files/<file id>/<part id>     a complete part: it is renamed to here once all of it arrived
    files/<file id>/whole         a copy in one piece, made when `stored` needs one
    batches/<batch id>.json       the batch; its results are files
    pictures/img-<token>.png      a picture whose URL a response contains; its mtime is its expiry
    incoming/<32 hex digits>      what is still arriving; removed when the server starts
    temporary                     the directory is to be removed, by a later server if this one is killed

The id of an upload's file is chosen when the upload is created, and its parts are stored as that file's. So nothing is
copied when it is completed: the file's record lists its parts in their order, and is served part by part.

Names are the server's own ids, never text from a client. Everything appears by a rename, so that a server which was
killed and is started again serves all that it had confirmed, and nothing half-written. (Nothing is synced: a power cut
may lose the last seconds.) Call all of it in a thread.
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
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import cattrs
import filelock
from attrs import asdict, define, field

from asyncsdk.server.batches.objects import StoredBatch
from asyncsdk.server.incoming import Spool, created
from asyncsdk.server.objects import StoredFile, StoredUpload
from asyncsdk.server.rules import completed_as

T = TypeVar("T")

logger = logging.getLogger(__name__)

READ_BYTES = 2**20
_PREFIX, _MARK = "asyncsdk-", "temporary"
_ARRIVING, _CONTENT = "[0-9a-f]" * 32, "file-" + "[0-9A-Za-z]" * 22  # nothing else in a shared directory is touched
HASH_BYTES = 2**18  # a block is hashed while it is in the processor's cache


@define(eq=False)
class Store:
    """One directory, held by one server at a time. Without `directory` it is a temporary one, removed on close.

    All calls block and raise OSError where the disk refuses. `go_on` is called between the steps of long calls, and
    stops them by raising.
    """

    directory: Path | None
    go_on: Callable[[], None]
    root: Path = field(init=False)
    _guard: filelock.FileLock | None = field(default=None, init=False)
    _dating: threading.Lock = field(factory=threading.Lock, init=False)
    _newest: int = field(default=0, init=False)  # the mtime of the newest record, in nanoseconds

    def open(self) -> tuple[list[tuple[StoredUpload, dict[str, int]]], list[StoredFile]]:
        """Claim the directory; return the uploads with the sizes of their parts, and the files, oldest first.

        Raises RuntimeError if another server holds it.
        """
        if self.directory is None:
            remove_leftovers(Path(tempfile.gettempdir()))
        self.root = self.directory or Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.root.mkdir(0o700, parents=True, exist_ok=True)
        self._guard = _claim(self.root)
        if self.directory is None:
            (self.root / _MARK).touch(0o600)
        else:
            (self.root / _MARK).unlink(missing_ok=True)  # what a killed server left is kept from now on
        for name in ("uploads", "files", "batches", "pictures", "incoming"):
            _make_private(self.root / name)
        for path in (self.root / "incoming").glob(_ARRIVING):
            path.unlink()
        files = self._load_files()
        uploads = self._load_uploads({file.id: file for file in files})
        # what belongs to an unreadable record is not known
        if len(files) + len(uploads) == len(
            [*self.root.glob("uploads/upload_*.json"), *self.root.glob("files/file-*.json")]
        ):
            self._remove_orphans({file.id for file in files} | {upload.file_id for upload, _ in uploads})
        return uploads, files

    def close(self) -> None:
        """Release the directory."""
        if self._guard is not None:
            if self.directory is None:
                (self.root / _MARK).unlink(missing_ok=True)  # no other server removes it now
            self._guard.release()
            if self.directory is None:
                _remove(self.root)

    def spool(self) -> Spool:
        """Return a new temporary file for bytes that arrive."""
        return Spool(self._new_path())

    def part(self, file_id: str, part_id: str) -> Path:
        return self._content(file_id) / part_id

    def write_upload(self, upload: StoredUpload) -> None:
        self._write_json(self._upload_json(upload.id), upload)

    def complete_upload(self, upload: StoredUpload, file: StoredFile) -> None:
        """Write a completed upload and its file, and remove the parts that are not in it."""
        self.write_file(file)
        self.write_upload(upload)
        for path in self._content(file.id).glob("part_*"):
            if path.name not in file.part_ids:
                path.unlink()

    def end_upload(self, upload: StoredUpload) -> None:
        """Write an upload that ended without a file, and remove its parts."""
        self._file_json(upload.file_id).unlink(missing_ok=True)  # of a complete that the disk refused half-way
        self.write_upload(upload)
        shutil.rmtree(self._content(upload.file_id), ignore_errors=True)

    def remove_upload(self, upload: StoredUpload) -> None:
        """Forget an upload; only what it has become stays."""
        if upload.status != "completed":
            shutil.rmtree(self._content(upload.file_id), ignore_errors=True)
        self._upload_json(upload.id).unlink(missing_ok=True)

    def write_file(self, file: StoredFile) -> None:
        self._write_json(self._file_json(file.id), file)

    def batches(self) -> list[StoredBatch]:
        """The batches, oldest first."""
        paths = (self.root / "batches").glob("batch_*.json")
        batches = [batch for path in paths if (batch := _read_json(path, StoredBatch)) is not None]
        return sorted(batches, key=lambda batch: batch.came_at)

    def write_batch(self, batch: StoredBatch) -> None:
        self._write_json(self.root / "batches" / f"{batch.id}.json", batch)

    def pictures(self) -> dict[str, float]:
        """The names of the pictures, and until when each is kept."""
        return {path.name: path.stat().st_mtime for path in (self.root / "pictures").iterdir()}

    def write_picture(self, name: str, content: bytes, until: float) -> None:
        new = self._new_path()
        with created(new) as file:
            file.write(content)
        os.utime(new, (until, until))
        new.replace(self._picture(name))

    def read_picture(self, name: str) -> bytes:
        return self._picture(name).read_bytes()

    def remove_picture(self, name: str) -> None:
        self._picture(name).unlink(missing_ok=True)

    def remove_file(self, file_id: str) -> None:
        self._file_json(file_id).unlink(missing_ok=True)
        shutil.rmtree(self._content(file_id), ignore_errors=True)

    def read(self, file_id: str, part_id: str, offset: int) -> bytes:
        """Return the part's next `READ_BYTES` from `offset` on, b"" at its end."""
        with self.part(file_id, part_id).open("rb", buffering=0) as content:
            content.seek(offset)
            return content.read(READ_BYTES)

    def md5(self, file_id: str, part_ids: Sequence[str]) -> bytes:
        """Return the md5 of the parts in this order."""
        digest = hashlib.md5(usedforsecurity=False)
        block = memoryview(bytearray(HASH_BYTES))
        for part_id in part_ids:
            with self.part(file_id, part_id).open("rb", buffering=0) as source:
                while count := source.readinto(block):
                    self.go_on()
                    digest.update(block[:count])
        return digest.digest()

    def whole(self, file: StoredFile) -> Path:
        """Return where the file's bytes are in one piece: its only part, or a copy that the first call makes."""
        parts = [self.part(file.id, part_id) for part_id in file.part_ids]
        whole = parts[0] if len(parts) == 1 else self._content(file.id) / "whole"
        if not whole.exists():
            self._concatenate(parts, whole)
        return whole

    def _concatenate(self, parts: Sequence[Path], whole: Path) -> None:
        new = self._new_path()
        try:
            with created(new) as target:
                for part in parts:
                    with part.open("rb", buffering=0) as source:
                        shutil.copyfileobj(source, target, READ_BYTES)
            new.replace(whole)
        finally:
            new.unlink(missing_ok=True)

    def _load_uploads(self, files: Mapping[str, StoredFile]) -> list[tuple[StoredUpload, dict[str, int]]]:
        uploads = []
        for path in (self.root / "uploads").glob("upload_*.json"):
            upload = _read_json(path, StoredUpload)
            if upload is not None:
                upload = self._settled(upload, files.get(upload.file_id))
                found = self._content(upload.file_id).glob("part_*") if upload.status == "pending" else ()
                parts = sorted(found, key=lambda part: part.stat().st_mtime_ns)  # as they came
                uploads.append((upload, {part.name: part.stat().st_size for part in parts}))
        return uploads

    def _settled(self, upload: StoredUpload, file: StoredFile | None) -> StoredUpload:
        """Complete an upload whose server was killed between writing its file's record and its own."""
        if upload.status != "pending" or file is None:
            return upload
        completed = completed_as(upload, file)
        self.complete_upload(completed, file)
        return completed

    def _remove_orphans(self, known: Collection[str]) -> None:
        """Remove the parts of files whose record a killed server had not written yet."""
        for path in (self.root / "files").glob(_CONTENT):
            if path.name not in known:
                shutil.rmtree(path)

    def _load_files(self) -> list[StoredFile]:
        dates = {path: path.stat().st_mtime_ns for path in (self.root / "files").glob("file-*.json")}
        self._newest = max(dates.values(), default=0)
        return [file for path in sorted(dates, key=dates.__getitem__) if (file := _read_json(path, StoredFile))]

    def _write_json(self, path: Path, value: StoredUpload | StoredFile | StoredBatch) -> None:
        new = self._new_path()
        with created(new) as file:
            file.write(json.dumps(asdict(value)).encode())
        with self._dating:  # many systems date by their ticks, within which several files can be made
            self._newest = max(time.time_ns(), self._newest + 1000)
            os.utime(new, ns=(self._newest, self._newest))
        new.replace(path)

    def _upload_json(self, upload_id: str) -> Path:
        return self.root / "uploads" / f"{upload_id}.json"

    def _content(self, file_id: str) -> Path:
        return self.root / "files" / file_id

    def _file_json(self, file_id: str) -> Path:
        return self.root / "files" / f"{file_id}.json"

    def _picture(self, name: str) -> Path:
        return self.root / "pictures" / name

    def _new_path(self) -> Path:
        return self.root / "incoming" / secrets.token_hex(16)


def remove_leftovers(parent: Path) -> None:
    """Remove what killed servers of this user left in `parent`: what has our mark, and a lock that nobody holds."""
    for root in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError, RuntimeError):  # it is in use, another user's, or being removed
            _remove_leftover(root)


def _remove_leftover(root: Path) -> None:
    if root.is_symlink() or not (root / _MARK).exists() or not _is_mine(root):
        return
    guard = _claim(root)
    try:
        if (root / _MARK).exists():
            shutil.rmtree(root)
    finally:
        guard.release()


def _remove(root: Path) -> None:
    """Remove a directory; again if another server, which looks for leftovers, made its lock in it meanwhile."""
    for attempt in (1, 2, 3):
        try:
            shutil.rmtree(root)
        except FileNotFoundError:
            return
        except OSError:
            if attempt == 3:
                raise
        else:
            return


def _is_mine(root: Path) -> bool:
    return not hasattr(os, "getuid") or root.lstat().st_uid == os.getuid()


def _make_private(folder: Path) -> None:
    folder.mkdir(0o700, exist_ok=True)
    if folder.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))


def _claim(root: Path) -> filelock.FileLock:
    guard = filelock.FileLock(root / "lock", mode=0o600, thread_local=False)
    try:
        guard.acquire(timeout=0)
    except filelock.Timeout as error:
        message = f"{root} is in use by another server. Stop that one, or use another directory."
        raise RuntimeError(message) from error
    return guard


def _read_json(path: Path, kind: type[T]) -> T | None:
    try:
        return cattrs.structure(json.loads(path.read_bytes()), kind)
    except (OSError, ValueError, cattrs.BaseValidationError) as error:
        logger.warning("left out %s, which can't be read: %s", path, error)
        return None
