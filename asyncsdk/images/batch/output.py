"""Reads the files of a batch as they come, their pictures in pieces, in constant memory (pure).

A line may have many MB of base64, and a file GiB of it. So pictures are decoded as they come and handed out before it
is known whose they are: the `custom_id` may follow them. A line whose picture can't be decoded is read again, as it
is, from its place in the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen

from asyncsdk.http.base64_json import Base64Extractor, TooLarge
from asyncsdk.models import UnreadableImage

LONGEST_TEXT = 4 << 20  # bytes of a line, less its pictures


@frozen
class PictureBytes:
    """The next bytes of a picture: the `index`-th of the line that is being read, from 0."""

    index: int
    content: bytes = field(repr=False)


@frozen
class StreamedPicture:
    """A picture of a line: its mark in the line's text, its size in bytes, and why it can't be used, if it can't."""

    mark: str
    size: int
    problem: str | None = None


@frozen(kw_only=True)
class OutputLine:
    """A line of an output or error file, with a mark in place of each picture.

    Args:
        number: Its number, from 1.
        start: Where it begins in the file, in bytes.
        length: How many bytes it has, without its newline.
        text: Its text.
        pictures: Those that were in it, in their order.
        is_ended: Whether its newline came; the last line of a file may do without.
        problem: Why it could not be read to its end.
    """

    number: int
    start: int
    length: int
    text: bytes = field(repr=False)
    pictures: tuple[StreamedPicture, ...] = ()
    is_ended: bool = True
    problem: str | None = None


@define(eq=False)
class OutputReader:
    """Fed with a file in chunks, gives its lines, and before each the bytes of its pictures."""

    _number: int = field(default=0, init=False)
    _offset: int = field(default=0, init=False)
    _start: int = field(default=0, init=False)
    _extractor: Base64Extractor = field(init=False)
    _sizes: dict[str, int] = field(factory=dict, init=False)
    _problem: str | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._begin()

    def feed(self, chunk: bytes) -> Iterator[PictureBytes | OutputLine]:
        """What the next bytes of the file complete. Take all of it before the next call."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            yield from self._take(chunk[start:end])
            yield from self._end_line(is_ended=True)
            start = end + 1
        yield from self._take(chunk[start:] if start else chunk)

    def close(self) -> Iterator[OutputLine]:
        """The last line, where it has no newline. Call it only once the whole file came."""
        if self._offset > self._start:
            yield from self._end_line(is_ended=False)

    def _take(self, piece: bytes) -> Iterator[PictureBytes]:
        self._offset += len(piece)
        if self._problem is None and piece:
            try:
                self._extractor.feed(piece)
            except TooLarge as error:
                self._problem = str(error)
            for mark, content in self._extractor.take():
                self._sizes[mark] = self._sizes.get(mark, 0) + len(content)
                yield PictureBytes(index_of(mark), content)

    def _end_line(self, *, is_ended: bool) -> Iterator[OutputLine]:
        self._number += 1
        if self._offset > self._start:
            self._extractor.close()
            text = self._extractor.rest[:LONGEST_TEXT]
            if text.strip():
                yield OutputLine(
                    number=self._number,
                    start=self._start,
                    length=self._offset - self._start,
                    text=text,
                    pictures=self._pictures(),
                    is_ended=is_ended,
                    problem=self._problem,
                )
        self._offset += is_ended
        self._begin()

    def _pictures(self) -> tuple[StreamedPicture, ...]:
        found = self._extractor.pictures
        problems = {mark: one.reason for mark, one in found.items() if isinstance(one, UnreadableImage)}
        return tuple(StreamedPicture(mark, self._sizes.get(mark, 0), problems.get(mark)) for mark in found)

    def _begin(self) -> None:
        self._extractor = Base64Extractor(streamed=True, longest_text=LONGEST_TEXT)
        self._sizes, self._problem, self._start = {}, None, self._offset


def index_of(mark: str) -> int:
    """The number of a picture within its line, from 0, by its mark."""
    return int(mark.rpartition("#")[2])
