"""A power cut at any moment: what a disk may hold then, rebuilt from what was written, synced and renamed before.

The disk is the worst that POSIX allows: a name counts once its directory was synced, and of the names that were not,
any may be there or not, in any mixture; of a file's bytes that were not synced, any number is there, or as many zeros.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from asyncsdk.uploads.journal import Record
from asyncsdk.uploads.journal.codec import parse
from asyncsdk.wal.segments import SEGMENT

FOLDER = -1
CALLS = ("mkdir", "open", "write", "fdatasync", "fsync", "replace", "unlink")
Change = Callable[[dict[Path, int]], object]


@frozen
class Moment:
    """What the disk was told by then: names that are safe, changes of names that are not, what is in which file."""

    root: Path
    names: Mapping[Path, int] = field(factory=dict)
    changes: tuple[tuple[Path, Change], ...] = ()
    written: Mapping[int, bytes] = field(factory=dict)
    synced: Mapping[int, int] = field(factory=dict)
    promised: int = 0

    def trees(self, every: int = 1) -> Iterator[dict[Path, bytes]]:
        """Every content that the disk may have after a cut at this moment; of the torn ends so many bytes apart."""
        for names in self._possible_names():
            whole = {path: self.written[file] for path, file in names.items()}
            yield whole
            for path, file in names.items():
                yield from (whole | {path: content} for content in self._torn(file, every))

    def _possible_names(self) -> Iterator[dict[Path, int]]:
        seen: list[dict[Path, int]] = []
        sizes = range(len(self.changes) + 1)
        for done in chain.from_iterable(combinations(self.changes, size) for size in sizes):
            names = dict(self.names)
            for _, change in done:
                change(names)
            reached = {path: file for path, file in names.items() if file != FOLDER and self._leads_to(path, names)}
            if reached not in seen:
                seen.append(reached)
                yield reached

    def _leads_to(self, path: Path, names: Mapping[Path, int]) -> bool:
        return path.parent == self.root or (names.get(path.parent) == FOLDER and self._leads_to(path.parent, names))

    def _torn(self, file: int, every: int) -> Iterator[bytes]:
        content, safe = self.written[file], self.synced.get(file, 0)
        for end in range(safe, len(content), every):
            yield content[:end]
            yield content[:end] + bytes(len(content) - end)


@define(eq=False)
class Recorder:
    """Notes what is done to the files below `root`, by wrapping `os` from outside: a `Moment` after each."""

    root: Path
    honest: bool = True  # or a disk whose syncs do nothing
    moments: list[Moment] = field(init=False)
    _files: dict[int, int] = field(factory=dict)  # descriptor → file
    _folders: dict[int, Path] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.moments = [Moment(self.root)]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Record for the length of the block."""
        wrapped = {name: getattr(os, name) for name in CALLS}
        for name, real in wrapped.items():
            setattr(os, name, self._noting(real, getattr(self, f"_{name}")))
        try:
            yield
        finally:
            for name, real in wrapped.items():
                setattr(os, name, real)

    def promise(self) -> None:
        """From now on one more record must never be lost."""
        self._step(promised=self.moments[-1].promised + 1)

    def _noting(self, real: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = real(*arguments, **options)
            note(result, *arguments)
            return result

        return call

    def _step(self, **changes: Any) -> None:
        self.moments.append(evolve(self.moments[-1], **changes))

    def _change(self, path: Path, change: Change, **others: Any) -> None:
        if path.is_relative_to(self.root):
            self._step(changes=(*self.moments[-1].changes, (path.parent, change)), **others)

    def _mkdir(self, _: None, path: Any, *_mode: Any) -> None:
        self._change(Path(path), lambda names: names.update({Path(path): FOLDER}))

    def _open(self, fd: int, path: Any, flags: int, *_: Any) -> None:
        self._files.pop(fd, None)
        self._folders.pop(fd, None)
        if Path(path).is_dir():
            self._folders[fd] = Path(path)
        elif flags & os.O_EXCL:
            written = self.moments[-1].written
            self._files[fd] = file = len(written)
            self._change(Path(path), lambda names: names.update({Path(path): file}), written={**written, file: b""})
        elif flags & (os.O_WRONLY | os.O_RDWR) and (file := self._now().get(Path(path), FOLDER)) != FOLDER:
            self._files[fd] = file

    def _write(self, count: int, fd: int, data: Any) -> None:
        written = self.moments[-1].written
        if (file := self._files.get(fd)) is not None:
            self._step(written={**written, file: written[file] + bytes(data[:count])})

    def _fdatasync(self, _: None, fd: int) -> None:
        last = self.moments[-1]
        if (file := self._files.get(fd)) is not None and self.honest:
            self._step(synced={**last.synced, file: len(last.written[file])})

    def _fsync(self, _: None, fd: int) -> None:
        last, folder = self.moments[-1], self._folders.get(fd)
        names = dict(last.names)
        for place, change in last.changes:
            if place == folder:
                change(names)
        self._step(names=names, changes=tuple(pending for pending in last.changes if pending[0] != folder))

    def _replace(self, _: None, old: Any, new: Any) -> None:
        file = self._now()[Path(old)]
        self._change(Path(new), lambda names: (names.pop(Path(old), None), names.update({Path(new): file})))

    def _unlink(self, _: None, path: Any, **_options: Any) -> None:
        self._change(Path(path), lambda names: names.pop(Path(path), None))

    def _now(self) -> dict[Path, int]:
        names = dict(self.moments[-1].names)
        for _, change in self.moments[-1].changes:
            change(names)
        return names


def records_in(tree: Mapping[Path, bytes]) -> list[Record]:
    """What a journal with these files says: all its segments together."""
    lines: dict[bytes, Record] = {}
    for path, content in sorted(tree.items()):
        if path.suffix == SEGMENT:
            lines |= _parsed(content)
    return list(lines.values())


@lru_cache(maxsize=64)
def _parsed(content: bytes) -> dict[bytes, Record]:
    return parse(content).records
