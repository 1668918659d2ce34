"""The file system as the journal needs it: private, synced, and never reached through somebody's symbolic link."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice, takewhile
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_NOT_OURS = "it belongs to another user"
LINES_AT_ONCE = 1000

# Somebody who may write in a shared directory could place a link there, or a pipe that blocks whoever opens it.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# File systems that can't sync a directory say so in one of these ways; a failing disk does not.
_CANT_SYNC_FOLDERS = frozenset({errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS})


def make_root(root: Path) -> None:
    """Make `root` and its missing parents, each durably. It may be reached through a link to a directory of ours."""
    if _is_plain(root):
        return
    if root.is_symlink() and not _is_ours(root.stat()):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(root))
    _refuse_anybodys(root)
    missing = takewhile(lambda folder: not folder.exists(), (root, *root.parents))
    for folder in reversed(list(missing)):
        folder.mkdir(FOLDER_MODE, exist_ok=True)
        sync_folder(folder.parent)
    if not root.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(root))


def make_folder(path: Path) -> bool:
    """Make the directory `path` and tell whether that was needed.

    Raises OSError (ELOOP) where a symbolic link stands instead.
    """
    with suppress(FileNotFoundError):
        check_folder(path)
        return False
    with suppress(FileExistsError):  # another was quicker
        path.mkdir(FOLDER_MODE)
        return True
    check_folder(path)
    return False


def check_folder(path: Path) -> None:
    """Raise OSError unless `path` is a directory, no link to one, and not put there by another user.

    It may belong to whom its parent belongs, as on file systems that give everything one owner.
    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        code = errno.ELOOP if stat.S_ISLNK(status.st_mode) else errno.ENOTDIR
        raise OSError(code, os.strerror(code), str(path))
    if not _is_ours(status) and status.st_uid != path.parent.stat().st_uid:
        raise OSError(errno.EPERM, _NOT_OURS, str(path))


def create(path: Path) -> int:
    """Make the file `path`, which must not be there yet, and return a descriptor to write it."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, FILE_MODE)


def write_small(path: Path, data: bytes) -> None:
    """Write a small file in place. It may be torn by a crash."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINK, FILE_MODE)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def read(path: Path) -> bytes:
    """Return the whole of a regular file."""
    with _regular(path) as fd, open(fd, "rb", closefd=False) as file:
        return file.read()


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a regular file, newlines included, without holding all of it."""
    with _regular(path) as fd, open(fd, "rb", closefd=False) as file:
        yield from file


def write(fd: int, data: bytes) -> None:
    """Write all of `data`, however short the writes, and return once it would survive a power cut."""
    write_all(fd, data)
    sync(fd)


def write_lines(fd: int, lines: Iterable[bytes]) -> None:
    """The same for lines without end, of which few are held at a time."""
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


def sync_folder(path: Path) -> None:
    """Return once the names in the directory would survive a power cut, where the file system can promise that."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except PermissionError:  # a directory that may be entered but not listed; or Windows, which opens none
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANT_SYNC_FOLDERS:
            raise
    finally:
        os.close(fd)


def keep_beside(path: Path, suffix: str) -> None:
    """Give the file a second name, with `suffix` behind it, under which it outlives the first one."""
    beside = path.with_name(path.name + suffix)
    with suppress(FileExistsError):
        try:
            os.link(path, beside, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            write_small(beside, read(path))


@contextmanager
def _regular(path: Path) -> Iterator[int]:
    """A descriptor to read a regular file."""
    fd = os.open(path, os.O_RDONLY | _NO_LINK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield fd
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however short the writes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _is_plain(root: Path) -> bool:
    """Whether one look tells that all is well with it, as nearly always."""
    try:
        status = os.lstat(root)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and not _is_anybodys(status)


def _refuse_anybodys(root: Path) -> None:
    with suppress(FileNotFoundError):
        if _is_anybodys(root.stat()):
            raise OSError(errno.EPERM, _NOT_OURS, str(root))


def _is_anybodys(status: os.stat_result) -> bool:
    """Somebody who made a directory for all to write in reads, and makes up, what we remember."""
    return bool(status.st_mode & stat.S_IWOTH) and not _is_ours(status)


def _is_ours(status: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or status.st_uid in (0, os.geteuid())
