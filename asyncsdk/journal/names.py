"""Names made durable once for all who wait: a directory's sync serves each whose name was there before it began."""

from __future__ import annotations

import threading
from pathlib import Path

from attrs import define, field

from asyncsdk.journal import disk


@define(eq=False)
class SharedSync:
    """Syncs of one directory. May be called from any thread."""

    folder: Path
    _begun: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    def __call__(self) -> None:
        """Return once the names that are in the directory now would survive a power cut. Raises OSError."""
        needed = self._begun + 1  # one that runs already may have begun before our name was there
        with self._turn:
            if self._done >= needed:
                return
            self._begun = needed = self._begun + 1
            disk.sync_folder(self.folder)
            self._done = needed


@define(eq=False)
class OnceSync:
    """The sync of a directory in which nothing of ours changes any more."""

    folder: Path
    _made: int = field(default=1, init=False)
    _synced: int = field(default=0, init=False)

    def __call__(self) -> None:
        """Return once the names that are in the directory would survive a power cut. Raises OSError."""
        made = self._made
        if self._synced != made:
            disk.sync_folder(self.folder)
            self._synced = made  # and no more than that: something may have been made anew meanwhile

    def again(self) -> None:
        """What is in it was made anew."""
        self._made += 1
