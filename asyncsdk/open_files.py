"""How many edits may run at a time: each needs file descriptors, and what is paid must be saved."""

from __future__ import annotations

import errno
import os

PER_EDIT = 2  # its connection; and its draft, or the connection that fetches an image
RESERVE = 10  # ledger and lock, syncs of directories, look-ups of names, a source's file, modules still to be loaded


def carried(limit: int, is_open: int) -> int:
    """How many edits fit, where a process may open `limit` files and `is_open` are open already."""
    return max(0, (limit - is_open - RESERVE) // PER_EDIT)


def limit_of_files() -> int | None:
    """How many files this process may open; None where the system has no such limit."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def most_edits() -> int | None:
    """How many edits this process can run at a time now; None without a limit. Blocking, for a moment."""
    limit = limit_of_files()
    return None if limit is None else carried(limit, _open_files(limit))


def lowered(requested: int, possible: int) -> str:
    """The message for a concurrency that was lowered."""
    limit = limit_of_files()
    return f"concurrency lowered from {requested} to {possible}: this process may open {limit} files (ulimit -n)"


def _open_files(limit: int) -> int:
    try:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208 - names, not paths
    except OSError as error:  # listing takes a descriptor itself, or the system has no such directory
        return limit if error.errno in {errno.EMFILE, errno.ENFILE} else 0
