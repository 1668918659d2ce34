"""Buckets as tests look at them: of this process's memory, and of a server that speaks S3."""

from __future__ import annotations

from typing import Any

import obstore
from attrs import frozen

from asyncsdk.remote.address import remote_address
from asyncsdk.remote.stores import RemoteStores
from tests.remote.s3_server import S3Server


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


def bucket_of(server: S3Server, name: str) -> Bucket:
    """A new bucket."""
    server.put(name)
    return Bucket(f"s3://{name}", RemoteStores(server.options))
