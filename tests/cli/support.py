"""What tests of the command line get from a run."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from asyncsdk.cli.signals import Stop


def heed_signals() -> None:
    """Let these do what they do where nobody changed it: a child of tests under nohup, or behind `&`, ignores them."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@frozen
class Ran:
    """What came of a run."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def disarm(stop: Stop) -> None:
    """Let what would end a program that hangs not end the tests."""
    if hasattr(stop, "_guard"):
        stop._guard.cancel()  # noqa: SLF001 - a program never calls it off: it is at its end


Run = Callable[..., Ran]
Start = Callable[..., "subprocess.Popen[Any]"]  # of text, unless it is told otherwise
MakeFile = Callable[..., Path]
