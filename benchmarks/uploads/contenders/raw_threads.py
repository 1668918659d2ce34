"""The floor of sending from Python: blocking sockets in threads, preadv and sendall, no check of anything."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from benchmarks.uploads.contenders.arguments import Arguments, arguments

PART, BLOCK = 32 << 20, 1 << 19
URL = urlsplit(os.environ["OPENAI_BASE_URL"])


def main(given: Arguments) -> None:
    descriptor = os.open(given.path, os.O_RDONLY)
    size = os.fstat(descriptor).st_size
    parts = iter(range(0, size, given.part_size or PART))
    with ThreadPoolExecutor(given.connections + 1) as threads:
        hashing = threads.submit(md5_of, given) if given.md5 else None
        upload = asked(connected(), "/uploads", b'{"bytes":%d,"filename":"a","mime_type":"b","purpose":"batch"}' % size)

        def work() -> None:
            connection, buffer = connected(), memoryview(bytearray(BLOCK))
            for offset in parts:
                ends = (offset, min(offset + (given.part_size or PART), size))
                send_part(connection, upload, descriptor, ends, buffer)

        for worker in [threads.submit(work) for _ in range(given.connections)]:
            worker.result()
        asked(connected(), f"/uploads/{upload}/complete", json.dumps({"part_ids": ["part"]}).encode())
        if hashing is not None:
            hashing.result()


def connected() -> socket.socket:
    assert URL.hostname is not None
    connection = socket.create_connection((URL.hostname, URL.port or 443))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if URL.scheme == "https":
        trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
        return trust.wrap_socket(connection, server_hostname=URL.hostname)
    return connection


def send_part(
    connection: socket.socket, upload: str, descriptor: int, ends: tuple[int, int], buffer: memoryview
) -> None:
    first, end = ends
    head = b'--b\r\nContent-Disposition: form-data; name="data"; filename="upload"\r\n\r\n'
    tail = b"\r\n--b--\r\n"
    total = len(head) + end - first + len(tail)
    connection.sendall(request(f"/uploads/{upload}/parts", "multipart/form-data; boundary=b", total) + head)
    for start in range(first, end, BLOCK):
        block = buffer[: min(BLOCK, end - start)]
        os.preadv(descriptor, [block], start)
        connection.sendall(block)
    connection.sendall(tail)
    answer(connection)


def request(path: str, kind: str, length: int) -> bytes:
    return (
        f"POST {URL.path}{path} HTTP/1.1\r\nHost: {URL.netloc}\r\nAuthorization: Bearer sk-benchmark\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def asked(connection: socket.socket, path: str, body: bytes) -> str:
    connection.sendall(request(path, "application/json", len(body)) + body)
    return answer(connection)


def answer(connection: socket.socket) -> str:
    told = b""
    while b"\r\n\r\n" not in told:
        told += connection.recv(65536)
    head, _, body = told.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    assert b" 200 " in head.split(b"\r\n")[0], head
    return str(json.loads(body)["id"])


def md5_of(given: Arguments) -> str:
    md5, buffer = hashlib.md5(usedforsecurity=False), memoryview(bytearray(1 << 20))
    with given.path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            md5.update(buffer[:count])
    return md5.hexdigest()


if __name__ == "__main__":
    main(arguments())
