"""The machine that this runs on, as other processes on it know it, and whether one of them lives."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from asyncsdk.postgres.lease import is_gone
from asyncsdk.wal.lock import this_host


@cache
def this_machine() -> str:
    """Name the machine since its start, the space of process ids and the host; '' where there is no such name.

    Containers may share a host's name, and in each a process has the id 1: that they have not in one space. Machines
    that were started from one snapshot may share all but the host's name.
    """
    with suppress(OSError):
        boot, space = Path("/proc/sys/kernel/random/boot_id").read_text().strip(), Path("/proc/self/ns/pid").readlink()
        return f"{boot} {space} {this_host()}"
    return ""


def lives(pid: int) -> bool:
    """Whether there is a process of this id here. One that has ended, and that its parent did not wait for, is gone."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def is_gone_here(pid: int | None, machine: str) -> bool:
    """Whether a process of `machine` was one of this machine, and is gone; of no process nothing is known."""
    if pid is None:
        return False
    here = this_machine()
    return is_gone(machine, here, lives=machine == here and lives(pid))  # an id of another machine is not looked up
