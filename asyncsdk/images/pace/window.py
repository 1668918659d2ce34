"""How many images were let go within the last minute: a sliding-window log, kept in slices (pure).

A server that counts by a sliding minute, or by minutes of its own clock, never finds more in one of them than this
log does: it looks back a second longer, for requests that overtake each other on the way.
"""

from __future__ import annotations

import math

from attrs import define, field

COUNTED_SECONDS = 61.0
SLICE_SECONDS = 0.2  # what was let go within one is counted until its end: some 300 numbers, whatever the rate


@define
class Window:
    """Times are monotonic seconds and never go back."""

    _slices: dict[int, int] = field(factory=dict, init=False)  # number of slice → images, oldest first

    def add(self, images: int, at: float) -> None:
        """Count `images` that are let go `at` this time, and forget what is old."""
        number = _slice(at)
        self._slices[number] = self._slices.get(number, 0) + images
        while _end(oldest := next(iter(self._slices))) + COUNTED_SECONDS <= at:
            del self._slices[oldest]

    def take_back(self, images: int, at: float) -> None:
        """Count no longer what was let go `at` this time: the server did not let it pass."""
        number = _slice(at)
        if number in self._slices:
            self._slices[number] -= images

    def count(self, since: float) -> int:
        """How many images were let go after `since`, or within its slice."""
        return sum(images for number, images in self._slices.items() if _end(number) > since)

    def fits_at(self, images: float, limit: float, since: float) -> float:
        """When `images` more may go, such that no minute holds more than `limit` of those let go after `since`.

        What alone is above the limit fits once nothing else is in its minute.
        """
        room = limit - min(images, limit)
        if sum(self._slices.values()) <= room:
            return -math.inf
        for number in reversed(self._slices):
            room -= self._slices[number] if _end(number) > since else 0
            if room < 0:
                return _end(number) + COUNTED_SECONDS
        return -math.inf


def _slice(at: float) -> int:
    return math.floor(at / SLICE_SECONDS)


def _end(number: int) -> float:
    return (number + 1) * SLICE_SECONDS
