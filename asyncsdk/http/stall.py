"""Detects a stalled request: gives an attempt up when no byte has moved for too long.

Progress is what counts, not total time: 64 MB on a slow line take as long as they take. On Linux the
kernel reports what the peer has acknowledged (tcp_info, linux/tcp.h); elsewhere it is what the transport accepted.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable

from attrs import define, field, frozen

_UNACKED, _RTT = struct.Struct("=24xI"), struct.Struct("=68xI")
_ACKED, _NOTSENT = struct.Struct("=120xQ"), struct.Struct("=144xI")


@frozen
class SocketProgress:
    """A connection at one moment: `moved` only grows; `arrived` once the peer has all that was written.

    `rtt` is its round-trip time in seconds, 0.0 where that is not known.
    """

    moved: int
    arrived: bool
    rtt: float = 0.0


def observe(transport: asyncio.WriteTransport, written: int) -> SocketProgress:
    """What can be seen of `transport`, to which `written` bytes of the body were handed."""
    info = _tcp_info(transport)
    waiting = transport.get_write_buffer_size()
    if info is None:
        return SocketProgress(written - waiting, waiting == 0)
    unsettled = _UNACKED.unpack_from(info)[0] + _NOTSENT.unpack_from(info)[0]
    acked, rtt = _ACKED.unpack_from(info)[0], _RTT.unpack_from(info)[0]
    return SocketProgress(acked, waiting == 0 and unsettled == 0, rtt / 1e6)


def _tcp_info(transport: asyncio.WriteTransport) -> bytes | None:
    if sys.platform != "linux":
        return None
    connection = transport.get_extra_info("socket")
    try:
        info: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    except (AttributeError, OSError):  # not TCP, or closed by now
        return None
    # sandboxed kernels do not count what was acknowledged; an established connection has at least one byte
    return info if len(info) >= _NOTSENT.size and _ACKED.unpack_from(info)[0] else None


@define
class IdleTime:
    """How long nothing has moved (pure)."""

    since: float
    moved: int = -1

    def seconds(self, now: float, moved: int, *, idle: bool) -> float:
        """Seconds since something moved; while this side is `idle` the peer is not to blame."""
        if idle or moved != self.moved:
            self.since, self.moved = now, moved
        return now - self.since


@define(eq=False)
class StallTimer:
    """Looks at one attempt about once a second, by a timer: no task, nothing to await.

    While bytes are on their way, `stall` seconds without an acknowledged one end the attempt; once all
    have arrived, `response` seconds without a response do. `gave_up` then says why, before the transport is aborted.
    `on_look` is called at each look after which it goes on; what that raises ends no watch.
    """

    stall: float
    response: float
    written: int = 0
    fully_sent: bool = False
    idle: bool = False
    gave_up: str = field(default="", init=False)
    on_look: Callable[[], object] | None = None
    _transport: asyncio.WriteTransport | None = field(default=None, init=False)
    _quiet: IdleTime | None = field(default=None, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def start(self, transport: asyncio.WriteTransport) -> None:
        """Begin to watch; the running loop's clock is used."""
        loop = asyncio.get_running_loop()
        self._transport, self._quiet = transport, IdleTime(loop.time())
        self._timer = loop.call_later(self._interval(), self._check, loop)

    def stop(self) -> None:
        """Stop watching; safe to call at any time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._transport = self.on_look = None  # the last refers to the body, which has this timer

    def _interval(self) -> float:
        return min(1.0, self.stall / 4, self.response / 4)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        transport, quiet = self._transport, self._quiet
        if transport is None or quiet is None or transport.is_closing():
            return
        seen = observe(transport, self.written)
        responding = self.fully_sent and seen.arrived
        seconds = quiet.seconds(loop.time(), seen.moved, idle=self.idle)
        if seconds < (self.response if responding else self.stall):
            self._timer = loop.call_later(self._interval(), self._check, loop)
            if self.on_look is not None:
                self.on_look()
            return
        self.gave_up = (
            f"no response within {self.response:g} s" if responding else f"no byte got through for {self.stall:g} s"
        )
        transport.abort()
