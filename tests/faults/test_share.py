"""One command, started several times over the same files: its copies share the work, whatever becomes of some."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.share import Command, Ended, fill, make_files, share, violations
from tests.faults.support import ServerProcess, serving
from tests.remote.s3_server import s3_server

COUNT = 40
SLOW = ["--limit-rate", "8MB/s"]  # so that all of them get something to do


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with serving(tmp_path / "server") as server:
        yield server


def own(copy: Ended) -> set[str]:
    return {record["source"] for record in copy.records if not record["reused"]}


async def test_four_copies_two_killed_and_one_stopped_past_its_lease_complete_each_file_once(
    api: ServerProcess, tmp_path: Path, database_url: str
) -> None:
    files = make_files(tmp_path / "in", COUNT, seed=5)
    ended = await share(Command(api, database_url, [str(tmp_path / "in")], SLOW, lease=2.0), files)
    assert violations(api, files, ended) == []
    assert len(api.files()) == COUNT
    assert len([upload for upload in api.uploads() if upload["status"] == "completed"]) == COUNT
    first, late = ended
    assert not own(first) & own(late)
    assert " by others" in first.summary


async def test_copies_share_a_prefix_of_a_bucket(api: ServerProcess, tmp_path: Path, database_url: str) -> None:
    files = make_files(tmp_path / "in", 30, seed=6)
    with s3_server() as store:
        prefix = fill(store, files, tmp_path / "in")
        command = Command(api, database_url, [prefix], SLOW, environment=store.environment, lease=2.0)
        ended = await share(command, files, copies=2, killed=1)
    assert violations(api, files, ended) == []
    [left] = ended
    assert 0 < left.count(by_others=True) < 30


async def test_copies_on_one_machine_share_with_a_journal_in_files(api: ServerProcess, tmp_path: Path) -> None:
    files = make_files(tmp_path / "in", COUNT, seed=7)
    command = Command(api, str(tmp_path / "journal"), [str(tmp_path / "in")], SLOW)
    copies = [command.start() for _ in range(2)]
    ended = [await copy.ended() for copy in copies]
    assert violations(api, files, ended) == []
    assert sorted(source for copy in ended for source in own(copy)) == sorted(ended[0].ids)
    for copy in ended:
        assert len(own(copy)) + copy.count(by_others=True) + copy.count(reused=True, by_others=False) == COUNT
