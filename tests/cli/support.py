"""What tests of the command line get from a run."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from attrs import frozen
from jsonschema import Draft202012Validator

from asyncsdk.cli.schema import Kind, schema_for
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
        """The lines of `--json`, each as `asyncsdk schema` has it."""
        records = [json.loads(line) for line in self.out.splitlines()]
        for record in (record for record in records if isinstance(record, dict)):
            if "bytes_resumed" in record:
                line_of("upload").validate(record)
            elif record.keys() >= {"usage", "files"}:
                line_of("edit").validate(record)
        return records


@cache
def line_of(kind: Kind) -> Draft202012Validator:
    return Draft202012Validator(schema_for(kind))


def disarm(stop: Stop) -> None:
    """Let what would end a program that hangs not end the tests."""
    if hasattr(stop, "_guard"):
        stop._guard.cancel()  # noqa: SLF001 - a program never calls it off: it is at its end


Run = Callable[..., Ran]
Start = Callable[..., "subprocess.Popen[Any]"]  # of text, unless it is told otherwise
MakeFile = Callable[..., Path]
