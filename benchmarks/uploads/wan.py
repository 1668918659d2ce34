"""A slow line of real TCP: packets between two network namespaces pass this process, which is late, narrow and lossy.

It needs root, `ip` and /dev/net/tun, and no netem. Each flow of the client, or all together, have a rate and a queue
that drops what is too much; packets are large, so that this process costs little: 100 to 150 MiB/s on two cores.

    python -m benchmarks.uploads.wan RTT_MS MBIT_PER_SECOND LOSS_PERCENT each|all|bursts     (until its input is closed)

With `bursts` all share the line, and others take part of it now and then.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from attrs import define, field

SERVER, CLIENT = "10.99.0.1", "10.99.0.2"
NAMESPACE, TUN = "asyncsdk", Path("/dev/net/tun")
INSIDE = ["ip", "netns", "exec", NAMESPACE]  # before a command that is to use the line
MTU, QUEUE_SECONDS, SOONEST = 9000, 0.1, 0.0005
BURST_SECONDS, LEFT = (
    3.0,
    0.4,
)  # how long bursts of others, and the times between, are on average; what they leave of it
_TUNSETIFF, _TUN_WITHOUT_HEADER = 0x400454CA, 0x1001


def is_possible() -> bool:
    """Whether this system lets us make one."""
    return os.geteuid() == 0 and TUN.exists() and shutil.which("ip") is not None


@contextmanager
def address() -> Iterator[str]:
    """An address that servers on this machine can listen on, and clients at the other end of a line reach."""
    _run(f"ip addr replace {SERVER}/32 dev lo")
    try:
        yield SERVER
    finally:
        _run(f"ip addr del {SERVER}/32 dev lo")


@contextmanager
def wan(*, rtt: float, rate: float, loss: float = 0.0, of: str = "each") -> Iterator[None]:
    """A line to `SERVER` for commands `INSIDE`; `rtt` in seconds, `rate` in bytes a second, `loss` a share."""
    figures = [str(rtt * 1000), str(rate * 8 / 1e6), str(loss * 100), of]
    with Popen([sys.executable, "-m", "benchmarks.uploads.wan", *figures], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                sys.exit("the line could not be made")
            yield
        finally:
            process.stdin.close()


@define
class Line:
    """What is under way: `rtt` in seconds, `rate` in bytes a second, `loss` a share of the packets."""

    rtt: float
    rate: float
    loss: float
    of: str
    _edges: list[float] = field(factory=list)  # where bursts of others begin and end
    _due: list[tuple[float, int, int, bytes]] = field(factory=list)
    _free: dict[bytes, float] = field(factory=dict)  # by flow: when its line is free again
    _count: int = 0

    def take(self, packet: bytes, now: float, to: int, *, up: bool) -> None:
        """A packet sets out, or is dropped."""
        if packet[0] >> 4 != 4 or (self.loss and random.random() < self.loss):
            return
        passed = now
        if up:
            start = (packet[0] & 15) * 4
            flow = packet[start : start + 2] if self.of == "each" else b""  # the source port
            passed = max(now, self._free.get(flow, 0.0))
            if passed - now > QUEUE_SECONDS:
                return
            passed += len(packet) / (self.rate * self._left(now))
            self._free[flow] = passed
        self._count += 1
        heapq.heappush(self._due, (passed + self.rtt / 2, self._count, to, packet))

    def _left(self, now: float) -> float:
        """The share of the line that bursts of others leave."""
        if self.of != "bursts":
            return 1.0
        while not self._edges or self._edges[-1] < now:
            self._edges.append((self._edges[-1] if self._edges else now) + random.expovariate(1 / BURST_SECONDS))
        return LEFT if len(self._edges) % 2 else 1.0

    def deliver(self, now: float) -> float:
        """Write what has arrived; returns in how many seconds the next will."""
        while self._due and self._due[0][0] <= now:
            _, _, to, packet = heapq.heappop(self._due)
            try:
                os.write(to, packet)
            except OSError:
                continue  # its queue is full: it is lost
        return self._due[0][0] - now if self._due else 1.0


def main(line: Line) -> None:
    near, far = f"{NAMESPACE}s", f"{NAMESPACE}c"
    server, client = _tun(near), _tun(far)
    try:
        _run(f"ip netns add {NAMESPACE}")
        _run(f"ip link set {far} netns {NAMESPACE}")
        _run(f"ip link set {near} mtu {MTU} txqueuelen 10000 up")
        _run(f"ip route add {CLIENT}/32 dev {near} src {SERVER}")
        _run(f"ip -n {NAMESPACE} addr add {CLIENT}/24 dev {far}")
        _run(f"ip -n {NAMESPACE} link set {far} mtu {MTU} txqueuelen 10000 up")
        _run(f"ip -n {NAMESPACE} link set lo up")
        print("ready", flush=True)
        pump(line, server, client)
    finally:
        _run(f"ip netns del {NAMESPACE}")


def pump(line: Line, server: int, client: int) -> None:
    """Carry packets until standard input is closed."""
    poll = select.epoll()
    for descriptor in (server, client, sys.stdin.fileno()):
        poll.register(descriptor, select.EPOLLIN)
    wait = 1.0
    while True:
        for descriptor, _ in poll.poll(wait if wait >= SOONEST else 0):
            if descriptor == sys.stdin.fileno():
                return
            other = server if descriptor == client else client
            for _ in range(64):
                try:
                    packet = os.read(descriptor, 65536)
                except BlockingIOError:
                    break
                line.take(packet, time.perf_counter(), other, up=descriptor == client)
        wait = line.deliver(time.perf_counter())


def _tun(name: str) -> int:
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_WITHOUT_HEADER))
    return descriptor


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


if __name__ == "__main__":
    rtt, mbit, loss = (float(figure) for figure in sys.argv[1:4])
    main(Line(rtt / 1000, mbit * 1e6 / 8, loss / 100, sys.argv[4]))
