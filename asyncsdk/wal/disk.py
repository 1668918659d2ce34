"""Durable files: private, synced, replaced atomically, and never reached through another user's symbolic link."""

from __future__ import annotations

import errno
import math
import os
import random
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice, takewhile
from pathlib import Path

from asyncsdk.wal import NotDurableError
from asyncsdk.wal.permissions import is_ours, refuse_foreign, refuse_shared

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
LINES_AT_ONCE = 1000
PAGE = 4096

# A user who may write in a shared directory could place a link there, or a pipe that blocks the process that opens it.
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# File systems that can't sync a directory return one of these; a failing disk does not.
_CANT_SYNC = frozenset({errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS})


def make_root(root: Path) -> None:
    """Make `root` and its missing parents, each durably. Raises OSError, also for what `check_root` refuses."""
    with suppress(FileNotFoundError):
        check_root(root)
        return
    missing = takewhile(lambda folder: not folder.exists(), (root, *root.parents))
    for folder in reversed(list(missing)):
        folder.mkdir(DIRECTORY_MODE, exist_ok=True)
        sync_directory(folder.parent)
    check_root(root)


def is_writable(root: Path) -> bool:
    """Whether `root`, or the first directory above it that is there, takes new entries; nothing is left there.

    A `root` that is there and not a directory is left to `make_root`, which says so, and so is a full disk.
    """
    there = next((place for place in (root, *root.parents) if os.path.lexists(place)), root)
    if not there.is_dir():
        return there == root
    if there == root or not os.access(there, os.W_OK | os.X_OK):
        return os.access(there, os.W_OK | os.X_OK)
    attempt = there / f".asyncsdk-{os.getpid()}-{random.getrandbits(32):08x}"
    try:  # root may write in each directory, and in /proc makes none all the same
        attempt.mkdir(DIRECTORY_MODE)
        attempt.rmdir()
    except OSError as error:
        return error.errno in _FULL
    return True


def check_root(root: Path) -> None:
    """Raise OSError unless `root` is the user's directory, and no other user can replace it or write in it.

    It may be reached through a link to such a directory.
    """
    check_place(root)
    status = root.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(root))
    if root.is_symlink():
        if not is_ours(root, status):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(root))
        check_place(root.resolve())
    refuse_foreign(root, status)
    refuse_shared(root, status, root.name)


def check_place(path: Path) -> None:
    """Raise OSError where others may write in the directory that `path` is in: they could put another in its place."""
    folder = path.absolute().parent
    refuse_shared(folder, folder.stat(), path.name.lstrip("."))


def make_directory(path: Path) -> bool:
    """Make the directory `path`; return whether that was needed. Raises OSError (ELOOP) where a symbolic link is."""
    with suppress(FileNotFoundError):
        check_directory(path)
        return False
    with suppress(FileExistsError):  # another process was quicker
        path.mkdir(DIRECTORY_MODE)
        return True
    check_directory(path)
    return False


def check_directory(path: Path) -> None:
    """Raise OSError unless `path` is a directory, not a link to one, and not put there by another user."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        code = errno.ELOOP if stat.S_ISLNK(status.st_mode) else errno.ENOTDIR
        raise OSError(code, os.strerror(code), str(path))
    refuse_foreign(path, status)


def create(path: Path) -> int:
    """Make the file `path`, which must not be there yet, and return a descriptor to write it."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, FILE_MODE)


def open_again(path: Path) -> int:
    """Return a descriptor to write the file `path`, which is there."""
    return os.open(path, os.O_WRONLY | NO_LINK)


def write_small(path: Path, data: bytes) -> None:
    """Write a small file in place. It may be torn by a crash."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_LINK, FILE_MODE)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def read(path: Path) -> bytes:
    """Return the whole of a regular file."""
    with regular(path) as fd, open(fd, "rb", closefd=False) as file:
        return file.read()


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a regular file, newlines included, without holding all of it."""
    with regular(path) as fd, open(fd, "rb", closefd=False) as file:
        yield from file


def write(fd: int, data: bytes) -> None:
    """Write all of `data`, however short the writes, and return once it would survive a power cut."""
    write_all(fd, data)
    sync(fd)


def write_lines(fd: int, lines: Iterable[bytes]) -> None:
    """The same for any number of lines, of which few are in memory at a time."""
    lines = iter(lines)
    while some := b"".join(islice(lines, LINES_AT_ONCE)):
        write_all(fd, some)
    sync(fd)


def sync(fd: int) -> None:
    """Return once the file's content would survive a power cut."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync stops at the drive's own cache there
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def sync_directory(path: Path) -> None:
    """Return once the names in the directory would survive a power cut, where the file system can promise that.

    Raises OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except PermissionError:  # a directory that may be entered but not listed; or Windows, which opens none
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANT_SYNC:
            raise
    finally:
        os.close(fd)


def replace(path: Path, target: Path) -> None:
    """Give the file at `path` the name `target` atomically, whatever had that name, and durably.

    Raises OSError where that failed, NotDurableError where only the sync of the new name did.
    """
    path.replace(target)
    try:
        sync_directory(target.parent)
    except OSError as error:
        raise NotDurableError(error.errno, error.strerror, error.filename or str(target.parent)) from error


def subdirectories(path: Path, *, since: float = -math.inf) -> list[str]:
    """Return the names of the directories in `path`, links left out, in which a file was made `since` (unix time)."""

    def is_wanted(item: os.DirEntry[str]) -> bool:
        is_directory = item.is_dir(follow_symlinks=False)
        return is_directory and (since == -math.inf or item.stat(follow_symlinks=False).st_mtime >= since)

    with os.scandir(path) as items:
        return [item.name for item in items if is_wanted(item)]


def remove_directory(path: Path, files: Iterable[Path]) -> bool:
    """Remove `files`, and the directory `path` if nothing else is in it; return whether it is gone."""
    for file in files:
        file.unlink(missing_ok=True)
    with suppress(OSError):  # something else is in it
        path.rmdir()
    return not path.exists()


def keep_beside(path: Path, suffix: str) -> None:
    """Give the file a second name, with `suffix` after it, under which it outlives the first one."""
    beside = path.with_name(path.name + suffix)
    with suppress(FileExistsError):
        try:
            os.link(path, beside, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            write_small(beside, read(path))


def first_line(path: Path) -> bytes:
    """Return the beginning of a regular file, its first line at least if that is not longer than a page."""
    with regular(path) as fd:
        return os.read(fd, PAGE)


@contextmanager
def regular(path: Path, *, write: bool = False) -> Iterator[int]:
    """A descriptor to read a regular file, or to read and write it."""
    fd = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | NO_LINK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield fd
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however short the writes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
