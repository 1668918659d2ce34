"""Memory and CPU of `edit_many` over a million edits from a generator: the same an edit, and nothing read ahead.

With `--out` what grows is the ledger: about 650 bytes an edit in memory, 360 on the disk.

    python -m benchmarks.bulk_memory [--edits 1000000] [--concurrency 16] [--out]

A stub in another process answers at once. Tells the client's resident memory and CPU as the edits go by, and how many
edits were taken from the generator beyond those that had ended; with `--out` in `results/edits-bulk-out.md`, else in
`results/edits-bulk.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

from asyncsdk import Client, ImageEdit, ImageEditor
from benchmarks.reporting import keep, machine, table

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c626001000000ffff03000006000557bfabd40000000049454e44ae426082"
)
ANSWER = b'{"created": 1, "data": [{"b64_json": "%b"}], "usage": {"total_tokens": 1}}' % base64.b64encode(PIXEL)
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
MARKS = (100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
FORMS = ("{:,}", "{:.2f}", "{:.0f}", "{:.1f}", "{:.0f}", "{:.0f}")
HEAD = ("edits", "CPU ms each", "a second", "MiB", "grown by, bytes an edit", "ledger, bytes an edit")


def serve(port: multiprocessing.Queue[int]) -> None:
    """Answer every request at once."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)  # a GET has none
                await reader.readexactly(length)
                writer.write(REPLY)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


@define
class Course:
    """How the edits go by: a row at each mark."""

    edits: int
    out: Path | None
    done: int = 0
    ahead: int = 0
    rows: list[list[str]] = field(factory=list)
    _first: tuple[int, float] | None = None
    _began: tuple[float, float] = field(factory=lambda: (time.monotonic(), time.process_time()))

    def generated(self) -> Iterator[ImageEdit]:
        for taken in range(1, self.edits + 1):
            self.ahead = max(self.ahead, taken - self.done)
            yield ImageEdit(image=PIXEL, prompt=f"a beret {taken}", model="gpt-image-2")

    def ended(self) -> None:
        self.done += 1
        if self.done in MARKS or self.done == self.edits:
            self.rows.append(self._row())
            print(" | ".join(self.rows[-1]), flush=True)

    def _row(self) -> list[str]:
        wall, cpu = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        held = resident()
        self._first = first, base = self._first or (self.done, held)
        grown = (held - base) * 2**20 / max(1, self.done - first)
        ledger = 0 if self.out is None else size_of(self.out / ".asyncsdk" / "ledger") / self.done
        figures = (self.done, cpu * 1000 / self.done, self.done / wall, held, grown, ledger)
        return [form.format(figure) for form, figure in zip(FORMS, figures, strict=True)]


async def measure(url: str, edits: int, concurrency: int, out: Path | None) -> str:
    """The edits go by; what was seen, as a table."""
    course = Course(edits, out)
    async with (
        Client("sk-none", base_url=url) as client,
        ImageEditor(client).edit_many(course.generated(), concurrency=concurrency, out=out) as outcomes,
    ):
        async for _ in outcomes:
            course.ended()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = f"{course.ahead} read ahead at most, peak {peak:.1f} MiB."
    return f"{machine()}; {concurrency} at once. {told}\n\n{table(HEAD, course.rows)}"


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--edits", type=int, default=1_000_000)
    options.add_argument("--concurrency", type=int, default=16)
    options.add_argument("--out", action="store_true", help="with pictures and a ledger on disk")
    given = options.parse_args()
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    stub = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    stub.start()
    with tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{port.get()}/v1"
        out = Path(folder) if given.out else None
        told = asyncio.run(measure(url, given.edits, given.concurrency, out))
    stub.kill()
    stub.join()
    where = "with pictures and a ledger on the disk" if given.out else "nothing kept"
    keep(
        "edits-bulk" + "-out" * given.out, f"# {given.edits:,} edits of a tiny picture in one run, {where}\n\n{told}\n"
    )


if __name__ == "__main__":
    main()
