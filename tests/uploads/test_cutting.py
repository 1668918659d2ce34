"""A batch is cut at its lines: pieces are whole lines, within the limits, and together they are the file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.uploads.jsonl.cutting import LineCutter, Piece, numbered
from asyncsdk.uploads.jsonl.rules import JsonlCheck


def request(number: int, **other: object) -> bytes:
    body = {"model": "m", **other}
    return json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/x", "body": body}).encode()


def cut(content: bytes, *, largest: int, most: int, block: int = 7, looks: bool = True) -> JsonlCheck:
    check = JsonlCheck("batch", len(content), cutter=LineCutter(largest, most), looks=looks)
    for at in range(0, len(content), block):
        check.feed(content[at : at + block])
    check.finish()
    return check


def pieces_of(content: bytes, check: JsonlCheck) -> Iterator[bytes]:
    assert check.cutter is not None
    for piece in check.cutter.pieces:
        yield content[piece.offset : piece.offset + piece.length]


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.integers(130, 400),
    st.integers(1, 9),
    st.integers(1, 300),
    st.sampled_from([b"", b"\n"]),
)
def test_pieces_are_whole_lines_and_together_they_are_the_file(
    lengths: list[int], largest: int, most: int, block: int, end: bytes
) -> None:
    content = b"\n".join(request(n, input="x" * length) for n, length in enumerate(lengths))
    content += end
    check = cut(content, largest=largest, most=most, block=block)
    assert not check.problems
    pieces = list(pieces_of(content, check))
    assert b"".join(pieces) == content
    for piece in pieces:
        assert len(piece) <= largest
        assert 1 <= len(piece.splitlines()) <= most
        assert all(json.loads(line) for line in piece.splitlines())
    for piece, following in itertools.pairwise(pieces):  # none is smaller than it need be
        first = following.splitlines(keepends=True)[0]
        assert len(piece.splitlines()) == most or len(piece) + len(first) > largest


def test_a_custom_id_in_two_pieces_is_found() -> None:
    content = b"\n".join(request(number % 5) for number in range(6))
    check = cut(content, largest=10**6, most=2)
    assert [str(problem) for problem in check.problems] == [
        "line 6: custom_id '0' is in line 1 too: each line needs an id of its own"
    ]


def test_a_line_that_is_larger_than_any_batch_is_found() -> None:
    content = b"\n".join([request(1), request(2, input="x" * 500), request(3)])
    check = cut(content, largest=300, most=9)
    assert [problem.line for problem in check.problems] == [2]
    assert "a batch may have 300" in check.problems[0].text


def test_inputs_of_embeddings_count_as_lines_do() -> None:
    lines = [
        json.dumps(
            {
                "custom_id": str(n),
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"model": "m", "input": ["a", "b"]},
            }
        ).encode()
        for n in range(6)
    ]
    check = cut(b"\n".join(lines), largest=10**6, most=5)
    assert check.cutter is not None
    assert [piece.lines for piece in check.cutter.pieces] == [2, 2, 2]


def test_without_looking_it_is_cut_all_the_same() -> None:
    content = b"no json\nat all\nhere"
    check = cut(content, largest=100, most=1, looks=False)
    assert list(pieces_of(content, check)) == [b"no json\n", b"at all\n", b"here"]
    assert check.cutter is not None
    assert check.cutter.pieces[1] == Piece(8, 7, 1)


@pytest.mark.parametrize(
    ("name", "number", "count", "called"),
    [
        ("a.jsonl", 1, 5, "a-1-of-5.jsonl"),
        ("d/a.b.jsonl", 3, 12, "d/a.b-03-of-12.jsonl"),
        ("a", 7, 100, "a-007-of-100"),
    ],
)
def test_names_are_numbered_and_sort(name: str, number: int, count: int, called: str) -> None:
    assert numbered(name, number, count) == called
