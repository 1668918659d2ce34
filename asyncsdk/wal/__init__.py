"""A durable append-only log, which the upload journal and the edit ledger are built on: its values and errors (pure).

What fails is raised as OSError, or as NewerVersionError; the owner of a log turns both into its own words.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen


@frozen
class Owner:
    """The process that holds a lock."""

    pid: int
    host: str


def name_of(owner: Owner | None) -> str:
    """How a message names the process that holds a lock, which may be unknown."""
    return f"process {owner.pid} on {owner.host}" if owner else "another process"


class NotDurableError(OSError):
    """A file was written, and its name may not survive a power cut; a second sync might not report that again."""


class DisplacedError(OSError):
    """A file that is being written is not at its path any more: it was removed, renamed or replaced."""


class ClosedError(OSError):
    """The log takes no more: the owner's turn is over."""


class NewerVersionError(ValueError):
    """A segment was written by a newer asyncsdk, in a format that this one does not know."""

    def __init__(self, version: int, path: Path | None = None) -> None:
        super().__init__(f"version {version}")
        self.version = version
        self.path = path
