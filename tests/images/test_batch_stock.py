"""A picture is uploaded once, referred to while it stays long enough, and deleted once no batch needs it."""

from __future__ import annotations

import time

from asyncsdk.images.batch.stock import KEPT_SECONDS, LEAST_LEFT, PictureStock, UploadedPicture

NOW = 1_795_000_000.0
OTTER = UploadedPicture("otter", "file-1", NOW + KEPT_SECONDS)


def stock(*pictures: UploadedPicture) -> PictureStock:
    made = PictureStock()
    for picture in pictures:
        made.add(picture)
    return made


def test_a_picture_is_found_by_its_content_while_it_stays_for_more_than_thirty_hours() -> None:
    have = stock(OTTER, UploadedPicture("kept", "file-2"))
    assert have.find("otter", now=NOW) == OTTER
    last = NOW + KEPT_SECONDS - LEAST_LEFT
    assert have.find("otter", now=last - 1) == OTTER
    assert have.find("otter", now=last) is None
    assert have.find("kept", now=NOW * 2) == UploadedPicture("kept", "file-2")
    assert have.find("other", now=NOW) is None


def test_a_picture_that_was_uploaded_again_is_found_and_both_are_deleted() -> None:
    again = UploadedPicture("otter", "file-9", NOW + 2 * KEPT_SECONDS)
    have = stock(OTTER, again)
    assert have.find("otter", now=NOW) == again
    assert have.deletable(now=NOW) == ["file-1", "file-9"]


def test_nothing_is_deleted_that_an_open_batch_needs() -> None:
    have = stock(OTTER, UploadedPicture("cat", "file-2", NOW + KEPT_SECONDS))
    have.need("file-1", "part 0")
    have.need("file-1", "part 0")
    have.need("file-1", "part 1")
    have.need("file-2", "part 1")
    assert have.deletable(now=NOW) == []
    have.end("part 1")
    assert have.deletable(now=NOW) == ["file-2"]
    have.end("part 0")
    assert have.deletable(now=NOW) == ["file-1", "file-2"]


def test_the_end_of_a_batch_costs_what_it_needs_and_not_what_all_batches_need() -> None:
    have = stock()
    for number in range(20_000):
        have.need(f"file-{number}", f"part {number // 10}")
    began = time.process_time()
    for number in range(2000):
        have.end(f"part {number}")
    assert time.process_time() - began < 1


def test_what_expired_or_is_gone_is_neither_found_nor_deleted() -> None:
    have = stock(OTTER, UploadedPicture("cat", "file-2"))
    have.lost("file-2")
    have.lost("file-none")
    assert have.find("cat", now=NOW) is None
    assert have.deletable(now=NOW) == ["file-1"]
    assert have.deletable(now=NOW + KEPT_SECONDS) == []


def test_a_picture_that_is_lost_is_not_found_though_an_older_one_was_there() -> None:
    again = UploadedPicture("otter", "file-9")
    have = stock(OTTER, again)
    have.lost("file-1")
    assert have.find("otter", now=NOW) == again


def test_a_batch_is_created_only_where_its_pictures_stay_long_enough() -> None:
    stock = PictureStock()
    stock.add(UploadedPicture("a", "file-a", 1_000_000.0))
    stock.add(UploadedPicture("b", "file-b"))
    assert stock.stays(["file-a", "file-b"], now=1_000_000.0 - LEAST_LEFT - 1)
    assert not stock.stays(["file-a", "file-b"], now=1_000_000.0 - LEAST_LEFT)
    assert stock.stays(["file-b"], now=1_000_000.0)
    assert not stock.stays(["gone"], now=0.0)
