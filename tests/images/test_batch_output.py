"""The files of a batch are read line by line while they come, with their pictures in pieces, whatever is wrong."""

from __future__ import annotations

import base64
import json
import random
import tracemalloc
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.images.batch import output
from asyncsdk.images.batch.output import OutputLine, OutputReader, PictureBytes

Read = tuple[OutputLine, list[bytes]]
CHUNK = 1 << 16


def line(custom_id: str, *pictures: bytes, **changes: Any) -> bytes:
    data = [{"b64_json": base64.b64encode(picture).decode()} for picture in pictures]
    response = {"status_code": 200, "request_id": "req_1", "body": {"created": 1, "data": data}}
    return json.dumps(
        {"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": None, **changes}
    ).encode()


def read(content: bytes, size: int = CHUNK) -> list[Read]:
    """The lines of a file, each with the pictures that came before it."""
    return list(read_chunks(content[start : start + size] for start in range(0, len(content), size)))


def read_chunks(chunks: Iterable[bytes]) -> Iterator[Read]:
    reader, pictures = OutputReader(), defaultdict[int, bytes](bytes)
    for chunk in chunks:
        for event in reader.feed(chunk):
            if isinstance(event, PictureBytes):
                pictures[event.index] += event.content
            else:
                yield event, [pictures[index] for index in sorted(pictures)]
                pictures.clear()
    for last in reader.close():
        yield last, [pictures[index] for index in sorted(pictures)]


@given(
    st.lists(st.lists(st.binary(min_size=1, max_size=300), max_size=3), min_size=1, max_size=5),
    st.integers(1, 400),
    st.sampled_from([b"", b"\n"]),
)
def test_every_line_and_picture_comes_wherever_the_chunks_are_cut(
    rows: list[list[bytes]], size: int, end: bytes
) -> None:
    lines = [line(f"c{number}", *pictures) for number, pictures in enumerate(rows)]
    content = b"\n".join(lines) + end
    found = read(content, size)
    assert [pictures for _, pictures in found] == rows
    assert [json.loads(each.text)["custom_id"] for each, _ in found] == [f"c{number}" for number in range(len(rows))]
    assert [content[each.start : each.start + each.length] for each, _ in found] == lines
    assert [each.number for each, _ in found] == list(range(1, len(rows) + 1))
    assert [each.is_ended for each, _ in found] == [True] * (len(rows) - 1) + [bool(end)]
    for each, pictures in found:
        assert [(one.size, one.problem) for one in each.pictures] == [(len(picture), None) for picture in pictures]
        marks = [item["b64_json"] for item in json.loads(each.text)["response"]["body"]["data"]]
        assert marks == [one.mark for one in each.pictures]


@pytest.mark.parametrize("at", [60, 150, 200, 300])
def test_a_line_that_is_cut_is_read_as_far_as_it_goes_and_the_next_one_whole(at: int) -> None:
    first, second = random.Random(1).randbytes(60), b"whole"
    whole = line("cut", first)
    assert len(whole) > 230
    [(cut, pictures), (next_line, others)] = read(whole[:at] + b"\n" + line("next", second) + b"\n", 7)
    assert cut.text.startswith(b'{"id": "batch_req_1", "custom_id": "cut"')
    assert (others, next_line.number) == ([second], 2)
    if cut.pictures and at < 230:
        assert cut.pictures[0].problem == "it is cut off"
        assert first.startswith(pictures[0] if pictures else b"")


def test_a_file_that_ends_in_the_middle_of_a_picture_says_so() -> None:
    [(last, [begun])] = read(line("a", bytes(3000))[:2000])
    assert (last.is_ended, last.pictures[0].problem) == (False, "it is cut off")
    assert bytes(3000).startswith(begun)
    assert len(begun) == last.pictures[0].size > 1000


def test_what_is_not_base64_is_said_and_costs_the_other_picture_nothing() -> None:
    good = base64.b64encode(b"good" * 100).decode()
    data = [{"b64_json": "A" * 4000 + "<html>" + "B" * 4000}, {"b64_json": good}]
    content = json.dumps({"custom_id": "a", "response": {"status_code": 200, "body": {"data": data}}}).encode()
    [(found, pictures)] = read(content + b"\n", 1000)
    assert [one.problem is None for one in found.pictures] == [False, True]
    assert pictures[1] == b"good" * 100
    assert found.length == len(content)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n\t\n"])
def test_blank_lines_are_no_lines(content: bytes) -> None:
    assert read(content) == []
    [(found, _)] = read(content + line("a"))
    assert found.number == content.count(b"\n") + 1


@pytest.mark.parametrize("content", [b"not JSON", b"\xff\xfe\0", b"[]", b"{", b'"b64_json":"'])
def test_what_is_not_a_response_is_a_line_all_the_same(content: bytes) -> None:
    [(found, _), (after, _)] = read(content + b"\n" + line("a") + b"\n", 3)
    assert (found.length, after.number) == (len(content), 2)


def test_a_picture_whose_custom_id_comes_later_is_handed_out_before() -> None:
    content = json.dumps({"response": {"body": {"data": [{"b64_json": "QUJD"}]}}, "custom_id": "late"}).encode()
    [(found, pictures)] = read(content, 5)
    assert (pictures, json.loads(found.text)["custom_id"]) == ([b"ABC"], "late")


def test_a_text_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LONGEST_TEXT", 1000)
    chunks = [b'{"custom_id": "a", "x": "', *[b"x" * 500] * 50, b'"}\n', line("b"), b"\n"]
    (long, _), (after, _) = read_chunks(chunks)
    assert long.problem == "a text in it is larger than 1000 bytes"
    assert len(long.text) == 1000
    assert json.loads(after.text)["custom_id"] == "b"


def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    picture = base64.b64encode(random.Random(1).randbytes(3 << 20))
    head = b'{"id": "batch_req_1", "custom_id": "c", "response": {"status_code": 200, "body": {"data": ['
    tail = b']}}, "error": null}\n'
    one = b'{"b64_json": "' + picture + b'"}'
    whole = head + b", ".join([one] * 4) + tail
    reader, lines, size = OutputReader(), 0, 0
    tracemalloc.start()
    try:
        for _ in range(12):  # 200 MB
            for start in range(0, len(whole), CHUNK):
                for event in reader.feed(whole[start : start + CHUNK]):
                    if isinstance(event, PictureBytes):
                        size += len(event.content)
                    else:
                        lines += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (lines, size) == (12, 12 * 4 * (3 << 20))
    assert peak < 2 << 20
