"""Lets obstore's threads come to rest before the interpreter ends.

Such a thread lets go of Python's objects a moment after it handed over its result. If the interpreter is ending by
then, the thread is torn down within Rust, which aborts the process: exit code 134, whatever the program did.
"""

from __future__ import annotations

import atexit
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_TASKS = Path("/proc/self/task")
_NAME = "(tokio"
_LONGEST, _LOOK = 2.0, 0.003  # seconds


@cache
def rest_at_exit() -> None:
    """Wait for the threads when the interpreter ends. Called once obstore is used; a second call does nothing."""
    atexit.register(wait_for_rest)


def wait_for_rest() -> None:
    """Return once no thread of obstore is at work, seen twice; where that can't be seen, after a moment."""
    deadline, seen = time.monotonic() + _LONGEST, 0
    while seen < 2 and time.monotonic() < deadline:
        time.sleep(_LOOK)  # which leaves the interpreter to them
        seen = seen + 1 if _all_rest() else 0
    if not _TASKS.exists():
        time.sleep(20 * _LOOK)


def _all_rest() -> bool:
    for task in _TASKS.glob("*/stat"):
        with suppress(OSError):  # it has ended
            name, _, facts = task.read_text().partition(") ")
            if _NAME in name and not facts.startswith("S"):
                return False
    return True
