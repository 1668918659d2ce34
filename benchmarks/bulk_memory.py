"""Memory and CPU of `edit_many` over a million edits from a generator: the same an edit, and nothing read ahead.

With `--out` what grows is the ledger: about half a kilobyte an edit.

    python -m benchmarks.bulk_memory [--edits 1000000] [--concurrency 16] [--out]

A stub in another process answers at once. Prints the client's resident memory and CPU as the edits go by, and how many
edits were taken from the generator beyond those that had ended.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from asyncsdk import Client, ImageEdit, ImageEditor

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c626001000000ffff03000006000557bfabd40000000049454e44ae426082"
)
ANSWER = b'{"created": 1, "data": [{"b64_json": "iVBORw0KGgo="}], "usage": {"total_tokens": 1}}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
MARKS = (100, 1_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)


def serve(port: multiprocessing.Queue[int]) -> None:
    """Answer every request at once."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
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


async def measure(url: str, edits: int, concurrency: int, out: Path | None) -> None:
    taken = ahead = done = first = 0
    base = 0.0
    began, spent = time.monotonic(), time.process_time()

    def generated() -> Iterator[ImageEdit]:
        nonlocal taken, ahead
        for taken in range(1, edits + 1):
            ahead = max(ahead, taken - done)
            yield ImageEdit(image=PIXEL, prompt=f"a beret {taken}", model="gpt-image-2")

    async with Client("sk-none", base_url=url) as client:
        async with ImageEditor(client).edit_many(generated(), concurrency=concurrency, out=out) as outcomes:
            async for _ in outcomes:
                done += 1
                if done in MARKS or done == edits:
                    rate, held = done / (time.monotonic() - began), resident()
                    first, base = first or done, base or held
                    grown = (held - base) * 2**20 / max(1, done - first)
                    cost = (time.process_time() - spent) * 1000 / done
                    print(
                        f"{done:>9,} edits  {held:6.1f} MiB, grown by {grown:4.0f} bytes an edit  "
                        f"{cost:.2f} ms of CPU each  {rate:7,.0f} a second  {ahead} read ahead at most"
                    )
        print(dict(outcomes.counts), f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} MiB")


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
        asyncio.run(measure(url, given.edits, given.concurrency, Path(folder) if given.out else None))
    stub.kill()
    stub.join()


if __name__ == "__main__":
    main()
