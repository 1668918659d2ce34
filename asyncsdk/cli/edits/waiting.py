"""What is shown while one edit is under way, which may take a minute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from asyncsdk.cli import units
from asyncsdk.cli.output import printable

if TYPE_CHECKING:
    from rich.console import RenderableType


@frozen
class WaitingView:
    """How long the server has had an edit of `name`."""

    name: str
    _began: float = field(factory=time.monotonic, init=False)

    def lines(self) -> list[str]:
        """As a line."""
        return [f"Waiting for the server to edit {self.name}: {units.elapsed(self._seconds)}."]

    def records(self) -> list[dict[str, Any]]:
        """As an object."""
        return [{"waiting": round(self._seconds, 1)}]

    def frame(self, width: int) -> RenderableType:
        """As a line on a terminal."""
        from rich.text import Text

        line = Text(printable(self.lines()[0]), style="dim")
        line.truncate(width, overflow="ellipsis")
        return line

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began
