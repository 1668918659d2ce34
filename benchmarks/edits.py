"""Image edits against openai-python: same server, same picture, in turn; CPU per 1,000 edits, wall and peak memory.

    python -m benchmarks.edits [--edits 300] [--runs 5] [--connections 16] [--up 1000000] [--down 1572864]

Each side runs as a process of its own and is measured from outside when it has ended; what it takes to start, a run
of it without any edit, is measured likewise and taken off its CPU. Both end with the picture's bytes. The receiver is
a stub in another process, which takes the body in without keeping it and answers at once with what it has ready.
Exits with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import statistics
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import Run, measure, rotated

WORK = """
import asyncio, base64, sys
from pathlib import Path
{imports}
picture, edits, connections = Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), int(sys.argv[3])
async def edited(client):
{edit}
    return len(content)
async def worker(client, turns):
    for _ in turns:
        assert await edited(client) == int(sys.argv[4])
async def main():
    turns = iter(range(edits))
    async with {client} as client:
        await asyncio.gather(*(worker(client, turns) for _ in range(connections)))
asyncio.run(main())
"""

OURS = WORK.format(
    imports="from asyncsdk import Client, ImageEditor",
    client="Client()",
    edit="""
    result = await ImageEditor(client).edit(picture, "a beret", model="gpt-image-2", n=1, size="1024x1024")
    content = result.images[0].content
""",
)
THEIRS = WORK.format(
    imports="from openai import AsyncOpenAI",
    client="AsyncOpenAI()",
    edit="""
    file = ("source.png", picture, "image/png")
    result = await client.images.edit(image=file, prompt="a beret", model="gpt-image-2", n=1, size="1024x1024")
    content = base64.b64decode(result.data[0].b64_json)
""",
)

ASYNCSDK, OPENAI = "asyncsdk", "openai"
CONTENDERS = {ASYNCSDK: OURS, OPENAI: THEIRS}
GOALS = {ASYNCSDK: 0.35}
SPARE_MIB = 40.0


class Stub(asyncio.BufferedProtocol):
    """Counts the bytes of a request, into one buffer for all connections, and answers."""

    buffer = bytearray(1 << 18)
    answer = b""

    def __init__(self) -> None:
        self.head, self.left = b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - the protocol's signature
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.left:
            self.left -= nbytes
        else:
            self.head += self.buffer[:nbytes]
            head, ended, body = self.head.partition(b"\r\n\r\n")
            if not ended:
                return
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.head, self.left = b"", int(length) - len(body)
        if not self.left:
            self.transport.write(self.answer)


def serve(port: multiprocessing.Queue[int], answer: bytes) -> None:
    async def listen() -> None:
        Stub.answer = answer
        server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


@contextmanager
def serving(answer: bytes) -> Iterator[str]:
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    stub = multiprocessing.Process(target=serve, args=(port, answer), daemon=True)
    stub.start()
    yield f"http://127.0.0.1:{port.get()}/v1"
    stub.kill()
    stub.join()


def answer_of(picture: bytes) -> bytes:
    """An answer as OpenAI's, with `picture`."""
    usage = {"input_tokens": 239, "output_tokens": 4160, "total_tokens": 4399, "input_tokens_details": {}}
    told = {
        "created": 1,
        "background": "opaque",
        "data": [{"b64_json": base64.b64encode(picture).decode()}],
        "output_format": "png",
        "quality": "high",
        "size": "1024x1024",
        "usage": usage,
    }
    body = json.dumps(told, indent=2).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def picture_of(size: int) -> bytes:
    """A PNG of `size` bytes whose header is true; nobody looks at its pixels."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1024, 1024, 8, 6, 0, 0, 0))
    frame = b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", b"") + _chunk(b"IEND", b"")
    return frame.replace(_chunk(b"IDAT", b""), _chunk(b"IDAT", os.urandom(size - len(frame))))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def measured(url: str, picture: bytes, given: argparse.Namespace) -> dict[str, list[Run]]:
    environment = os.environ | {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-benchmark"}
    runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        path.write_bytes(picture)
        for turn in range(given.runs + 1):
            for name, program in rotated(CONTENDERS, turn):
                command = [sys.executable, "-c", program, str(path)]
                tail = [str(given.connections), str(given.down)]
                start = measure([*command, "0", *tail], environment)
                run = measure([*command, str(given.edits), *tail], environment)
                if turn:  # the first turn warms up
                    runs[name].append(Run(run.wall - start.wall, run.cpu - start.cpu, run.peak))
    return runs


def report(runs: dict[str, list[Run]], edits: int, most: float) -> list[str]:
    """Print the table; what is returned are the goals that were missed."""
    columns: list[Callable[[Run], float]] = [lambda run: run.cpu, lambda run: run.wall, lambda run: run.peak]
    missed = []
    print(f"| medians of {len(runs[OPENAI])} runs | CPU s/1,000 | edits/s | peak MiB | CPU ratio to openai |")
    print("|---|---|---|---|---|")
    for name, own in runs.items():
        cpu, wall, peak = (statistics.median(map(column, own)) for column in columns)
        ratio = statistics.median(run.cpu / other.cpu for run, other in zip(own, runs[OPENAI], strict=True))
        print(f"| {name} | {cpu * 1000 / edits:.2f} | {edits / wall:.0f} | {peak:.0f} | {ratio:.2f} |")
        if name in GOALS and ratio > GOALS[name]:
            missed.append(f"{name}: CPU ratio {ratio:.2f}, at most {GOALS[name]} wanted")
        if name in GOALS and peak > most:
            missed.append(f"{name}: {peak:.0f} MiB, at most {most:.0f} wanted")
    return missed


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--edits", type=int, default=300)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--up", type=int, default=1_000_000, help="bytes of the picture that is sent")
    options.add_argument("--down", type=int, default=1_572_864, help="bytes of the picture that comes back")
    given = options.parse_args()
    answer = answer_of(picture_of(given.down))
    with serving(answer) as url:
        runs = measured(url, picture_of(given.up), given)
    most = given.connections * len(answer) / 2**20 + SPARE_MIB
    sys.exit("\n".join(report(runs, given.edits, most)) or None)


if __name__ == "__main__":
    main()
