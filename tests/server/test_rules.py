"""What may be done with an upload or a file, and when it is gone."""

from __future__ import annotations

import hashlib
import time
from contextlib import nullcontext

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.server.errors import ApiError
from asyncsdk.server.fields import ListQuery
from asyncsdk.server.objects import StoredFile, StoredUpload, UploadStatus
from asyncsdk.server.rules import (
    Differences,
    as_of,
    file_expiry,
    file_of,
    has_expired,
    is_forgotten,
    page_of,
    repeated,
    require_downloadable,
    require_md5,
    require_parts,
    require_pending,
    require_usual_parts,
)
from tests.server.support import NOW

UPLOAD = StoredUpload(
    id="upload_1",
    bytes=30,
    created_at=NOW,
    expires_at=NOW + 3600,
    filename="a.jsonl",
    mime_type="text/jsonl",
    purpose="fine-tune",
    expires_after=None,
    file_id="file-1",
)
HELD = {"a": 10, "b": 20, "c": 20}


def file(number: int, created_at: int = NOW, purpose: str = "batch", expires_at: int | None = None) -> StoredFile:
    return StoredFile(
        id=f"file-{number}",
        bytes=1,
        created_at=created_at,
        expires_at=expires_at,
        filename="f",
        purpose=purpose,
        part_ids=("a",),
    )


def test_a_pending_upload_has_expired_from_its_last_second_on() -> None:
    assert as_of(UPLOAD, NOW + 3599.9).status == "pending"
    assert as_of(UPLOAD, NOW + 3600).status == "expired"
    assert as_of(evolve(UPLOAD, status="completed"), NOW + 3600).status == "completed"


@pytest.mark.parametrize("status", ["completed", "cancelled", "expired"])
def test_only_a_pending_upload_takes_anything(status: UploadStatus) -> None:
    require_pending(UPLOAD, NOW)
    with pytest.raises(ApiError, match=f"upload_1 is {status}"):
        require_pending(evolve(UPLOAD, status=status), NOW)
    with pytest.raises(ApiError, match="upload_1 is expired"):
        require_pending(UPLOAD, NOW + 3600)


def test_parts_that_make_up_the_upload_are_taken_in_any_order() -> None:
    require_parts(UPLOAD, HELD, ["b", "a"])
    require_parts(UPLOAD, HELD, ["a", "c"])


@pytest.mark.parametrize(
    ("part_ids", "words"),
    [
        (["a", "x"], "no part 'x'"),
        (["a", "a"], "named twice"),
        (["a"], "10 bytes, the upload was created for 30"),
        (["a", "b", "c"], "50 bytes"),
        ([], "0 bytes"),
    ],
)
def test_parts_that_do_not_are_refused(part_ids: list[str], words: str) -> None:
    with pytest.raises(ApiError, match=words) as caught:
        require_parts(UPLOAD, HELD, part_ids)
    assert (caught.value.status, caught.value.param) == (400, "part_ids")


def test_another_md5_is_refused_with_the_one_that_was_found() -> None:
    found = hashlib.md5(b"found").digest()
    require_md5(found, found)
    with pytest.raises(ApiError, match=found.hex()):
        require_md5(bytes(16), found)


def test_complete_again_gives_the_same_answer_or_is_refused() -> None:
    done = evolve(UPLOAD, status="completed", part_ids=("a", "b"), file=file_of(UPLOAD, ("a", "b"), NOW))
    assert repeated(done, ["a", "b"], 200) is done
    with pytest.raises(ApiError, match="with other parts"):
        repeated(done, ["b", "a"], 200)
    with pytest.raises(ApiError) as caught:
        repeated(done, ["a", "b"], 409)
    assert caught.value.status == 409


def test_a_file_lives_from_its_own_beginning() -> None:
    made = file_of(evolve(UPLOAD, expires_after=7200), ("a",), NOW)
    assert (made.id, made.bytes, made.filename, made.purpose) == ("file-1", 30, "a.jsonl", "fine-tune")
    assert (made.created_at, made.expires_at) == (NOW, NOW + 7200)
    assert made.part_ids == ("a",)


def test_batch_files_live_thirty_days_and_others_for_ever_unless_told_otherwise() -> None:
    assert file_expiry(NOW, "batch", None) == NOW + 30 * 24 * 3600
    assert file_expiry(NOW, "vision", None) is None
    assert file_expiry(NOW, "batch", 3600) == NOW + 3600


def test_a_file_expires_at_its_time_and_an_upload_is_forgotten_a_day_after_its_own() -> None:
    assert not has_expired(file(1), NOW)
    assert not has_expired(file(1, expires_at=NOW + 1), NOW)
    assert has_expired(file(1, expires_at=NOW + 1), NOW + 1)
    assert not is_forgotten(UPLOAD, UPLOAD.expires_at + 24 * 3600 - 1)
    assert is_forgotten(UPLOAD, UPLOAD.expires_at + 24 * 3600)


def test_files_for_assistants_and_of_users_are_not_given_back() -> None:
    require_downloadable(file(1, purpose="batch"))
    for purpose in ("assistants", "user_data"):
        with pytest.raises(ApiError, match=f"Not allowed to download files of purpose: {purpose}"):
            require_downloadable(file(1, purpose=purpose))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["batch", "vision"])), max_size=20),
    st.sampled_from(["asc", "desc"]),
    st.none() | st.sampled_from(["batch", "vision"]),
    st.integers(1, 7),
)
def test_pages_follow_each_other_without_gap_or_repetition(
    seeds: list[tuple[int, str]], order: str, purpose: str | None, limit: int
) -> None:
    files = [file(number, NOW + age, kind) for number, (age, kind) in enumerate(seeds)]
    seen: list[StoredFile] = []
    has_more = True
    while has_more:
        after = seen[-1].id if seen else None
        page, has_more = page_of(files, ListQuery(purpose, limit, order, after))
        assert len(page) == limit if has_more else len(page) <= limit
        seen += page
    wanted = [file for file in files if purpose in (None, file.purpose)]
    wanted.sort(key=lambda file: file.created_at)
    assert seen == (wanted if order == "asc" else wanted[::-1])


def test_a_cursor_that_is_no_file_is_refused() -> None:
    with pytest.raises(ApiError, match="file-9") as caught:
        page_of([file(1)], ListQuery(None, 1, "asc", "file-9"))
    assert caught.value.param == "after"


@pytest.mark.parametrize(
    ("differences", "part_ids", "problem"),
    [
        (Differences(), ["b", "a", "c"], None),
        (Differences(parts_in_order=True), ["a", "c"], None),
        (Differences(parts_in_order=True), ["b", "a", "c"], "ascending order"),
        (Differences(min_part=10), ["a", "b", "c"], None),
        (
            Differences(min_part=11),
            ["a", "b", "c"],
            "part 'a' has 10 bytes, and each part but the last must",
        ),
        (Differences(min_part=11), ["b", "c"], None),
    ],
)
def test_some_servers_want_parts_in_order_or_of_a_least_size(
    differences: Differences, part_ids: list[str], problem: str | None
) -> None:
    sizes = {"a": 10, "b": 20, "c": 1}  # as they came
    with nullcontext() if problem is None else pytest.raises(ApiError, match=problem):
        require_usual_parts(sizes, part_ids, differences)


def test_many_parts_take_no_quadratic_time() -> None:
    sizes = dict.fromkeys(map(str, range(20_000)), 1)
    began = time.process_time()
    for differences in (Differences(), Differences(parts_in_order=True)):
        require_usual_parts(sizes, list(sizes), differences)
    assert time.process_time() - began < 1
