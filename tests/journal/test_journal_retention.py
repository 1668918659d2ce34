"""How long what is kept: decided without a disk."""

from __future__ import annotations

import pytest

from asyncsdk.uploads.journal import Cancelled, Completing, Expired, Record, Refused
from asyncsdk.uploads.journal.retention import compacted, keep_until, purge_is_due
from tests.journal.support import NOW, completed, opened, part

HOUR = 3600
DAY = 24 * HOUR
EXPIRES = int(NOW) + HOUR


@pytest.mark.parametrize(
    ("records", "until"),
    [
        ([opened()], EXPIRES + DAY),
        ([opened(), part(0)], EXPIRES + DAY),
        ([opened(), Cancelled(upload="upload_1", at=NOW)], EXPIRES + DAY),
        ([opened(), Expired(upload="upload_1", at=NOW, reason="time")], EXPIRES + DAY),
        ([part(0), part(5)], part(5).at + 25 * HOUR),
        ([opened(), completed()], completed().at + 30 * DAY),
        ([completed()], completed().at + 30 * DAY),
        ([completed(), opened("upload_2")], completed().at + 30 * DAY),
        ([completed(at=NOW - 40 * DAY), opened("upload_2")], EXPIRES + DAY),
        ([], 0),
    ],
)
def test_a_key_is_kept_as_long_as_one_of_its_uploads_is_of_use(records: list[Record], until: float) -> None:
    assert keep_until(records, touched=None) == until


def test_a_key_without_a_readable_record_is_kept_for_a_day_after_its_last_write() -> None:
    assert keep_until([], touched=NOW) == NOW + 25 * HOUR


def test_records_that_can_be_read_decide_and_not_the_time_of_the_file() -> None:
    assert keep_until([opened()], touched=NOW + 90 * DAY) == EXPIRES + DAY


@pytest.mark.parametrize(
    ("purged_at", "due"),
    [(None, True), (NOW, False), (NOW - DAY + 1, False), (NOW - DAY, True), (NOW + 60, True)],
)
def test_a_purge_is_due_once_a_day_and_when_the_clock_went_back(purged_at: float | None, due: bool) -> None:  # noqa: FBT001 - a table's column
    assert purge_is_due(purged_at, NOW) is due


def test_last_words_are_the_opening_of_that_upload_and_the_last_record() -> None:
    records = [opened(), part(0), opened("upload_2"), part(0, "upload_2")]
    assert compacted(records, completed()) == (opened(), completed())
    assert compacted([part(0)], completed()) == (completed(),)


def test_which_files_other_uploads_became_outlives_a_last_word_by_a_month() -> None:
    old, recent = completed("upload_2", at=NOW - 30 * DAY), completed("upload_3", at=NOW - 29 * DAY)
    assert compacted([old, recent, opened()], completed()) == (recent, opened(), completed())
    before = [opened("upload_2"), opened("upload_3"), part(0, "upload_3"), old, recent, opened()]
    assert compacted(before, completed()) == (opened("upload_3"), recent, opened(), completed())


def test_a_complete_that_nobody_answered_is_kept_as_long_as_a_file() -> None:
    asked = Completing(upload=opened().upload, at=NOW, part_ids=("part_1",), md5="0" * 32)
    refused = Refused(upload=opened().upload, at=NOW, status=400)
    assert keep_until([opened(), asked], touched=NOW) == NOW + 30 * DAY
    assert keep_until([opened(), asked, refused], touched=NOW) == EXPIRES + DAY
