"""A file's field on the wire, whatever its name is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk import ConfigurationError
from asyncsdk.http import multipart


def test_a_field_is_written_as_browsers_do() -> None:
    head = multipart.file_head("b", "image[]", filename='my "é"\r\n.png', mime_type="image/png")
    assert (
        head
        == (
            '--b\r\nContent-Disposition: form-data; name="image[]"; filename="my %22é%22%0D%0A.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        ).encode()
    )
    assert multipart.closing("b") == b"\r\n--b--\r\n"
    assert multipart.content_type("b") == "multipart/form-data; boundary=b"


@given(st.text())
def test_no_name_breaks_out_of_its_header(name: str) -> None:
    head = multipart.file_head("b", name, filename=name, mime_type="text/plain")
    assert head.count(b"\r\n") == 4
    assert head.count(b'"') == 4


def test_a_name_that_is_no_unicode_goes_too() -> None:
    assert b'filename="a?.png"' in multipart.file_head("b", "n", filename="a\udcff.png", mime_type="image/png")


@pytest.mark.parametrize("mime_type", ["", "image/png\r\nX-Y: z", "ünknown"])
def test_a_mime_type_must_fit_in_its_header(mime_type: str) -> None:
    with pytest.raises(ConfigurationError, match="not a MIME type"):
        multipart.file_head("b", "n", filename="f", mime_type=mime_type)


def test_a_text_goes_bare_as_httpx_writes_it() -> None:
    part = multipart.text_part("b", "prompt", "a é beret\r\nin red\udcff")
    assert part == '--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na é beret\r\nin red?\r\n'.encode()


def test_what_is_nested_is_named_by_its_way_and_what_is_none_stays_away() -> None:
    fields = {
        "n": 2,
        "stream": True,
        "moderate": False,
        "user": None,
        "ratio": 0.5,
        "svg": {"model": "m", "reasoning": {"effort": "low", "budget": None}},
        "tags": ["a", ("b", "c"), {"d": 1}, None],
        "none": {},
    }
    assert multipart.flattened(fields) == [
        ("n", "2"),
        ("stream", "true"),
        ("moderate", "false"),
        ("ratio", "0.5"),
        ("svg[model]", "m"),
        ("svg[reasoning][effort]", "low"),
        ("tags[]", "a"),
        ("tags[][]", "b"),
        ("tags[][]", "c"),
        ("tags[][d]", "1"),
    ]


def test_boundaries_are_new_each_time() -> None:
    assert len({multipart.new_boundary() for _ in range(100)}) == 100
