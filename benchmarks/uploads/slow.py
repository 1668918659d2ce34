"""A receiver far away: real TCP through `wan.py` where that is possible, else through the proxy of `shaped.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from attrs import evolve, frozen

from benchmarks.uploads import wan
from benchmarks.uploads.receiver import LOOPBACK, Receiver, port_of
from benchmarks.uploads.shaped import shaped

OF_WAN = "real TCP between two network namespaces"
OF_PROXY = "a proxy of our own, without slow start and loss"


@frozen
class Shape:
    """`rtt` in seconds, `mbit` a second of each flow, or of all; `loss` a share of the packets."""

    rtt: float
    mbit: float
    loss: float = 0.0
    of: Literal["each", "all", "bursts"] = "each"

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.mbit * 1e6 / 8

    @property
    def needs_wan(self) -> bool:
        """Whether the proxy can't play it."""
        return bool(self.loss) or self.of == "bursts"


@contextmanager
def at_distance(near: Receiver, shape: Shape, *, real: bool) -> Iterator[tuple[Receiver, list[str]]]:
    """The receiver at the other end of a line, and what comes before a command that uses it."""
    if real:
        with wan.wan(rtt=shape.rtt, rate=shape.rate, loss=shape.loss, of=shape.of):
            yield evolve(near, url=near.url.replace(LOOPBACK, wan.SERVER)), wan.INSIDE
    else:
        port = port_of(near)
        with shaped(port, rtt=shape.rtt, rate=shape.rate, shared=shape.of != "each") as far:
            yield evolve(near, url=near.url.replace(str(port), str(far))), []
