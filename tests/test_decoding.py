"""Pictures in JSON become bytes while they come in, and everything else stays what it is."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncsdk.http.base64_json import Base64Extractor, is_data_url, picture_of
from asyncsdk.models import UnreadableImage
from asyncsdk.safe_json import cut_json, json_values

OTHER_KEYS = st.text().filter(lambda key: key != "b64_json")  # which is a picture's, wherever it stands
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(OTHER_KEYS, inner),
)
NOTE = 'says "b64_json": "x" and ends in "b64_json'


CUTS = st.lists(st.integers(0))
ESCAPES = st.dictionaries(st.sampled_from("/+=A:,"), st.just("")).map(
    lambda some: {character: "\\/" if character == "/" else f"\\u{ord(character):04X}" for character in some}
)


def read(*chunks: bytes) -> Any:
    """What is in the JSON, with the content of each picture in the place of its base64."""
    cutter = Base64Extractor()
    for chunk in chunks:
        cutter.feed(chunk)
    return put_back(json.loads(cutter.rest), cutter.pictures)


def put_back(value: Any, pictures: dict[str, bytes | UnreadableImage]) -> Any:
    if isinstance(value, list):
        return [put_back(item, pictures) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, item in value.items():
        is_picture = name == "b64_json" or (name == "url" and isinstance(item, str) and is_data_url(item))
        if is_picture and isinstance(item, str):
            found["content"] = picture_of(item, pictures)
        elif not is_picture:
            found[name] = put_back(item, pictures)
    return found


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


@given(st.text(st.sampled_from('ab"\\/n<')), CUTS)
def test_a_text_in_a_pictures_place_ends_at_its_quote_whatever_is_escaped_in_it(text: str, cuts: list[int]) -> None:
    found = read(*cut(json.dumps({"b64_json": f"<{text}", "next": 1}).encode(), cuts))
    assert found["next"] == 1
    assert found["content"].raw.decode() == f"<{text}"


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


BAD = ["?", "abcde", "YQ=", "YQ==YQ==", "YWFhYQ==YWFh", "YWFh?YWFh", "=", "====", "a\\n", "\\ud800", "<p>", "data:x"]


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_base64_is_kept_as_it_came(text: str) -> None:
    body = f'{{"b64_json": "{text}"}}'.encode()
    for size in (1, 4, 100):
        found = read(*(body[start : start + size] for start in range(0, len(body), size)))["content"]
        assert isinstance(found, UnreadableImage)
        assert found.raw == json.loads(f'"{text}"').encode("utf-8", "replace")
        assert found.reason


def test_a_page_in_the_place_of_a_picture_takes_nothing_from_the_next() -> None:
    page = '<html lang="en">\n<a href="\\">' * 3
    body = json.dumps([{"b64_json": page}, {"b64_json": b64(b"xyz")}]).encode()
    for size in (1, 2, 3, 7, 1000):
        first, second = read(*(body[start : start + size] for start in range(0, len(body), size)))
        assert isinstance(first["content"], UnreadableImage)
        assert second == {"content": b"xyz"}


@pytest.mark.parametrize("body", [b"", b"{", b'{"b64_json": "', b'{"b64_json": "eHl6', b'{"b64_json": "eHl6"'])
def test_what_is_cut_off_is_no_json(body: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        read(body)


QUADS = re.compile(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?")  # RFC 4648, 4


@given(st.text("YQ=+/-_ \n", max_size=12), st.lists(st.integers(0)))
@example("QQQQ=", [3])
@example("QQQQ==", [])
@example("QQQQ====", [])
def test_base64_is_whole_quads_however_it_is_cut(text: str, cuts: list[int]) -> None:
    plain = text.translate(str.maketrans("-_", "+/", " \n"))
    found = read(*cut(json.dumps({"b64_json": text}).encode(), cuts))["content"]
    if QUADS.fullmatch(plain):
        assert found == base64.b64decode(plain + "=" * (-len(plain) % 4))
    else:
        assert isinstance(found, UnreadableImage)


DRESSES: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "prefix": lambda text: f"data:image/png;base64,{text}",
    "long prefix": lambda text: f" DATA:image/svg+xml;charset=utf-8;name=x;BASE64,{text}",
    "lines": lambda text: "\r\n".join(text[start : start + 5] for start in range(0, len(text), 5)) + "\n",
    "no padding": lambda text: text.rstrip("="),
    "for URLs": lambda text: text.translate(str.maketrans("+/", "-_")),
    "all of it": lambda text: "data:;base64,\t" + " ".join(text.translate(str.maketrans("+/", "-_")).rstrip("=")),
}


@given(st.binary(max_size=60), st.sampled_from(sorted(DRESSES)), st.sampled_from(["b64_json", "url"]), CUTS, ESCAPES)
def test_base64_in_any_dress_is_the_same_bytes(
    content: bytes, dress: str, name: str, cuts: list[int], escape: dict[str, str]
) -> None:
    text = DRESSES[dress](b64(content))
    if name == "url" and not is_data_url(text):
        text = DRESSES["prefix"](text)
    written = "".join(escape.get(character, character) for character in json.dumps(text)[1:-1])
    assert read(*cut(f'[{{"{name}": "{written}", "n": 1}}]'.encode(), cuts)) == [{"content": content, "n": 1}]


@given(
    st.binary(min_size=6, max_size=60), st.sampled_from(sorted(DRESSES)), CUTS, st.integers(0), st.sampled_from("?*=é")
)
def test_what_is_broken_within_is_never_taken_for_something_else(
    content: bytes, dress: str, cuts: list[int], place: int, wrong: str
) -> None:
    text = b64(content)
    place %= len(text.rstrip("=")) - 1
    broken = DRESSES[dress](f"{text[:place]}{wrong}{text[place + 1 :]}")
    found = read(*cut(json.dumps({"b64_json": broken}).encode(), cuts))["content"]
    assert isinstance(found, UnreadableImage)


@given(st.lists(st.tuples(st.binary(max_size=300), st.sampled_from([*sorted(DRESSES), "page"])), max_size=3), CUTS)
def test_pictures_that_are_taken_while_they_come_are_the_same(
    pictures: list[tuple[bytes, str]], cuts: list[int]
) -> None:
    texts = [f"<{b64(content)}" if dress == "page" else DRESSES[dress](b64(content)) for content, dress in pictures]
    body = json.dumps([{"b64_json": text} for text in texts]).encode()
    whole, streamed = Base64Extractor(), Base64Extractor(streamed=True)
    taken = dict[str, bytes]()
    for chunk in cut(body, cuts):
        whole.feed(chunk)
        streamed.feed(chunk)
        for mark, piece in streamed.take():
            taken[mark] = taken.get(mark, b"") + piece
    assert streamed.rest == whole.rest
    assert streamed.pictures.keys() == whole.pictures.keys()
    for mark, content in whole.pictures.items():
        if isinstance(content, UnreadableImage):
            there = streamed.pictures[mark]
            assert isinstance(there, UnreadableImage)
            assert there.reason == content.reason
        else:
            assert (taken[mark], streamed.pictures[mark]) == (content, b"")


def test_blanks_before_a_picture_are_not_kept_nor_looked_at_again() -> None:
    extractor = Base64Extractor(streamed=True)
    began = time.process_time()
    tracemalloc.start()
    try:
        for chunk in (b'{"b64_json": "', *[b" " * (1 << 16)] * 128, b'QUJD"}'):
            extractor.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert extractor.take() == [("#0", b"ABC")]
    assert (peak < 1 << 20, time.process_time() - began < 1) == (True, True)


def test_a_picture_that_is_text_is_reported_where_pictures_are_taken_while_they_come() -> None:
    extractor = Base64Extractor(streamed=True)
    extractor.feed(b'{"url": "data:image/svg+xml,%3Csvg/%3E"}')
    [(mark, found)] = extractor.pictures.items()
    assert mark.encode() in extractor.rest
    assert isinstance(found, UnreadableImage)
    assert (extractor.take(), found.reason) == ([], "its data URL is not base64")


def test_a_picture_that_is_text_may_be_written_as_such() -> None:
    for text in ("data:image/svg+xml,%3Csvg/%3E", "data:image/svg+xml;utf8,<svg/>"):
        body = json.dumps({"url": text}).encode()
        for size in (1, 5, 100):
            assert read(*(body[start : start + size] for start in range(0, len(body), size))) == {"content": b"<svg/>"}


def test_an_address_is_not_a_picture() -> None:
    for text in ("https://x.example/data:a", "database", "data", ""):
        assert read(json.dumps({"url": text}).encode()) == {"url": text}


def test_a_picture_that_is_cut_off_is_kept_as_far_as_it_came() -> None:
    cutter = Base64Extractor()
    cutter.feed(b'{"created": 5, "data": [{"b64_json": "eHl6"}, {"n": 1, "b64_json": "eHl6eHl6e')
    cutter.close()
    value = cut_json(cutter.rest.decode())
    assert value == {"created": 5, "data": [{"b64_json": "#0"}, {"n": 1, "b64_json": "#1"}]}
    whole, cut_off = (picture_of(item["b64_json"], cutter.pictures) for item in value["data"])
    assert whole == b"xyz"
    assert cut_off == UnreadableImage(raw=b"xyzxyz", reason="it is cut off")


@given(JSON.filter(lambda value: isinstance(value, list | dict)), st.integers(0))
def test_json_that_is_cut_off_gives_the_members_that_are_whole(value: Any, place: int) -> None:
    text = json.dumps(value)
    found = cut_json(text[: place % len(text)])
    assert found is None or type(found) is type(value)
    assert_begins(found, value)


def assert_begins(found: Any, whole: Any) -> None:
    """All that was found is in the whole, too."""
    if isinstance(found, dict):
        assert set(found) <= set(whole)
        for name, item in found.items():
            assert_begins(item, whole[name])
    elif isinstance(found, list):
        for item, other in zip(found, whole, strict=False):
            assert_begins(item, other)
        assert len(found) <= len(whole)
    else:
        assert found in (None, whole)


def test_values_one_after_the_other_are_read_one_after_the_other() -> None:
    assert json_values('{"a": 1}\n[2] {"b": nonsense}') == ([{"a": 1}, [2]], '{"b": nonsense}')
    assert json_values("") == ([], "")
    assert json_values('{"a": Infinity, "b": NaN, "c": 1%s, "d": "\t"}' % ("0" * 5000)) == (
        [{"a": None, "b": None, "c": None, "d": "\t"}],
        "",
    )


def test_the_text_is_never_held_whole() -> None:
    body = b'{"b64_json": "' + base64.b64encode(bytes(6 << 20)) + b'"}'
    cutter = Base64Extractor()
    tracemalloc.start()
    for start in range(0, len(body) - 2, 1 << 16):
        cutter.feed(body[start : min(start + (1 << 16), len(body) - 2)])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 6.5 * (1 << 20)
    assert len(cutter.rest) < 100


def test_it_works_where_pybase64_could_not_be_compiled() -> None:
    program = f"""
import sys
sys.modules["pybase64._pybase64"] = None
from tests.test_decoding import *
import pybase64
assert "inactive" in pybase64.get_version()
assert read(b'{{"b64_json": "eHl6"}}') == {{"content": b"xyz"}}
test_base64_is_whole_quads_however_it_is_cut()
test_base64_in_any_dress_is_the_same_bytes()
for text in {BAD!r}:
    test_what_is_not_base64_is_kept_as_it_came(text)
print("done")
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert told.stdout.strip() == "done", told.stderr
