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
from asyncsdk.wal.segments import SEGMENT, is_copy

BLOCK = 2**20
KEYED = re.compile(rb'\{"t":"[a-z]+","k":"([^"]{1,128})"')
_ATTEMPTS = 5
_NOTHING = -1
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
    """A segment, and how far it was looked through: `size` is what it had, `whole` the end of its last whole line."""

    path: Path
    inode: int
    is_copy: bool
    is_folded: bool
    size: int = 0
    whole: int = 0
    is_gone: bool = False


@define(eq=False)
class Places:
    """An index of the segments in `folder`, brought up to date by each call; a key may be in any number of them.

    Of 100,000 keys with four lines each it takes about 20 MiB; their records would take ten times that.
    """

    folder: Path
    _segments: list[_Scanned] = field(factory=list, init=False)
    _by_name: dict[str, int] = field(factory=dict, init=False)
    _newest: dict[int, int] = field(factory=dict, init=False)  # hash of a key → its entry that was found last
    _offsets: array[int] = field(factory=lambda: array("Q"), init=False)
    _of_segment: array[int] = field(factory=lambda: array("I"), init=False)
    _before: array[int] = field(factory=lambda: array("i"), init=False)  # the entry of that hash before this one
    _mutex: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
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
        if seen is not None and seen.is_folded and seen.size:  # nothing is appended to one that is whole
            return
        path = self.folder / name if seen is None else seen.path
        status = os.lstat(path)
        if seen is not None and (status.st_ino != seen.inode or status.st_size < seen.size):
            seen.is_gone, seen = True, None  # another was put in its place
        if status.st_size > (seen.size if seen else 0):
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
            at, data = seen.whole, b""
            while block := os.pread(fd, BLOCK, at + len(data)):
                data += block
                end = data.rfind(b"\n") + 1
                if end:
                    self._find(number, data[:end], at)
                    at, data = at + end, data[end:]
            self._find(number, data, at)
            seen.whole, seen.size = at, at + len(data)

    def _find(self, number: int, data: bytes, at: int) -> None:
        for match in KEYED.finditer(data):
            key = hash(match[1])
            self._before.append(self._newest.get(key, _NOTHING))
            self._newest[key] = len(self._offsets)
            self._offsets.append(at + match.start())
            self._of_segment.append(number)

    def _entries(self, key: str) -> Iterator[tuple[int, int]]:
        """Where lines of the key are, by number of segment and offset; those of another with its hash, too."""
        entry = self._newest.get(hash(key.encode()), _NOTHING)
        while entry != _NOTHING:
            if not self._segments[self._of_segment[entry]].is_gone:
                yield self._of_segment[entry], self._offsets[entry]
            entry = self._before[entry]

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
        self._segments, self._by_name, self._newest = [], {}, {}
        self._offsets, self._of_segment, self._before = array("Q"), array("I"), array("i")


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
