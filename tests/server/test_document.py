"""Every answer keeps to OpenAI's own document, where it is at hand, but for what the real server does too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.server.edits import data_url, edit, edit_json, picture
from tests.server.support import FORM_HEADERS, Answer, form_of, running
from tests.server.test_edit_responses import streamed

DOCUMENT = Path(__file__).parents[3] / "shared" / "openai-uploads-images.openapi.yaml"
KNOWN_NULLS = ("expires_at", "status_details")  # the real server sends them on every File, against the document

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="OpenAI's document is not part of this repository")


def told(answer: Answer) -> Any:
    assert answer.status == 200
    return without_known_nulls(answer.json)


def without_known_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [without_known_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: item for name, item in value.items() if item is not None or name not in KNOWN_NULLS}
    return {name: without_known_nulls(item) for name, item in kept.items()}


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.safe_load(DOCUMENT.read_text())


def validator(document: Any, schema: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource("urn:openai", DRAFT202012.create_resource(document))
    return Draft202012Validator({"$ref": f"urn:openai#/components/schemas/{schema}"}, registry=registry)


async def test_every_answer_keeps_to_the_document(document: Any) -> None:
    async with running() as (_, call):
        created = await call.create()
        upload_id = created.json["id"]
        part = await call.add_part(upload_id, b"0123456789")
        completed = await call.complete(upload_id, part.json["id"])
        cancelled = await call.cancel(await call.created(1))
        form = form_of(
            b'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch',
            b'Content-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}',
        )
        made = await call("POST", "files", data=form, headers=FORM_HEADERS)
        listed = await call("GET", "files")
        empty = await call("GET", "files", params={"purpose": "vision"})
        found = await call("GET", f"files/{made.json['id']}")
        deleted = await call("DELETE", f"files/{made.json['id']}")
    judged = [
        ("Upload", [created, completed, cancelled]),
        ("UploadPart", [part]),
        ("OpenAIFile", [made, found]),
        ("ListFilesResponse", [listed, empty]),
        ("DeleteFileResponse", [deleted]),
    ]
    for schema, answers in judged:
        for answer in answers:
            assert list(validator(document, schema).iter_errors(told(answer))) == []


async def test_a_file_breaks_the_document_by_its_two_nulls_and_nothing_else(document: Any) -> None:
    async with running() as (_, call):
        file = (await call.uploaded(b"x")).json["file"]
    errors = validator(document, "OpenAIFile").iter_errors(file)
    assert sorted(error.json_path for error in errors) == ["$.expires_at", "$.status_details"]


async def test_the_documents_routes_are_served(document: Any) -> None:
    async with running() as (_, call):
        for path, operations in document["paths"].items():
            for method in operations:
                answer = await call(method.upper(), path[1:].replace("{upload_id}", "u").replace("{file_id}", "f"))
                assert "Invalid URL" not in str(answer.json)
                assert answer.status != 405


async def test_every_edit_keeps_to_the_document(document: Any) -> None:
    async with running() as (_, call):
        answers = [
            await edit(call, picture(), size="1024x1024", n=2),
            await edit(call, picture(), size="1536x1024", output_format="webp", background="transparent"),
            await edit(call, picture((64, 64)), model="dall-e-2"),
            await edit(call, picture((64, 64)), model="dall-e-2", response_format="b64_json"),
        ]
        events = await streamed(call, size="1024x1536", partial_images=3, quality="high")
    for answer in answers:
        assert list(validator(document, "ImagesResponse").iter_errors(told(answer))) == []
    for event in events:
        assert list(validator(document, "ImageEditStreamEvent").iter_errors(event.data)) == []
    assert len(events) == 4


async def test_every_field_and_value_of_the_document_is_taken_but_for_one_that_is_dead(document: Any) -> None:
    schemas = document["components"]["schemas"]
    async with running() as (_, call):
        for name, schema in schemas["EditImageBodyJsonParam"]["properties"].items():
            for value in values_of(schema, schemas):
                fields = {"images": [{"image_url": data_url(picture())}], "prompt": "x", "output_format": "webp"}
                assert (await edit_json(call, **fields | {name: value})).status == 200, (name, value)
        for name, schema in schemas["CreateImageEditRequest"]["properties"].items():
            for value in values_of(schema, schemas):
                is_old = name == "response_format" or value in {"dall-e-2", "256x256", "512x512"}
                fields = {"model": "dall-e-2"} if is_old else {"output_format": "webp"}
                answer = await edit(call, picture((64, 64)), **fields | {name: value})
                assert (answer.status == 200) != ((name, value) == ("quality", "standard")), (name, value)


def values_of(schema: Any, schemas: Any) -> list[Any]:
    """The values that a field is listed with, its limits, and its example."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "properties" in schema:
        return []
    said = [*schema.get("enum", ()), *(schema[key] for key in ("minimum", "maximum", "example") if key in schema)]
    inner = [value for each in schema.get("anyOf", ()) for value in values_of(each, schemas)]
    return [value for value in (*said, *inner) if value is not None]
