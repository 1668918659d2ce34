"""Pictures in JSON become bytes, and everything else stays what it is."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.decoding import base64_bytes, images_json

LEAVES = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(JSON, st.lists(st.binary(max_size=40), max_size=3))
def test_only_pictures_change(other: Any, contents: list[bytes]) -> None:
    data = [{"b64_json": base64.b64encode(content).decode(), "note": 'says "b64_json": "x"'} for content in contents]
    found = images_json(json.dumps({"data": data, "other": other}).encode())
    assert [item["content"] for item in found["data"]] == contents
    assert all(item["note"] == 'says "b64_json": "x"' for item in found["data"])
    assert found["other"] == other or "b64_json" in json.dumps(other)


def test_slashes_that_are_escaped_and_spaces_are_borne() -> None:
    content = b"\xff\xff\xff?"
    text = base64.b64encode(content).decode().replace("/", "\\/")
    assert images_json(f'{{"b64_json" : \n "{text}"}}'.encode()) == {"content": content}


def test_a_picture_that_is_not_there_stays_away() -> None:
    assert images_json(b'{"b64_json": null, "url": "x"}') == {"url": "x"}


@pytest.mark.parametrize("body", [b'{"b64_json": "?"}', b'{"b64_json": "abc"}', b"{", b'{"b64_json": "'])
def test_what_is_wrong_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        images_json(body)


def test_it_works_without_the_extra() -> None:
    program = (
        "import sys; sys.modules['pybase64'] = None; from asyncsdk.decoding import *; print(base64_bytes(b'eHl6'))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "b'xyz'"
    assert base64_bytes(b"eHl6") == b"xyz"
