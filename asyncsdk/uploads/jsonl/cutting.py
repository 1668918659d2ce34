"""Cuts a batch that is too large for one at its lines, so that each piece is a batch by itself (pure)."""

from __future__ import annotations

from pathlib import PurePath

from attrs import define, field, frozen

LARGEST_PIECE = 200_000_000  # bytes: 200 MB in either reading of it
MOST_REQUESTS = 50_000  # lines of a batch; of embeddings, inputs too


@frozen
class Piece:
    """Some whole lines of a file: `length` bytes from `offset`, in so many `lines`."""

    offset: int
    length: int
    lines: int


@define(eq=False)
class LineCutter:
    """Takes the lines of a file, in order, and makes pieces of them, each as large as it may be."""

    largest: int = LARGEST_PIECE
    most: int = MOST_REQUESTS
    pieces: list[Piece] = field(factory=list, init=False)
    _offset: int = field(default=0, init=False)
    _length: int = field(default=0, init=False)
    _lines: int = field(default=0, init=False)
    _inputs: int = field(default=0, init=False)

    def take(self, length: int, inputs: int = 1) -> None:
        """Take a line of so many bytes, its newline included, with so many inputs of embeddings."""
        is_full = self._length + length > self.largest or max(self._lines + 1, self._inputs + inputs) > self.most
        if is_full and self._lines:
            self.finish()
        self._length, self._lines, self._inputs = self._length + length, self._lines + 1, self._inputs + inputs

    def finish(self) -> None:
        """End the piece that is being filled."""
        if self._lines:
            self.pieces.append(Piece(self._offset, self._length, self._lines))
            self._offset += self._length
            self._length = self._lines = self._inputs = 0


def numbered(name: str, number: int, count: int) -> str:
    """The name of a piece: `requests.jsonl` is `requests-03-of-12.jsonl`; names sort as the pieces do."""
    path = PurePath(name)
    return str(path.with_name(f"{path.stem}-{number:0{len(str(count))}}-of-{count}{path.suffix}"))
