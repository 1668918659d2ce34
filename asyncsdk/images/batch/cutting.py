"""How edits are cut into the input files of batches: one model a file, and bounds on its size and its output (pure).

Nothing but counts is kept here: lines are written to their files as they come.
"""

from __future__ import annotations

import re

from attrs import define, field, frozen
from attrs.validators import ge

from asyncsdk.errors import InvalidEditError
from asyncsdk.images.edit import ImageEdit

MOST_LINES, LARGEST_FILE = 50_000, 200 * 10**6  # the API's own limits: lines, bytes
LARGEST_OUTPUT = 1 << 30  # bytes: an hour's download on a slow line, and room on a small disk
_BYTES_A_PIXEL = 3  # of a PNG in base64: a picture of 1024x1024 has 1.5 to 3 MB
_USUAL_PIXELS = 1 << 20
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


@frozen
class BatchPart:
    """An input file: its number, the model of its edits, and how much is in it."""

    number: int
    model: str
    lines: int = 0
    size: int = 0
    output: int = 0


@define(eq=False)
class Cutter:
    """One pass over edits: says for each in which file its line belongs.

    Args:
        most_lines: Lines of a file; fewer than the API takes make smaller batches.
        largest_output: Bytes that its output may be expected to have.
        largest_file: Bytes of a file that has more than one line.
        first: The number of the first file.
    """

    most_lines: int = field(default=MOST_LINES, validator=ge(1))
    largest_output: int = field(default=LARGEST_OUTPUT, validator=ge(1))
    largest_file: int = field(default=LARGEST_FILE, validator=ge(1))
    first: int = 0
    _open: dict[str, BatchPart] = field(factory=dict, init=False)
    _begun: int = field(default=0, init=False)

    def place(self, model: str, size: int, output: int) -> tuple[BatchPart, BatchPart | None]:
        """The file for a line of `size` bytes, with that line in it; and the one that is full now, if one is.

        `output` is how many bytes its response may have. Raises InvalidEditError for a line that no file takes.
        """
        if size > LARGEST_FILE:
            raise InvalidEditError(
                f"its line has {size:,} bytes, and the file of a batch {LARGEST_FILE:,} at most: upload its pictures "
                "and refer to them. Nothing was sent."
            )
        before = self._open.get(model)
        full = before if before is not None and not self._has_room(before, size, output) else None
        part = self._new(model) if before is None or full is not None else before
        self._open[model] = BatchPart(part.number, model, part.lines + 1, part.size + size, part.output + output)
        return self._open[model], full

    def rest(self) -> list[BatchPart]:
        """The files that are not full, once all edits came."""
        parts = sorted(self._open.values(), key=lambda part: part.number)
        self._open.clear()
        return parts

    def _has_room(self, part: BatchPart, size: int, output: int) -> bool:
        fits = part.lines < self.most_lines and part.size + size <= self.largest_file
        return fits and part.output + output <= self.largest_output

    def _new(self, model: str) -> BatchPart:
        self._begun += 1
        return BatchPart(self.first + self._begun - 1, model)


def expected_output(edit: ImageEdit) -> int:
    """How many bytes of the output file an edit may take: rather too many than too few."""
    match = _SIZE.fullmatch(edit.size or "")
    pixels = _USUAL_PIXELS if match is None else int(match[1]) * int(match[2])
    return (edit.n or 1) * pixels * _BYTES_A_PIXEL
