"""How many edits at a time this process can carry: each needs file descriptors, and what is paid must be saved."""

from __future__ import annotations

import errno
import os

PER_EDIT = 2  # its connection; and its draft, or the connection that fetches a picture
RESERVE = 10  # ledger and lock, syncs of directories, look-ups of names, a source's file, modules still to be loaded


def carried(limit: int, is_open: int) -> int:
    """How many edits fit, where a process may open `limit` files and has some open already."""
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
    """How many edits this process can carry now; None where nothing limits that. Blocking, for a moment."""
    limit = limit_of_files()
    return None if limit is None else carried(limit, _open_files(limit))


def lowered(asked: int, at_once: int) -> str:
    """What is said of fewer edits at a time than were asked for."""
    return f"concurrency lowered from {asked} to {at_once}: this process may open {limit_of_files()} files (ulimit -n)"


def _open_files(limit: int) -> int:
    try:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208 - names, not paths
    except OSError as error:  # which takes a descriptor itself, or the system shows none
        return limit if error.errno in {errno.EMFILE, errno.ENFILE} else 0
