"""The fields of an edit are taken by their names and held against their limits, by the model's own rules."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve, fields_dict
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.server.edits.fields import EditRequest, read_edit, require_compatible
from asyncsdk.server.edits.history import EditLog
from asyncsdk.server.edits.sizes import read_size
from asyncsdk.server.errors import ApiError

OLD: dict[str, Any] = {"model": "dall-e-2"}

names = st.sampled_from([*fields_dict(EditRequest), "svg", "svg[model]", "user", "response_format", "other"])
odd = [None, True, -1, 5, 1.5, float("nan"), "", "5", "²", "auto", "true", "jpeg", "dall-e-2", "1024x1024", [], [5]]
nested = [{}, {"model": 5}, {"model": "m", "reasoning": {"effort": []}}, {"reasoning": {"effort": "low"}}, {"x": {}}]
values = st.sampled_from([*odd, *nested])


def read(pictures: int = 1, **fields: Any) -> EditRequest:
    return read_edit({"prompt": "a beret", **fields}, pictures=pictures)


def refused(pictures: int = 1, **fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(pictures, **fields)
    assert caught.value.status == 400
    return caught.value


def test_what_was_not_said_is_as_the_document_has_it() -> None:
    assert read() == EditRequest(
        prompt="a beret", model="gpt-image-2", pictures=1, size=None, as_url=False, stream=False, n=1
    )
    nulls: dict[str, Any] = dict.fromkeys(("model", "n", "size", "quality", "stream", "partial_images", "user", "svg"))
    assert read(**nulls) == read()


def test_numbers_and_flags_are_taken_as_json_and_as_text() -> None:
    as_json = read(n=3, stream=True, output_compression=50, partial_images=2)
    assert as_json == read(n="3", stream="true", output_compression="50", partial_images="2")
    assert read(stream="false") == read(stream=False)


def test_the_limit_counts_the_pictures_taken_in_times_those_made() -> None:
    assert read(3, n=4).input_images == 12


@pytest.mark.parametrize(
    "fields",
    [
        {"quality": "max", "background": "opaque", "input_fidelity": "high", "complexity": "low", "moderation": "low"},
        {"user": "u", "safety_identifier": "s", "size": "1536x1024", "model": "something-new"},
        {"output_format": "gif", "frame_count": 16, "frame_duration_ms": "20"},
        {"output_format": "svg", "svg": {"model": "m", "reasoning": {"effort": "none"}}},
        {"output_format": "svg", "svg[model]": "m", "svg[reasoning][effort]": "max"},
        {**OLD, "n": 10, "size": "512x512", "response_format": "b64_json", "user": "u"},
    ],
)
def test_every_field_of_the_api_is_taken(fields: dict[str, Any]) -> None:
    assert read(**fields).prompt == "a beret"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"prompt": 5}, "prompt", "invalid_type"),
        ({"prompt": None}, "prompt", "invalid_type"),
        ({"prompt": "x" * 32_001}, "prompt", "string_above_max_length"),
        ({**OLD, "prompt": "x" * 1001}, "prompt", "string_above_max_length"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 11}, "n", "invalid_value"),
        ({"n": "two"}, "n", "invalid_type"),
        ({"n": "²"}, "n", "invalid_type"),
        ({"n": True}, "n", "invalid_type"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"quality": "standard"}, "quality", "invalid_value"),
        ({"quality": 1}, "quality", "invalid_type"),
        ({"output_compression": 101}, "output_compression", "invalid_value"),
        ({"partial_images": "4"}, "partial_images", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream": []}, "stream", "invalid_type"),
        ({"model": 2}, "model", "invalid_type"),
        ({"frame_count": 1}, "frame_count", "invalid_value"),
        ({"frame_duration_ms": 19}, "frame_duration_ms", "invalid_value"),
        ({"svg": "m"}, "svg", "invalid_type"),
        ({"svg": {"reasoning": "low"}}, "svg[reasoning]", "invalid_type"),
        ({"svg": {"reasoning": {"effort": "much"}}}, "svg[reasoning][effort]", "invalid_value"),
        ({"svg[colour]": "red"}, "svg[colour]", "unknown_parameter"),
        ({"colour": "red"}, "colour", "unknown_parameter"),
        ({"response_format": "b64_json"}, "response_format", "unknown_parameter"),
        ({**OLD, "response_format": "png"}, "response_format", "invalid_value"),
        ({**OLD, "quality": "low"}, "quality", "unknown_parameter"),
        ({**OLD, "stream": "false"}, "stream", "unknown_parameter"),
        ({**OLD, "size": "1024x1536"}, "size", "invalid_value"),
        ({**OLD, "size": "auto"}, "size", "invalid_value"),
        ({"size": "large"}, "size", "invalid_value"),
        ({"size": "1024 x 1024"}, "size", "invalid_value"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(fields: dict[str, Any], param: str, code: str) -> None:
    error = refused(**fields)
    assert (error.param, error.code) == (param, code)


def test_a_prompt_may_be_as_long_as_its_limit() -> None:
    assert len(read(prompt="x" * 32_000).prompt) == 32_000
    assert len(read(**OLD, prompt="x" * 1000).prompt) == 1000
    assert "maximum length 1000, but got a string with length 1001" in refused(**OLD, prompt="x" * 1001).message


def test_a_missing_prompt_and_an_unknown_field_are_told_in_the_real_servers_words() -> None:
    with pytest.raises(ApiError) as caught:
        read_edit({}, pictures=1)
    assert caught.value.message == "Missing required parameter: 'prompt'."
    assert refused(response_format="url").message == "Unknown parameter: 'response_format'."


def test_the_older_model_gives_urls_of_one_picture_unless_told_otherwise() -> None:
    assert read(**OLD).as_url
    assert not read(**OLD, response_format="b64_json").as_url
    assert read(**OLD).size == (1024, 1024)
    assert refused(2, **OLD).message == "Invalid type for 'image': expected a file, but got an array instead."


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("1000x1024", "Width and height must both be divisible by 16."),
        ("3856x2048", "The longest edge must be less than or equal to 3840."),
        ("3840x1264", "The aspect ratio must be between 1:3 and 3:1."),
        ("256x256", "Requested resolution is below the current minimum pixel budget."),
        ("3840x2176", "Requested resolution exceeds the current pixel budget."),
    ],
)
def test_a_size_that_is_not_possible_is_refused_in_the_real_servers_words(size: str, message: str) -> None:
    error = refused(size=size)
    assert (error.type, error.param, error.code) == ("image_generation_user_error", "size", "invalid_value")
    assert error.message.endswith(message)


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_size_within_the_limits_is_taken_and_no_other(wide: int, high: int) -> None:
    width, height = wide * 16, high * 16
    fits = (
        max(width, height) <= 3840 and 655_360 <= width * height <= 8_294_400 and 3 * min(wide, high) >= max(wide, high)
    )
    try:
        assert read_size(f"{width}x{height}") == (width, height)
    except ApiError:
        assert not fits
    else:
        assert fits


@given(st.dictionaries(names, values))
def test_whatever_is_sent_is_read_or_refused(fields: dict[str, Any]) -> None:
    with suppress(ApiError):
        assert read_edit(fields, pictures=1).prompt


@pytest.mark.parametrize(
    ("changes", "overlay", "param"),
    [
        ({"background": "transparent", "output_format": "jpeg"}, None, "background"),
        ({"background": "transparent", "output_format": "gif"}, None, "background"),
        ({"output_compression": 99}, None, "output_compression"),
        ({"output_compression": 0, "output_format": "svg"}, None, "output_compression"),
        ({"stream": True, "output_format": "gif"}, None, "stream"),
        ({"output_format": "gif"}, "mask", "mask"),
        ({"frame_count": 3}, None, "frame_count"),
        ({"frame_duration_ms": 30, "output_format": "webp"}, None, "frame_duration_ms"),
        ({"svg_model": "m"}, None, "svg"),
        ({"output_format": "svg", "n": 2}, None, "n"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(changes: dict[str, Any], overlay: str | None, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        require_compatible(evolve(read(), **changes), overlay)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")


@pytest.mark.parametrize(
    ("changes", "overlay"),
    [
        ({"output_compression": 100}, "mask"),
        ({"output_compression": 0, "output_format": "jpeg"}, "markup"),
        ({"background": "transparent", "output_format": "webp"}, None),
        ({"output_format": "gif", "frame_count": 2, "frame_duration_ms": 20}, "markup"),
        ({"output_format": "svg", "svg_model": "m", "background": "transparent"}, None),
    ],
)
def test_fields_that_go_together_pass(changes: dict[str, Any], overlay: str | None) -> None:
    require_compatible(evolve(read(), **changes), overlay)


class TestLog:
    def test_it_counts_edits_pictures_and_prompts(self) -> None:
        log = EditLog()
        for prompt, images in (("a", 1), ("b", 3), ("a", 2)):
            log.count(prompt, images)
        assert log.to_json() == {"edits": 3, "images": 6, "by_prompt": {"a": 2, "b": 1}}

    def test_a_copy_does_not_change_any_more(self) -> None:
        log = EditLog()
        before = log.copy()
        log.count("a", 1)
        assert (before.edits, before.by_prompt) == (0, {})

    @pytest.mark.parametrize(("name", "limit"), [("PROMPTS_LIMIT", 2), ("PROMPTS_CHARACTERS", 2)])
    def test_its_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
        monkeypatch.setattr(f"asyncsdk.server.edits.history.{name}", limit)
        log = EditLog()
        for prompt in "abcab":
            log.count(prompt, 1)
        assert log.to_json() == {"edits": 5, "images": 5, "by_prompt": {"a": 2, "b": 2}}
