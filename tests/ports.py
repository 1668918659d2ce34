"""A port of this machine that nobody else gets: not between the look and its use, nor while its server is away."""

from __future__ import annotations

import socket

from attrs import define, field


def _bound() -> socket.socket:
    """Bound and never listening: a server may bind it too (SO_REUSEADDR), and the system gives it to nobody."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


@define(eq=False)
class HeldPort:
    """One on 127.0.0.1, until `close`, or until this is left; whoever connects while no server listens is refused."""

    _held: socket.socket = field(factory=_bound, init=False, repr=False)

    def __enter__(self) -> int:
        return self.number

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def number(self) -> int:
        number: int = self._held.getsockname()[1]
        return number

    def close(self) -> None:
        self._held.close()
