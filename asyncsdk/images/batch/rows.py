"""An edit on its way into a batch, and the file that it goes in (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field, frozen

from asyncsdk.api import ImageRef


@frozen(kw_only=True)
class BatchRow:
    """A row that is about to be in a batch: what the ledger writes down of it, and its line.

    Args:
        item: The edit, as the ledger calls it.
        name: The name of its pictures.
        n: How many pictures are requested.
        source: A digest of where its first picture comes from.
        attempt: How often it was in a batch, with this time.
        rounds: How often it was cut again, after others of its file were refused.
        line: Its line.
        needs: The files of ours that its line refers to.
        most: What it costs at most, in billionths of a dollar; None where that is not known.
    """

    item: str
    name: str
    n: int
    source: str | None
    attempt: int
    rounds: int
    line: bytes = field(repr=False)
    needs: Sequence[str] = ()
    most: int | None = None


@frozen
class References:
    """Where the pictures of an edit are on the server, and which of these files are ours."""

    images: Sequence[ImageRef]
    mask: ImageRef | None
    ours: Sequence[str]


@define(eq=False)
class OpenPart:
    """The input file that rows are gathered for."""

    model: str
    rows: list[BatchRow] = field(factory=list, init=False)

    @property
    def rounds(self) -> int:
        """How often any of its rows was cut again."""
        return max((row.rounds for row in self.rows), default=0)

    @property
    def content(self) -> bytes:
        """The file."""
        return b"".join([row.line for row in self.rows])
