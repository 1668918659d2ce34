"""Which upload of a journal is that of a file that was renamed or moved since."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from asyncsdk.settings import Settings
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.checksum import ContentHash, check_its_content
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.job import Fields
from asyncsdk.uploads.journal import Cancelled, Completing, JournalEntry, Opened, Record
from asyncsdk.uploads.resuming.moved import (
    LEAST_BYTES,
    MovedSource,
    OtherContentError,
    can_go_on,
    large,
    newest_first,
    note,
)
from asyncsdk.uploads.resuming.resume import replay
from asyncsdk.uploads.sources.readers import BytesSource
from tests.journal.support import NOW, completed, opened, part

BEGUN = opened(expires_after=None)
FIELDS = Fields(filename="new.jsonl", mime_type="application/jsonl", purpose="fine-tune", expires_after=None)
MOVED = MovedSource(
    place="/data/new.jsonl",
    size=BEGUN.bytes,
    mtime_ns=BEGUN.mtime_ns,
    inode=BEGUN.inode,
    fields=FIELDS,
    filename=None,
    settings=Settings(BEGUN.base_url, "sk-secret", project="proj_1"),
)


def may_be(moved: MovedSource = MOVED, **changes: Any) -> bool:
    return moved.may_be(evolve(BEGUN, **changes))


def test_a_file_of_the_same_size_time_and_inode_may_be_the_one() -> None:
    assert may_be()
    assert may_be(evolve(MOVED, place="/other/train.jsonl", fields=evolve(FIELDS, filename="train.jsonl")))


@pytest.mark.parametrize(
    "changes",
    [
        {"bytes": 5_000_000_001},
        {"mtime_ns": 1},
        {"mtime_ns": None},
        {"inode": 43},
        {"inode": None},
        {"base_url": "https://other/v1"},
        {"organization": "org_1"},
        {"project": None},
        {"purpose": "batch"},
        {"mime_type": "text/plain"},
        {"expires_after": {"anchor": "created_at", "seconds": 3600}},
        {"source": "key:mine"},
        {"source": ""},
    ],
)
def test_any_other_difference_makes_it_another(changes: dict[str, Any]) -> None:
    assert not may_be(**changes)


def test_a_filename_that_was_asked_for_has_to_be_the_earlier_one() -> None:
    assert may_be(evolve(MOVED, filename="train.jsonl"))
    assert not may_be(evolve(MOVED, filename="new.jsonl"))


def test_what_was_begun_here_under_this_name_is_not_moved() -> None:
    assert not may_be(source="/data/new.jsonl", filename="new.jsonl")


def test_what_began_at_its_path_with_other_options_is_known_to_be_of_it() -> None:
    here = evolve(BEGUN, source=MOVED.place, purpose="batch", filename="other")
    assert MOVED.may_differ(here)
    for changes in ({"source": "/data/other"}, {"inode": 43}, {"mtime_ns": 1}, {"project": None}, {"bytes": 1}):
        assert not MOVED.may_differ(evolve(here, **changes))


@pytest.mark.parametrize(
    ("fields", "worth_it"),
    [({}, True), ({"size": LEAST_BYTES}, False), ({"inode": 0}, False), ({"inode": None}, False)],
)
def test_only_a_large_file_with_an_inode_is_looked_for(fields: dict[str, Any], *, worth_it: bool) -> None:
    assert evolve(MOVED, **fields).is_worth_it is worth_it
    assert not evolve(MOVED, mtime_ns=None).is_worth_it


def test_of_several_the_newest_comes_first() -> None:
    uploads = [evolve(BEGUN, upload=f"upload_{n}", created_at=n) for n in (2, 3, 1)]
    found = newest_first([*uploads, evolve(BEGUN, inode=1)], MOVED.may_be)
    assert [each.upload for each in found] == ["upload_3", "upload_2", "upload_1"]


def test_a_journal_without_a_quick_look_is_read_for_its_large_uploads() -> None:
    small = opened("upload_2", bytes=LEAST_BYTES)
    entries = [JournalEntry(str(n), records, None) for n, records in enumerate([(BEGUN, part(0)), (small,), ()])]
    assert large(entries) == [BEGUN]


@pytest.mark.parametrize(
    ("records", "now", "worth_it"),
    [
        ((BEGUN, part(0)), NOW, True),
        ((BEGUN,), NOW, False),
        ((BEGUN, part(0)), NOW + 3601, False),
        ((BEGUN, part(0), Completing(upload="upload_1", part_ids=("part_0",), md5=None)), NOW + 3601, True),
        ((BEGUN, completed()), NOW + 86400, True),
        ((BEGUN, part(0), Cancelled(upload="upload_1")), NOW, False),
        ((opened("upload_2"), part(0, "upload_2")), NOW, False),
        ((completed(),), NOW, False),
        ((BEGUN, completed(), opened("upload_2"), part(0, "upload_2")), NOW, True),
        ((BEGUN, part(0), opened("upload_2"), part(0, "upload_2")), NOW, False),
        ((), NOW, False),
    ],
)
def test_what_is_done_or_has_parts_and_time_left_is_worth_going_on_with(
    records: tuple[Record, ...], now: float, *, worth_it: bool
) -> None:
    assert can_go_on(records, "upload_1", now=now) is worth_it


@pytest.mark.parametrize(
    ("begun", "name", "said"),
    [
        (
            BEGUN,
            "new.jsonl",
            "goes on with the upload of train.jsonl; the file keeps the name train.jsonl on the server",
        ),
        (BEGUN, "train.jsonl", "goes on with the upload of /data/train.jsonl"),
        (
            evolve(BEGUN, source="key:mine"),
            "new.jsonl",
            "goes on with the upload of train.jsonl; the file keeps the name train.jsonl on the server",
        ),
    ],
)
def test_a_note_says_of_which_file_and_under_which_name_it_goes_on(begun: Opened, name: str, said: str) -> None:
    assert note(begun, name) == said


@pytest.mark.parametrize("with_md5", [True, False])
async def test_of_another_file_three_parts_are_read_however_many_were_sent(*, with_md5: bool) -> None:
    content = bytes(20 * BLOCK)
    parts = [evolve(part(n), offset=n * BLOCK, length=BLOCK, xxh3="0" * 32) for n in range(20)]
    state = replay([evolve(BEGUN, bytes=len(content)), *parts])
    assert state is not None
    digest, seen = ContentHash(len(content), with_md5=with_md5, whole=False), list[int]()
    source, threads = BytesSource.over(content), DaemonThreadPool("test-moved", 1)
    with pytest.raises(OtherContentError):
        await check_its_content(source, digest, state, threads, seen.append)
    assert seen == [BLOCK, 2 * BLOCK, 3 * BLOCK]
    assert digest.hashed == (0 if with_md5 else 3 * BLOCK)  # which are not read again
