"""What errors hold: texts of bounded length, a paid edit's images, the damage of a ledger (pure)."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:  # catching an error needs no cattrs
    from asyncsdk.models import EditedImage, ImagesResponse, Usage

LONGEST_TEXT = 8192  # characters of a server's text that an error keeps
_FEW = 10


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """`text` as an error keeps it: a longer one is cut, and its end is a note of how long it was."""
    if len(text) <= longest:
        return text
    note = f"… ({len(text):,} characters)"
    return text[: longest - len(note)] + note


def with_wait(message: str, seconds: float) -> str:
    """`message` of a refusal, and how many seconds the server asks to wait."""
    return f"{message}{'' if message.endswith(('.', '!', '?')) else '.'} The server asks to wait {whole(seconds)}."


def whole(seconds: float) -> str:
    """`300 s`: rounded up, and short whatever a server asks for."""
    return f"{math.ceil(seconds):.9g} s"


def wrong_address(base_url: str) -> str:
    """What to do where nothing at `base_url` has answered as the API."""
    question = (
        "Is its path right? It ends with /v1."
        if "/v1" in base_url
        else "Does it lack a path, such as /v1 (OpenAI) or /openai/v1 (Azure)?"
    )
    return (
        f"Nothing at {base_url} has answered as the API: most likely the address is wrong, and nothing was done. "
        f"{question}"
    )


@frozen
class LedgerDamage:
    """A file of a ledger that is not as it was written; what a crash leaves is not damage.

    That is a last line that was being written, and was never acknowledged.

    Args:
        path: The file.
        lines: The numbers of its damaged lines, from 1.
        bytes: How many bytes they are.
    """

    path: Path
    lines: tuple[int, ...]
    bytes: int

    def __str__(self) -> str:
        numbers = ", ".join(map(str, self.lines[:_FEW])) + (", …" if len(self.lines) > _FEW else "")
        lines = f"{len(self.lines):,} damaged line{'s' if len(self.lines) > 1 else ''}"
        return f"{self.path}: {lines} (line {numbers}; {self.bytes:,} bytes)"


class PaidImages(Protocol):
    """What `SaveError.result` offers; it is an `EditResult`."""

    @property
    def images(self) -> tuple[EditedImage, ...]:
        """The images, each with `content` or a `url`."""

    @property
    def response(self) -> ImagesResponse:
        """The whole response."""

    @property
    def usage(self) -> Usage | None:
        """What it cost, in tokens."""

    @property
    def request_id(self) -> str | None:
        """The server's name for the request."""

    async def contents(self) -> list[bytes]:
        """Return the images' bytes; see `EditResult.contents`."""

    async def save(
        self, target: str | os.PathLike[str], *, name: str | None = None, overwrite: bool = False
    ) -> list[Path]:
        """Save the images; see `EditResult.save`."""
