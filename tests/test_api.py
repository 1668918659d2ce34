"""Each endpoint as a value: the right path, all its fields, and nothing that the caller did not set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk import ConfigurationError, api
from asyncsdk.api import FormFrame, ImageFile, Request
from asyncsdk.batches import Batch
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
    (api.create_file(file=b"", filename="f", purpose="p"), "POST /files", File),
    (api.list_files(), "GET /files", Page[File]),
    (api.retrieve_file("f"), "GET /files/{file_id}", File),
    (api.delete_file("f"), "DELETE /files/{file_id}", FileDeleted),
    (api.file_content("f"), "GET /files/{file_id}/content", bytes),
    (api.create_batch(input_file_id="f", endpoint="/v1/images/edits"), "POST /batches", Batch),
    (api.retrieve_batch("b"), "GET /batches/{batch_id}", Batch),
    (api.list_batches(), "GET /batches", Page[Batch]),
    (api.cancel_batch("b"), "POST /batches/{batch_id}/cancel", Batch),
]


@pytest.mark.parametrize(("request_", "name", "answer"), EVERY, ids=[name for _, name, _ in EVERY])
def test_each_endpoint_has_its_path_and_answer(request_: Request[object], name: str, answer: object) -> None:
    assert request_.name == name
    assert request_.response_model == answer
    path = name.split(" ")[1].replace("{upload_id}", "u").replace("{file_id}", "f").replace("{batch_id}", "b")
    assert request_.path == path


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


def test_a_file_is_sent_with_what_was_set_and_its_type_follows_its_name() -> None:
    bare = api.create_file(file=b"x", filename="a.jsonl", purpose="fine-tune")
    assert bare.fields == {"purpose": "fine-tune"}
    [file] = bare.files
    assert (file.name, file.content, file.filename, file.mime_type) == ("file", b"x", "a.jsonl", "application/jsonl")
    week = {"anchor": "created_at", "seconds": 604_800}
    whole = api.create_file(
        file=b"x", filename="a.jsonl", purpose="batch", mime_type="x/y", expires_after=week, extra={"new": [1, 2]}
    )
    assert whole.fields == {"purpose": "batch", "expires_after": week, "new": [1, 2]}
    assert whole.files[0].mime_type == "x/y"


def test_a_file_is_bytes_or_a_factory_that_is_given_the_form_around_it() -> None:
    frames = list[FormFrame]()

    def body(frame: FormFrame) -> ChunksBody:
        frames.append(frame)
        return ChunksBody([frame.before, b"content", frame.after], frame.content_type)

    request = api.create_file(
        file=body,
        filename="träin.jsonl",
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
        extra={"x": True},
    )
    assert request.files == ()
    assert encoded_body(request) is not encoded_body(request)
    first, second = frames
    assert first.content_type != second.content_type  # each attempt has a boundary of its own
    boundary = first.content_type.partition("boundary=")[2]
    kind = "Content-Type: application/jsonl"
    parts = [
        'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch',
        'Content-Disposition: form-data; name="expires_after[anchor]"\r\n\r\ncreated_at',
        'Content-Disposition: form-data; name="expires_after[seconds]"\r\n\r\n3600',
        'Content-Disposition: form-data; name="x"\r\n\r\ntrue',
        f'Content-Disposition: form-data; name="file"; filename="träin.jsonl"\r\n{kind}\r\n\r\n',
    ]
    assert first.before.decode() == "\r\n".join(f"--{boundary}\r\n{part}" for part in parts)
    assert first.after.decode() == f"\r\n--{boundary}--\r\n"


def test_a_streamed_file_of_no_mime_type_is_refused_before_anything_is_read() -> None:
    def body(_: FormFrame) -> ChunksBody:
        raise AssertionError("nothing is to be read")

    with pytest.raises(ConfigurationError, match="is not a MIME type"):
        encoded_body(api.create_file(file=body, filename="f", purpose="p", mime_type="x\r\ny"))


def test_a_batch_is_created_with_what_was_set_and_listed_by_its_query() -> None:
    bare = api.create_batch(input_file_id="file-1", endpoint="/v1/images/edits")
    assert bare.json == {"input_file_id": "file-1", "endpoint": "/v1/images/edits", "completion_window": "24h"}
    week = {"anchor": "created_at", "seconds": 604_800}
    whole = api.create_batch(
        input_file_id="file-1",
        endpoint="/v1/x",
        completion_window="1h",
        metadata={"run": "7"},
        output_expires_after=week,
        extra={"new": 1},
    )
    assert whole.json == {
        "input_file_id": "file-1",
        "endpoint": "/v1/x",
        "completion_window": "1h",
        "metadata": {"run": "7"},
        "output_expires_after": week,
        "new": 1,
    }
    assert api.list_batches().query == {}
    assert api.list_batches(limit=5, after="batch_1", extra={"x": "y"}).query == {
        "limit": "5",
        "after": "batch_1",
        "x": "y",
    }


def test_one_request_alone_is_not_repeated_by_itself() -> None:
    assert [name for each, name, _ in EVERY if not each.repeatable] == ["POST /batches"]


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
    for file in (b"secret", lambda _: ChunksBody([b"secret"], "x/secret")):
        assert "secret" not in repr(api.create_file(file=file, filename="secret", purpose="secret"))
