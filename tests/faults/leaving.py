"""What a call may leave behind: nothing, and that within a second."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from asyncsdk import AsyncUploader, FileJournal
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.pacing.connections import Connections

TICK = 0.05  # long beside the 5 ms that a busy loop keeps the interpreter from other threads: those don't count


@define(eq=False)
class Stopwatch:
    """Seconds since it was last started, less those that the machine had no time for.

    A thread that only sleeps tells these by how late it wakes. A loop that is blocked does not make it late.
    """

    _began: float = field(factory=time.monotonic, init=False)
    _late: float = field(default=0.0, init=False)

    def start(self) -> None:
        self._began, self._late = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began - self._late

    def watch(self, ended: threading.Event) -> None:
        asleep = time.monotonic()
        while not ended.wait(TICK):
            awake = time.monotonic()
            self._late += awake - asleep - TICK
            asleep = awake

    def watch_process(self, ended: threading.Event, process_id: int) -> None:
        """Where the system tells for how long a process could not run though it would."""
        before = held_up(process_id)
        while not ended.wait(TICK):
            self._late = max(self._late, held_up(process_id) - before)  # once it has ended, nothing is told


def held_up(process_id: int) -> float:
    """Seconds in which a process was ready to go on, and the machine had no time for it."""
    try:
        return int(Path(f"/proc/{process_id}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


@contextmanager
def stopwatch(process_id: int | None = None) -> Iterator[Stopwatch]:
    """One that is started, for the length of the block: of this process, or of another one."""
    watch, ended = Stopwatch(), threading.Event()
    if process_id is None:
        thread = threading.Thread(target=watch.watch, args=[ended], name="stopwatch")
    else:
        thread = threading.Thread(target=watch.watch_process, args=[ended, process_id], name="stopwatch")
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()


async def cancelled_at_once(task: asyncio.Future[Any]) -> None:
    """Cancel it; it ends with that, within a second."""
    with stopwatch() as watch:
        task.cancel()
        await asyncio.wait([task])
        assert watch.seconds < 1
    assert task.cancelled()


async def within_a_second(left: Callable[[], list[str]]) -> None:
    """Return once nothing is `left`."""
    with stopwatch() as watch:
        still = await still_left(left, watch)
    assert not still, f"left a second later: {still}"


async def still_left(left: Callable[[], list[str]], watch: Stopwatch) -> list[str]:
    """Wait until nothing is `left` or a second is over; what is there then."""
    while (found := left()) and watch.seconds <= 1:
        await asyncio.sleep(0.005)
    return found


def left_behind(
    threads: Iterable[DaemonThreadPool],
    *places: Path,
    port: int | None = None,
    beside: Collection[asyncio.Task[Any]] = (),
) -> list[str]:
    """Tasks that are not `beside` us, what is open of `places`, sockets to `port`, and `threads` at work."""
    own = asyncio.current_task()
    return [
        *(repr(task) for task in asyncio.all_tasks() if task is not own and task not in beside),
        *open_files(*places),
        *(["a socket"] * open_sockets_to(port) if port else []),
        *(f"{each.name}: {each.busy} busy" for each in threads if each.busy),
    ]


def threads_of(uploader: AsyncUploader) -> list[DaemonThreadPool]:
    """Those that read, hash and write the journal."""
    context, journal = uploader._context, uploader._journal  # noqa: SLF001 - that a thread is busy shows nowhere else
    of_journal = [journal._threads] if isinstance(journal, FileJournal) else []  # noqa: SLF001 - as above
    return [context.readers, context.hashers, *of_journal]


def connections_of(uploader: AsyncUploader) -> Connections:
    """The places of its connections."""
    return uploader._context.connections  # noqa: SLF001 - the way to hold one without a request, or to count those held


def open_files(*places: Path) -> list[str]:
    """What this process has open of `places` and below."""
    named = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            named.append(str(link.readlink()))
        except OSError:
            continue  # closed meanwhile, such as that of the listing itself
    return [name for name in named if name.startswith(tuple(map(str, places)))]


def open_sockets_to(port: int) -> int:
    """How many sockets that some process still holds lead to `port`."""
    end = f":{port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines() if end in row]  # of thousands
    return sum(row[2].endswith(end) and row[9] != "0" for row in rows)
