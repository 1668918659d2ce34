"""A receiver far away: real TCP through `wan.py` where that is possible, else through the proxy of `shaped.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import evolve, frozen

from benchmarks.uploads import wan
from benchmarks.uploads.receiver import LOOPBACK, Receiver, port_of
from benchmarks.uploads.shaped import shaped

OF_WAN = "real TCP between two network namespaces"
OF_PROXY = "a proxy of our own, without slow start and loss"


@frozen
class Shape:
    """`rtt` in seconds, `mbit` a second of each flow, or of all; `loss` a share of the packets.

    `bursts` of others take the line for so long (seconds), every so often (seconds).
    """

    rtt: float
    mbit: float
    loss: float = 0.0
    shared: bool = False
    bursts: tuple[float, float] | None = None

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.mbit * 1e6 / 8


@contextmanager
def at_distance(near: Receiver, shape: Shape, *, real: bool) -> Iterator[tuple[Receiver, list[str]]]:
    """The receiver at the other end of a line, and what comes before a command that uses it."""
    if real:
        with wan.wan(rtt=shape.rtt, rate=shape.rate, loss=shape.loss, shared=shape.shared):
            yield evolve(near, url=near.url.replace(LOOPBACK, wan.SERVER)), wan.INSIDE
    else:
        port = port_of(near)
        with shaped(port, rtt=shape.rtt, rate=shape.rate, shared=shape.shared) as far:
            yield evolve(near, url=near.url.replace(str(port), str(far))), []
