"""What `journal=` and ASYNCSDK_JOURNAL mean."""

from __future__ import annotations

import os
from pathlib import Path

from asyncsdk.journal import Journal
from asyncsdk.journal.file import FileJournal
from asyncsdk.journal.memory import MemoryJournal

VARIABLE = "ASYNCSDK_JOURNAL"


def open_journal(setting: str | os.PathLike[str] | Journal | None = None, *, lock: bool = True) -> Journal:
    """Return the journal that `setting` names: a directory, `"memory"`, or a Journal of your own, returned as it is.

    None means the environment's ASYNCSDK_JOURNAL, else a directory in the user's state directory.
    A directory that is called memory is `./memory`.
    `lock=False` is for a directory on a file system without locks. Nothing is touched before the first claim.
    """
    chosen = os.environ.get(VARIABLE) or None if setting is None else setting
    if chosen == "memory":
        return MemoryJournal()
    if chosen is None:
        return FileJournal(lock=lock)
    if isinstance(chosen, str | os.PathLike):
        return FileJournal(Path(chosen).expanduser(), lock=lock)
    return chosen
