"""What the embedded server spends on what it receives: CPU by phase, and its memory while 16 parts come at once.

    python -m benchmarks.server [--connections 16] [--part-mib 64] [--runs 3]

Bare sockets send every part in one form at the same moment; then one upload is completed with its md5. The server is a
process of its own, and is measured through /proc (Linux).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import statistics
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.serving import serving

TICKS = os.sysconf("SC_CLK_TCK")
BOUNDARY = "0123456789abcdef0123456789abcdef"  # as long as those of clients
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="data"; filename="upload"\r\n\r\n'.encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


@frozen
class Spent:
    """CPU seconds per GiB while receiving and while completing; MiB of memory before and at its peak."""

    receiving: float
    completing: float
    before: float
    peak: float

    @property
    def whole(self) -> float:
        return self.receiving + self.completing


@frozen
class Process:
    """The server, seen from outside."""

    pid: int

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, name: str) -> float:
        """`VmRSS`, or `VmHWM` for the peak, in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--part-mib", type=int, default=64)
    options.add_argument("--runs", type=int, default=3)
    given = options.parse_args()
    runs = [once(given.connections, given.part_mib * 2**20) for _ in range(given.runs)]
    print(f"{given.connections} parts of {given.part_mib} MiB at once, medians of {given.runs} runs\n")
    print("| CPU s/GiB | receiving | completing, md5 | MiB before | peak MiB |")
    print("|---|---|---|---|---|")
    columns = ("whole", "receiving", "completing", "before", "peak")
    values = [statistics.median(getattr(run, column) for run in runs) for column in columns]
    print(f"| {values[0]:.2f} | {values[1]:.2f} | {values[2]:.2f} | {values[3]:.0f} | {values[4]:.0f} |")


def once(connections: int, size: int) -> Spent:
    data = os.urandom(size)
    gibibytes = connections * size / 2**30
    digest = hashlib.md5(data * connections, usedforsecurity=False).hexdigest()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (url, pid):
        server = Process(pid)
        upload = created(url, connections * size)
        part(url, upload, b"warm")
        before, began = server.memory("VmRSS"), server.cpu()
        ids = at_once(url, upload, data, connections)
        received = server.cpu()
        called(f"{url}/uploads/{upload}/complete", {"part_ids": ids, "md5": digest})
        ended = server.cpu()
        peak = server.memory("VmHWM")
    return Spent((received - began) / gibibytes, (ended - received) / gibibytes, before, peak)


def created(url: str, size: int) -> str:
    fields = {"bytes": size, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "batch"}
    return str(called(f"{url}/uploads", fields)["id"])


def called(url: str, fields: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer k"}
    request = urllib.request.Request(url, json.dumps(fields).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def at_once(url: str, upload: str, data: bytes, connections: int) -> list[str]:
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(part(url, upload, data))) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ids


def part(url: str, upload: str, data: bytes) -> str:
    """Send a part over a socket of its own; return its id."""
    host, port = url.split("/")[2].split(":")
    length = len(HEAD) + len(data) + len(TAIL)
    lines = [
        f"POST /v1/uploads/{upload}/parts HTTP/1.1",
        f"Host: {host}",
        "Authorization: Bearer k",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {length}",
        "Connection: close",
    ]
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + HEAD)
        connection.sendall(data)
        connection.sendall(TAIL)
        with connection.makefile("rb") as answer:
            told = answer.read().partition(b"\r\n\r\n")[2]
    return str(json.loads(told)["id"])


if __name__ == "__main__":
    main()
