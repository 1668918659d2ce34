"""What the journal holds, as people look at it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from asyncsdk.cli.uploads import listing as looks
from asyncsdk.cli.uploads.listing import Remembered
from asyncsdk.errors import ConfigurationError
from asyncsdk.uploads.journal import Cancelled, Completed, JournalEntry, Opened, Owner, Part, Record

NOW = 1_795_360_260
KEY = "ab" * 16


def opened(**fields: Any) -> Opened:
    usual: dict[str, Any] = {
        "upload": "upload_1",
        "key": KEY,
        "base_url": "http://x/v1",
        "organization": None,
        "project": None,
        "source": "/data/train.jsonl",
        "bytes": 40_000_000,
        "filename": "train.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "fine-tune",
        "expires_after": None,
        "created_at": NOW - 1740,
        "expires_at": NOW + 1860,
        "mtime_ns": 1,
        "inode": 1,
    }
    return Opened(**(usual | fields))


PART = Part(upload="upload_1", offset=0, length=38 << 19, id="part_1", xxh3="0")
DONE = Completed(upload="upload_1", file={"id": "file-1", "bytes": 40_000_000}, md5="0" * 32)


def seen(*records: Record, owner: Owner | None = None) -> Remembered:
    [upload] = looks.remembered([JournalEntry(KEY, records, owner)], now=NOW)
    return upload


def one(**fields: Any) -> Remembered:
    return evolve(seen(opened(), PART), **fields)


def test_a_pending_upload_tells_what_is_there_and_when_it_expires() -> None:
    upload = seen(opened(), PART)
    assert (upload.id, upload.key, upload.state, upload.bytes_done) == ("upload_1", KEY, "pending", 38 << 19)
    assert looks.rows([upload], now=NOW) == [
        "ID        STATE    DONE         EXPIRES    PURPOSE    SERVER  FILE",
        "upload_1  pending  20 of 40 MB  in 31 min  fine-tune  x/v1    /data/train.jsonl",
    ]


def test_a_completed_upload_is_listed_with_the_file_that_it_became() -> None:
    assert looks.rows([seen(opened(), PART, DONE)], now=NOW) == [
        "ID        STATE      DONE   PURPOSE    FILE ID  SERVER  FILE",
        "upload_1  completed  40 MB  fine-tune  file-1   x/v1    /data/train.jsonl",
    ]


@pytest.mark.parametrize(
    ("records", "owner", "state", "done", "expiry"),
    [
        ((opened(), PART), Owner(7, "box"), "sending (7)", "20 of 40 MB", "in 31 min"),
        ((opened(expires_at=NOW), PART), None, "expired", "20 of 40 MB", ""),
        ((opened(), PART, DONE), None, "completed", "40 MB", ""),
        ((DONE,), None, "completed", "40 MB", ""),
        ((evolve(DONE, file={}),), None, "completed", "", ""),
        ((opened(), Cancelled(upload="upload_1")), None, "cancelled", "0 of 40 MB", ""),
    ],
)
def test_a_row_tells_the_state_of_an_upload(
    records: tuple[Record, ...], owner: Owner | None, state: str, done: str, expiry: str
) -> None:
    upload = seen(*records, owner=owner)
    assert (looks.state_of(upload), looks.done_of(upload), looks.expiry_of(upload, now=NOW)) == (state, done, expiry)


def test_a_key_without_an_upload_is_not_listed() -> None:
    assert looks.remembered([JournalEntry(KEY, (), Owner(7, "box"))], now=NOW) == []


def test_uploads_are_listed_oldest_first() -> None:
    entries = [
        JournalEntry(name * 32, (opened(upload=f"upload_{name}", created_at=at),), None)
        for name, at in (("a", 20), ("b", 10))
    ]
    assert [upload.id for upload in looks.remembered(entries, now=NOW)] == ["upload_b", "upload_a"]


def test_the_facts_of_one_are_those_that_are_known() -> None:
    lines = looks.facts(seen(DONE), now=NOW).splitlines()
    assert lines[:3] == ["id: upload_1", f"key: {KEY}", "state: completed"]
    assert "file_id: file-1" in lines
    assert not any(line.startswith(("source", "expires_at", "pid")) for line in lines)


def test_one_is_found_by_its_id_or_the_beginning_of_its_id_or_key() -> None:
    uploads = [one(id="upload_1", key="aa"), one(id="upload_12", key="ab"), one(id="upload_2", key="b")]
    assert looks.find(uploads, "upload_1") is uploads[0]
    assert looks.find(uploads, "upload_12") is uploads[1]
    assert looks.find(uploads, "upload_2") is uploads[2]
    assert looks.find(uploads, "ab") is uploads[1]


def test_what_names_none_or_several_is_refused() -> None:
    uploads = [one(id="upload_1"), one(id="upload_2")]
    with pytest.raises(ConfigurationError, match="has no upload 'x'"):
        looks.find(uploads, "x")
    with pytest.raises(ConfigurationError, match=r"2 uploads begin with 'upload_' \(upload_1, upload_2\)"):
        looks.find(uploads, "upload_")


def test_without_a_name_the_only_one_that_stopped_is_gone_on_with() -> None:
    stopped, done, busy = one(id="s"), one(id="d", state="completed"), one(id="b", pid=7)
    in_memory, expired = one(id="m", source="key:mine"), one(id="e", state="expired")
    assert looks.chosen([stopped, done, busy, in_memory, expired], None, every=False) == [stopped]
    assert looks.chosen([done], None, every=False) == []


def test_where_several_stopped_it_must_be_said_which_or_all() -> None:
    uploads = [one(id="upload_1"), one(id="upload_2", source="/b")]
    with pytest.raises(
        ConfigurationError, match=r"(?s)Give an ID or --all.*upload_1  pending  /data/train.*upload_2  pending  /b"
    ):
        looks.chosen(uploads, None, every=False)
    assert looks.chosen(uploads, None, every=True) == uploads
    assert looks.chosen(uploads, "upload_2", every=False) == uploads[1:]


@pytest.mark.parametrize(
    ("upload", "said"),
    [
        (one(state="completed"), "is completed: there is nothing"),
        (one(source="key:mine"), "sent under a key .* uploads resume upload_1 --from PATH"),
    ],
)
def test_one_that_cant_go_on_is_refused(upload: Remembered, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        looks.chosen([upload], upload.id, every=False)


def test_what_is_left_out_is_counted_by_its_state() -> None:
    done, gone = one(state="completed"), one(state="expired")
    assert looks.unfinished([done, one(), one(pid=7), gone]) == [one(), one(pid=7)]
    assert looks.left_out([done, one(), done, gone]) == "2 completed, 1 expired: --all shows them"
    assert looks.left_out([done]) == "1 completed: --all shows it"
    assert looks.left_out([one()]) == ""


def test_without_a_name_the_only_one_is_meant_and_of_several_all_are_listed() -> None:
    uploads = [one(id="upload_1"), one(id="upload_2", pid=7)]
    assert looks.only_one(uploads[:1], None, verb="cancel") is uploads[0]
    assert looks.only_one(uploads, "upload_2", verb="cancel") is uploads[1]
    assert looks.only_one([], None, verb="cancel") is None
    with pytest.raises(ConfigurationError) as several:
        looks.only_one(uploads, None, verb="cancel")
    assert str(several.value).splitlines() == [
        "2 uploads to cancel: give the ID of one.",
        "  upload_1  pending  /data/train.jsonl",
        "  upload_2  sending (7)  /data/train.jsonl",
    ]
    many = [one(id=f"upload_{number}") for number in range(25)]
    with pytest.raises(ConfigurationError, match="and 5 more: asyncsdk uploads list --all"):
        looks.only_one(many, None, verb="show")


def test_one_whose_file_is_elsewhere_now_may_be_one_with_a_key() -> None:
    stopped, keyed = one(id="s"), one(id="k", source="key:mine")
    assert looks.moved([stopped, one(id="b", pid=7)], None, every=False) is stopped
    assert looks.moved([stopped, keyed], "k", every=False) is keyed
    for uploads, name, every in (([stopped, keyed], None, False), ([], None, False), ([stopped], None, True)):
        with pytest.raises(ConfigurationError):
            looks.moved(uploads, name, every=every)
    with pytest.raises(ConfigurationError, match="is expired"):
        looks.moved([one(id="e", state="expired")], "e", every=False)


def test_uploads_are_called_by_their_files_and_by_their_ids_too_where_a_file_goes_up_twice() -> None:
    uploads = [one(id="1"), one(id="2"), one(id="3", source="/b")]
    assert list(looks.names(uploads)) == ["/data/train.jsonl (1)", "/data/train.jsonl (2)", "/b"]
