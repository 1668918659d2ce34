"""Objects are written as a whole, and what is below a prefix is listed in pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk import RemoteError
from asyncsdk.remote import writing
from asyncsdk.remote.reading import read_whole
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.remote.writing import pages, put
from tests.remote.test_reading import CONTENT, address
from tests.remote.web import WebStore


async def test_a_file_is_written_in_parts(stores: RemoteStores, tmp_path: Path) -> None:
    path, place = tmp_path / "a.bin", address("memory://writing/a.bin")
    path.write_bytes(CONTENT)
    await put(place, path, stores, mime_type="image/png")
    assert await read_whole(place, stores, limit=len(CONTENT)) == CONTENT


@pytest.mark.parametrize("content", [b"one", memoryview(b"one")])
async def test_what_is_there_is_left_as_it_is(stores: RemoteStores, content: bytes | memoryview) -> None:
    place = address(f"memory://writing/{type(content).__name__}")
    await put(place, content, stores, create_only=True)
    with pytest.raises(RemoteError, match="is there already, and was not replaced") as taken:
        await put(place, b"two", stores, create_only=True)
    assert (taken.value.reason, taken.value.resumable) == ("exists", False)
    assert await read_whole(place, stores, limit=10) == b"one"
    await put(place, b"two", stores)
    assert await read_whole(place, stores, limit=10) == b"two"


async def test_a_prefix_is_listed_in_pages(stores: RemoteStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PAGE", 10)
    top = address("memory://listing/a b/")
    names = {f"{number % 3}/ä {number}#%.bin": number + 1 for number in range(25)}
    for name, size in names.items():
        await put(top.child(name), bytes(size), stores)
    await put(address("memory://listing/a bc"), b"of another prefix", stores)
    found = [page async for page in pages(top, stores)]
    assert [len(page) for page in found] == [10, 10, 5]
    entries = [entry for page in found for entry in page]
    assert {entry.below: entry.size for entry in entries} == names
    assert all(entry.address == top.child(entry.below) for entry in entries)
    assert len(await read_whole(entries[0].address, stores, limit=100)) == entries[0].size
    assert [page async for page in pages(address("memory://listing/none/"), stores)] == []
    assert sum([len(page) async for page in pages(address("memory://listing"), stores)]) == 26


async def test_a_web_server_can_not_be_listed(web: WebStore, stores: RemoteStores) -> None:
    with pytest.raises(RemoteError, match="can't be listed") as refused:
        [page async for page in pages(address(f"{web.url}/a/"), stores)]
    assert refused.value.reason == "no listing"


async def test_a_folder_can_not_be_written(stores: RemoteStores) -> None:
    with pytest.raises(RemoteError, match="is a folder: the name of an object is missing"):
        await put(address("memory://writing/a/"), b"", stores)
