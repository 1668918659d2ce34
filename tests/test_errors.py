"""What a refusal says: the right class, the server's own words, and what to do next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from asyncsdk import errors
from asyncsdk.api import AT_URL
from asyncsdk.error_details import LONGEST_TEXT, shortened, wrong_address
from asyncsdk.errors import APIResponseValidationError, APIStatusError
from asyncsdk.http.decode import read_response, status_error
from asyncsdk.models import File


def refused(status: int, body: object = b"", **headers: str) -> APIStatusError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_error(status, CIMultiDict(named), content, request="GET /files/{file_id}")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (402, APIStatusError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (405, APIStatusError),
        (408, APIStatusError),
        (409, errors.ConflictError),
        (413, errors.PayloadTooLargeError),
        (418, APIStatusError),
        (422, errors.UnprocessableEntityError),
        (429, errors.RateLimitError),
        (500, errors.InternalServerError),
        (502, errors.InternalServerError),
        (529, errors.InternalServerError),
    ],
)
def test_each_status_has_its_class(status: int, kind: type[APIStatusError]) -> None:
    error = refused(status)
    assert type(error) is kind
    assert error.status_code == status
    assert str(error).startswith(f"GET /files/{{file_id}}: {status}")


@pytest.mark.parametrize(("status", "resumable"), [(400, False), (404, False), (408, True), (409, True), (500, True)])
def test_what_may_pass_later_is_resumable(status: int, *, resumable: bool) -> None:
    assert status_error(status, {}, b"", request="POST /uploads").resumable == resumable


def test_the_servers_words_are_all_there() -> None:
    error = refused(
        404,
        {
            "error": {"message": "No such File", "type": "invalid_request_error", "param": "id", "code": None},
            "detail": {"message": "No such File", "code": None},
        },
        X_Request_ID="req_1",
    )
    assert (error.type, error.param, error.code, error.request_id) == ("invalid_request_error", "id", None, "req_1")
    assert isinstance(error.body, dict)
    assert error.body["message"] == "No such File"
    assert str(error) == (
        "GET /files/{file_id}: 404: No such File. It is gone, expired, or belongs to another project. (request req_1)"
    )
    assert error.headers["x-request-id"] == "req_1"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>\n <h1>502 Bad\tGateway</h1>\n</html>", "<html> <h1>502 Bad Gateway</h1> </html>"),
        (b"upstream is gone", "upstream is gone"),
        (b'"a string"', "a string"),
        (b'{"error": "a string"}', "a string"),
        (b'{"error": null, "detail": "Not Found"}', '{"error": null, "detail": "Not Found"}'),
        (b'{"message": "bare", "code": 7}', "bare"),
        (b"[1, 2]", "[1, 2]"),
        (b"null", "null"),
        (b"\xff\xfe\x00", "\ufffd\ufffd\x00"),
        (b"[" * 100_000, "[" * 500),
    ],
)
def test_a_body_of_any_kind_is_quoted(body: bytes, said: str) -> None:
    assert f": {said}" in str(refused(502, body))


def test_an_empty_body_leaves_the_status() -> None:
    assert str(refused(502)) == "GET /files/{file_id}: 502"
    assert refused(502).body == ""


@pytest.mark.parametrize(("code", "read"), [(404, "404"), ("404", "404"), (None, None), (["a"], "['a']")])
def test_codes_are_text_whatever_the_server_makes_of_them(code: Any, read: str | None) -> None:
    assert refused(404, {"error": {"code": code, "message": "Resource not found"}}).code == read


@pytest.mark.parametrize("status", [400, 402, 403, 429])
@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached", "billing_not_active"])
def test_no_more_credit_is_neither_a_rate_limit_nor_a_fault_of_the_request(status: int, code: str) -> None:
    error = refused(status, {"error": {"message": "no more", "code": code, "type": "invalid_request_error"}})
    assert isinstance(error, errors.QuotaExceededError)
    assert not error.resumable


def test_a_request_is_named_once() -> None:
    said = {"error": {"message": "No. Include the request ID req_7.", "code": "moderation_blocked"}}
    error = status_error(400, {"x-request-id": "req_7"}, json.dumps(said).encode(), request="POST /images/edits")
    assert str(error).count("req_7") == 1
    assert error.request_id == "req_7"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_says_what_to_do_next(status: int) -> None:
    assert len(str(refused(status))) > 40


@given(st.integers(400, 599), st.binary())
def test_no_body_breaks_the_reading(status: int, body: bytes) -> None:
    assert refused(status, body).status_code == status


def read(body: bytes, model: type[Any] = File, status: int = 200) -> Any:
    return read_response(model, status, CIMultiDict({"X-Request-ID": "r"}), body, request="GET /x")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"id": "fi', b"[]", b"null", b'{"object": "file"}', b"[" * 100_000])
def test_an_answer_that_is_none_quotes_its_beginning(body: bytes) -> None:
    with pytest.raises(APIResponseValidationError, match=r"GET /x: the response \(200, no type\)") as caught:
        read(body)
    assert caught.value.request_id == "r"
    assert caught.value.body == body[:500].decode()
    assert caught.value.__cause__ is not None


def test_raw_bytes_are_an_answer_too() -> None:
    assert read(b"\x00\xff", bytes) == b"\x00\xff"


def test_every_error_is_one_of_ours_and_says_whether_to_go_on() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 25
    assert all(issubclass(kind, errors.AsyncSDKError) for kind in kinds)
    assert errors.APIConnectionError("lost").resumable
    assert not errors.CertificateError("no").resumable
    assert not refused(400).resumable
    assert refused(500).resumable


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    drawn = [line.split("─ ")[1].split()[0] for line in str(errors.__doc__).splitlines() if "─ " in line]
    assert sorted([*drawn, "AsyncSDKError"]) == sorted(kinds)


@pytest.mark.parametrize(
    "body", [b"<html>nginx</html>", b'{"error": {"code": "404", "message": "Resource not found"}}']
)
def test_a_404_from_elsewhere_asks_about_the_base_url(body: bytes) -> None:
    assert "Does the base URL lack a path" in str(status_error(404, {}, body, request="POST /uploads"))


def test_a_server_without_uploads_is_not_said_to_have_lost_one() -> None:
    body = b'{"error": {"message": "Resource not found"}}'
    said = str(status_error(404, {}, body, request="POST /uploads"))
    assert "It is gone" not in said
    assert "the way by one request: method='files' (--method files)" in said
    assert "It is gone" in str(status_error(404, {}, body, request="POST /uploads/{upload_id}/complete"))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_picture_that_is_not_at_its_url_says_nothing_of_keys_and_base_urls(status: int) -> None:
    for body in (b"<html>nginx</html>", b"", b"<Error><Code>AuthenticationFailed</Code></Error>"):
        said = str(status_error(status, {}, body, request=AT_URL))
        assert "lives 60 minutes" in said
        assert "base URL" not in said
        assert "key" not in said


def test_a_base_url_without_its_path_is_asked_about_where_the_server_says_that_there_is_no_such_url() -> None:
    body = b'{"error": {"message": "Invalid URL (POST /uploads)", "type": "invalid_request_error", "code": null}}'
    said = str(status_error(404, {}, body, request="POST /uploads"))
    assert "Does the base URL lack a path, such as /v1" in said
    assert "expired" not in said


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Invalid URL (POST /v1/v1/uploads)", "Is the path of the base URL right? It ends with /v1."),
        ("Invalid URL (POST /v1/files/uploads).", "Is the path of the base URL right? It ends with /v1."),
        ("Invalid URL (POST /v1/v1/uploads). It has /v1 twice.", ""),
        ("Invalid URL (POST /uploads). Let the base URL end with /v1.", ""),
    ],
)
def test_a_hint_at_the_base_url_does_not_contradict_what_the_server_says(message: str, hint: str) -> None:
    body = json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": None}}).encode()
    said = str(status_error(404, {}, body, request="POST /uploads"))
    assert "lack a path" not in said
    assert said.endswith(hint or message)


def test_what_may_be_wrong_with_an_address_does_not_contradict_it() -> None:
    assert "Does it lack a path, such as /v1" in wrong_address("http://127.0.0.1:8787")
    assert wrong_address("http://127.0.0.1:8787/v1/files").endswith("Is its path right? It ends with /v1.")


# Texts that are too long

LONG = "x" * 900_000


def texts_of(error: BaseException) -> list[str]:
    """All that the error shows or keeps, but for the headers, which come within aiohttp's limits."""
    kept = {name: value for name, value in vars(error).items() if name != "headers"}
    return [str(error), *error.args, *map(str, kept.values())]


@pytest.mark.parametrize(
    "body",
    [
        LONG.encode(),
        json.dumps({"error": LONG}).encode(),
        json.dumps({"error": {"message": LONG}}).encode(),
        json.dumps({"error": dict.fromkeys(("message", "type", "code", "param"), LONG)}).encode(),
        json.dumps({"error": {LONG: LONG, "message": [LONG], "type": {"a": LONG}}}).encode(),
        json.dumps(
            {"error": {"code": "moderation_blocked", "moderation_details": {"moderation_stage": LONG}}}
        ).encode(),
        json.dumps(
            {"error": {"code": "moderation_blocked", "moderation_details": {"categories": [LONG] * 9}}}
        ).encode(),
        b'{"error": {"code": "moderation_blocked", "moderation_details": {"categories": [%s]}}}'
        % b",".join([b"1"] * 9999),
    ],
)
@pytest.mark.parametrize("status", [400, 404, 429, 503])
def test_a_text_without_end_is_cut(status: int, body: bytes) -> None:
    error = status_error(status, {"x-request-id": LONG}, body, request="POST /uploads")
    assert max(map(len, texts_of(error))) <= 4 * LONGEST_TEXT
    assert len(str(error)) <= LONGEST_TEXT


def test_a_text_that_was_cut_says_how_long_it_was_and_keeps_the_advice() -> None:
    error = refused(401, {"error": {"message": LONG, "code": LONG, "param": "id"}}, X_Request_ID="req_1")
    assert "xxx… (900,000 characters)" in str(error)
    assert str(error).endswith("Check the key, and that it belongs to this server. (request req_1)")
    assert isinstance(error.body, dict)
    assert error.body.keys() == {"message", "code", "param"}
    assert error.code is not None
    assert error.code.endswith("x… (900,000 characters)")


def test_a_text_of_the_longest_length_is_whole() -> None:
    assert shortened("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
    assert shortened("x" * (LONGEST_TEXT + 1)).endswith("x… (8,193 characters)")
    assert len(shortened("x" * (LONGEST_TEXT + 1))) == LONGEST_TEXT


def test_what_could_not_be_read_is_cut_too() -> None:
    for body in (json.dumps({"id": 1, "filename": LONG}).encode(), json.dumps({"id": [LONG]}).encode()):
        with pytest.raises(APIResponseValidationError) as caught:
            read_response(File, 200, {"content-type": "text/html"}, body, request="GET /files/{file_id}")
        assert max(map(len, texts_of(caught.value))) <= LONGEST_TEXT


def test_what_breaks_a_rule_is_not_a_setting_and_the_ledger_is_not_the_journal() -> None:
    of_requests, of_storage = (errors.SourceError, errors.InvalidEditError), (errors.JournalError, errors.LedgerError)
    assert all(issubclass(kind, errors.InvalidRequestError) for kind in of_requests)
    assert issubclass(errors.InvalidRequestError, ValueError)
    assert not issubclass(errors.InvalidRequestError, errors.ConfigurationError)
    assert all(issubclass(kind, errors.StorageError) for kind in of_storage)
    assert not issubclass(errors.LedgerError, errors.JournalError)
    assert errors.LedgerError("x").resumable
    assert not errors.LedgerDamagedError("x").resumable
