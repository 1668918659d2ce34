"""Edits as lines of input files: what is in a line, the `custom_id` that leads back, and how files are cut."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk import ImageEdit, ImageRef, InvalidEditError
from asyncsdk.images.batch.cutting import LARGEST_FILE, BatchPart, Cutter, expected_output
from asyncsdk.images.batch.requests import custom_id_of, is_custom_id, line_of, require_batchable
from asyncsdk.images.edit import EDIT_FIELDS
from asyncsdk.server.batches.lines import InputCheck
from tests import document

REF = ImageRef(file_id="file-1")
MODEL = "gpt-image-2.6"

items = st.builds(
    lambda content, ordinal: f"{hashlib.sha256(content).hexdigest()}#{ordinal}", st.binary(), st.integers(0, 36**6 - 1)
)


def edit(**fields: Any) -> ImageEdit:
    return ImageEdit(**{"image": "otter.png", "prompt": "a beret", "model": MODEL, **fields})


def body_of(an_edit: ImageEdit, **more: Any) -> Any:
    return json.loads(line_of(an_edit, "id", images=[REF], **more))["body"]


def test_a_line_is_the_edit_by_reference_and_nothing_that_was_not_set() -> None:
    line = line_of(edit(id="mine", line=7), "abc", images=[REF, ImageRef(file_id="file-2")])
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "custom_id": "abc",
        "method": "POST",
        "url": "/v1/images/edits",
        "body": {
            "model": MODEL,
            "prompt": "a beret",
            "images": [{"file_id": "file-1"}, {"file_id": "file-2"}],
        },
    }


def test_every_field_that_is_sent_directly_is_in_its_line() -> None:
    values: dict[type, Any] = {str: "x", int: 3, dict: {}}
    names = [name for name, about in EDIT_FIELDS.items() if about.sent and name not in {"stream", "partial_images"}]
    fields = {name: values.get(EDIT_FIELDS[name].kind, {"model": "x"}) for name in names if name != "model"}
    whole = edit(**fields, extra={"new": [1]})
    expected = fields | {"model": MODEL, "new": [1], "images": [{"file_id": "file-1"}], "mask": {"file_id": "file-m"}}
    assert body_of(whole, mask=ImageRef(file_id="file-m")) == expected


@pytest.mark.skipif(not document.PATH.exists(), reason="OpenAI's document is not part of this repository")
def test_a_line_keeps_to_the_document() -> None:
    body = body_of(edit(n=2, size="1024x1024", quality="high", output_format="webp"), mask=REF)
    assert list(document.validator("EditImageBodyJsonParam").iter_errors(body)) == []


@given(st.text(st.characters(), min_size=1))
def test_a_line_is_one_line_of_ascii_whatever_is_in_it(prompt: str) -> None:
    line = line_of(edit(prompt=prompt), "id", images=[REF])
    assert line.isascii()
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line)["body"]["prompt"] == prompt


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"model": None}, "^model: the edits of a batch need one"),
        ({"model": "dall-e-2"}, "^model: batches do not take dall-e-2"),
        ({"stream": True}, "^stream: a batch has no streams"),
        ({"partial_images": 2}, "^partial_images: a batch has no streams"),
        ({"extra": {"stream": True}}, "^stream: a batch has no streams"),
        ({"extra": {"model": "gpt-image-1"}}, "^model: it is in extra="),
        ({"markup": "marks.png"}, "^markup: in a batch pictures are references"),
    ],
    ids=str,
)
def test_what_a_batch_can_not_have_is_refused_before_anything_is_sent(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidEditError, match=f"{why}.*Nothing was sent.$"):
        require_batchable(edit(**fields))
    with pytest.raises(InvalidEditError):
        line_of(edit(**fields), "id", images=[REF])


def test_what_is_false_is_left_out() -> None:
    assert "stream" not in body_of(edit(stream=False, partial_images=0))


@given(items, st.integers(1, 36**6 - 1))
def test_a_custom_id_has_40_plain_characters_that_begin_with_the_digest_of_its_edit(item: str, attempt: int) -> None:
    text = custom_id_of(item, attempt)
    assert re.fullmatch("[a-z0-9-]{40}", text)
    assert text.startswith(item[:26])
    assert is_custom_id(text)


@given(st.lists(st.tuples(items, st.integers(1, 100)), unique=True, max_size=20))
def test_no_two_have_the_same_custom_id(pairs: list[tuple[str, int]]) -> None:
    assert len({custom_id_of(*pair) for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("text", ["", "request-1", "A" * 40, "a" * 40, custom_id_of("a" * 64 + "#0", 1) + "\n"])
def test_a_custom_id_of_others_is_not_taken_for_ours(text: str) -> None:
    assert not is_custom_id(text)


def test_files_are_cut_by_lines_by_bytes_and_by_what_comes_back() -> None:
    cutter = Cutter(most_lines=2, largest_output=100)
    placed = [cutter.place(MODEL, size, output) for size, output in ((10, 10), (10, 10), (10, 10), (10, 91), (10, 1))]
    assert [part.number for part, _ in placed] == [0, 0, 1, 2, 2]
    assert [full for _, full in placed] == [
        None,
        None,
        BatchPart(0, MODEL, 2, 20, 20),
        BatchPart(1, MODEL, 1, 10, 10),
        None,
    ]
    assert cutter.rest() == [BatchPart(2, MODEL, 2, 20, 92)]
    assert cutter.rest() == []

    large = Cutter()
    assert [large.place(MODEL, LARGEST_FILE // 2, 1)[0].number for _ in range(3)] == [0, 0, 1]

    small = Cutter(largest_file=100)
    assert [small.place(MODEL, size, 1)[0].number for size in (60, 40, 1, 500, 1)] == [0, 0, 1, 2, 3]


def test_each_model_has_files_of_its_own() -> None:
    cutter = Cutter(most_lines=2, first=7)
    models = ["a", "b", "a", "a", "b"]
    assert [cutter.place(model, 1, 1)[0].number for model in models] == [7, 8, 7, 9, 8]
    assert [(part.number, part.model, part.lines) for part in cutter.rest()] == [(8, "b", 2), (9, "a", 1)]


def test_one_edit_above_the_output_that_is_wanted_has_a_file_of_its_own() -> None:
    cutter = Cutter(largest_output=10)
    assert [cutter.place(MODEL, 1, 50)[0].number for _ in range(3)] == [0, 1, 2]


def test_a_line_that_no_file_takes_is_refused() -> None:
    with pytest.raises(InvalidEditError, match=r"200,000,001 bytes.*200,000,000 at most.*Nothing was sent"):
        Cutter().place(MODEL, LARGEST_FILE + 1, 1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, LARGEST_FILE), st.integers(1, 2**31)), max_size=60))
def test_no_file_is_above_a_limit_and_none_is_lost(rows: list[tuple[str, int, int]]) -> None:
    cutter = Cutter(most_lines=5)
    full = [part for row in rows if (part := cutter.place(*row)[1]) is not None]
    parts = full + cutter.rest()
    assert sum(part.lines for part in parts) == len(rows)
    assert len({part.number for part in parts}) == len(parts)
    for part in parts:
        assert part.lines <= 5
        assert part.size <= LARGEST_FILE
        assert part.output <= 2**30 or part.lines == 1


def test_what_comes_back_is_counted_by_pixels_and_pictures() -> None:
    assert expected_output(edit()) == 3 << 20
    assert expected_output(edit(size="auto", n=4)) == 12 << 20
    assert expected_output(edit(size="3840x2160", n=2)) == 2 * 3840 * 2160 * 3


def test_the_server_takes_the_lines() -> None:
    check = InputCheck("/v1/images/edits")
    for number in range(3):
        check.take(line_of(edit(), custom_id_of(f"{'a' * 64}#{number}", 1), images=[REF]).rstrip(b"\n"))
    check.finish()
    assert (check.refusals, check.total, check.model) == ([], 3, MODEL)
