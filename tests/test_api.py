"""Each endpoint as a value: the right path, all its fields, and nothing that the caller did not set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk import ConfigurationError, api
from asyncsdk.api import ImageFile, Request
from asyncsdk.http.body import ChunksBody
from asyncsdk.http.request import encoded_body
from asyncsdk.models import File, FileDeleted, ImagesResponse, Page, Upload, UploadPart

PICTURE = ImageFile(content=b"secret", filename="a.png", mime_type="image/png")

EVERY: list[tuple[Request[object], str, object]] = [
    (api.create_upload(bytes=1, filename="f", mime_type="m", purpose="p"), "POST /uploads", Upload),
    (api.add_upload_part("u", data=b""), "POST /uploads/{upload_id}/parts", UploadPart),
    (api.complete_upload("u", part_ids=[]), "POST /uploads/{upload_id}/complete", Upload),
    (api.cancel_upload("u"), "POST /uploads/{upload_id}/cancel", Upload),
    (api.edit_image(image=PICTURE, prompt="x"), "POST /images/edits", ImagesResponse),
    (api.edit_image_by_reference(images=[], prompt="x"), "POST /images/edits", ImagesResponse),
    (api.list_files(), "GET /files", Page[File]),
    (api.retrieve_file("f"), "GET /files/{file_id}", File),
    (api.delete_file("f"), "DELETE /files/{file_id}", FileDeleted),
    (api.file_content("f"), "GET /files/{file_id}/content", bytes),
]


@pytest.mark.parametrize(("request_", "name", "answer"), EVERY, ids=[name for _, name, _ in EVERY])
def test_each_endpoint_has_its_path_and_answer(request_: Request[object], name: str, answer: object) -> None:
    assert request_.name == name
    assert request_.response_model == answer
    assert request_.path == name.split(" ")[1].replace("{upload_id}", "u").replace("{file_id}", "f")


def test_create_sends_what_was_set_and_nothing_else() -> None:
    bare = api.create_upload(bytes=5, filename="a.jsonl", mime_type="text/jsonl", purpose="user_data")
    assert bare.json == {"bytes": 5, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "user_data"}
    whole = api.create_upload(
        bytes=5,
        filename="a",
        mime_type="b",
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
        extra={"new_field": None},
    )
    assert whole.json == {
        "bytes": 5,
        "filename": "a",
        "mime_type": "b",
        "purpose": "batch",
        "expires_after": {"anchor": "created_at", "seconds": 3600},
        "new_field": None,
    }


def test_complete_keeps_the_order_of_its_parts() -> None:
    assert api.complete_upload("u", part_ids=("b", "a")).json == {"part_ids": ["b", "a"]}
    assert api.complete_upload("u", part_ids=["b"], md5="0" * 32, extra={"x": 1}).json == {
        "part_ids": ["b"],
        "md5": "0" * 32,
        "x": 1,
    }


def test_completes_and_edits_may_take_longer_than_the_others() -> None:
    slow = ("complete", "edits")
    assert {each.response_timeout for each, name, _ in EVERY if name.endswith(slow)} == {600}
    assert {each.response_timeout for each, name, _ in EVERY if not name.endswith(slow)} == {120}


def test_a_list_is_narrowed_by_its_query() -> None:
    assert api.list_files().query == {}
    assert api.list_files(purpose="batch", limit=5, order="asc", after="file-1", extra={"x": "y"}).query == {
        "purpose": "batch",
        "limit": "5",
        "order": "asc",
        "after": "file-1",
        "x": "y",
    }


def test_a_part_is_bytes_or_a_factory_of_bodies() -> None:
    body = ChunksBody([b""], "text/plain")
    assert encoded_body(api.add_upload_part("u", data=lambda: body)) is body
    part = api.add_upload_part("u", data=b"x")
    assert encoded_body(part) is not encoded_body(part)
    assert [(file.name, file.content) for file in part.files] == [("data", b"x")]


@given(st.text(st.characters(), min_size=1).filter(lambda text: text not in {".", ".."}))
def test_an_id_stays_one_segment_of_the_path(name: str) -> None:
    path = api.retrieve_file(name).path
    assert path.startswith("/files/")
    assert path.count("/") == 2
    assert not set(path) & set("?#\\ \r\n")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_an_id_that_names_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"upload_id is .* names nothing"):
        _ = api.cancel_upload(name).path


def test_a_request_shows_no_content() -> None:
    assert "secret" not in repr(api.edit_image(image=PICTURE, prompt="secret")) + repr(PICTURE)
    assert "secret" not in repr(api.create_upload(bytes=1, filename="secret", mime_type="m", purpose="p"))
