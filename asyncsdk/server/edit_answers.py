"""What an edit is answered with (pure): one JSON, or events one after the other."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from asyncsdk.server.edit_fields import OLD_MODEL, Wanted
from asyncsdk.server.errors import ApiError

_IMAGE_TOKENS = {"low": 100, "medium": 400, "high": 1000, "xhigh": 2000, "max": 4000, "auto": 400}
_CATEGORIES = ["violence"]


def answer(wanted: Wanted, pictures: Sequence[bytes], urls: Sequence[str], created: int) -> dict[str, Any]:
    """The ImagesResponse. Only the older model gives URLs, and tells nothing of usage and settings."""
    if wanted.as_url:
        return {"created": created, "data": [{"url": url} for url in urls]}
    data = [{"b64_json": base64.b64encode(picture).decode()} for picture in pictures]
    if wanted.model == OLD_MODEL:
        return {"created": created, "data": data}
    return {"created": created, "data": data, "usage": usage_of(wanted, wanted.n), **settings_of(wanted)}


def settings_of(wanted: Wanted) -> dict[str, Any]:
    """The settings that were used, as the server echoes them."""
    return {
        "background": "transparent" if wanted.background == "transparent" else "opaque",
        "output_format": wanted.output_format,
        "quality": "medium" if wanted.quality == "auto" else wanted.quality,
        "size": "x".join(map(str, wanted.size)) if wanted.size else "auto",
    }


def usage_of(wanted: Wanted, n: int) -> dict[str, Any]:
    """The tokens of `n` pictures: each pays for the input again."""
    text, image = n * (len(wanted.prompt) // 4 + 1), n * 200 * wanted.pictures
    out = n * _IMAGE_TOKENS[wanted.quality]
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"image_tokens": image, "text_tokens": text},
        "output_tokens": out,
        "output_tokens_details": {"image_tokens": out, "text_tokens": 0},
        "total_tokens": text + image + out,
    }


def event(wanted: Wanted, picture: bytes, created: int, *, index: int | None = None) -> bytes:
    """A frame: the `index`-th partial picture, or without one the completed picture."""
    kind = "image_edit.completed" if index is None else "image_edit.partial_image"
    told: dict[str, Any] = {
        "type": kind,
        "b64_json": base64.b64encode(picture).decode(),
        "created_at": created,
        **settings_of(wanted),
    }
    if index is None:
        usage = usage_of(wanted, 1)
        del usage["output_tokens_details"]
        told["usage"] = usage
    else:
        told["partial_image_index"] = index
    return frame(kind, told)


def error_event(error: ApiError) -> bytes:
    """A refusal that comes once the stream has begun."""
    return frame("error", {"type": "error", **error.to_json()})


def frame(kind: str, told: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps(told).encode())


def moderation_stage(prompt: str) -> str | None:
    """Where the safety system stops a prompt: the word "forbidden" does it, "forbidden-output" once it is painted."""
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
