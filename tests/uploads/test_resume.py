"""What the journal says is folded the same way every time, and nothing in it is believed that we can't have written."""

from __future__ import annotations

import inspect
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.errors import ConfigurationError
from asyncsdk.settings import Settings
from asyncsdk.uploads.chunking import BLOCK, Pending, covers, gaps
from asyncsdk.uploads.journal import Cancelled, Completed, Completing, Expired, Opened, Part, Record, Refused
from asyncsdk.uploads.resuming import resume
from asyncsdk.uploads.resuming.resume import ResumeState, Stage, non_overlapping, replay, span_of, upload_key, why_again

SIZE = 20 * BLOCK + 17
blocks = st.integers(0, 22)


def opened(upload: str = "upload_1", **changes: Any) -> Opened:
    fields: dict[str, Any] = {
        "at": 0.0,
        "key": "0" * 32,
        "base_url": "https://api.openai.com/v1",
        "organization": None,
        "project": None,
        "source": "/data/train.jsonl",
        "bytes": SIZE,
        "filename": "train.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "batch",
        "expires_after": None,
        "created_at": 1000,
        "expires_at": 4600,
        "mtime_ns": 1,
        "inode": 2,
    }
    return Opened(upload=upload, **(fields | changes))


def part(offset: int, length: int, id: str = "part_1", upload: str = "upload_1") -> Part:  # noqa: A002 - the API's name
    return Part(upload=upload, offset=offset, length=length, id=id, xxh3="", at=0.0)


def completing(at: float = 0.0) -> Completing:
    return Completing(upload="upload_1", part_ids=("part_1",), md5="0" * 32, at=at)


def completed(upload: str = "upload_1") -> Completed:
    return Completed(upload=upload, file={"id": "file-1"}, md5="0" * 32, at=0.0)


REFUSED = Refused(upload="upload_1", status=400, at=0.0)
CANCELLED = Cancelled(upload="upload_1", at=0.0)
EXPIRED = Expired(upload="upload_1", reason="gone", at=0.0)


def recalled(*records: Record) -> ResumeState:
    found = replay(records)
    assert found is not None
    return found


@st.composite
def possible_parts(draw: st.DrawFn) -> Part:
    first, last = sorted(draw(st.lists(st.integers(0, 21), min_size=2, max_size=2, unique=True)))
    offset, end = first * BLOCK, min(last * BLOCK, SIZE)
    return part(offset, end - offset, f"part_{draw(st.integers(1, 12))}")


# which parts


@given(st.lists(possible_parts(), max_size=20), st.randoms(use_true_random=False))
def test_chosen_parts_never_overlap_come_once_each_and_in_the_same_choice_whatever_the_order(
    parts: list[Part], shuffle: random.Random
) -> None:
    chosen = non_overlapping(parts)
    spans = [span_of(part) for part in chosen]
    assert all(before.end <= after.offset for before, after in pairwise(spans))
    assert len({part.id for part in chosen}) == len(chosen)
    shuffle.shuffle(parts)
    assert non_overlapping(parts) == chosen


@given(st.lists(possible_parts(), max_size=20))
def test_chosen_parts_and_what_fills_their_gaps_make_the_file_and_are_chosen_again(parts: list[Part]) -> None:
    chosen = non_overlapping(parts)
    fillers = [
        part(gap.offset, gap.length, f"part_new_{number}")
        for number, gap in enumerate(gaps(SIZE, map(span_of, chosen)))
    ]
    whole = non_overlapping(parts + fillers)
    assert covers(SIZE, [span_of(part) for part in whole])
    assert set(chosen) <= set(whole)


@given(st.lists(possible_parts(), max_size=20))
def test_a_part_is_left_out_only_for_one_that_holds_its_first_byte_or_for_an_id_that_came_twice(
    parts: list[Part],
) -> None:
    chosen = non_overlapping(parts)
    for left_out in set(parts) - set(chosen):
        overlapped = any(span_of(part).offset <= left_out.offset < span_of(part).end for part in chosen)
        assert overlapped or any(part.id == left_out.id and part != left_out for part in parts)


def test_an_id_that_was_the_answer_to_two_ranges_is_chosen_for_neither() -> None:
    first, second, other = part(0, BLOCK, "a"), part(BLOCK, BLOCK, "a"), part(2 * BLOCK, BLOCK, "b")
    assert non_overlapping([first, second, other]) == [other]
    assert non_overlapping([first, first, other]) == [first, other]


def test_of_parts_that_begin_together_the_longest_is_chosen_and_of_those_the_smallest_id() -> None:
    long_b, long_a, short = part(0, 2 * BLOCK, "b"), part(0, 2 * BLOCK, "a"), part(0, BLOCK, "0")
    assert non_overlapping([short, long_b, long_a]) == [long_a]


wild = st.integers(-(2**65), 2**65) | blocks.map(BLOCK.__mul__)


@given(offset=wild, length=wild)
def test_a_recalled_part_begins_on_the_grid_and_ends_there_or_with_the_file(offset: int, length: int) -> None:
    for span in map(span_of, recalled(opened(), part(offset, length)).parts):
        assert span.offset % BLOCK == 0
        assert 0 <= span.offset < span.end <= SIZE
        assert span.end % BLOCK == 0 or span.end == SIZE


@given(part_size=st.integers(1, 22).map(BLOCK.__mul__))
def test_every_part_that_we_cut_is_recalled(part_size: int) -> None:
    pieces = list(iter(Pending(part_size, gaps(SIZE, [])).take, None))
    found = recalled(opened(), *(part(piece.offset, piece.length) for piece in pieces))
    assert list(map(span_of, found.parts)) == pieces


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (-BLOCK, 2 * BLOCK),
        (1, BLOCK),
        (0, BLOCK - 1),
        (0, 0),
        (BLOCK, -BLOCK),
        (0, SIZE + 1),
        (20 * BLOCK, BLOCK),
        (30 * BLOCK, BLOCK),
    ],
)
def test_offsets_that_lead_elsewhere_are_not_believed(offset: int, length: int) -> None:
    good = part(19 * BLOCK, BLOCK + 17, "part_good")
    assert recalled(opened(), part(offset, length), good).parts == (good,)


def test_bytes_that_two_parts_hold_count_once() -> None:
    found = recalled(opened(), part(0, 4 * BLOCK, "a"), part(2 * BLOCK, 4 * BLOCK, "b"), part(0, BLOCK, "c"))
    assert found.bytes_held == 4 * BLOCK


# which upload, and where it stands


@pytest.mark.parametrize(
    ("records", "stage"),
    [
        ([], Stage.PENDING),
        ([part(0, BLOCK)], Stage.PENDING),
        ([completing()], Stage.COMPLETING),
        ([completing(), REFUSED], Stage.PENDING),
        ([completing(), REFUSED, completing()], Stage.COMPLETING),
        ([completing(), completed()], Stage.COMPLETED),
        ([CANCELLED], Stage.CANCELLED),
        ([EXPIRED], Stage.EXPIRED),
        ([completing(), EXPIRED], Stage.EXPIRED),
        ([CANCELLED, EXPIRED], Stage.CANCELLED),
        ([CANCELLED, completed()], Stage.COMPLETED),
        ([EXPIRED, completed()], Stage.COMPLETED),
    ],
)
def test_where_an_upload_stands(records: Sequence[Record], stage: Stage) -> None:
    assert recalled(opened(), *records).stage is stage


def test_the_complete_that_nobody_answered_is_the_last_that_was_asked() -> None:
    first, last = completing(1.0), completing(2.0)
    assert recalled(opened(), first, last).completing is last
    assert recalled(opened(), first, REFUSED, last).completing is last
    assert recalled(opened(), first, REFUSED).completing is None
    assert recalled(opened(), first, REFUSED, last, REFUSED).completing is None


def test_a_refusal_answers_one_asking_whatever_the_clock_says() -> None:
    stepped_back = completing(0.5)
    assert recalled(opened(), completing(1.0), REFUSED, stepped_back).completing is not None
    assert recalled(opened(), stepped_back, completing(1.0), REFUSED).completing is not None


@pytest.mark.parametrize("records", [[], [part(0, BLOCK)], [completing()], [EXPIRED], [CANCELLED]])
def test_an_upload_whose_opening_was_lost_is_not_known(records: Sequence[Record]) -> None:
    assert replay(records) is None


def test_a_completed_upload_is_known_even_if_its_opening_was_lost() -> None:
    done = completed()
    found = recalled(done, part(0, BLOCK))
    assert (found.upload_id, found.stage, found.opened, found.completed) == ("upload_1", "completed", None, done)
    assert found.parts == ()


def test_each_upload_has_its_own_parts() -> None:
    found = recalled(
        opened("upload_1", created_at=1000),
        opened("upload_2", created_at=2000),
        part(0, BLOCK, upload="upload_1"),
        mine := part(0, BLOCK, upload="upload_2"),
        EXPIRED,
    )
    assert (found.upload_id, found.parts, found.stage) == ("upload_2", (mine,), Stage.PENDING)


@given(st.permutations([0, 1, 2, 3]), st.lists(st.floats(-1e9, 1e9), min_size=4, max_size=4))
def test_the_upload_that_began_last_counts_whatever_any_clock_said(order: list[int], times: list[float]) -> None:
    records = [opened(f"upload_{n}", created_at=1000 * (3 - n), at=at) for n, at in enumerate(times)]
    last = order[-1]
    assert recalled(*(records[number] for number in order), part(0, BLOCK, upload="x")).upload_id == f"upload_{last}"


@given(st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3))
def test_the_file_made_last_is_that_of_the_last_record_whatever_the_clock_said(times: list[float]) -> None:
    records = [evolve(completed(f"upload_{n}"), at=at) for n, at in enumerate(times)]
    assert resume.completed([opened(), *records, EXPIRED]) == records[::-1]


# the key

KEY: dict[str, Any] = {
    "base_url": "https://api.openai.com/v1",
    "organization": None,
    "project": "proj_1",
    "place": "/data/träin.jsonl",
    "size": 5_000_000_000,
    "filename": "train.jsonl",
    "mime_type": "application/jsonl",
    "purpose": "fine-tune",
    "expires_after": {"anchor": "created_at", "seconds": 3600},
}


def test_a_key_is_the_same_in_every_version_and_on_every_machine() -> None:
    assert upload_key(**KEY) == "b06c488c9e47b88a0309eb5df1c61175"


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("base_url", "https://eu.api.openai.com/v1"),
        ("organization", "org_1"),
        ("project", None),
        ("place", "/data/train.jsonl"),
        ("size", 5_000_000_001),
        ("filename", "other.jsonl"),
        ("mime_type", "text/plain"),
        ("purpose", "batch"),
        ("expires_after", None),
        ("expires_after", {"anchor": "created_at", "seconds": 3601}),
    ],
)
def test_another_server_project_source_or_field_is_another_upload(field: str, other: object) -> None:
    assert upload_key(**KEY) != upload_key(**KEY | {field: other})


def test_a_key_knows_nothing_else_such_as_api_keys_or_part_sizes() -> None:
    assert set(inspect.signature(upload_key).parameters) == {*KEY, "etag"}


def test_a_version_is_in_the_key_where_there_is_one() -> None:
    keys = {upload_key(**KEY | {"etag": etag}) for etag in (None, '"a"', '"b"')}
    assert len(keys) == 3
    assert upload_key(**KEY) in keys


def test_the_order_in_which_expires_after_was_written_plays_no_part() -> None:
    turned = dict(reversed(KEY["expires_after"].items()))
    assert list(turned) != list(KEY["expires_after"])
    assert upload_key(**KEY | {"expires_after": turned}) == upload_key(**KEY)


def test_a_path_that_is_no_unicode_has_a_key_too() -> None:
    assert len(upload_key(**KEY | {"place": "/data/\udcff"})) == 32


def test_an_upload_whose_opening_was_lost_belongs_to_no_client() -> None:
    settings = Settings(base_url="https://api.openai.com/v1", key="k")
    with pytest.raises(ConfigurationError, match="does not contain how"):
        recalled(completed()).for_client_of(settings)


@pytest.mark.parametrize("changes", [{"organization": "org_2"}, {"project": "proj_2"}, {"base_url": "https://x/v1"}])
def test_an_upload_belongs_to_its_server_organization_and_project(changes: dict[str, Any]) -> None:
    begun = opened()
    own = Settings(base_url=begun.base_url, key="k", organization=begun.organization, project=begun.project)
    assert recalled(begun).for_client_of(own) is begun
    with pytest.raises(ConfigurationError, match="was started with the"):
        recalled(begun).for_client_of(evolve(own, **changes))


@pytest.mark.parametrize(
    ("end", "ended"), [(None, "is past its time"), (EXPIRED, "is expired"), (CANCELLED, "is cancelled")]
)
def test_an_upload_that_cant_go_on_is_said_to_be_what_it_is(end: Record | None, ended: str) -> None:
    state = recalled(opened(), *filter(None, [end]))
    assert why_again(state, asked=False) == f"starting again: the earlier upload, upload_1, {ended}"
