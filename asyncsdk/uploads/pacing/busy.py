"""How busy a thread is: for how long it has run, or could have run if it had been given a CPU."""

from __future__ import annotations

import time
from pathlib import Path

_TIMES = Path("/proc/thread-self/schedstat")  # nanoseconds on a CPU, and of waiting for one (proc_pid_schedstat(5))


def busy_seconds() -> float:
    """Seconds of this thread until now. Without Linux's figures only those in which it ran."""
    try:
        ran, waited, _ = map(int, _TIMES.read_text().split())
    except (OSError, ValueError):
        return time.thread_time()
    return (ran + waited) / 1e9
