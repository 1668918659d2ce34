"""Small whole-file jobs, such as saving a download: each job runs whole in one thread."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import anyio
from aiofiles.os import wrap
from attrs import define, field

PRIVATE, BY_UMASK = 0o600, 0o666
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


async def stream_to(path: str | os.PathLike[str], chunks: AsyncIterator[bytes], *, mode: int = BY_UMASK) -> int:
    """Save `chunks` at `path`, a file of `mode` then, and return how many bytes there were.

    They go to a temporary file beside it, which takes its place once all is written and synced: whoever
    looks at `path` sees the old file or the new one, never half of one. Raises OSError, also for a device or a
    pipe at `path`, of which a file is never made.
    """
    draft = _Draft(Path(path), mode=mode)
    try:
        async for chunk in chunks:
            await wrap(draft.append)(chunk)
        size: int = await wrap(draft.keep)()
    except BaseException:
        with anyio.move_on_after(0.5, shield=True):
            await wrap(draft.drop)()
        raise
    return size


async def save(
    path: str | os.PathLike[str],
    content: bytes,
    *,
    overwrite: bool = True,
    drafts: Path | None = None,
    mode: int = BY_UMASK,
) -> None:
    """Save `content` at `path`, a file of `mode` then, durably, whole or not at all; missing directories are made.

    `drafts` is a directory for what is not whole yet, on the same file system, else that of `path`; what a killed
    process leaves there is cleared away by `make_drafts`. Raises OSError: FileExistsError where something is there
    and `overwrite` is False.
    """
    draft = _Draft(Path(path), drafts, mode=mode)
    await wrap(draft.save)(content, overwrite=overwrite)


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents. Blocking.

    Raises OSError: NotADirectoryError where a file is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # which would read as if a file to be saved were there already
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path)) from error


async def make_writable(folder: Path) -> None:
    """Make a directory and its missing parents, and a file in it that is gone at once. Raises OSError."""
    await wrap(_make_writable)(folder)


def make_drafts(folder: Path) -> None:
    """Make a directory for drafts, empty. Blocking. Raises OSError, also where a link leads elsewhere."""
    folder.mkdir(0o700, exist_ok=True)
    if folder.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))
    for path in folder.glob(".asyncsdk-*"):
        path.unlink()


async def read(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """The whole of a regular file of at most `limit` bytes.

    Raises OSError: EFBIG for a larger one before anything of it is read, EISDIR for a directory, EINVAL for a pipe.
    """
    content: bytes = await wrap(_read)(path, limit)
    return content


async def existing(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` where something is."""
    found: list[Path] = await wrap(_existing)(list(paths))
    return found


async def gone(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` where nothing is, or an empty file, such as a power cut or a full disk may leave."""
    found: list[Path] = await wrap(_gone)(list(paths))
    return found


async def no_directories(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` where something is that is no directory."""
    found: list[Path] = await wrap(_no_directories)(list(paths))
    return found


async def move(path: Path, target: Path) -> None:
    """Move a file within its file system; missing directories are made.

    Raises OSError: FileExistsError where something is at `target`.
    """
    await wrap(_move)(path, target)


def _read(path: str | os.PathLike[str], limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"{status.st_size} bytes, of which at most {limit} are taken", os.fspath(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _make_writable(folder: Path) -> None:
    make_directory(folder)
    draft = _Draft(folder / "any")
    try:
        draft.append(b"x")
    finally:
        draft.drop()


def _existing(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if os.path.lexists(path)]


def _gone(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if not _has_content(path)]


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _no_directories(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if os.path.lexists(path) and not path.is_dir()]


def _move(path: Path, target: Path) -> None:
    make_directory(target.parent)
    _move_to_new(path, target)


@define
class _Draft:
    """The temporary file. No handle outlives a job, and a job that nobody awaits any more can't bring it back."""

    target: Path
    folder: Path | None = None
    mode: int = field(default=BY_UMASK, kw_only=True)
    path: Path = field(init=False)
    _begun: bool = field(default=False, init=False)
    _dropped: bool = field(default=False, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self.path = (self.folder or self.target.parent) / f".asyncsdk-{secrets.token_hex(8)}"

    def append(self, chunk: bytes) -> None:
        with self._turn, self._opened() as file:
            file.write(chunk)

    def keep(self, *, overwrite: bool = True) -> int:
        with self._turn:
            with self._opened() as file:
                os.fsync(file.fileno())
                size = file.tell()
            if overwrite:
                self.path.replace(self.target)
            else:
                _move_to_new(self.path, self.target)
        _sync_directory(self.target.parent)
        return size

    def save(self, content: bytes, *, overwrite: bool) -> None:
        try:
            self.append(content)
            self.keep(overwrite=overwrite)
        except BaseException:
            self.drop()
            raise

    def _opened(self) -> BinaryIO:
        if self._dropped:
            raise FileNotFoundError(f"{self.path} was dropped")
        flags = os.O_WRONLY | os.O_APPEND | _NO_LINK
        if not self._begun:
            _refuse_special(self.target)
            make_directory(self.target.parent)
            flags |= os.O_CREAT | os.O_EXCL
        file = os.fdopen(os.open(self.path, flags, self.mode), "ab")
        self._begun = True
        return file

    def drop(self) -> None:
        with self._turn:
            self._dropped = True
            self.path.unlink(missing_ok=True)


def _refuse_special(target: Path) -> None:
    """A rename would put a file in the place of `/dev/null`."""
    with suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.EINVAL, "not a regular file", str(target))


def _move_to_new(path: Path, target: Path) -> None:
    """Move `path` to `target`, which must not be there. A link is atomic; some file systems know none."""
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            path.replace(target)
        except OSError:
            target.unlink()  # the empty place of ours
            raise
    else:
        path.unlink()


def _sync_directory(path: Path) -> None:
    if os.name == "nt":  # a directory can't be opened there
        return
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
