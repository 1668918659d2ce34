"""Secrets are found in whatever a text makes of them, and words that are no secrets stay."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as some

from asyncsdk.redaction import Redactor, redactor, text_of
from tests.encodings import ENCODINGS

KEY = "sk-can/7f+3e=a~b9&c0d1'e2%f3"


def of_key(key: str = KEY) -> Redactor:
    return redactor({"Authorization": f"Bearer {key}"}, {}, {})


def of_header(name: str, value: str) -> Redactor:
    return redactor({name: value}, {}, {})


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("around", ["Incorrect key: {}.", '{{"error": {{"message": "bad {}", "{}": ["{}"]}}}}', "{}"])
def test_a_key_is_found_however_it_is_encoded(encode: Callable[[str], str], around: str) -> None:
    written = encode(KEY)
    cleaned = of_key().clean(around.format(written, written, written))
    assert "[key]" in cleaned
    assert not any(form(KEY)[:-4] in cleaned for form in ENCODINGS.values() if len(form(KEY)) < 200)


@given(
    some.text("aB1+/=%\"'&;#xu0~-", min_size=9, max_size=30),
    some.text('aB1%\\&" u', max_size=9),
    some.sampled_from(sorted(ENCODINGS)),
)
def test_whatever_a_key_is_made_of_it_is_in_no_decoded_answer(key: str, before: str, how: str) -> None:
    password = redactor({}, {"secret": key}, {})
    for text in (json.dumps({"message": f"{before} {key} {before}"}), f"{before} {key} {before}"):
        assert key not in password.clean(text)
    cleaned = password.clean(json.dumps({"message": f"x {ENCODINGS[how](key)} x"}))
    assert "[secret]" in cleaned


@pytest.mark.parametrize("text", ["1000000007", " 1000000007 ", '{"n": [1000000007]}', '{"1000000007": true}'])
def test_a_secret_of_digits_is_not_shown_as_a_number_either(text: str) -> None:
    known = redactor({}, {"secret": "1000000007"}, {})
    assert "1000000007" not in known.clean(text)


def test_the_numbers_of_a_successful_response_count_whatever_the_secrets_are() -> None:
    known = redactor({"X-Gateway-Token": "170001"}, {}, {})
    usage = {"total_tokens": 170001, "created": 1_700_012_345, "x": 1.70001}
    assert known.clean_answer({"usage": usage, "note": "170001"}) == {"usage": usage, "note": "[secret]"}


def test_what_the_answer_says_besides_stays_as_it_is() -> None:
    body = {"a": f"100 % of {KEY} ≠ ä \\ &", "n": [1, 2.5, None, True], KEY: {"b": "c%20d"}}
    assert json.loads(of_key().clean(json.dumps(body))) == {
        "a": "100 % of [key] ≠ ä \\ &",
        "n": [1, 2.5, None, True],
        "[key]": {"b": "c%20d"},
    }


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": "b%20c\\u00e4"}', "<p>&amp; 100%</p>", "[" * 100_000, "\\", "&#99999999;"]
)
def test_a_text_without_a_secret_is_left_alone(text: str) -> None:
    assert of_key().clean(text) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_body_in_another_encoding_is_read_as_json_readers_do(encoding: str) -> None:
    body = json.dumps({"message": KEY}).encode(encoding)
    assert KEY not in of_key().clean(text_of(body))


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("Authorization", "Bearer sk-abcdef1234", "sk-abcdef1234"),
        ("api-key", "0123456789", "0123456789"),
        ("X-Gateway-Key", "gw-SECRET-1", "gw-SECRET-1"),
        ("X-Auth-Token", "correct-horse-battery", "correct-horse-battery"),
        ("Cookie", "theme=dark; session=cook-SECRET-2", "cook-SECRET-2"),
        ("X-Other", "hdr-SECRET-3", "hdr-SECRET-3"),
        ("X-Other", "hdr-secret-3", "hdr-secret-3"),
        ("X-Other", "a1b2c3d4e5f6", "a1b2c3d4e5f6"),
        ("X-Signed", "Credential=AKIA99/x, Signature=0a1b2c3d4e", "0a1b2c3d4e"),
        ("Authorization", "Basic " + base64.b64encode(b"user-x1y:pr0xyPASS").decode(), "pr0xyPASS"),
        ("Authorization", "Basic " + base64.b64encode(b"user-x1y:pr0xyPASS").decode(), "user-x1y"),
        ("X-Password", "pässwört-1", "pässwört-1"),
    ],
)
def test_a_secret_header_is_known_and_each_piece_of_it(name: str, value: str, secret: str) -> None:
    for given_as in ({"headers": {name: value}}, {"query": {name: value}}, {"proxy": {name: value}}):
        known = redactor(**{"headers": {}, "query": {}, "proxy": {}} | given_as)
        for text in (secret, f"{name}: {value}", quote(secret), base64.b64encode(secret.encode()).decode()):
            assert secret not in known.clean(f"you sent '{text}'")
            assert known.clean(f"you sent '{text}'") != f"you sent '{text}'"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("User-Agent", "asyncsdk/1.0 (abc1DEF2)"),
        ("Accept", "application/json"),
        ("Content-Type", "multipart/form-data; boundary=0a1b2c3d4e5f"),
        ("OpenAI-Organization", "org-A1b2C3d4"),
        ("X-Client-Request-Id", "5f0c1b7e-9a"),
        ("api-version", "2026-01-31-preview"),
        ("after", "file-A1b2C3d4"),
        ("X-Team", "images"),
        ("X-Region", "us-east-1"),
        ("X-Model", "gpt-image-1"),
        ("X-Since", "2026-01-31"),
        ("X-Key", "ab"),
        ("Authorization", "Bearer upload"),
    ],
)
def test_what_is_no_secret_blanks_nothing(name: str, value: str) -> None:
    text = json.dumps({"id": "upload_1", "note": value.removeprefix("Bearer "), "purpose": "images/edits in table"})
    assert of_header(name, value).clean(text) == text


def test_a_secret_that_is_a_mere_word_is_known_beside_its_name() -> None:
    known = of_header("Authorization", "Bearer upload")
    assert known.clean("you sent Authorization: Bearer upload to upload") == "you sent [key] to upload"


def test_the_beginning_of_a_secret_at_the_end_of_a_cut_text_goes_too() -> None:
    assert of_key("sk-abcdef1234").clean_end("you sent sk-abcd") == "you sent [key]"
    assert of_key("sk-abcdef1234").clean_end("you sent sk-") == "you sent sk-"


def test_a_redactor_shows_no_secret_itself() -> None:
    assert KEY not in repr(of_key())


@pytest.mark.parametrize("piece", ["%41", "\\u0041", "&#65;", "&amp;", "&", "%", "\\", "a", '"', "[", "c2st"])
def test_no_text_holds_the_loop_up(piece: str) -> None:
    text = (piece * (1 << 20))[: 1 << 20]
    for given_text in (text, json.dumps({"error": {"message": text}})):
        begun = time.thread_time()
        of_key().clean(given_text)
        assert time.thread_time() - begun < 0.5
