"""What each kind of line of a batch means for its edit and for money, and what it means that there is none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk import (
    Batch,
    BatchRequestCounts,
    ChargeUnknownError,
    EditError,
    ImageEdit,
    ImageRef,
    ModerationBlockedError,
)
from asyncsdk.images.batch import output
from asyncsdk.images.batch.output import OutputLine, OutputReader, PictureBytes
from asyncsdk.images.batch.requests import custom_id_of, line_of
from asyncsdk.images.batch.tally import Tally
from asyncsdk.images.batch.verdicts import LineVerdict, verdict_of, verdict_of_none
from asyncsdk.images.billing import is_fatal_for_run, problem_of
from asyncsdk.models import from_json
from asyncsdk.redaction import redactor
from asyncsdk.server import Fault, LocalServer
from tests.server.batches import file_of, reached, vision_file, written
from tests.server.support import Caller, calling

Json = dict[str, Any]

USAGE = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
PICTURE = {"b64_json": base64.b64encode(b"picture").decode()}
BAD = {"b64_json": "<html>no picture</html>"}


def response(status: object = 200, body: object = None, **more: Any) -> Json:
    return {"response": {"status_code": status, "request_id": "req_7", "body": body, **more}, "error": None}


def images(*data: object, **more: Any) -> Json:
    return {"created": 1, "data": list(data), "size": "1024x1024", "usage": USAGE, **more}


def refusal(code: str | None = None, kind: str = "invalid_request_error", **more: Any) -> Json:
    return {"error": {"message": "No.", "type": kind, "param": None, "code": code}, **more}


def line_in(content: bytes) -> OutputLine:
    reader = OutputReader()
    [line] = [each for each in (*reader.feed(content), *reader.close()) if isinstance(each, OutputLine)]
    return line


def verdict(fields: Json, **options: Any) -> LineVerdict:
    content = json.dumps({"id": "batch_req_1", "custom_id": "mine", **fields}).encode() + b"\n"
    return verdict_of(line_in(content), **options)


BLOCKED = refusal("moderation_blocked", "image_generation_user_error")

# what is in the line, how its edit ended, and whether the line is to be kept since it may be paid and is not whole
LINES: list[tuple[str, Json, str, bool]] = [
    ("a picture", response(200, images(PICTURE)), "done", False),
    ("a picture, the status as a text", response("200", images(PICTURE)), "done", False),
    ("a picture and no status", response(None, images(PICTURE)), "done", False),
    ("a picture beside an error", response(200, images(PICTURE)) | {"error": {"code": "x"}}, "done", False),
    ("a picture with the status of an error", response(500, images(PICTURE)), "done", False),
    ("two pictures, one broken", response(200, images(PICTURE, BAD)), "done", True),
    ("a picture that is broken", response(200, images(BAD)), "uncertain", True),
    ("a broken picture with the status of an error", response(500, {"data": [BAD]}), "uncertain", True),
    ("a picture within an error", response(500, refusal() | {"last": PICTURE}), "uncertain", True),
    ("no pictures", response(200, images()), "uncertain", True),
    ("no data", response(200, {"created": 1}), "uncertain", True),
    ("a page", response(200, "<html>busy</html>"), "uncertain", True),
    ("an empty body", response(200, None), "uncertain", True),
    ("an error in a 200", response(200, refusal("moderation_blocked")), "refused", False),
    ("an error in a 200 that is busy", response(200, refusal("rate_limit_exceeded")), "failed", False),
    ("moderation", response(400, BLOCKED), "refused", False),
    ("bad input", response(400, refusal("invalid_value")), "refused", False),
    ("too large", response(413, refusal()), "refused", False),
    ("not processable", response(422, refusal()), "refused", False),
    ("a 400 of something else", response(400, "<html>"), "failed", False),
    ("no access", response(401, refusal("invalid_api_key")), "failed", False),
    ("not allowed", response(403, refusal()), "failed", False),
    ("the picture is gone", response(404, refusal()), "failed", False),
    ("the model is gone", response(404, refusal("model_not_found")), "failed", False),
    ("too slow", response(408, refusal()), "uncertain", True),
    ("a conflict", response(409, refusal()), "uncertain", True),
    ("busy", response(429, refusal("rate_limit_exceeded")), "failed", False),
    ("no money", response(429, refusal("insufficient_quota")), "failed", False),
    ("an error of the server", response(500, refusal(kind="server_error")), "failed", False),
    ("a gateway", response(502, "<html>Bad Gateway</html>"), "failed", False),
    ("away", response(503, None), "failed", False),
    ("an error of the server that cost", response(500, refusal(usage=USAGE)), "uncertain", True),
    ("a refusal that cost", response(400, BLOCKED | {"usage": USAGE}), "uncertain", True),
    ("a refusal that cost nothing", response(400, BLOCKED | {"usage": USAGE | {"total_tokens": 0}}), "refused", False),
    ("an error of the server that cost, beside it", response(500, refusal(), usage=USAGE), "uncertain", True),
    ("a refusal that cost, in its line", response(400, BLOCKED) | {"usage": USAGE}, "uncertain", True),
    ("a refusal that cost, without a sum", response(400, BLOCKED | {"usage": {"output_tokens": 7}}), "uncertain", True),
    ("no response, and a cost", {"response": None, "error": {"code": "x", "usage": USAGE}}, "uncertain", True),
    ("expired", {"response": None, "error": {"code": "batch_expired", "message": "Too late."}}, "failed", False),
    ("cancelled", {"response": None, "error": {"code": "batch_cancelled", "message": "Over."}}, "failed", False),
    ("no response", {"response": None, "error": {"code": "request_timeout", "message": "Late."}}, "failed", False),
    ("no response, and why as a text", {"response": None, "error": "it broke"}, "failed", False),
    ("neither", {"response": None, "error": None}, "uncertain", True),
    ("nothing at all", {}, "uncertain", True),
]


@pytest.mark.parametrize(("fields", "status", "keep"), [row[1:] for row in LINES], ids=[row[0] for row in LINES])
def test_what_each_kind_of_line_means(fields: Json, status: str, keep: bool) -> None:  # noqa: FBT001 - of the table
    found = verdict(fields)
    assert (found.custom_id, found.status, found.is_worth_keeping) == ("mine", status, keep)
    assert (found.error is None) == (status == "done") == bool(found.pictures)
    assert isinstance(found.error, ChargeUnknownError) == (status == "uncertain")
    if found.error is not None:
        assert problem_of(found.error).message


def test_what_is_done_has_its_settings_its_usage_and_its_pictures_in_order() -> None:
    found = verdict(response(200, images(PICTURE, BAD, PICTURE, surprise=1)))
    assert [picture.mark for picture in found.pictures] == ["#0", "#2"]
    assert [picture.size for picture in found.pictures] == [7, 7]
    assert found.response is not None
    assert (found.response.size, found.response.data, found.response.request_id) == ("1024x1024", (), "req_7")
    assert found.response.extra == {"surprise": 1}
    assert found.usage is not None
    assert found.usage.total_tokens == 12
    assert len(found.broken) == 1


def test_bytes_that_are_no_picture_are_counted_as_none() -> None:
    one_bad = verdict(response(200, images(PICTURE, PICTURE)), problems={"#0": "it is not a picture"})
    assert ([picture.mark for picture in one_bad.pictures], one_bad.broken) == (["#1"], ("it is not a picture",))
    all_bad = verdict(response(200, images(PICTURE)), problems={"#0": "it is not a picture"})
    assert (all_bad.status, all_bad.is_worth_keeping) == ("uncertain", True)
    assert "it is not a picture" in str(all_bad.error)


@pytest.mark.parametrize(
    ("fields", "retryable"),
    [
        (response(429, refusal("rate_limit_exceeded")), True),
        (response(500, refusal()), True),
        ({"response": None, "error": {"code": "batch_expired"}}, True),
        (response(429, refusal("insufficient_quota")), False),
        (response(400, BLOCKED), False),
    ],
)
def test_what_is_sent_again_by_the_next_run_says_so(fields: Json, *, retryable: bool) -> None:
    error = verdict(fields).error
    assert error is not None
    assert problem_of(error).retryable == retryable


def test_an_error_is_the_same_kind_as_for_an_edit_that_is_sent_directly() -> None:
    blocked = verdict(response(400, BLOCKED)).error
    assert isinstance(blocked, ModerationBlockedError)
    assert blocked.request_id == "req_7"
    for code, status in (("invalid_api_key", 401), ("insufficient_quota", 429), ("model_not_found", 404)):
        error = verdict(response(status, refusal(code))).error
        assert error is not None
        assert is_fatal_for_run(error)


def test_an_error_that_cost_something_says_how_much_and_what_it_was() -> None:
    found = verdict(response(500, refusal("server_error", usage=USAGE)))
    assert found.usage is not None
    assert "500" in str(found.error)
    assert "It cost 12 tokens: sending it again would be paid again." in str(found.error)
    assert isinstance(found.error, ChargeUnknownError)
    assert (found.error.status_code, found.error.request_id) == (500, "req_7")
    assert "it may have been paid" in str(verdict(response(408, refusal())).error)


def test_a_key_that_a_server_echoes_is_in_no_error() -> None:
    clean = redactor({"X-Tenant": "tenant-very-secret-7f3a9"}, {}, {"Authorization": "Bearer sk-very-secret-key"})
    for fields in (
        response(400, {"error": {"message": "No tenant-very-secret-7f3a9", "type": "x"}}),
        response(200, {"note": "tenant-very-secret-7f3a9"}),
        {"response": None, "error": {"code": "tenant-very-secret-7f3a9", "message": "tenant-very-secret-7f3a9"}},
        response(401, {"error": {"message": "Incorrect API key: sk-very-secret-key", "type": "x"}}),
        response(200, {"note": "sk-very-secret-key"}),
        {"response": None, "error": {"code": "x", "message": "sk-very-secret-key"}},
        {"response": None, "error": "sk-very-secret-key"},
    ):
        assert "very-secret" in str(verdict(fields).error)
        assert "very-secret" not in str(verdict(fields, redactor=clean).error)


def test_a_request_without_a_response_keeps_its_code() -> None:
    found = verdict({"response": None, "error": {"code": "batch_expired", "message": "Too late."}})
    assert found.code == "batch_expired"
    late = verdict({"response": None, "error": {"code": "request_timeout"}})
    assert str(late.error).endswith("has no response: request_timeout. It counts as unpaid, and may be sent again.")
    assert str(found.error) == "Too late. Nothing was paid for it, and it may be sent again."


@pytest.mark.parametrize("content", [b"not JSON", b"[1]", b'"x"', b"\xff\xfe", b"{", b'{"custom_id": 5}'])
def test_a_line_that_is_not_ours_names_no_edit_and_is_kept(content: bytes) -> None:
    found = verdict_of(line_in(content + b"\n"))
    assert (found.custom_id, found.status, found.is_worth_keeping) == (None, "uncertain", True)


def test_a_line_that_is_cut_keeps_the_pictures_that_are_whole() -> None:
    whole = json.dumps({"custom_id": "mine", **response(200, images(PICTURE, {"b64_json": "A" * 900}))}).encode()
    cut = whole[: whole.index(b"A" * 900) + 400]
    found = verdict_of(line_in(cut))
    assert (found.custom_id, found.status, len(found.pictures)) == ("mine", "done", 1)
    assert (found.broken, found.is_worth_keeping) == (("it is cut off",), True)
    lost = verdict_of(line_in(whole[: whole.index(b"b64_json") + 20]))
    assert (lost.custom_id, lost.status) == ("mine", "uncertain")
    assert "cut off" in str(lost.error)


def test_an_edit_in_neither_file_may_be_paid_where_its_batch_is_completed() -> None:
    for status in ("completed", "failed", None):
        found = verdict_of_none(status)
        assert (found.status, isinstance(found.error, ChargeUnknownError)) == ("uncertain", True)
    for status in ("expired", "cancelled"):
        found = verdict_of_none(status)
        assert found.status == "failed"
        assert isinstance(found.error, EditError)
        assert problem_of(found.error).retryable


def test_an_edit_without_a_line_may_be_paid_where_a_line_may_be_missing() -> None:
    for status in ("completed", "expired", "cancelled"):
        found = verdict_of_none(status, doubt="a file is gone")
        assert (found.status, isinstance(found.error, ChargeUnknownError)) == ("uncertain", True)
        assert "has no line for it: a file is gone" in str(found.error)


DONE = {"custom_id": "a", **response(200, images(PICTURE))}
OVER = {"custom_id": "b", "response": None, "error": {"code": "batch_expired", "message": "Over."}}
PAID = {"custom_id": "b", **response(500, refusal(usage=USAGE))}


def verdicts_in(content: bytes) -> list[LineVerdict]:
    reader = OutputReader()
    lines = (*reader.feed(content), *reader.close())
    return [verdict_of(line) for line in lines if isinstance(line, OutputLine)]


def tally_of(content: bytes, items: str = "abc") -> Tally:
    tally = Tally({each: f"item-{each}" for each in items})
    for found in verdicts_in(content):
        tally.take(found)
    return tally


def ended_as(status: str, completed: int | None) -> Batch:
    return Batch(id="b", status=status, request_counts=BatchRequestCounts(total=3, completed=completed, failed=0))


@pytest.mark.parametrize("status", ["expired", "cancelled"])
@pytest.mark.parametrize(
    ("content", "completed", "rest"),
    [
        (written([DONE]), 1, "failed"),
        (written([DONE, OVER]), 1, "failed"),
        (b"", 0, "failed"),
        (written([DONE]), 2, "uncertain"),  # the file ends after a whole line
        (written([DONE, OVER]), 2, "uncertain"),
        (b"", None, "uncertain"),
        (written([DONE]) + b'{"id": "batch_req_2", "custom', 1, "uncertain"),
        (written([DONE]) + written([DONE])[:80], 1, "uncertain"),
        (written([DONE, {"custom_id": "stranger", **response(200, images(PICTURE))}]), 1, "uncertain"),
        (written([DONE, PAID]), 2, "uncertain"),
    ],
)
def test_edits_without_a_line_are_unpaid_only_where_surely_none_of_their_lines_is_missing(
    content: bytes, completed: int | None, rest: str, status: str
) -> None:
    tally = tally_of(content)
    assert tally.verdict_of_rest(ended_as(status, completed)).status == rest
    assert tally.verdict_of_rest(ended_as(status, completed), are_files_read=False).status == "uncertain"
    assert tally.verdict_of_rest(Batch(id="b", status=status)).status == "uncertain"
    assert tally.verdict_of_rest(None).status == "uncertain"


def test_counts_of_fewer_edits_than_there_are_mean_nothing_once_the_batch_has_begun() -> None:
    nothing = Batch(id="b", status="cancelled", request_counts=BatchRequestCounts(total=0, completed=0, failed=0))
    assert tally_of(b"").verdict_of_rest(nothing).status == "failed"
    assert tally_of(b"").verdict_of_rest(evolve(nothing, in_progress_at=1)).status == "uncertain"


CUT_LINES = {
    "two pictures": response(200, images(PICTURE, PICTURE)),
    "bad input": response(400, refusal("invalid_value")),
    "an error that cost": response(500, refusal("server_error", usage=USAGE)),
    "no response": {"response": None, "error": {"code": "batch_expired", "message": "Over."}},
    "the error first": {"error": {"code": "x", "message": "y"}, "response": response(200, images(PICTURE))["response"]},
}


@pytest.mark.parametrize("name", CUT_LINES)
def test_a_line_that_is_cut_anywhere_ends_as_the_whole_one_or_may_be_paid_and_is_kept(name: str) -> None:
    text = json.dumps({"id": "batch_req_1", "custom_id": "mine", **CUT_LINES[name]}).encode()
    whole = verdict_of(line_in(text))
    for at in range(1, len(text)):
        for cut in (text[:at], text[:at] + b"\n"):
            found = verdict_of(line_in(cut))
            assert (found.is_whole, found.is_worth_keeping) == (False, True), cut
            assert found.status == "uncertain" or found.status == whole.status == "done", cut
            assert found.custom_id in {None, "mine"}
            assert found.broken
            assert len(found.pictures) <= len(whole.pictures)


def test_a_file_that_is_cut_anywhere_lets_no_paid_edit_go_again() -> None:
    done = [{"custom_id": each, **response(200, images(PICTURE))} for each in "abc"]
    content = written([*done, PAID | {"custom_id": "d"}])
    for at in range(len(content)):
        tally = tally_of(content[:at], "abcd")
        rest = list(tally.rest())
        assert all(found.status != "failed" for found in verdicts_in(content[:at])), content[:at]
        # errors are assumed to be unpaid, so that of "d" may be missing
        assert rest in ([], ["item-d"]) or tally.verdict_of_rest(ended_as("expired", 3)).status == "uncertain"


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([PICTURE, USAGE, BLOCKED])
)
names = st.sampled_from(["id", "code", "message", "type", "usage", "data", "error", "body", "total_tokens", "b64_json"])
values = st.recursive(
    scalars | st.sampled_from([PICTURE, USAGE, BLOCKED]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "custom_id": values,
            "response": values | st.fixed_dictionaries({"status_code": values | st.integers(100, 599), "body": values}),
            "error": values,
            "usage": values,
        },
    )
)
def test_every_line_has_a_verdict_that_can_be_recorded_whatever_is_in_it(fields: Json) -> None:
    found = verdict_of(line_in(json.dumps({"id": "x", **fields}).encode()))
    assert (found.error is None) == (found.status == "done") == bool(found.pictures)
    if found.error is not None:
        assert problem_of(found.error).message


def test_pictures_before_what_is_not_read_any_further_keep_their_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LONGEST_TEXT", 1000)
    fields = response(200, images(PICTURE, {"note": "x" * 2000}, PICTURE))
    found = verdict(fields)
    assert (found.status, found.is_worth_keeping, found.is_whole) == ("done", True, False)
    assert "larger than 1000 bytes" in found.broken[0]
    padded = json.dumps({"custom_id": "mine", **response(200, images(PICTURE))}).encode() + b" " * 2000 + b"x"
    assert not verdict_of(line_in(padded)).is_whole


def test_a_custom_id_of_ours_stays_as_it_is_whatever_the_key_and_another_one_shows_no_key() -> None:
    clean = redactor({"Authorization": "Bearer 000000"}, {}, {})
    ours = custom_id_of(f"{'0123456789abcdef' * 4}#0", 1)
    assert verdict({"custom_id": ours, **response(200, images(PICTURE))}, redactor=clean).custom_id == ours
    assert verdict({"custom_id": "x-000000", **response(200, images(PICTURE))}, redactor=clean).custom_id == "x-[key]"


def test_the_reason_beside_a_response_that_is_an_error_without_a_body_is_taken() -> None:
    error = {"message": "The size is wrong.", "type": "invalid_request_error", "code": "invalid_value"}
    found = verdict(response(400) | {"error": error})
    assert (found.status, "The size is wrong." in str(found.error)) == ("refused", True)
    assert verdict(response(200) | {"error": error}).status == "uncertain"


def test_each_edit_ends_once_and_a_picture_counts_more_than_an_error() -> None:
    def of(custom_id: str | None, status: Any) -> LineVerdict:
        return LineVerdict(custom_id=custom_id, status=status)

    tally = Tally({"a": "item-a", "b": "item-b", "c": "item-c", "d": "item-d"})
    assert tally.take(of("a", "done")) == "first"
    assert tally.take(of("a", "done")) == "again"
    assert tally.take(of("a", "failed")) == "again"
    assert tally.take(of("b", "failed")) == "first"
    assert tally.take(of("b", "done")) == "better"
    assert tally.take(of("c", "refused")) == "first"
    assert tally.take(of("stranger", "done")) == tally.take(of(None, "uncertain")) == "unknown"
    assert (tally.unknown, list(tally.rest())) == (2, ["item-d"])


FAULTS = {
    "picture": [],
    "blocked": [Fault("batches.line", "answer", status=400, body=BLOCKED)],
    "busy": [Fault("batches.line", "answer", status=429)],
    "failed": [Fault("batches.line", "answer", status=500)],
    "paid and failed": [Fault("batches.line", "answer", "done", status=500, body=refusal(usage=USAGE))],
    "empty": [Fault("batches.line", "answer", status=200)],
    "no answer": [Fault("batches.line", "close")],
    "in neither": [Fault("batches.line", "reset", "done")],
    "expired": [Fault("batches.line", "expire")],
}
ENDS = {
    "picture": "done",
    "blocked": "refused",
    "busy": "failed",
    "failed": "failed",
    "paid and failed": "uncertain",
    "empty": "uncertain",
    "no answer": "failed",
    "in neither": "uncertain",
    "expired": "failed",
}


@pytest.mark.parametrize("trouble", FAULTS)
async def test_a_batch_of_the_server_is_read_to_its_verdicts(trouble: str) -> None:
    item = f"{'0123456789abcdef' * 4}#0"
    edit = ImageEdit(image="otter.png", prompt="a beret", model="gpt-image-2")
    async with LocalServer(faults=FAULTS[trouble]) as server, calling(server) as call:
        reference = ImageRef(file_id=await vision_file(call))
        content = line_of(edit, custom_id_of(item, 1), images=[reference])
        fields = {"input_file_id": await file_of(call, content), "endpoint": "/v1/images/edits"}
        created = await call("POST", "batches", json={**fields, "completion_window": "24h"})
        batch = await reached(call, created.json["id"])
        tally, found = Tally({custom_id_of(item, 1): item}), list[LineVerdict]()
        for name in ("output_file_id", "error_file_id"):
            async for line in lines_of(call, batch[name]):
                found.append(verdict_of(line))
                assert tally.take(found[-1]) == "first"
        found += [tally.verdict_of_rest(from_json(Batch, batch)) for _ in tally.rest()]
    assert [each.status for each in found] == [ENDS[trouble]]
    assert len(found[0].pictures) == (trouble == "picture")


async def lines_of(call: Caller, file_id: str | None) -> Any:
    if file_id is None:
        return
    reader = OutputReader()
    async with call.session.get(f"files/{file_id}/content") as answer:
        async for chunk in answer.content.iter_chunked(1000):
            for event in reader.feed(chunk):
                if not isinstance(event, PictureBytes):
                    yield event
    for event in reader.close():
        yield event
