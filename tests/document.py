"""OpenAI's own document of the API, where it is at hand, with what is known to be otherwise: each with its reason.

`problems_of` judges a call by it: what the server took must keep to the document, and so must its answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from asyncsdk.server.log import ACTIVE_REQUEST

PATH = Path(__file__).parents[2] / "shared" / "openai-uploads-images.openapi.yaml"
TEXT = {"type": "string"}
NEWER = "openai-python takes it; the document is older"

# where in components/schemas, what is there instead (lists are added to), and why
AMENDMENTS: list[tuple[str, Any, str]] = [
    ("OpenAIFile/properties/expires_at/type", ["integer", "null"], "the real server sends null on every file"),
    ("OpenAIFile/properties/status_details/type", ["string", "null"], "the real server sends null on every file"),
    ("OpenAIFile/properties/purpose/enum", ["evals"], "POST /files takes it, by the document itself"),
    ("CreateUploadRequest/properties/purpose/enum", ["user_data", "evals"], "the purposes that POST /files takes"),
    ("ImagesResponse/properties/size", TEXT, "the real server answers any size"),
    ("ImagesResponse/properties/output_format/enum", ["gif", "svg"], NEWER),
    ("ImagesResponse/properties/quality/enum", ["xhigh", "max"], NEWER),
    ("ImageEditCompletedEvent/properties/size", TEXT, "the real server answers any size"),
    ("ImageEditCompletedEvent/properties/quality/enum", ["xhigh", "max"], NEWER),
    ("ImageEditPartialImageEvent/properties/size", TEXT, "the real server answers any size"),
    ("ImageEditPartialImageEvent/properties/quality/enum", ["xhigh", "max"], NEWER),
    ("CreateImageEditRequest/properties/output_format/enum", ["gif", "svg"], NEWER),
    ("CreateImageEditRequest/properties/quality/enum", ["xhigh", "max"], NEWER),
    ("EditImageBodyJsonParam/properties/output_format/anyOf/0/enum", ["gif", "svg"], NEWER),
    ("EditImageBodyJsonParam/properties/quality/anyOf/0/enum", ["xhigh", "max"], NEWER),
    ("EditImageBodyJsonParam/properties/size", {"type": ["string", "null"]}, "newer models take any WIDTHxHEIGHT"),
]

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": TEXT,
                "type": TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}  # the shape that real refusals have

OPERATIONS = {
    # route: schema of JSON, schema of a form, schema of the answer
    "create": ("CreateUploadRequest", None, "Upload"),
    "part": (None, "AddUploadPartRequest", "UploadPart"),
    "complete": ("CompleteUploadRequest", None, "Upload"),
    "cancel": (None, None, "Upload"),
    "files.list": (None, None, "ListFilesResponse"),
    "files.create": (None, "CreateFileRequest", "OpenAIFile"),
    "files.get": (None, None, "OpenAIFile"),
    "files.delete": (None, None, "DeleteFileResponse"),
    "edit": ("EditImageBodyJsonParam", "CreateImageEditRequest", "ImagesResponse"),
    # it does not describe batches, so of these only refusals are judged
    **dict.fromkeys(("batches.create", "batches.get", "batches.list", "batches.cancel"), (None, None, None)),
}

GIVEN = web.RequestKey("given", object)  # what the server read: a dict of JSON, or a wire.Form


@cache
def amended() -> Any:
    """The document, as it would be if it told what is known."""
    document = yaml.safe_load(PATH.read_text())
    for where, value, _ in AMENDMENTS:
        *parents, last = where.split("/")
        place = document["components"]["schemas"]
        for name in parents:
            place = place[int(name) if isinstance(place, list) else name]
        there = place[last]
        place[last] = [*there, *value] if last == "enum" else value
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"]["4XX"] = _answer("application/json", ERROR)  # it describes no refusals
        if path.endswith("/content"):
            operations["get"]["responses"]["200"] = _answer("application/octet-stream", {})  # these are no JSON
    return document


def _answer(content_type: str, schema: Any) -> dict[str, Any]:
    return {"description": "known", "content": {content_type: {"schema": schema}}}


@cache
def validator(schema: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource("urn:openai", DRAFT202012.create_resource(amended()))
    return Draft202012Validator({"$ref": f"urn:openai#/components/schemas/{schema}"}, registry=registry)


def problems_of(request: web.Request, response: web.StreamResponse) -> Iterator[str]:
    """What a call broke; a fault may break what it likes."""
    exchange = request.get(ACTIVE_REQUEST)
    is_cut = request.transport is None or request.transport.is_closing()
    if exchange is None or exchange.fault is not None or is_cut:
        return
    if not response.headers.get("X-Request-ID", "").startswith("req_"):
        yield f"{exchange.route}: an answer without X-Request-ID"
    if exchange.route not in OPERATIONS:
        return
    of_json, of_form, of_answer = OPERATIONS[exchange.route]
    if response.status >= 400 and not isinstance(response, web.Response):
        return  # a refusal that a fault will cut
    if response.status >= 400:
        yield from _broken(exchange.route, Draft202012Validator(ERROR), _json_of(response))
        return
    given = request.get(GIVEN)
    if isinstance(given, dict) and of_json:
        yield from _broken(f"{exchange.route} took", validator(of_json), given)
    elif given is not None and of_form:
        yield from _broken(f"{exchange.route} took", validator(of_form), value_of(given, of_form))
    if of_answer and isinstance(response, web.Response):
        yield from _broken(f"{exchange.route} answered", validator(of_answer), _json_of(response))


def problems_of_event(event: Mapping[str, Any]) -> Iterator[str]:
    if event["type"] == "error":
        yield from _broken("the stream", Draft202012Validator(ERROR), event)
    else:
        yield from _broken("the stream", validator("ImageEditStreamEvent"), event)


def value_of(form: Any, schema: str) -> dict[str, Any]:
    """A form as the object that its schema describes: files as text, several as an array, numbers as numbers."""
    properties = amended()["components"]["schemas"][schema]["properties"]
    value: dict[str, Any] = {name: _typed(text, properties.get(name, {})) for name, text in form.fields.items()}
    for name in [name for name in value if name.endswith("]")]:
        outer, _, inner = name[:-1].partition("[")
        text = value.pop(name)
        value.setdefault(outer, {})[inner] = int(text) if text.isdigit() else text
    for file in form.files:
        if file.name.endswith("[]"):
            value.setdefault(file.name[:-2], []).append("")
        else:
            value[file.name] = ""
    return value


def _typed(text: str, schema: Any) -> Any:
    """A number or a truth value where the schema has one; all else is text."""
    is_text = schema == {} or "enum" in schema or "string" in json.dumps(schema)
    return json.loads(text) if not is_text and re.fullmatch(r"-?\d+|true|false", text) else text


def _json_of(response: web.StreamResponse) -> Any:
    body = response.body if isinstance(response, web.Response) else b"null"
    return json.loads(body) if isinstance(body, bytes) else None


def _broken(where: str, judge: Draft202012Validator, value: Any) -> Iterator[str]:
    for error in judge.iter_errors(value):
        yield f"{where}: {error.json_path}: {error.message[:300]}"
