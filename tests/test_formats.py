"""Journals and ledgers that earlier versions wrote are gone on with, and what is written now is what they wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, frozen

from asyncsdk import FileJournal
from asyncsdk.uploads.journal import Cancelled, Completed, Completing, Expired, Opened, Part, Posting, Record, Refused
from asyncsdk.wal import ranges
from tests import formats
from tests.formats import BLOCK, CONTENT, lines_of, put, sealed

DATA = Path(__file__).parent / "data" / "formats"
OLDER = ["8d22ea7", "8c3fccb"]  # the commits that wrote what is in DATA; NEWER is the last that changed what is written
NEWER = "4f84c30"
COMPACTED = "36532df"  # the last that changed what a ledger is written anew as
GONE_ON_WITH = [f"{commit}/{what}" for commit in (*OLDER, NEWER) for what in ("half", "whole")]
OF_THE_EDITS = {
    "pictures": {
        "first": [".asyncsdk/replaced/20261118T110650Z-first.png"], "forbidden": [],
        "twice": ["twice.png", "twice.1.png"], "slow": ["slow.png"],
        "failed": ["failed.png"], "lost": [], "pending": [], "new": ["new.png"],
    },
    "tokens": {"first": 602, "twice": 1208, "slow": 602, "failed": 602, "new": 601},
    "problems": {"forbidden": "ModerationBlockedError", "lost": "ChargeUnknownError", "pending": "ChargeUnknownError"},
}  # fmt: skip
needs_ranges = pytest.mark.skipif(not ranges.SUPPORTED, reason="small keys have folders here")
KEY, NOW = "0123456789abcdef0123456789abcdef", 1_795_000_000.123
FIELDS = {"u": "upload", "off": "offset", "len": "length"}
RECORDS: list[Record] = [
    Opened(
        upload="upload_1", at=NOW, key=KEY, base_url="https://api.openai.com/v1", organization="org-1",
        project="proj_1", source="/données/\N{OTTER}\udcff.jsonl", bytes=8 * 2**30, filename='"a\\b".jsonl',
        mime_type="application/jsonl", purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600},
        created_at=int(NOW), expires_at=int(NOW) + 3600, mtime_ns=1_794_999_999_000_000_001, inode=2**63,
    ),
    Part(upload="upload_1", at=NOW + 0.0005, offset=0, length=2**26, id="part_1", xxh3="0" * 32),
    Completing(upload="upload_1", at=NOW + 1, part_ids=("part_1", "part_2"), md5=None, md5_form="off", xxh3="1" * 32),
    Refused(upload="upload_1", at=NOW + 2, status=400),
    Completing(upload="upload_1", at=NOW + 3, part_ids=(), md5="2" * 32),
    Completed(upload="upload_1", at=NOW + 4, file={"id": "file-1", "bytes": 5, "x": [None, 0.5]}, md5=None, xxh3=None),
    Cancelled(upload="upload_2", at=0),
    Expired(upload="upload_3", at=NOW + 5, reason="it is gone"),
    Opened(
        upload="upload_4", at=NOW, key=KEY, base_url="http://127.0.0.1:8787/v1", organization=None, project=None,
        source="key:a", bytes=1, filename="a", mime_type="text/plain", purpose="batch", expires_after=None,
        created_at=1, expires_at=2, mtime_ns=None, inode=None,
    ),
    Posting(
        upload="post_5", at=NOW, key=KEY, base_url="https://api.openai.com/v1", organization="org-1", project=None,
        source="/a/b.txt", bytes=100_000, filename="b.txt", mime_type="text/plain", purpose="user_data",
        expires_after=None, created_at=int(NOW), expires_at=int(NOW) + 625, mtime_ns=1_794_999_999_000_000_001, inode=7,
        md5="3" * 32, xxh3="4" * 32,
    ),
    Refused(upload="post_5", at=NOW + 1, status=0),
]  # fmt: skip


OF_NEWER = ["half", "whole", "compacted"]


@frozen
class Played:
    """What this version wrote, by folder: `half`, `whole` and `compacted` by itself; a fixture's name where it went on.

    `came` tells what came of the calls then.
    """

    written: Path
    came: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    place = tmp_path_factory.mktemp("formats")
    steps = ["half:new", "keep:new:half", "rest:new", "keep:new:whole", "compact:new", "keep:new:compacted"]
    for name in GONE_ON_WITH:
        put(DATA / name, place / "of" / name)
        steps += [f"{'again' if name.endswith('whole') else 'rest'}:of/{name}", f"keep:of/{name}:{name}"]
    command = [sys.executable, "-P", formats.__file__, *steps]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    ended = subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr.decode()
    came = map(json.loads, ended.stdout.splitlines())
    return Played(place, dict(zip(["new", *GONE_ON_WITH], came, strict=True)))


def stored(folder: Path) -> dict[str, bytes]:
    """A directory as it is kept, but for what is in pictures."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: b"" if path.suffix == ".png" else path.read_bytes() for name, path in sorted(paths.items())}


def in_the_journal(found: dict[str, bytes]) -> dict[str, bytes]:
    """The journal's part of it, segments without their heads, which did not always tell where they lie."""
    journal = {name: data for name, data in found.items() if name.startswith("journal/")}
    return {name: data.partition(b"\n")[2] if name.endswith(".jsonl") else data for name, data in journal.items()}


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def as_told(fact: dict[str, Any]) -> dict[str, Any]:
    """What a line of the journal says, as the fields of its record."""
    plain = {FIELDS.get(name, name): value for name, value in fact.items() if name not in {"t", "c"}}
    return plain | {"kind": fact["t"], "at": pytest.approx(moment(fact["at"]), abs=1e-6)}


def as_read(record: Record) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(record)))
    return plain | {"kind": type(record).__name__.lower()}


async def write(root: Path, records: list[Record], *, small: bool = False) -> list[bytes]:
    """The lines that a journal writes for them."""
    async with FileJournal(root).claim(KEY, small=small) as log:
        for record in records:
            await log.append(record)
    (segment,) = root.rglob("*.jsonl")
    return segment.read_bytes().splitlines(keepends=True)


async def test_each_record_is_written_as_ever(tmp_path: Path) -> None:
    _, *lines = await write(tmp_path / "journal", RECORDS)
    assert lines == (DATA / "records.jsonl").read_bytes().splitlines(keepends=True)[1:]


async def test_each_record_is_read_as_ever(tmp_path: Path) -> None:
    folder = tmp_path / "journal" / "uploads" / KEY
    folder.mkdir(parents=True)
    (folder / "2026-11-18T110640.123Z-machine-4711-00005eed.jsonl").write_bytes((DATA / "records.jsonl").read_bytes())
    async with FileJournal(tmp_path / "journal").claim(KEY) as log:
        assert list(log.records) == RECORDS


@needs_ranges
async def test_each_record_of_a_small_key_is_written_as_ever(tmp_path: Path) -> None:
    _, *lines = await write(tmp_path / "journal", RECORDS, small=True)
    assert lines == (DATA / "small.jsonl").read_bytes().splitlines(keepends=True)[1:]


@needs_ranges
@pytest.mark.parametrize("small", [True, False])
async def test_each_record_of_a_small_key_is_read_as_ever(tmp_path: Path, *, small: bool) -> None:
    folder = tmp_path / "journal" / "small"
    folder.mkdir(parents=True)
    (folder / "2026-11-18T110640.123Z-machine-4711-00005eed.jsonl").write_bytes((DATA / "small.jsonl").read_bytes())
    async with FileJournal(tmp_path / "journal").claim(KEY, small=small) as log:
        assert list(log.records) == RECORDS


async def test_a_segment_begins_as_ever(tmp_path: Path) -> None:
    head, *_ = await write(tmp_path / "journal", RECORDS)
    (segment,) = (tmp_path / "journal").rglob("*.jsonl")
    seen = json.loads(head)
    written = {"t": "segment", "v": 1, "at": seen["at"], "host": socket.gethostname(), "pid": os.getpid()}
    assert head == sealed(written | {"folder": str(segment.parent), "inode": segment.stat().st_ino})
    assert abs(moment(seen["at"]) - time.time()) < 60


@pytest.mark.parametrize("name", GONE_ON_WITH)
async def test_what_is_read_of_a_journal_is_what_its_lines_say(tmp_path: Path, name: str) -> None:
    put(DATA / name, tmp_path / "moved")
    entries = await FileJournal(tmp_path / "moved" / "journal").entries()
    assert len(entries) == 4
    for entry in entries:
        told = lines_of(stored(DATA / name), f"journal/uploads/{entry.key}/")
        assert list(map(as_read, entry.records)) == list(map(as_told, told))


async def test_a_fixture_that_was_only_copied_is_left_to_its_original(tmp_path: Path) -> None:
    shutil.copytree(DATA / NEWER / "half", tmp_path, dirs_exist_ok=True)
    entries = await FileJournal(tmp_path / "journal").entries()
    begun = [entry for entry in entries if isinstance(entry.records[-2], Part)]
    assert [type(entry.records[-1]) for entry in begun] == [Expired]


def without_texts(files: dict[str, bytes]) -> dict[str, bytes]:
    """Files without messages for people and without their lines' checksums.

    A message may be reworded, and so may the advice whether to repeat an edit, which no run goes by.
    """
    blank = {
        name: re.sub(rb'"(message|reason)":"(?:[^"\\]|\\.)*"(.*?),"c":"[0-9a-f]{8}"', rb'"\1":""\2', data)
        for name, data in files.items()
    }
    return {name: re.sub(rb'"retryable":(true|false)', b'"retryable":_', data) for name, data in blank.items()}


@pytest.mark.parametrize("what", OF_NEWER)
def test_the_same_calls_leave_the_same_bytes(played: Played, what: str) -> None:
    now, then = stored(played.written / what), stored(DATA / (COMPACTED if what == "compacted" else NEWER) / what)
    now = {name: data for name, data in now.items() if what != "compacted" or name.startswith("out/")}
    assert without_texts(now) == without_texts(then)


def test_going_on_leaves_the_same_bytes_as_the_version_that_went_on_itself(played: Played) -> None:
    assert stored(played.written / NEWER / "half") == stored(DATA / NEWER / "whole")


@pytest.mark.parametrize("what", ["half", "whole"])
@pytest.mark.parametrize("older", OLDER)
def test_an_older_journal_has_the_same_lines(played: Played, older: str, what: str) -> None:
    now, then = (without_texts(stored(place / what)) for place in (played.written, DATA / older))
    assert in_the_journal(now) == in_the_journal(then)


@pytest.mark.parametrize("name", ["new", *(name for name in GONE_ON_WITH if name.endswith("half"))])
def test_what_was_killed_is_gone_on_with(played: Played, name: str) -> None:
    assert played.came[name] == {
        "resumed": 2 * BLOCK,
        "sent": len(CONTENT) - 2 * BLOCK,
        "creates": 0,
        "parts": 2,
        "files": ["whole.jsonl", "half-way.jsonl"],
        "right": True,
        "reused": [True, True],
        "edits": [
            ["first", "skipped"],
            ["forbidden", "refused"],
            ["twice", "skipped"],
            ["slow", "skipped"],
            ["failed", "done"],
            ["lost", "uncertain"],
            ["pending", "uncertain"],
            ["new", "done"],
            ["first", "skipped"],
        ],
        "paid": {"failed": 1, "new": 1},
        **OF_THE_EDITS,
    }


@pytest.mark.parametrize("name", [name for name in GONE_ON_WITH if name.endswith("whole")])
def test_what_was_ended_is_known(played: Played, name: str) -> None:
    came = played.came[name]
    assert (came["reused"], came["creates"], came["parts"], came["sent"]) == ([True, True], 0, 0, 0)
    assert {status for _, status in came["edits"]} == {"skipped", "refused", "uncertain"}
    assert came["paid"] == {}
    assert {what: came[what] for what in OF_THE_EDITS} == OF_THE_EDITS
