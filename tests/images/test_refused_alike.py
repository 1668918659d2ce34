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
        refused(param="prompt", code="string_above_max_length"),
        refused(param="model", code="invalid_value", message="Value must be 'dall-e-2'."),
        refused(param="response_format", code="unknown_parameter"),
        refused(param="moderation", code="invalid_value"),
        refused(param="safety_identifier", code="unknown_parameter", message="Unknown parameter: 'safety_identifier'."),
        refused(message="Your organization must be verified to use the model `gpt-image-1`."),
        refused(404, code="DeploymentNotFound", message="The API deployment for this resource does not exist."),
        refused(message="Your organization's policy does not allow image models."),
        refused(422, message="Image edits are not enabled for this project."),
        refused(424, code="missing_dependency", message="edits need Pillow"),
        refused(code="image_generation_disabled", message="Image generation is disabled for this project."),
        refused(message="Invalid value: 'best'. Supported values are: 'low', 'medium', 'high', and 'auto'."),
        refused(message="Unsupported image model: gpt-image-9."),
        refused(message="Invalid image size '1x1'."),
        refused(message="Unsupported output image format 'bmp'."),
        refused(message="Model names are case-sensitive."),
        refused(message="Unknown parameter: 'moderation'."),
        refused(message="Unrecognized request argument supplied: mask"),
        refused(param="markup", code="unknown_parameter", message="Unknown parameter: 'markup'."),
        refused(param="mask", code="unsupported_parameter", message="'mask' does not go with this model."),
        refused(param="markup", code="invalid_value", message="Markup is not supported with this model."),
        refused(param="image[0]", code="invalid_type", message="Invalid type for 'image[0]': expected a file."),
        refused(param="image", message="Duplicate parameter: 'image'."),
        refused(message="Images are not supported by this model."),
        refused(message="This model does not take image inputs."),
        refused(message="Too many images: at most 1 with this model."),
        refused(message="Image size must be one of 256x256, 512x512."),
        refused(message="Could not process image edit requests with this key."),
        refused(415, message="Unsupported media type 'multipart/form-data'."),
        refused(429, message="Rate limit reached: Limit 5, Requested 10.", type="input-images"),
        status_error(400, {}, b"<html>a page</html>", request="POST /images/edits"),
    ],
)
def test_what_is_not_about_the_picture_may_be_refused_in_every_edit(error: Exception) -> None:
    assert refusal_of(error, EDIT) is not None


@pytest.mark.parametrize(
    "error",
    [
        BLOCKED,
        refused(param="prompt", code="content_policy_violation"),
        refused(code="contentFilter", message="filtered"),
        refused(message="Your request was rejected by the safety system."),
        refused(message="The response was filtered by the content management policy."),
        refused(param="image[0]", code="unsupported_file_mimetype"),
        refused(param="image", code="invalid_value"),
        refused(param="images[2].file_id", code="invalid_value"),
        refused(param="mask", code="invalid_value"),
        refused(404, param="id", message="No such File object: file-1"),
        refused(code="invalid_image_file", message="Invalid image file or mode for image 1."),
        refused(
            code="provider_request_invalid", param="", message="Bad request: Invalid image file or mode for image 1."
        ),
        refused(code="image_parse_error"),
        refused(message="Invalid input image - format must be in ['RGBA', 'LA', 'L'], got RGB."),
        refused(message="Uploaded image must be a PNG and less than 4 MB."),
        refused(message="Could not process image"),
        refused(message="Unable to process input image. Please retry."),
        refused(message="The image is corrupted."),
        refused(message="The uploaded file is not a valid image."),
        refused(message="image exceeds 5 MB maximum: 6500712 bytes > 5242880 bytes"),
        refused(message="Your image could not be read."),
        refused(message="The image you provided is too large."),
        refused(message="Image size exceeds the limit of 20 MB."),
        refused(message="The image resolution is too high."),
        refused(message="Only PNG images are supported."),
        refused(message="cannot identify image file <_io.BytesIO object>"),
        refused(404, message="No such File object: file-0123456789abcdef"),
        refused(message="Your request was blocked, as it violates our usage policies."),
        refused(param="prompt", message="Your request was rejected as a result of our safety system."),
        refused(code="DataInspectionFailed", message="Input data may contain inappropriate content."),
        status_error(422, {}, b'{"detail": "Could not decode image"}', request="POST /images/edits"),
        refused(413),
        refused(415, message="Unsupported image: HEIC."),
    ],
)
def test_what_is_about_the_picture_or_what_it_shows_is_its_own(error: Exception) -> None:
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


def test_refusals_are_one_by_the_field_and_without_one_by_the_words() -> None:
    other = refused(param="quality", code="invalid_value", message="'ultra' is not a quality", request_id="req_2")
    assert refusal_of(QUALITY, EDIT) == refusal_of(other, EDIT) != refusal_of(SIZE, EDIT)
    first, second = (refused(message=f"not allowed ({name})", request_id=name) for name in ("req_1", "req_2"))
    assert refusal_of(first, EDIT) == refusal_of(second, EDIT)
    assert refusal_of(first, EDIT) != refusal_of(refused(message="not allowed either"), EDIT)
    assert refusal_of(first, EDIT) != refusal_of(refused(422, message="not allowed ()"), EDIT)


def test_what_a_gateway_writes_into_each_message_anew_makes_no_other_refusal() -> None:
    texts = ("20260605101112123456", "20260605101117654321"), ("2026-11-30T07:29:11.5Z", "2026-11-30T07:29:12.5Z")
    for one, other in texts:
        first, second = (refused(message=f"no channel for this model (request id: {name})") for name in (one, other))
        assert refusal_of(first, EDIT) == refusal_of(second, EDIT) is not None
    two = (status_error(400, {}, page, request="r") for page in (b"<html>Ray ID: 1", b"<html>Ray ID: 2"))
    assert len({refusal_of(each, EDIT) for each in two}) == 1


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


LATER = "Once its cause is gone, the same call goes on"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            refused(param="model"),
            "Once `model` is another one, or the account has access to it, the same call goes on, with these too.",
        ),
        (refused(404, message="no such thing"), f"{LATER}, with these too."),
        (refused(), f"{LATER} with the others, and with only=['refused'] it sends these again."),
    ],
)
def test_what_the_same_call_sends_afterwards_is_as_they_ended(error: Exception, advice: str) -> None:
    assert str(reason(error)).endswith(f"nothing more was sent. {advice}")
