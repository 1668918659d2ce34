"""`asyncsdk upload` of URLs: objects, and folders of buckets, whose listings are walked like directories."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncsdk.cli.uploads import checks, sources
from asyncsdk.cli.uploads.sources import Selection, look_through, sources_in
from asyncsdk.remote.address import remote_address
from asyncsdk.remote.failures import remote_error
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.remote.writing import RemoteEntry, put
from asyncsdk.server import LocalServer
from tests.cli.support import Run

PURPOSE = ("--purpose", "assistants", "--json")


@pytest.fixture
def bucket(tmp_path: Path) -> str:
    """A bucket of this test's own."""
    return f"memory://{tmp_path.name}"


def fill(bucket: str, **contents: bytes) -> None:
    async def write() -> None:
        top, stores = remote_address(f"{bucket}/"), RemoteStores()
        assert top is not None
        for name, content in contents.items():
            await put(top.child(name), content, stores)

    asyncio.run(write())


def names(server: LocalServer) -> list[str]:
    return sorted(file.filename or "" for file in server.files)


def test_an_object_is_uploaded_and_found_again(server: LocalServer, run: Run, bucket: str) -> None:
    fill(bucket, **{"a/b c.bin": b"content"})
    ran = run("upload", f"{bucket}/a/b%20c.bin", "--purpose", "assistants")
    assert ran.code == 0, ran.err
    (file,) = server.files
    assert (file.filename, server.stored(file.id).read_bytes()) == ("b c.bin", b"content")
    assert f"{bucket}/a/b%20c.bin: {file.id}" in ran.out + ran.err
    assert "its name on the server" not in ran.out + ran.err
    again = run("upload", f"{bucket}/a/b c.bin", "--purpose", "assistants")
    assert "uploaded before; nothing was sent" in again.out + again.err


def test_a_folder_of_a_bucket_is_walked_like_a_directory(server: LocalServer, run: Run, bucket: str) -> None:
    fill(
        bucket,
        **{
            "top/a.pdf": b"a",
            "top/ä/b #1.pdf": b"b",
            "top/old/c.pdf": b"c",
            "top/d.txt": b"d",
            "top/.hidden/e.pdf": b"e",
            "top/@eaDir/e.pdf": b"e",
            "top/folder": b"",
            "top/folder/f.pdf": b"f",
            "top/empty.pdf": b"",
            "topper/g.pdf": b"g",
        },
    )
    ran = run("upload", f"{bucket}/top/", "--include", "*.pdf", "--exclude", "old/", *PURPOSE)
    assert ran.code == 3, ran.err
    assert names(server) == ["a.pdf", "b #1.pdf", "f.pdf"]
    assert f"{bucket}/top/empty.pdf is empty; an upload needs at least one byte. It was left out" in ran.err
    assert "Skipped: 2 hidden" in ran.err
    assert {record["source"] for record in ran.records} == {
        f"{bucket}/top/{name}" for name in ("a.pdf", "ä/b%20%231.pdf", "folder/f.pdf", "empty.pdf")
    }


def test_a_long_listing_is_sent_with_one_total(server: LocalServer, run: Run, bucket: str) -> None:
    fill(bucket, **{f"many/{number:04}.txt": b"content" for number in range(1050)})
    ran = run("upload", f"{bucket}/many/", "--include", "10*.txt", "--method", "auto", *PURPOSE)
    assert ran.code == 0, ran.err
    assert len(server.files) == 50
    assert "50 files, " in ran.err


def test_lists_may_hold_urls_and_folders(server: LocalServer, run: Run, bucket: str, tmp_path: Path) -> None:
    fill(bucket, **{"a.txt": b"a", "b/c.txt": b"c", "b/d.bin": b"d"})
    (tmp_path / "local.txt").write_bytes(b"local")
    lines = [f"{bucket}/a.txt", f"{bucket}/none.txt", f"{bucket}/b/", f"file://{tmp_path}/local.txt", f"{bucket}/a.txt"]
    (tmp_path / "list").write_text("\n".join(lines))
    ran = run("upload", "--files-from", "list", "--include", "*.txt", *PURPOSE)
    assert ran.code == 3, ran.err
    assert names(server) == ["a.txt", "c.txt", "local.txt"]
    assert f"{bucket}/none.txt does not exist" in ran.err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ftp://host/a", "ftp://host/a can't be used: the scheme ftp:// is not known. Known are: s3,"),
        ("memory://none/a", "memory://none/a does not exist"),
        (
            "s3://bucket/a?b",
            "a ? ends its path. Write %3F where the name has one; credentials go into the environment.",
        ),
        ("memory://none/*.txt", "* is not a pattern in a URL: give the folder, with a slash at its end"),
        ("s3:/bucket/a", "No such file or directory. Is s3://bucket/a meant? A Path has lost a slash of it."),
        ("https://127.0.0.1/a/", "can't be listed"),
        ("file://host/a", "a path on this machine has three slashes"),
    ],
)
def test_a_named_url_that_is_bad_stops_all(
    server: LocalServer, run: Run, tmp_path: Path, source: str, said: str
) -> None:
    (tmp_path / "good.txt").write_bytes(b"good")
    ran = run("upload", "good.txt", source, *PURPOSE)
    assert ran.code == 2
    assert said in ran.err
    assert not server.files


def test_a_store_that_can_not_be_reached_is_worth_another_try(
    server: LocalServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise remote_error("s3://bucket can't be reached.", "s3://bucket/a.bin", "unreachable", again=True)

    monkeypatch.setattr(RemoteStores, "open", fail)
    for source in ("s3://bucket/a.bin", "s3://bucket/a/"):
        ran = run("upload", source, *PURPOSE)
        assert ran.code == 75, ran.err
        assert "s3://bucket can't be reached. Nothing was sent." in ran.err
    assert not server.calls


def test_a_folder_of_a_bucket_has_folders_that_stand_for_themselves(server: LocalServer, run: Run, bucket: str) -> None:
    fill(bucket, **{"top/a": b"", "top/a/b/c.txt": b"c", "top/d": b"", "top/d/e": b"", "top/d/e/f.txt": b"f"})
    ran = run("upload", f"{bucket}/top/", *PURPOSE)
    assert (ran.code, names(server)) == (0, ["c.txt", "f.txt"]), ran.err


def test_two_urls_that_differ_in_what_is_not_shown_are_refused(server: LocalServer, run: Run, tmp_path: Path) -> None:
    one, other = "http://127.0.0.1:9/get?id=1", "http://127.0.0.1:9/get?id=2"
    ran = run("upload", one, other, *PURPOSE)
    assert ran.code == 2
    assert "two of the given URLs are http://127.0.0.1:9/get with another query or login" in ran.err
    (tmp_path / "good.txt").write_bytes(b"good")
    (tmp_path / "list").write_text(f"{one}\ngood.txt\n{other}\n")
    ran = run("upload", "--files-from", "list", *PURPOSE)
    assert (ran.code, names(server)) == (3, ["good.txt"]), ran.err
    assert "line 3 of list" in ran.err
    assert "id=" not in ran.err


async def test_what_is_left_out_of_a_listing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    top = remote_address("memory://bucket/")
    assert top is not None
    alive: list[int] = []
    entries: weakref.WeakSet[RemoteEntry] = weakref.WeakSet()

    async def pages(*_: object) -> AsyncIterator[list[RemoteEntry]]:
        for number in range(10):
            names = (f"{number}.txt", *(f"{number}-{other}" for other in range(99)))
            page = [RemoteEntry(top.child(name), name, 1, None) for name in names]
            entries.update(page)
            yield page
            del page
            gc.collect()
            alive.append(len(entries))

    monkeypatch.setattr(sources, "pages", pages)
    selection = Selection(sources=("memory://bucket/",), include=("*.txt",))
    found = sources_in(selection)
    await look_through(found, selection, RemoteStores())
    assert len(found.found) == 10
    assert max(alive) <= 10 + 2 * 100


def test_a_person_is_told_what_is_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def pages(*_: object) -> AsyncIterator[list[RemoteEntry]]:
        await asyncio.sleep(0.2)
        yield []

    monkeypatch.setattr(sources, "pages", pages)
    monkeypatch.setattr(checks, "SLOW", 0.05)
    assert "Still listing memory://bucket/top/." in run("upload", "memory://bucket/top/", *PURPOSE).err
