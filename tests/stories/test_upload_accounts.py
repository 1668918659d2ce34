"""Accounts take turns with one journal: each finds its own File, and nothing tells the journal whose it is."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads import reuse
from tests.stories.support import MIB, MakeFile


async def upload(server: LocalServer, journal: Path, path: Path, *, strangers: int) -> tuple[str, bool]:
    """Upload with a key that does not see the newest Files, so many of them; the File, and whether it was there."""
    server.clear_faults()
    if strangers:
        server.inject(Fault("files.get", "answer", "before", status=404, every=1, times=strangers))
    async with Client("sk-of-one-account", base_url=server.url) as client:
        result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    return result.file.id, result.reused


@pytest.mark.parametrize("turns", ["ABABAB", "ABBA", "ABCABC", "AABBCCBA"])
async def test_each_account_finds_its_own_file(
    server: LocalServer, journal: Path, make_file: MakeFile, turns: str
) -> None:
    path, made = make_file(10 * MIB), dict[str, str]()  # so large that its journal is compacted
    for account in turns:
        newer = takewhile(lambda each, account=account: each != account, reversed(made))  # type: ignore[misc]  # bound
        file_id, reused = await upload(server, journal, path, strangers=len(list(newer)))
        assert (reused, file_id) == (account in made, made.get(account, file_id))
        made[account] = file_id
    assert len(server.files) == len(made)


async def test_of_many_files_only_the_newest_are_asked_for(
    server: LocalServer, journal: Path, make_file: MakeFile
) -> None:
    path, number = make_file(1000), reuse.MOST_ASKED_FOR + 2
    for count in range(number):
        await upload(server, journal, path, strangers=count)
    asked = server.calls["files.get"]
    await upload(server, journal, path, strangers=number)
    assert server.calls["files.get"] - asked == reuse.MOST_ASKED_FOR


async def test_content_that_comes_back_is_found_again(server: LocalServer, journal: Path, make_file: MakeFile) -> None:
    first, _ = await upload(server, journal, make_file(1000, seed=1), strangers=0)
    await upload(server, journal, make_file(1000, seed=2), strangers=0)
    assert await upload(server, journal, make_file(1000, seed=1), strangers=0) == (first, True)
