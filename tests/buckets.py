"""Buckets for tests: of this process's memory, and of a server that speaks S3, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import obstore
from attrs import define, frozen

from asyncsdk.remote.address import remote_address
from asyncsdk.remote.stores import RemoteStores

KEY, SECRET = "AKIACANARYCANARY", "canary-of-a-secret-key"


@frozen
class Bucket:
    """A bucket by its URL, looked at without the code that is tested."""

    url: str
    stores: RemoteStores

    @property
    def _store(self) -> Any:
        address = remote_address(self.url)
        assert address is not None
        return self.stores.open(address)[0]

    def put(self, name: str, content: bytes) -> str:
        """Put an object; returns its URL."""
        obstore.put(self._store, name, content)
        return f"{self.url}/{name}"

    def get(self, name: str) -> bytes:
        return bytes(obstore.get(self._store, name).bytes())

    def names(self, prefix: str = "") -> list[str]:
        """The names of all objects below a prefix, relative to the bucket."""
        pages = obstore.list(self._store, prefix or None)
        return sorted(found["path"] for page in pages for found in page)

    def delete(self, name: str) -> None:
        obstore.delete(self._store, name)


@define
class S3Server:
    """A server that speaks S3, and the environment by which obstore finds it."""

    url: str
    process: subprocess.Popen[str]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def bucket(self, name: str) -> Bucket:
        """A new bucket."""
        import urllib.request

        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT")):
            pass
        options = {"endpoint": self.url, "access_key_id": KEY, "secret_access_key": SECRET, "region": "us-east-1"}
        return Bucket(f"s3://{name}", RemoteStores({**options, "client_options": {"allow_http": True}}))


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Moto's server on a free port."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        match = next(filter(None, (re.search(r"Running on (http://\S+)", line) for line in process.stderr)))
        server = S3Server(match[1], process)
        drain(process)
        yield server
    finally:
        process.kill()
        process.wait()


def drain(process: subprocess.Popen[str]) -> None:
    """Read what a process says, so that its pipe does not fill."""
    import threading

    assert process.stderr is not None
    threading.Thread(target=process.stderr.read, daemon=True).start()
