"""What tests of uploads share: descriptors counted, waits without sleeping for luck, a source to tamper with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from attrs import define, field

from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.sources.readers import Identity
from asyncsdk.uploads.sources.source import Source, fill

CONTENT = bytes(range(256)) * 4096  # 1 MiB
Preadv = Callable[..., int]


def descriptors_of(path: Path) -> list[str]:
    """Return the descriptors of this process that lead to `path`, read from /proc/self/fd."""
    target, found = os.path.realpath(path), []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            leads_to = str(descriptor.readlink())
        except OSError:  # the one that was listing, gone by now
            continue
        if leads_to.removesuffix(" (deleted)") == target:
            found.append(descriptor.name)
    return found


@define(eq=False)
class Gate:
    """A place where a thread stands still until it is let through."""

    reached: Event = field(factory=Event)
    opened: Event = field(factory=Event)

    def __call__(self) -> None:
        self.reached.set()
        assert self.opened.wait(10), "nobody let the thread go on"


@define(eq=False)
class Slow:
    """A source of `content` whose reads all go to a thread, where `before` may stop them or fail."""

    content: bytes
    before: Callable[[], object] = lambda: None
    name: str = "slow.bin"
    place: str | None = None
    tells_changes: bool = False
    reads: list[tuple[int, int]] = field(factory=list)

    @property
    def identity(self) -> Identity:
        return Identity(len(self.content))

    def read(self, offset: int, view: memoryview) -> None:
        self.reads.append((offset, len(view)))
        self.before()
        view[:] = self.content[offset : offset + len(view)]

    def read_now(self, offset: int, view: memoryview) -> bool:  # noqa: ARG002 - as the contract names them
        return False

    def at_hand(self, offset: int, length: int) -> None:  # noqa: ARG002 - as above
        return None

    def look_again(self) -> Identity:
        return self.identity

    def close(self) -> None:
        self.before = lambda: None


@contextmanager
def closing(source: Source) -> Iterator[Source]:
    try:
        yield source
    finally:
        source.close()


async def content_of(source: Source, threads: DaemonThreadPool) -> bytes:
    """All of it, in blocks, the last one first."""
    whole = bytearray(source.identity.size)
    for offset in reversed(range(0, len(whole), BLOCK)):
        await fill(source, threads, offset, memoryview(whole)[offset : offset + BLOCK])
    return bytes(whole)


def patch_preadv(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], int | None]) -> None:
    """Let `before(flags)` raise, answer, or return None for the real call."""
    real: Preadv = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        answer = before(flags)
        return real(descriptor, buffers, offset, flags) if answer is None else answer

    monkeypatch.setattr(os, "preadv", preadv)
