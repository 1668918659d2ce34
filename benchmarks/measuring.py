"""One run of a contender in a process of its own, measured from outside when it has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from attrs import frozen


@frozen
class Run:
    """One process from start to end: seconds, CPU seconds (user + system), peak memory in MiB."""

    wall: float
    cpu: float
    peak: float


def measure(command: list[str], environment: dict[str, str], folder: Path | None = None) -> Run:
    """Run `command`, in `folder` if one is given, and return what it took.

    Bytecode is kept from one run to the next, as an installed package has it.
    """
    environment = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, cwd=folder)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[:2]} failed with {process.returncode}")
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def rotated(contenders: dict[str, str], turn: int) -> list[tuple[str, str]]:
    """The contenders, each turn beginning with another, so that none always runs on a warmer machine."""
    names = list(contenders.items())
    start = turn % len(names)
    return names[start:] + names[:start]
