"""A segment that all owners of a process append to, and those that dead processes left. Blocking, for threads.

A process locks the file while it writes: who gets the lock knows that no process does.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import define, field, frozen

from asyncsdk.threads import after_fork
from asyncsdk.wal import DisplacedError, NotDurableError, disk
from asyncsdk.wal.line import due_of
from asyncsdk.wal.ranges import NoRangesError, lock_file
from asyncsdk.wal.segments import SEGMENT, TEMPORARY, Segment, find, host_in_names, writer_of

MOST_BYTES = 4 * 2**20  # of a segment: so much is rewritten at a time, once it is over
OTHERS_SECONDS = 86400.0
_ATTEMPTS = 5

logger = logging.getLogger(__name__)


@define(eq=False)
class SharedSegment:
    """The segment of this process in `folder`, and the next one where it is full or fails. For any thread.

    Between `enter` and `leave` an owner may append. While there is none the file is closed, and its lock given up; it
    is gone on with unless another process has made it part of another segment. Once what is written was removed,
    renamed or replaced, nothing is written any more: a new file would be believed without what is in the old one.
    `note` is called with what was written, and where: the file, and the offset in it.
    """

    folder: Path
    sync_way: Callable[[], None]
    note: Callable[[Path, int, bytes], object]
    displaced: DisplacedError | None = field(default=None, init=False)
    _current: Segment | None = field(default=None, init=False)
    _left: Segment | None = field(default=None, init=False)  # closed, to be opened again
    _owners: int = field(default=0, init=False)
    _counting: threading.Lock = field(factory=threading.Lock, init=False)
    _writing: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        after_fork(self)

    def begin_again(self) -> None:
        """A forked child has a segment of its own; its copy of a descriptor would keep the lock of its parent."""
        if self._current is not None:
            self._current.close()
        self._current = self._left = None
        self._owners, self._counting, self._writing = 0, threading.Lock(), threading.Lock()

    @property
    def owners(self) -> int:
        """How many may append now."""
        return self._owners

    def enter(self) -> None:
        """Count an owner, who may append from now on."""
        with self._counting:
            self._owners += 1

    def leave(self) -> None:
        """Count an owner no more. The last one closes the file, after the append that runs."""
        with self._counting:
            self._owners -= 1
        if not self._owners:
            with self._writing:
                self._close_if_unused()

    def append(self, lines: bytes) -> None:
        """Write `lines` durably; where that fails, once more in a new segment. Raises OSError."""
        with self._writing:
            try:
                self._append_at_last(lines)
            finally:
                self._close_if_unused()

    def begin_next(self) -> None:
        """End the segment: what is appended from now on is in another one, and this one may be folded."""
        with self._writing:
            self._left = None
            self._end()

    def _append_at_last(self, lines: bytes) -> None:
        try:
            self._append(lines)
        except (DisplacedError, NotDurableError):
            raise
        except OSError as error:
            logger.warning("%s: going on in a new segment after: %s", self.folder, error)
            self._append(lines)

    def _append(self, lines: bytes) -> None:
        if self.displaced is not None:
            raise self.displaced
        if self._current is not None and self._current.size > MOST_BYTES:
            self._end()
        if self._current is None:
            self._current = self._opened_again() or self._made()
        try:
            at = self._current.size
            self._current.append(lines, self.sync_way)
            self.note(self._current.path, at, lines)
        except BaseException as error:
            self.displaced = error if isinstance(error, DisplacedError) else None
            self._current.drop(keep=self.displaced is not None)  # what is there is not ours
            self._current = None
            raise

    def _opened_again(self) -> Segment | None:
        """The segment that was closed, if no other process has locked or removed it meanwhile."""
        left, self._left = self._left, None
        if left is None or left.size > MOST_BYTES or not left.reopen():
            return None
        return left if _keep(left) else None

    def _made(self) -> Segment:
        """A new segment, locked: another process could take it for one that a dead process left, and remove it."""
        for _ in range(_ATTEMPTS):
            segment = Segment.create(self.folder, find(self.folder))
            if _keep(segment):
                return segment
        raise OSError(errno.EAGAIN, "each new file is removed or locked at once", str(self.folder))

    def _close_if_unused(self) -> None:
        if not self._owners:
            self._left = self._current or self._left
            self._end()

    def _end(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None


def _keep(segment: Segment) -> bool:
    """Lock it and return True if it is still there then; else close it. Without such locks nothing is folded either."""
    try:
        with suppress(NoRangesError):
            if not lock_file(segment.fd):
                segment.close()
                return False
        segment.look()
    except DisplacedError:
        segment.close()
        return False
    except BaseException:
        segment.close()
        raise
    return True


@frozen
class Left:
    """A segment that no process seems to write; `due` is when it is to be folded, None for one that never was."""

    path: Path
    size: int
    due: float | None


def left_in(folder: Path) -> list[Left]:
    """Return the segments of `folder`, oldest first. Raises OSError, NewerVersionError.

    Those of another machine are left to it for a day, in case its locks do not reach us.
    """
    found: list[Left] = []
    for path in find(folder):
        writer = writer_of(path.name)
        with suppress(FileNotFoundError):
            status = path.lstat()
            is_ours = writer is None or writer.host == host_in_names()
            if path.suffix == SEGMENT and (is_ours or abs(time.time() - status.st_mtime) > OTHERS_SECONDS):
                found.append(Left(path, status.st_size, due_of(disk.first_line(path))))
    return found


@contextmanager
def abandoned(segments: Iterable[Left]) -> Iterator[list[Left]]:
    """Those that no process writes and that are there, locked for the length of the block. Raises OSError."""
    with ExitStack() as files:
        locked: list[Left] = []
        for each in segments:
            with suppress(FileNotFoundError):
                if lock_file(files.enter_context(disk.regular(each.path, write=True))):
                    locked.append(each)
        yield [each for each in locked if each.path.exists()]


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that died left of a segment that was to replace others. Raises OSError."""
    for path in find(folder):
        if path.suffix == TEMPORARY:
            path.unlink(missing_ok=True)
