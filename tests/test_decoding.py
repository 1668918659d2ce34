"""Pictures in JSON become bytes while they come in, and everything else stays what it is."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncsdk.decoding import PictureCutter, with_pictures

OTHER_KEYS = st.text().filter(lambda key: key != "b64_json")  # which is a picture's, wherever it stands
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(OTHER_KEYS, inner),
)
NOTE = 'says "b64_json": "x" and ends in "b64_json'


def read(*chunks: bytes) -> Any:
    cutter = PictureCutter()
    for chunk in chunks:
        cutter.feed(chunk)
    return with_pictures(json.loads(cutter.rest), cutter.pictures)


def cut(whole: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(whole) + 1) for place in cuts), len(whole)]
    return [whole[start:end] for start, end in pairwise(edges)]


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@given(JSON, st.lists(st.binary(max_size=200), max_size=3), st.lists(st.integers(0)), st.sampled_from([None, 2]))
def test_only_pictures_change_however_the_bytes_are_cut(
    other: Any, contents: list[bytes], cuts: list[int], indent: int | None
) -> None:
    data = [{"b64_json": b64(content), "note": NOTE} for content in contents]
    body = json.dumps({"other": other, "data": data, NOTE: NOTE}, indent=indent).encode()
    assert read(*cut(body, cuts)) == {
        "other": other,
        "data": [{"content": content, "note": NOTE} for content in contents],
        NOTE: NOTE,
    }


@given(st.binary(max_size=50), st.lists(st.integers(0)), st.randoms())
def test_whatever_json_escapes_of_a_base64_text_is_understood(content: bytes, cuts: list[int], chance: Any) -> None:
    ways = [lambda c: c, lambda c: f"\\u{ord(c):04X}", lambda c: "\\/" if c == "/" else c]
    text = "".join(chance.choice(ways)(character) for character in b64(content))
    assert read(*cut(f'{{"b64_json" : \n "{text}"}}'.encode(), cuts)) == {"content": content}


@pytest.mark.parametrize("blanks", [0, 63, 64, 65, 1000])
def test_an_opening_with_many_blanks_is_one_too(blanks: int) -> None:
    body = b'{"b64_json":' + b" " * blanks + b'"eHl6"}'
    for size in (1, 7, 2000):
        assert read(*(body[start : start + size] for start in range(0, len(body), size))) == {"content": b"xyz"}


def test_a_key_that_is_written_with_escapes_is_that_key() -> None:
    assert read(b'{"b64\\u005fjson": "eHl6", "data": {"b64_json": "YQ=="}}') == {
        "content": b"xyz",
        "data": {"content": b"a"},
    }


def test_a_picture_that_is_not_there_stays_away() -> None:
    assert read(b'{"b64_json": null, "url": "x"}') == {"url": "x"}
    assert read(b'{"b64_json": ""}') == {"content": b""}


BAD = ["?", "abc", "YQ=", "YQ", "YQ==YQ==", "YWFhYQ==YWFh", "YQ== ", "=", "====", "a\\n", "a\\", "\\ud800", "\\u12"]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_base64_is_a_value_error(text: str) -> None:
    body = f'{{"b64_json": "{text}"}}'.encode()
    for size in (1, 4, 100):
        with pytest.raises(ValueError, match=r".+") as caught:
            read(*(body[start : start + size] for start in range(0, len(body), size)))
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("body", [b"", b"{", b'{"b64_json": "', b'{"b64_json": "eHl6', b'{"b64_json": "eHl6"'])
def test_what_is_cut_off_is_no_json(body: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        read(body)


QUADS = re.compile(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")  # RFC 4648, 4


@given(st.text("YQ=+/-_ \n", max_size=12), st.lists(st.integers(0)))
@example("QQQQ=", [3])
@example("QQQQ==", [])
@example("QQQQ====", [])
def test_base64_is_whole_quads_however_it_is_cut(text: str, cuts: list[int]) -> None:
    expected: Any = {"content": base64.b64decode(text)} if QUADS.fullmatch(text) else ValueError
    body = json.dumps({"b64_json": text}).encode()
    try:
        found: Any = read(*cut(body, cuts))
    except ValueError:
        found = ValueError
    assert found == expected


def test_the_text_is_never_held_whole() -> None:
    body = b'{"b64_json": "' + base64.b64encode(bytes(6 << 20)) + b'"}'
    cutter = PictureCutter()
    tracemalloc.start()
    for start in range(0, len(body) - 2, 1 << 16):
        cutter.feed(body[start : min(start + (1 << 16), len(body) - 2)])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 6.5 * (1 << 20)
    assert len(cutter.rest) < 100


def test_it_works_without_the_extra() -> None:
    program = f"""
import sys
sys.modules["pybase64"] = None
from tests.test_decoding import *
assert read(b'{{"b64_json": "eHl6"}}') == {{"content": b"xyz"}}
test_base64_is_whole_quads_however_it_is_cut()
for text in {BAD!r}:
    test_what_is_no_base64_is_a_value_error(text)
print("done")
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert told.stdout.strip() == "done", told.stderr
