"""`python -m tests.remote.s3_server`: moto's S3 in a process of its own, which logs each answer with its bytes.

The first line on its standard output is its port. Each request is announced there before anything of its answer goes
out ([]), and the answer noted after its last byte: method, path, status, range, bytes.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from attrs import define, field, frozen

KEY, SECRET = "canary-access-key", "canary-secret-key"  # moto takes any

SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"

PAGE = 10  # entries in an answer to a listing


@frozen
class Answer:
    """One answer of the server; `range` as it was asked for."""

    method: str
    path: str
    status: int
    range: str | None
    count: int


@define
class S3Server:
    """A server that runs."""

    port: int
    answers: list[Answer] = field(factory=list)
    _begun: int = field(default=0, init=False)
    _ended: int = field(default=0, init=False)
    _settled: int = field(default=0, init=False)  # how often it was asked to

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What lets obstore find it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    @property
    def options(self) -> dict[str, Any]:
        """The same as `remote_options`."""
        return {
            "endpoint": self.url,
            "client_options": {"allow_http": True},
            "region": "us-east-1",
            "access_key_id": KEY,
            "secret_access_key": SECRET,
        }

    def put(self, path: str, content: bytes | BinaryIO = b"") -> None:
        """Make a bucket, or an object (`bucket/name`)."""
        self.put_all({path: content})

    def put_all(self, contents: dict[str, Any]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        for path, content in contents.items():
            connection.request("PUT", f"/{quote(path)}", content, {"Authorization": SIGNED})
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body
        connection.close()

    def settle(self) -> None:
        """Return once all that was answered until now is in `answers`: a client has an answer before it is noted."""
        wanted = self._settled + 1
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("OPTIONS", "/", headers={"Authorization": SIGNED})  # announced after all of them
        connection.getresponse().read()
        connection.close()
        deadline = time.monotonic() + 30
        while self._settled < wanted or self._ended < self._begun:
            assert time.monotonic() < deadline, "an answer does not end"
            time.sleep(0.005)

    def read(self, lines: Iterable[bytes]) -> None:
        """Take in what the server writes down."""
        for line in lines:
            noted = json.loads(line)
            if not noted:
                self._begun += 1
                continue
            self._ended += 1
            if noted[0] == "OPTIONS":
                self._settled += 1
            else:
                self.answers.append(Answer(*noted))

    def bytes_of(self, path: str) -> int:
        """How many bytes of an object were sent."""
        self.settle()
        return sum(
            each.count for each in self.answers if (each.method, each.path) == ("GET", path) and each.status < 300
        )


@contextmanager
def s3_server() -> Iterator[S3Server]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    environment["MOTO_S3_DEFAULT_MAX_KEYS"] = str(PAGE)
    command = [sys.executable, "-m", "tests.remote.s3_server"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=root)
    assert process.stdout is not None
    server = S3Server(int(process.stdout.readline()))
    reading = threading.Thread(target=server.read, args=(process.stdout,), daemon=True)
    reading.start()
    try:
        yield server
    finally:
        process.kill()
        process.wait()
        reading.join()
        process.stdout.close()


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = DomainDispatcherApplication(create_backend_app)

    def counted(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        status = ["0"]

        def start(line: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            status[0] = line
            return start_response(line, headers, *rest)

        note([])
        count = 0
        try:
            for piece in moto(environ, start):
                count += len(piece)
                yield piece
        finally:  # also where the client did not want the rest
            what, where = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            note([what, where, int(status[0].split()[0]), environ.get("HTTP_RANGE"), count])

    def note(line: list[Any]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

    server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
