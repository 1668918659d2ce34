"""What the server refuses in one edit after another: which refusals others may meet, and after how many a run ends."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.errors import APIConnectionError, ChargeUnknownError, EditError, InvalidEditError
from asyncsdk.http.decode import status_error
from asyncsdk.images.bulk.refused_alike import MOST_REFUSED_ALIKE, RefusedAlike, refusal_of
from asyncsdk.images.edit import ImageEdit


def refused(status: int = 400, request_id: str = "req_1", **error: object) -> Exception:
    whole = {"message": "no", "type": "invalid_request_error", "param": None, "code": None} | error
    headers = {"x-request-id": request_id}
    return status_error(status, headers, json.dumps({"error": whole}).encode(), request="POST /images/edits")


EDIT = ImageEdit(image=b"", prompt="p", size="1000x1000")
QUALITY = refused(param="quality", code="invalid_value", message="'best' is not a quality")
SIZE = refused(param="size", code="invalid_value", type="image_generation_user_error", message="divisible by 16")
BLOCKED = refused(code="moderation_blocked", type="image_generation_user_error")


@pytest.mark.parametrize(
    "error",
    [
        QUALITY,
        SIZE,
        refused(param="model", code="invalid_value", message="Value must be 'dall-e-2'."),
        refused(param="response_format", code="unknown_parameter"),
        refused(param="moderation", code="invalid_value"),
        refused(param="safety_identifier", code="unknown_parameter", message="Unknown parameter: 'safety_identifier'."),
        refused(404, param="background"),
        refused(422, param="background"),
    ],
)
def test_a_field_that_is_not_of_the_picture_may_be_refused_in_every_edit(error: Exception) -> None:
    assert refusal_of(error, EDIT) is not None


@pytest.mark.parametrize(
    "error",
    [
        BLOCKED,
        refused(param="moderation", code="moderation_blocked"),
        refused(param="prompt", code="content_policy_violation"),
        refused(param="prompt", message="Your request was rejected as a result of our safety system."),
        refused(param="image[0]", code="unsupported_file_mimetype"),
        refused(param="image", code="invalid_value"),
        refused(param="images[2].file_id", code="invalid_value"),
        refused(param="mask", code="invalid_value"),
        refused(404, param="id", message="No such File object: file-1"),
    ],
)
def test_a_picture_a_prompt_or_what_they_show_is_refused_of_that_edit_alone(error: Exception) -> None:
    assert refusal_of(error, EDIT) is None


@pytest.mark.parametrize(
    "error",
    [
        refused(message="Invalid value: 'best'. Supported values are: 'low', 'medium', 'high', and 'auto'."),
        refused(code="invalid_image_file", message="Invalid image file or mode for image 1.", param=""),
        status_error(400, {}, b"<html>a page</html>", request="POST /images/edits"),
        status_error(422, {}, b'{"detail": "Could not decode image"}', request="POST /images/edits"),
        refused(413),
        refused(415, message="Unsupported image: HEIC."),
    ],
)
def test_what_the_server_does_not_name_may_be_the_picture(error: Exception) -> None:
    assert refusal_of(error, EDIT) is None


@pytest.mark.parametrize(
    "error",
    [
        refused(401),
        refused(403),
        refused(402),
        refused(429, code="insufficient_quota"),
        refused(404, code="model_not_found"),
        refused(408),
        refused(409),
        refused(429, message="Limit 250, Used 250, Requested 1. Please try again in 240ms."),
        refused(500),
        refused(503),
        APIConnectionError("lost"),
        ChargeUnknownError("lost"),
        InvalidEditError("too large"),
    ],
)
def test_what_ends_a_run_at_once_or_is_tried_again_or_may_be_paid_is_not_counted(error: Exception) -> None:
    assert refusal_of(error, EDIT) is None


def test_a_size_that_is_not_given_is_the_pictures_own() -> None:
    for size in (None, "auto"):
        assert refusal_of(SIZE, evolve(EDIT, size=size)) is None
    assert refusal_of(QUALITY, evolve(EDIT, size=None)) is not None


def test_refusals_are_one_by_their_status_code_and_field() -> None:
    other = refused(param="quality", code="invalid_value", message="'ultra' is not a quality", request_id="req_2")
    assert refusal_of(QUALITY, EDIT) == refusal_of(other, EDIT) != refusal_of(SIZE, EDIT)
    assert refusal_of(QUALITY, EDIT) != refusal_of(refused(422, param="quality", code="invalid_value"), EDIT)
    assert refusal_of(QUALITY, EDIT) != refusal_of(refused(param="quality", code="unknown_parameter"), EDIT)


EVENTS = {"q": QUALITY, "s": SIZE, "b": BLOCKED, "l": ChargeUnknownError("lost"), "p": None}


@given(st.text("qqqqsblp", max_size=60))
def test_a_run_ends_after_ten_in_a_row_whatever_pictures_are_refused_between(events: str) -> None:
    alike = RefusedAlike()
    for number, event in enumerate(events, 1):
        error = EVENTS[event]
        alike.note_paid() if error is None else alike.note(error, EDIT)
        counting = events[:number].replace("b", "").replace("l", "")
        in_a_row = len(counting) - len(counting.rstrip(counting[-1:]))
        assert alike.count == (0 if counting.endswith("p") else in_a_row)
        assert (alike.reason() is not None) == (alike.count >= MOST_REFUSED_ALIKE)


def reason(error: Exception) -> EditError:
    alike = RefusedAlike()
    for _ in range(MOST_REFUSED_ALIKE):
        assert alike.reason() is None
        alike.note(error, EDIT)
    found = alike.reason()
    assert found is not None
    return found


def test_the_error_has_the_servers_words_and_what_to_do_next() -> None:
    found = reason(QUALITY)
    assert str(found) == (
        "10 edits in a row were refused in the same way, and none was done between: POST /images/edits: 400 "
        "invalid_value: 'best' is not a quality (request req_1)\n"
        "  Nothing was paid for them, and nothing more was sent. With another `quality` all of them are sent. If the "
        "server takes this one later, the same call goes on with the others, and with only=['refused'] it sends "
        "these again."
    )
    assert (found.__cause__, found.resumable) == (QUALITY, False)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            refused(param="model"),
            "Once `model` is another one, or the account has access to it, the same call goes on, with these too.",
        ),
        (refused(404, param="background"), "Once its cause is gone, the same call goes on, with these too."),
    ],
)
def test_what_the_same_call_sends_afterwards_is_as_they_ended(error: Exception, advice: str) -> None:
    assert str(reason(error)).endswith(f"nothing more was sent. {advice}")
