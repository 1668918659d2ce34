"""Where the lines of each key are in a folder of shared segments: places, not lines. Blocking, for threads."""

from __future__ import annotations

import os
import re
import threading
from array import array
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from attrs import define, field, frozen

from asyncsdk.threads import after_fork
from asyncsdk.wal import NewerVersionError, disk
from asyncsdk.wal.line import due_of, home_of
from asyncsdk.wal.ranges import is_locked
from asyncsdk.wal.segments import SEGMENT, is_copy
from asyncsdk.wal.shared import MOST_BYTES

BLOCK = 2**18
KEYED = re.compile(rb'\{"t":"[a-z]+","k":"([^"]{1,128})"')
_ATTEMPTS = 5
_NOTHING = -1
_FEWEST_HEADS = 2**10
_LINES_A_HEAD = 4  # on average, before there are more heads
_OFFSET_BITS = 40
_AT_ONCE = 200  # names are listed in one call of the system, and so as they were at one moment


@frozen
class Line:
    """A line of a segment, from where it names a key. What it lost of its newlines may follow."""

    data: bytes
    segment: str
    offset: int
    is_copy: bool


@define(eq=False)
class _Scanned:
    """A segment, and how far it was looked through: `size` is what it had, `whole` the end of its last whole line.

    Nothing is appended any more to one that `is_over`.
    """

    path: Path
    inode: int
    is_copy: bool
    is_folded: bool
    is_over: bool = False
    size: int = 0
    whole: int = 0
    is_gone: bool = False


@define(eq=False)
class Places:
    """An index of the segments in `folder`, brought up to date by each call; a key may be in any number of them.

    It is a hash table of chains of lines, in arrays: of 100,000 keys with four lines each it takes about 7 MiB, a third
    of what a dict would, and 1 % of what their records would.
    """

    folder: Path
    _segments: list[_Scanned] = field(factory=list, init=False)
    _by_name: dict[str, int] = field(factory=dict, init=False)
    _heads: array[int] = field(init=False)  # the line that was found last, of all whose hash ends alike
    _before: array[int] = field(init=False)  # of each line, the one before it among these
    _hashes: array[int] = field(init=False)  # of its key
    _where: array[int] = field(init=False)  # the number of its segment, and its offset there
    _mutex: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._forget()
        after_fork(self)

    def begin_again(self) -> None:
        """In a forked child no thread looks."""
        self._mutex = threading.Lock()
        self._forget()

    def lines(self, key: str) -> list[Line]:
        """Return the lines that name `key`, in no order. Raises OSError, NewerVersionError."""
        with self._mutex:
            for _ in range(_ATTEMPTS):
                with suppress(FileNotFoundError):  # folded into another meanwhile
                    self._refresh()
                    return list(self._read(key))
            self._refresh()
            return list(self._read(key))

    def is_elsewhere(self, key: str, segments: Collection[str]) -> bool:
        """Return whether a line names `key` in another segment than these, as of the last look."""
        with self._mutex:
            return any(self._segments[number].path.name not in segments for number, _ in self._entries(key))

    def note(self, path: Path, at: int, lines: bytes) -> None:
        """Take in what this process has just appended to a segment at the offset `at`, which saves reading it."""
        with self._mutex:
            number = self._by_name.get(path.name)
            if number is not None and (seen := self._segments[number]).size == seen.whole == at:
                self._find(number, lines, at)
                seen.size = seen.whole = at + len(lines)

    def refresh(self) -> None:
        """Look at what is there now. Raises OSError, NewerVersionError."""
        with self._mutex:
            self._refresh()

    def _refresh(self) -> None:
        names = _names(self.folder)
        for name, number in list(self._by_name.items()):
            if name not in names:
                self._segments[number].is_gone = True
                del self._by_name[name]
        if len(self._segments) > 2 * len(self._by_name) + 64:
            self._forget()
        for name in sorted(names):
            self._look(name)

    def _look(self, name: str) -> None:
        number = self._by_name.get(name)
        seen = self._segments[number] if number is not None else None
        if seen is not None and seen.is_over:
            return
        path = self.folder / name if seen is None else seen.path
        status = os.lstat(path)
        if seen is not None and (status.st_ino != seen.inode or status.st_size < seen.size):
            seen.is_gone, seen = True, None  # another was put in its place
        if status.st_size > (seen.size if seen else 0) or (seen and seen.size > MOST_BYTES):
            number = number if seen is not None and number is not None else self._add(path, status.st_ino)
            self._scan(number, self._segments[number])

    def _add(self, path: Path, inode: int) -> int:
        disk.check_directory(self.folder)
        head = disk.first_line(path)
        try:
            is_folded = due_of(head) is not None
        except NewerVersionError as error:
            raise NewerVersionError(error.version, path) from error
        self._segments.append(_Scanned(path, inode, is_copy(path, home_of(head)), is_folded))
        self._by_name[path.name] = len(self._segments) - 1
        return len(self._segments) - 1

    def _scan(self, number: int, seen: _Scanned) -> None:
        """Find the keys in what was appended. A line that is being written is looked at again once there is more."""
        with disk.regular(seen.path) as fd:
            size = os.fstat(fd).st_size
            is_over = seen.is_folded or (size > MOST_BYTES and not is_locked(fd))
            at, data = seen.whole, b""
            while (left := size - at - len(data)) > 0 and (block := os.pread(fd, min(BLOCK, left), size - left)):
                data += block
                end = data.rfind(b"\n") + 1
                if end:
                    self._find(number, data[:end], at)
                    at, data = at + end, data[end:]
            self._find(number, data, at)
            seen.whole, seen.size, seen.is_over = at, at + len(data), is_over

    def _find(self, number: int, data: bytes, at: int) -> None:
        for match in KEYED.finditer(data):
            self._hashes.append(hash(match[1]) & 0xFFFFFFFF)
            self._where.append(number << _OFFSET_BITS | (at + match.start()))
        if len(self._hashes) > _LINES_A_HEAD * len(self._heads):
            self._heads = array("i", [_NOTHING]) * (4 * len(self._heads))
            del self._before[:]
        last = len(self._heads) - 1
        for line in range(len(self._before), len(self._hashes)):
            head = self._hashes[line] & last
            self._before.append(self._heads[head])
            self._heads[head] = line

    def _entries(self, key: str) -> Iterator[tuple[int, int]]:
        """Where lines of the key are, by number of segment and offset; those of another with its hash, too."""
        wanted = hash(key.encode()) & 0xFFFFFFFF
        line = self._heads[wanted & (len(self._heads) - 1)]
        while line != _NOTHING:
            number, offset = divmod(self._where[line], 1 << _OFFSET_BITS)
            if self._hashes[line] == wanted and not self._segments[number].is_gone:
                yield number, offset
            line = self._before[line]

    def _read(self, key: str) -> Iterator[Line]:
        named = b'"k":"%b"' % key.encode()
        with ExitStack() as files:
            opened: dict[int, int] = {}
            for number, offset in self._entries(key):
                seen = self._segments[number]
                if number not in opened:
                    opened[number] = files.enter_context(disk.regular(seen.path))
                data = _line_at(opened[number], offset)
                if named in data:
                    yield Line(data, seen.path.name, offset, seen.is_copy)

    def _forget(self) -> None:
        self._segments, self._by_name = [], {}
        self._heads = array("i", [_NOTHING]) * _FEWEST_HEADS
        self._before, self._hashes, self._where = array("i"), array("I"), array("Q")


def _names(folder: Path) -> set[str]:
    """The segments that are in the folder. One that replaces others may come while it is listed: then once more."""
    names: set[str] | None = None
    for _ in range(_ATTEMPTS):
        try:
            with os.scandir(folder) as items:
                found = {item.name for item in items if item.name.endswith(SEGMENT)}
        except FileNotFoundError:
            return set()
        if found == names or len(found) < _AT_ONCE:
            return found
        names = found
    return found


def _line_at(fd: int, offset: int) -> bytes:
    size = disk.PAGE  # most lines are shorter
    while True:
        data = os.pread(fd, size, offset)
        line, newline, _ = data.partition(b"\n")
        if newline or len(data) < size:
            return line
        size *= 4
