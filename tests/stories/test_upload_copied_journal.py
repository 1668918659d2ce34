"""A journal is copied to another machine, and both go on: neither gets the other's bytes."""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client
from asyncsdk.server import Fault, LocalServer
from tests.stories.support import MIB, MakeFile, interrupted, md5_of


@pytest.mark.parametrize("repeated", [200, 400])
@pytest.mark.parametrize("lost", [False, True])
async def test_both_get_what_they_sent(
    tmp_path: Path, journal: Path, make_file: MakeFile, repeated: int, *, lost: bool
) -> None:
    seconds = itertools.count(int(time.time()))  # no two uploads of one second: those would not be told apart
    async with (
        LocalServer(  # with a `created_at` of their own, files that were lost stay unknown
            tmp_path / "server", repeated_complete=repeated, created_at="upload", clock=lambda: next(seconds)
        ) as server,
        Client("k", base_url=server.url) as client,
    ):
        path = make_file(seed=1)
        await interrupted(server, client, journal, path)
        copy = Path(shutil.copytree(journal, tmp_path / "copy"))
        for where, seed in ((journal, 1), (copy, 2)):
            content = make_file(seed=1).read_bytes()
            path.write_bytes(content if seed == 1 else content[: 5 * MIB] + bytes(len(content) - 5 * MIB))
            if lost:
                server.inject(Fault("complete", "reset", "done"))
            result = await AsyncUploader(client, journal=where, part_size=MIB).upload(path, purpose="batch")
            assert result.md5 == md5_of(path)
            assert server.stored(result.file.id).read_bytes() == path.read_bytes()
