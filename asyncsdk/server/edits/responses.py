"""The responses of an edit (pure): one JSON object, or server-sent events."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from asyncsdk.server.edits import tokens
from asyncsdk.server.edits.fields import EditRequest
from asyncsdk.server.edits.painting import PaintedEdit
from asyncsdk.server.edits.sizes import shown
from asyncsdk.server.errors import ApiError

Json = dict[str, Any]

_INPUT_TOKENS = 200
_OUTPUT_TOKENS = {"low": 100, "medium": 400, "high": 1000, "xhigh": 2000, "max": 4000, "auto": 400}
_DRAWING_TOKENS = 500
_CATEGORIES = ["violence"]


def response_json(
    edit: EditRequest, painted: PaintedEdit, urls: Sequence[str], created: int, *, documented: bool = False
) -> Json:
    """The ImagesResponse. Only the older model returns URLs, and no usage and settings.

    `documented`: its tokens are by the rules that are documented for its model.
    """
    if edit.as_url:
        return {"created": created, "data": [{"url": url} for url in urls]}
    body: Json = {"created": created, "data": [{"b64_json": _text(picture)} for picture in painted.pictures]}
    if edit.is_old:
        return body
    body |= {**settings_of(edit, painted), "usage": usage_of(edit, edit.n, painted if documented else None)}
    if edit.output_format == "svg":
        body["svg_usage"] = _svg_usage(edit)
    return body | _identifier(edit)


def settings_of(edit: EditRequest, painted: PaintedEdit) -> Json:
    """The settings that were used, as a response contains them."""
    return {
        "background": "transparent" if painted.transparent else "opaque",
        "output_format": edit.output_format,
        "quality": "medium" if edit.quality == "auto" else edit.quality,
        "size": shown(painted.size),
    }


def usage_of(edit: EditRequest, n: int, painted: PaintedEdit | None = None) -> Json:
    """The tokens of `n` pictures; each is charged for the input again.

    With what was painted: by the rules of its model, if it has any.
    """
    text, image = n * (len(edit.prompt) // 4 + 1), n * _INPUT_TOKENS * edit.pictures
    out = n * _OUTPUT_TOKENS[edit.quality]
    if painted is not None and tokens.has_rules(edit.model):
        image, out = n * tokens.input_of(edit, painted.given), n * tokens.output_of(edit, painted.size)
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"image_tokens": image, "text_tokens": text},
        "output_tokens": out,
        "output_tokens_details": {"image_tokens": out, "text_tokens": 0},
        "total_tokens": text + image + out,
    }


def partial(edit: EditRequest, painted: PaintedEdit, index: int, created: int) -> bytes:
    """The event of a partial picture."""
    picture = painted.partials[index]
    return _event("partial_image", picture, created, settings_of(edit, painted) | {"partial_image_index": index})


def ending(
    edit: EditRequest, painted: PaintedEdit, refusal: ApiError | None, created: int, *, documented: bool = False
) -> bytes:
    """The last events: one for each finished picture, or an error after the stream has begun."""
    if refusal is not None:
        return _frame("error", {"type": "error", **refusal.to_json()})
    usage = usage_of(edit, 1, painted if documented else None)
    return b"".join(_completed(edit, painted, picture, created, usage) for picture in painted.pictures)


def moderation_stage(prompt: str) -> str | None:
    """Where the safety system refuses a prompt: with "forbidden" before it is painted, "forbidden-output" after."""
    if "forbidden-output" in prompt:
        return "output"
    return "input" if "forbidden" in prompt else None


def blocked(stage: str, request_id: str) -> ApiError:
    """The safety system's refusal, in the real server's words."""
    return ApiError(
        400,
        "Your request was rejected by the safety system. If you believe this is an error, contact us at "
        f"help.openai.com and include the request ID {request_id}. safety_violations=[{', '.join(_CATEGORIES)}].",
        None,
        "moderation_blocked",
        "image_generation_user_error",
        more={"moderation_details": {"moderation_stage": stage, "categories": _CATEGORIES}},
    )


def _svg_usage(edit: EditRequest) -> Json:
    tokens = {"input_tokens": _INPUT_TOKENS, "output_tokens": _DRAWING_TOKENS, "reasoning_tokens": 0}
    return {"model": edit.svg_model or edit.model, **tokens, "total_tokens": sum(tokens.values())}


def _identifier(edit: EditRequest) -> Json:
    return {"safety_identifier": edit.safety_identifier} if edit.safety_identifier else {}


def _completed(edit: EditRequest, painted: PaintedEdit, picture: bytes, created: int, usage: Json) -> bytes:
    """The event of a finished picture, with its own share of the usage."""
    usage = {name: value for name, value in usage.items() if name != "output_tokens_details"}  # the document has none
    settings = settings_of(edit, painted) | {"usage": usage} | _identifier(edit)
    return _event("completed", picture, created, settings)


def _event(kind: str, picture: bytes, created: int, more: Json) -> bytes:
    name = f"image_edit.{kind}"
    return _frame(name, {"type": name, "b64_json": _text(picture), "created_at": created, **more})


def _frame(name: str, data: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(data).encode())


def _text(picture: bytes) -> str:
    return base64.b64encode(picture).decode()
