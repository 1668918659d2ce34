"""ApiError, an error response in OpenAI's shape, and functions for the common ones (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import define, field


@define(eq=False)
class ApiError(Exception):
    """An error response: raised anywhere below a handler, sent by the application."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    type: str = "invalid_request_error"
    headers: Mapping[str, str] = field(factory=dict)
    more: Mapping[str, Any] = field(factory=dict)
    beside: Mapping[str, Any] = field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        inner = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**inner, **self.more}, **self.beside}


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, message, param, code)


def missing(name: str) -> ApiError:
    return bad_request(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def unknown(name: str) -> ApiError:
    return bad_request(f"Unknown parameter: '{name}'.", name, "unknown_parameter")


def duplicate(name: str) -> ApiError:
    message = (
        f"Duplicate parameter: '{name}'. You provided multiple values for this parameter, whereas only one is allowed. "
        f"If you are trying to provide a list of values, use the array syntax instead e.g. '{name}[]=<value>'."
    )
    return bad_request(message, name, "duplicate_parameter")


def refuse(message: str, param: str | None, code: str) -> ApiError:
    """An error of the image models for a request that they do not accept."""
    return ApiError(400, message, param, code, "image_generation_user_error")


def mistyped(name: str, expected: str, value: object) -> ApiError:
    """`expected` with its article, as in "an integer"."""
    message = f"Invalid type for '{name}': expected {expected}, but got {_WORDS.get(type(value), 'null')} instead."
    return bad_request(message, name, "invalid_type")


def invalid(name: str, why: str) -> ApiError:
    return bad_request(f"Invalid value for '{name}': {why}.", name, "invalid_value")


def empty_file(name: str) -> ApiError:
    """An error of POST /files in the real server's words."""
    return bad_request("File is empty.", name)


def too_long(name: str, limit: int, length: int) -> ApiError:
    message = (
        f"Invalid '{name}': string too long. Expected a string with maximum length {limit}, but got a string with "
        f"length {length} instead."
    )
    return bad_request(message, name, "string_above_max_length")


def not_found(kind: str, identifier: str) -> ApiError:
    """404; for a file the real server repeats the message under "detail"."""
    message = f"No such {kind} object: {identifier}"
    again = {"detail": {"message": message, "code": None}} if kind == "File" else {}
    return ApiError(404, message, "id", beside=again)


def not_served(method: str, path: str, status: int = 404) -> ApiError:
    """The 404 of a path without a route, which says why it has none and, where that can be known, the right one."""
    return ApiError(status, f"Invalid URL ({method} {path}). {_why_not_served(path)}")


def _why_not_served(path: str) -> str:
    if doubled := too_much_of(path):
        return doubled
    if path.startswith("/v1/v1"):
        return "It has /v1 twice: the base URL ends with one /v1, and a path does not begin with it."
    if _SERVED.match(path):
        return f"The API is below /v1, and this would be /v1{path}: let the base URL end with /v1."
    if path.endswith("/") and _SERVED.match(path.removeprefix("/v1")):
        return "Leave out the slash at its end."
    if re.match(r"/openai\b", path):
        return "Azure's paths are not served: use a client of OpenAI with a base URL that ends with /v1."
    if path.startswith("/v1"):
        return f"asyncsdk serves uploads, files, images/edits, batches, models/MODEL; not {path}."
    return "asyncsdk serves the API below /v1, its own page at /, and /health."


def needs_pillow() -> ApiError:
    """An edit without Pillow: surely nothing was done, and the same edit passes once it is installed.

    No 5xx, which may have been paid and is repeated, and no 400, which would be the edit's own fault.
    """
    return ApiError(424, NEEDS_PILLOW, code="missing_dependency")


def too_much_of(path: str) -> str:
    """What is wrong with a path that comes of a base URL with an endpoint at its end; else nothing."""
    doubled = _DOUBLED.match(path)
    return f"The base URL has /{doubled[1]} at its end: let it end with /v1." if doubled else ""


def too_large(what: str, limit: int) -> ApiError:
    return ApiError(413, f"{what} is larger than {limit} bytes, the most that is taken.", None, "payload_too_large")


NEEDS_PILLOW = "Image edits need Pillow: pip install pillow (the extra `server`)"
_DOUBLED = re.compile(r"/v1/(uploads|files|images/edits|images|batches)/(uploads|files|images|batches)(/|$)")
_SERVED = re.compile(r"/(uploads|files|images/edits|batches)(/|$)|/models/")
_WORDS = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array", dict: "an object"}
