"""A file while it comes in: written batch by batch, and there under its name only once it is whole. Blocking."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from attrs import define, field


@define(eq=False)
class Spool:
    """One such file. Whoever comes after it was kept or discarded changes nothing.

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
            target.parent.mkdir(0o700, exist_ok=True)
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
            self._file = created(self.path)
        return self._file


def created(path: Path) -> BinaryIO:
    """A new file, for this user alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb")
