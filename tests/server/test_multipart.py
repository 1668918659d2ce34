"""A form comes out the same however the network cuts it, and nothing but a form is taken for one."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asyncsdk.server.multipart import (
    HEADERS_LIMIT,
    Field,
    FormParser,
    MultipartError,
    boundary_of,
    overhang,
    parse_headers,
)

Part: TypeAlias = tuple[Field, bytes]

BOUNDARY = b"x-Y.z"
DELIMITER = b"\r\n--" + BOUNDARY
OCTETS = "application/octet-stream"

names = st.text("abyzABYZ019", min_size=1)
fields = st.builds(Field, names, st.none() | names, st.sampled_from([None, "text/plain", OCTETS]))
tricky = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--", DELIMITER[:-1], DELIMITER[2:], b"\r\n--x", b"\x00"])
    | st.binary(max_size=9)
).map(b"".join)
contents = tricky.filter(lambda content: DELIMITER not in content)
forms = st.lists(st.tuples(fields, contents), min_size=1, max_size=4)


def written(parts: list[Part], preamble: bytes = b"", epilogue: bytes = b"") -> bytes:
    body = preamble + b"\r\n" if preamble else b""
    for field, content in parts:
        filename = "" if field.filename is None else f'; filename="{field.filename}"'
        body += b"--" + BOUNDARY + f'\r\nContent-Disposition: form-data; name="{field.name}"{filename}'.encode()
        body += b"" if field.content_type is None else f"\r\nContent-Type: {field.content_type}".encode()
        body += b"\r\n\r\n" + content + b"\r\n"
    return body + b"--" + BOUNDARY + b"--" + epilogue


def read(chunks: list[bytes], boundary: bytes = BOUNDARY) -> tuple[list[Part], bool]:
    parser = FormParser(boundary)
    parts: list[Part] = []
    for chunk in chunks:
        for event in parser.feed(chunk):
            if isinstance(event, Field):
                parts.append((event, b""))
            else:
                parts[-1] = (parts[-1][0], parts[-1][1] + event)
    return parts, parser.complete


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@given(forms, tricky, tricky, st.lists(st.integers(min_value=0)))
def test_a_form_comes_out_the_same_however_it_is_cut(
    parts: list[Part], preamble: bytes, epilogue: bytes, places: list[int]
) -> None:
    assume(DELIMITER not in b"\r\n" + preamble)
    assert read(cut(written(parts, preamble, epilogue), places)) == (parts, True)


@given(forms)
def test_a_form_comes_out_the_same_byte_by_byte(parts: list[Part]) -> None:
    assert read([bytes([byte]) for byte in written(parts)]) == (parts, True)


@given(forms, st.integers(min_value=0))
def test_a_form_that_ends_early_is_not_complete(parts: list[Part], place: int) -> None:
    body = written(parts)
    assert not read([body[: place % len(body)]])[1]


@given(st.lists(tricky | st.just(b"--" + BOUNDARY + b"\r\n") | st.just(b"content-disposition: form-data\r\n\r\n")))
def test_whatever_comes_is_a_form_or_a_multipart_error(chunks: list[bytes]) -> None:
    parser = FormParser(BOUNDARY)
    with suppress(MultipartError):
        for chunk in chunks:
            assert all(isinstance(event, Field | bytes) for event in parser.feed(chunk))


@given(tricky)
def test_any_headers_are_a_field_or_a_multipart_error(block: bytes) -> None:
    for headers in (block, b"Content-Disposition: form-data; name=a" + block):
        with suppress(MultipartError):
            assert isinstance(parse_headers(headers), Field)


@given(tricky, st.integers(min_value=1, max_value=len(DELIMITER) - 1))
def test_what_may_be_the_beginning_of_a_delimiter_is_held_back(data: bytes, length: int) -> None:
    assert overhang(data + DELIMITER[:length], DELIMITER) == length


def test_a_chunk_without_a_delimiter_is_not_copied() -> None:
    parser = FormParser(BOUNDARY)
    parser.feed(b"--" + BOUNDARY + b'\r\ncontent-disposition: form-data; name="data"\r\n\r\n')
    chunk = bytes(1000)
    assert parser.feed(chunk)[0] is chunk


def test_the_line_of_a_boundary_may_end_in_blanks() -> None:
    body = b"--x \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--"
    assert read([body], b"x") == ([(Field("a"), b"1")], True)


@pytest.mark.parametrize(
    ("block", "field"),
    [
        (b'Content-Disposition: form-data; name="data"', Field("data")),
        (b"content-disposition:form-data;name=data", Field("data")),
        (b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="d"', Field("d", None, "text/plain")),
        (b'Content-Disposition: form-data; filename="a b"; name="d"', Field("d", "a b")),
        (b'Content-Disposition: form-data; name="d"; filename=""', Field("d", "")),
        (b'Content-Disposition: form-data; name="d"; filename="a\\"b;c"', Field("d", 'a"b;c')),
        ('Content-Disposition: form-data; name="d"; filename="é.txt"'.encode(), Field("d", "é.txt")),
        (b"Content-Disposition: form-data; name=d; filename*=utf-8''%C3%A9.txt", Field("d", "é.txt")),
        (b'Content-Disposition: form-data; name="d"; filename="../../etc/passwd"', Field("d", "../../etc/passwd")),
    ],
)
def test_headers_are_read_as_clients_write_them(block: bytes, field: Field) -> None:
    assert parse_headers(block) == field


UNDECODABLE = ["a\0''x", "undefined''x", "idna''%41.."]


@pytest.mark.parametrize("parameter", [*(f"*={text}" for text in UNDECODABLE), f"*{'9' * 5000}*=x"])
def test_a_parameter_that_is_not_in_the_encoding_it_names_is_refused(parameter: str) -> None:
    for disposition in (f"form-data; name{parameter}", f"form-data; name=d; filename{parameter}"):
        with pytest.raises(MultipartError):
            parse_headers(f"Content-Disposition: {disposition}".encode())
    with pytest.raises(MultipartError):
        boundary_of(f"multipart/form-data; boundary{parameter}")


def test_a_parameter_that_only_some_pythons_can_decode_is_read_or_refused() -> None:
    name = "name*=punycode''a-%ff"  # 3.13 replaces what it can't read, 3.11 and 3.12 raise
    try:
        read = parse_headers(f"Content-Disposition: form-data; {name}".encode())
    except MultipartError:
        return
    assert read.name.startswith("a")


@pytest.mark.parametrize(
    "body",
    [
        b"--x\r\n\r\n1\r\n--x--",
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
        b"--x\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--x--",
        b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\n1\r\n--x--",
        b"--xy\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--xy--",
        b"--x" + b" " * 300,
        b"--x\r\nA: " + b"b" * HEADERS_LIMIT,
        b"--x\r\nA: " + b"b" * HEADERS_LIMIT + b"\r\n\r\n",
    ],
)
def test_what_breaks_the_rules_is_refused(body: bytes) -> None:
    with pytest.raises(MultipartError):
        read([body], b"x")


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b:c"', b"a b:c"),
    ],
)
def test_the_boundary_is_found_in_the_content_type(header: str, boundary: bytes) -> None:
    assert boundary_of(header) == boundary


@pytest.mark.parametrize(
    "header",
    [
        "",
        "application/json",
        "multipart/mixed; boundary=a",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=é",
        "multipart/form-data; boundary=" + "a" * 201,
    ],
)
def test_a_content_type_without_a_usable_boundary_is_refused(header: str) -> None:
    with pytest.raises(MultipartError):
        boundary_of(header)
