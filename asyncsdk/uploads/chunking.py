"""Cuts a file into parts on a fixed grid of blocks: part sizes, gaps between confirmed parts, what is left (pure)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import attrgetter

from attrs import define, frozen

from asyncsdk.errors import ConfigurationError, SourceError

MIB = 1 << 20
BLOCK = MIB // 2  # every cut lies on this grid, so that a later run may cut differently and still check what was sent
LARGEST_PART = 64 * MIB  # POST /uploads/{id}/parts: "at most 64 MB"; 64 MiB is what openai-python sends
LARGEST_FILE = 8 << 30  # POST /uploads: "a maximum of 8 GB"
SMALLEST_USUAL_PART = 8 * MIB
LARGEST_STREAM_PART = 16 * MIB  # it is in memory until it is answered; longer ones of an earlier run are sent again
FIRST_PART = 16 * MIB  # while the rate is not known yet
PART_SECONDS = 10  # what a kill may cost a connection
SHORT_PART_SECONDS = 1.0  # to halve what takes less gains nothing
SLOW_PART_SECONDS = 2
PARTS_PER_CONNECTION = 4  # so that every connection has work to the end


@frozen(order=True)
class Range:
    """`length` bytes from `offset` on."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.offset + self.length


def checked_size(size: int, name: str) -> int:
    """Return `size`. Raises SourceError if a file of that size cannot be uploaded."""
    if size == 0:
        raise SourceError(f"{name} is empty; an upload needs at least one byte. Nothing was sent.")
    if size > LARGEST_FILE:
        raise SourceError(
            f"{name} has {size:,} bytes; an upload takes at most 8 GiB ({LARGEST_FILE:,}). Nothing was sent."
        )
    return size


def is_whole(value: object) -> bool:
    """Whether `value` is an integer, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def checked_part_size(size: int) -> int:
    """`size` rounded up to the grid. Raises ConfigurationError outside 1 byte to 64 MiB."""
    if not (is_whole(size) and 0 < size <= LARGEST_PART):
        raise ConfigurationError(
            f"the part size must be an integer from 1 byte to 64 MiB ({LARGEST_PART:,}), not {size!r}. "
            "Nothing was sent."
        )
    return _on_grid(size)


def usual_part_size(size: int, concurrency: int, rate: float | None = None) -> int:
    """The part size for a file of `size` bytes over `concurrency` connections.

    With a `rate` (bytes a second) that the caller set, no part takes much longer than `SLOW_PART_SECONDS`: what
    is in flight is lost when a run is killed.
    """
    share = _on_grid(-(-size // (PARTS_PER_CONNECTION * concurrency)))
    usual = min(max(share, SMALLEST_USUAL_PART), LARGEST_PART)
    return usual if rate is None else min(usual, _on_grid(max(1, int(rate * SLOW_PART_SECONDS / concurrency))))


def fitting_part_size(usual: int, flow: float | None, share: int) -> int:
    """The size of the next part, at most `usual`.

    On a slow line a part takes ten seconds at most, so that a kill costs little. Towards the end a connection takes
    half of its `share` of the bytes left, so that those of unequal speed end together (guided self-scheduling,
    Polychronopoulos and Kuck 1987), and once half is soon sent, all of it: each part costs a round trip. `flow` is
    bytes a second of one connection, None while unknown.
    """
    if flow is None:
        return min(usual, FIRST_PART)
    half = share // 2
    fair = half if half > flow * SHORT_PART_SECONDS else share
    return min(usual, max(MIB, _on_grid(fair)), max(MIB, _on_grid(int(flow * PART_SECONDS))))


def gaps(size: int, held: Iterable[Range]) -> list[Range]:
    """What of 0..size lies in none of `held`, in order; `held` may overlap."""
    found, reached = [], 0
    for span in sorted(held):
        if span.offset > reached:
            found.append(Range(reached, span.offset - reached))
        reached = max(reached, span.end)
    return [*found, Range(reached, size - reached)] if reached < size else found


@define
class Pending:
    """What is left to send, taken piece by piece from the front."""

    part_size: int
    _gaps: list[Range]

    def take(self, at_most: int = LARGEST_PART) -> Range | None:
        """The next piece, no longer than `part_size` and `at_most` (on the grid), or None when nothing is left."""
        if not self._gaps:
            return None
        first, length = self._gaps.pop(0), min(self.part_size, at_most)
        if first.length <= length:
            return first
        self._gaps.insert(0, Range(first.offset + length, first.length - length))
        return Range(first.offset, length)

    def put_back(self, piece: Range) -> None:
        """`piece` is to be sent after all."""
        self._gaps = sorted([*self._gaps, piece])

    def shrink_below(self, length: int) -> bool:
        """A piece of `length` was too large: halve the part size, once for all pieces of that size.

        False if it can't get smaller.
        """
        if length <= BLOCK:
            return False
        self.part_size = min(self.part_size, _on_grid(length // 2))
        return True

    def pieces(self) -> int:
        """How many parts are left."""
        return sum(-(-gap.length // self.part_size) for gap in self._gaps)


def stream_part_size(part_size: int, memory: int, connections: int) -> int:
    """The size of the next part of a stream, so that each of the `connections` has one and others are being filled.

    `memory` is the bytes that the parts of all streams may take.
    """
    return max(BLOCK, min(part_size, LARGEST_STREAM_PART, memory // (connections + 2) // BLOCK * BLOCK))


def next_of_stream(offset: int, size: int, part_size: int, held: Sequence[Range] = ()) -> Range:
    """What to read next of a stream of `size` bytes, which is at `offset`: one of `held`, or up to the next of them.

    `held` are in order, and none overlaps another.
    """
    place = bisect_left(held, offset, key=attrgetter("offset"))
    if place == len(held):
        return Range(offset, min(part_size, size - offset))
    ahead = held[place]
    return ahead if ahead.offset == offset else Range(offset, min(part_size, ahead.offset - offset))


def covers(size: int, held: Sequence[Range]) -> bool:
    """Whether `held`, in order, are exactly the bytes 0..size: each once, none missing."""
    reached = 0
    for span in held:
        if span.offset != reached:
            return False
        reached = span.end
    return reached == size


def _on_grid(length: int) -> int:
    return -(-length // BLOCK) * BLOCK
