"""Names made durable once for all who wait: a sync of directories serves each whose name was there before it began."""

from __future__ import annotations

import threading
from pathlib import Path

from attrs import define, field

from asyncsdk.threads import after_fork
from asyncsdk.wal import disk


@define(eq=False)
class DirectorySync:
    """Syncs of some directories, one after the other. May be called from any thread."""

    folders: tuple[Path, ...]
    _begun: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _failure: OSError | None = field(default=None, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        after_fork(self)

    def begin_again(self) -> None:
        """In a forked child nobody syncs, whoever did so in its parent."""
        self._turn = threading.Lock()

    def __call__(self) -> None:
        """Return once the names that are in the directories now would survive a power cut. Raises OSError.

        A sync that fails fails for all who wait meanwhile: the next might not be told what was lost (Linux tells each
        error once to whoever has the directory open).
        """
        failures = self._failures
        needed = self._begun + 1  # one that runs already may have begun before our name was there
        with self._turn:
            if self._failures == failures and self._done < needed:
                self._sync()
            if self._failure is not None and self._failures != failures:
                raise OSError(self._failure.errno, self._failure.strerror) from self._failure

    def _sync(self) -> None:
        self._begun += 1
        try:
            for folder in self.folders:
                disk.sync_folder(folder)
        except OSError as error:
            self._failures, self._failure = self._failures + 1, error
        else:
            self._done = self._begun
