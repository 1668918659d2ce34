"""Locks of many keys in one file, a range of bytes for each; they die with their process. Blocking, for threads.

A lock belongs to the open file, not to the process (`F_OFD_SETLK`, which Linux has). The range of a key begins where
its hash says. Its length is the process id of the holder: others ask the kernel for it, and nothing is written.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from attrs import define, field

from asyncsdk.threads import after_fork
from asyncsdk.wal import disk
from asyncsdk.wal.lock import running_loop

try:
    import fcntl
except ImportError:  # Windows
    SUPPORTED = False
else:
    SUPPORTED = hasattr(fcntl, "F_OFD_SETLK")

FOLDING = ""  # the key of a process that rewrites segments; that of an upload is never empty

_FLOCK = "hhqqi4x"  # type, whence, start, length, pid
_PID_BITS = 22  # Linux gives no larger ones
_SLOT_BITS = 40
_END = 1 << (_PID_BITS + _SLOT_BITS)
_BUSY = frozenset({errno.EAGAIN, errno.EACCES})
_NO_RANGES = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})


class NoRangesError(OSError):
    """The platform or the file system locks no ranges for open files."""


@define(eq=False)
class _LockFile:
    """The open file. It is closed with the last lock that is held through it."""

    fd: int
    _status: os.stat_result
    held: int = field(default=0, init=False)

    @classmethod
    def at(cls, path: Path) -> _LockFile:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | disk.NO_LINK, disk.FILE_MODE)
        return cls(fd, os.fstat(fd))

    def is_at(self, path: Path) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(self._status, os.lstat(path))
        return False

    def take(self, slot: int) -> bool:
        is_ours = _try_to_lock(self.fd, slot << _PID_BITS, os.getpid())
        self.held += is_ours
        return is_ours

    def give_up(self, slot: int) -> None:
        self.held -= 1
        with suppress(OSError):  # it ends with the descriptor, too, unless a process that was forked has a copy of it
            _call(self.fd, "F_OFD_SETLK", "F_UNLCK", slot << _PID_BITS, os.getpid())

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.fd)


@define(eq=False)
class RangeLocks:
    """The locks in the file at `path`, for all claims of this process: `locks_at` returns it.

    The file is open while one is held. It is never deleted: a process that waits on a deleted one would own nothing.
    """

    path: Path
    _file: _LockFile | None = field(default=None, init=False)
    _held: dict[int, RangeLock] = field(factory=dict, init=False)
    _mutex: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        after_fork(self)

    def begin_again(self) -> None:
        """A forked child holds none; with its copy of a descriptor it would keep those of its parent."""
        for file in {self._file, *(lock.file for lock in self._held.values())}:
            if file is not None:
                file.close()
        self._file, self._held, self._mutex = None, {}, threading.Lock()

    def lock(self, key: str) -> RangeLock:
        """Return the lock of `key`, for one claim of it."""
        return RangeLock(self, _slot(key))

    def holders(self) -> dict[int, int]:
        """Return the process that holds each slot that is held now. Raises OSError; NoRangesError where none can be."""
        with suppress(FileNotFoundError), disk.regular(self.path) as fd:
            return {start >> _PID_BITS: length for start, length in _locks(fd, 0, _END)}
        return {}

    def pid_of(self, key: str, holders: Mapping[int, int]) -> int | None:
        """Return the process that has `key`, among `holders`."""
        return holders.get(_slot(key))

    def acquire(self, lock: RangeLock) -> bool:
        """Try once. Raises OSError; NoRangesError where there are none."""
        with self._mutex:
            if lock.is_over:
                return False
            holder = self._held.get(lock.slot)
            if holder is not None and not holder.is_abandoned:
                return holder is lock
            if holder is not None:
                lock.file = holder.file
            elif not self._take(lock):
                return False
            self._held[lock.slot] = lock
            return True

    def release(self, lock: RangeLock) -> None:
        """Give it up, if it is held; it is not tried again."""
        with self._mutex:
            lock.is_over = True
            if lock.file is not None and self._held.get(lock.slot) is lock:
                del self._held[lock.slot]
                lock.file.give_up(lock.slot)
                self._close_if_unused(lock.file)

    def _take(self, lock: RangeLock) -> bool:
        if self._file is None or not self._file.is_at(self.path):
            self._file = _LockFile.at(self.path)
        lock.file = self._file
        try:
            return self._file.take(lock.slot)
        finally:
            self._close_if_unused(self._file)

    def _close_if_unused(self, file: _LockFile) -> None:
        if not file.held:
            file.close()
            if self._file is file:
                self._file = None


@define(eq=False)
class RangeLock:
    """The lock of one key, for one claim of it. A claim whose event loop was closed gives way to the next one."""

    locks: RangeLocks
    slot: int
    file: _LockFile | None = field(default=None, init=False)
    is_over: bool = field(default=False, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(factory=running_loop, init=False)

    @property
    def is_abandoned(self) -> bool:
        """Whether the loop of its claim is closed: nothing there gives it up any more."""
        return self._loop is not None and self._loop.is_closed()

    def try_acquire(self) -> bool:
        """Try once, unless it is ours; return whether it is now. After `release` it is not tried. Raises OSError."""
        return self.locks.acquire(self)

    def release(self) -> None:
        """Give it up, if it is held; there will not be another try."""
        self.locks.release(self)


_by_path: WeakValueDictionary[Path, RangeLocks] = WeakValueDictionary()


def locks_at(path: Path) -> RangeLocks:
    """Return the locks in the file at `path`, the same for the whole process while they are in use."""
    return _by_path.setdefault(path, RangeLocks(path))


def lock_file(fd: int) -> bool:
    """Lock a whole file as long as `fd` is open; return whether it was free. Raises OSError, NoRangesError."""
    return _try_to_lock(fd, 0, 0)


def is_locked(fd: int) -> bool:
    """Whether a process has locked the file, or may have, where that can't be seen. Raises OSError."""
    try:
        return next(_locks(fd, 0, _END), None) is not None
    except NoRangesError:
        return True


def _try_to_lock(fd: int, start: int, length: int) -> bool:
    try:
        _call(fd, "F_OFD_SETLK", "F_WRLCK", start, length)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


def _call(fd: int, command: str, kind: str, start: int, length: int) -> bytes:
    if not SUPPORTED:
        raise NoRangesError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    try:
        flock = struct.pack(_FLOCK, getattr(fcntl, kind), os.SEEK_SET, start, length, 0)
        return fcntl.fcntl(fd, getattr(fcntl, command), flock)
    except OSError as error:
        if error.errno in _NO_RANGES:
            raise NoRangesError(error.errno, error.strerror) from error
        raise


def _locks(fd: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where each lock between `begin` and `end` begins, and its length. The kernel names any of them, not the first."""
    spans = [(begin, end)]
    while spans:
        begin, end = spans.pop()
        if begin >= end:
            continue
        answer = _call(fd, "F_OFD_GETLK", "F_WRLCK", begin, end - begin)
        kind, _, start, length, _ = struct.unpack(_FLOCK, answer)
        if kind != fcntl.F_UNLCK:
            yield start, length
            spans += [(begin, start), (start + length, end)]


def _slot(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[: _SLOT_BITS // 8])
