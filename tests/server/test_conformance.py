"""The official client, sync and async, finds what it finds at OpenAI's."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from itertools import pairwise
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import Upload

from asyncsdk.server import LocalServer

DATA = os.urandom(300_000)
EDGES = [0, 100_000, 100_001, 250_000, len(DATA)]
CHUNKS = [DATA[start:end] for start, end in pairwise(EDGES)]


def create(client: OpenAI, size: int = len(DATA)) -> Upload:
    return client.uploads.create(bytes=size, filename="train é.jsonl", mime_type="text/jsonl", purpose="fine-tune")


def add_parts(client: OpenAI, upload: Upload) -> list[str]:
    """Send the parts last one first; return their ids in the order of the bytes."""
    return [client.uploads.parts.create(upload.id, data=chunk).id for chunk in reversed(CHUNKS)][::-1]


def test_a_new_upload_is_pending_for_an_hour(client: OpenAI) -> None:
    upload = create(client)
    assert re.fullmatch(r"upload_[0-9a-f]{32}", upload.id)
    assert (upload.object, upload.status, upload.bytes) == ("upload", "pending", len(DATA))
    assert (upload.filename, upload.purpose) == ("train é.jsonl", "fine-tune")
    assert upload.expires_at == upload.created_at + 3600
    assert {"file", "mime_type"}.isdisjoint(upload.to_dict())


def test_parts_sent_out_of_order_become_the_file_in_the_order_of_complete(client: OpenAI, server: LocalServer) -> None:
    upload = create(client)
    ids = add_parts(client, upload)
    assert all(re.fullmatch(r"part_[0-9a-f]{32}", part_id) for part_id in ids)
    done = client.uploads.complete(upload.id, part_ids=ids, md5=hashlib.md5(DATA).hexdigest())
    assert done.file is not None
    assert server.stored(done.file.id).read_bytes() == DATA
    assert client.files.content(done.file.id).read() == DATA


def test_a_completed_upload_carries_its_file_as_the_real_server_writes_it(client: OpenAI) -> None:
    upload = create(client)
    done = client.uploads.complete(upload.id, part_ids=add_parts(client, upload)).to_dict()
    file = done.pop("file")
    assert done == {**upload.to_dict(), "status": "completed"}
    assert isinstance(file, dict)
    assert re.fullmatch(r"file-[0-9A-Za-z]{22}", file.pop("id"))
    assert file == {
        "object": "file",
        "bytes": len(DATA),
        "created_at": upload.created_at,
        "expires_at": None,
        "filename": "train é.jsonl",
        "purpose": "fine-tune",
        "status": "processed",
        "status_details": None,
    }


def test_the_file_expires_when_it_was_asked_to(client: OpenAI) -> None:
    upload = client.uploads.create(
        bytes=1,
        filename="a",
        mime_type="b",
        purpose="vision",
        expires_after={"anchor": "created_at", "seconds": 7200},
    )
    part = client.uploads.parts.create(upload.id, data=b"1")
    done = client.uploads.complete(upload.id, part_ids=[part.id])
    assert done.file is not None
    assert done.file.expires_at == upload.created_at + 7200


def test_md5_is_taken_as_base64_too(client: OpenAI) -> None:
    upload = create(client)
    md5 = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    assert client.uploads.complete(upload.id, part_ids=add_parts(client, upload), md5=md5).status == "completed"


def test_a_refused_complete_leaves_the_upload_pending(client: OpenAI) -> None:
    upload, other = create(client), create(client)
    ids, foreign = add_parts(client, upload), add_parts(client, other)
    refused = [
        ({"part_ids": ids, "md5": hashlib.md5(b"else").hexdigest()}, "md5"),
        ({"part_ids": ids[:-1]}, "part_ids"),
        ({"part_ids": [*ids, ids[0]]}, "part_ids"),
        ({"part_ids": [*ids[:-1], foreign[-1]]}, "part_ids"),
        ({"part_ids": [*ids[:-1], "part_" + "0" * 32]}, "part_ids"),
        ({"part_ids": []}, "part_ids"),
    ]
    for arguments, param in refused:
        with pytest.raises(openai.BadRequestError) as caught:
            client.uploads.complete(upload.id, **arguments)  # type: ignore[arg-type] # a dict of several types
        assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert client.uploads.complete(upload.id, part_ids=ids).status == "completed"


def test_a_part_that_is_not_listed_is_left_out(client: OpenAI, server: LocalServer) -> None:
    upload = create(client)
    client.uploads.parts.create(upload.id, data=b"an orphan")
    done = client.uploads.complete(upload.id, part_ids=add_parts(client, upload))
    assert done.file is not None
    assert server.stored(done.file.id).read_bytes() == DATA


def test_complete_again_gives_the_same_answer(client: OpenAI) -> None:
    upload = create(client)
    ids = add_parts(client, upload)
    assert client.uploads.complete(upload.id, part_ids=ids) == client.uploads.complete(upload.id, part_ids=ids)
    with pytest.raises(openai.BadRequestError):
        client.uploads.complete(upload.id, part_ids=ids[::-1])
    assert len(client.files.list().data) == 1


def test_complete_again_can_be_refused() -> None:
    with (
        LocalServer(repeated_complete=409) as server,
        OpenAI(api_key="k", base_url=server.url, max_retries=0) as client,
    ):
        upload = create(client)
        ids = add_parts(client, upload)
        client.uploads.complete(upload.id, part_ids=ids)
        with pytest.raises(openai.ConflictError):
            client.uploads.complete(upload.id, part_ids=ids)


def test_a_cancelled_upload_takes_nothing_more(client: OpenAI, server: LocalServer) -> None:
    upload = create(client)
    ids = add_parts(client, upload)
    cancelled = client.uploads.cancel(upload.id).to_dict()
    assert cancelled == {**upload.to_dict(), "status": "cancelled"}
    for refused in (
        lambda: client.uploads.parts.create(upload.id, data=b"x"),
        lambda: client.uploads.complete(upload.id, part_ids=ids),
        lambda: client.uploads.cancel(upload.id),
    ):
        with pytest.raises(openai.BadRequestError, match="is cancelled"):
            refused()
    assert [found.status for found in server.uploads] == ["cancelled"]


def test_a_completed_upload_takes_no_part_and_is_not_cancelled(client: OpenAI) -> None:
    upload = create(client)
    client.uploads.complete(upload.id, part_ids=add_parts(client, upload))
    with pytest.raises(openai.BadRequestError, match="is completed"):
        client.uploads.parts.create(upload.id, data=b"x")
    with pytest.raises(openai.BadRequestError, match="is completed"):
        client.uploads.cancel(upload.id)


def test_what_is_not_there_is_not_found(client: OpenAI) -> None:
    for missing in (
        lambda: client.uploads.parts.create("upload_" + "0" * 32, data=b"x"),
        lambda: client.uploads.complete("upload_" + "0" * 32, part_ids=["part"]),
        lambda: client.uploads.cancel("../../etc"),
        lambda: client.files.retrieve("file-" + "0" * 22),
        lambda: client.files.delete("file-" + "0" * 22),
        lambda: client.files.content("file-" + "0" * 22),
    ):
        with pytest.raises(openai.NotFoundError):
            missing()


def test_the_helper_for_whole_files_works(client: OpenAI, server: LocalServer, tmp_path: Path) -> None:
    source = tmp_path / "source.jsonl"
    source.write_bytes(DATA)
    done = client.uploads.upload_file_chunked(
        file=source,
        mime_type="text/jsonl",
        purpose="batch",
        part_size=70_000,
        md5=hashlib.md5(DATA).hexdigest(),
    )
    assert done.file is not None
    assert server.stored(done.file.id).read_bytes() == DATA
    assert server.calls == {"create": 1, "part": 5, "complete": 1}


def test_files_are_made_listed_paged_retrieved_and_deleted(client: OpenAI) -> None:
    made = [client.files.create(file=(f"{number}.jsonl", b"{}"), purpose="batch").id for number in range(5)]
    seen = client.files.create(file=("see.png", b"png"), purpose="vision").id
    assert [file.id for file in client.files.list()] == [seen, *made[::-1]]
    assert [file.id for file in client.files.list(order="asc", limit=2, purpose="batch")] == made
    page = client.files.list(limit=4)
    assert (len(page.data), page.has_more) == (4, True)
    assert client.files.retrieve(seen).filename == "see.png"
    assert client.files.delete(seen).to_dict() == {"id": seen, "object": "file", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(seen)
    assert [file.id for file in client.files.list()] == made[::-1]


def test_a_file_made_at_once_has_its_policy_and_its_purpose_checked(client: OpenAI) -> None:
    file = client.files.create(
        file=("a.jsonl", b"{}"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.expires_at == file.created_at + 3600
    with pytest.raises(openai.BadRequestError, match="'world_domination' is not one of") as caught:
        client.files.create(file=("a.jsonl", b"{}"), purpose="world_domination")  # type: ignore[arg-type] # on purpose
    assert caught.value.param == "purpose"


def test_what_users_gave_is_not_given_back(client: OpenAI, server: LocalServer) -> None:
    file = client.files.create(file=("a.txt", b"mine"), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="Not allowed to download files of purpose: user_data"):
        client.files.content(file.id)
    assert server.stored(file.id).read_bytes() == b"mine"


def test_a_wrong_key_is_refused_and_the_right_one_taken() -> None:
    with LocalServer(api_key="the key") as server:
        with OpenAI(api_key="another", base_url=server.url) as client, pytest.raises(openai.AuthenticationError) as no:
            client.files.list()
        assert no.value.code == "invalid_api_key"
        assert "another" not in str(no.value)
        with OpenAI(api_key="the key", base_url=server.url) as client:
            assert client.files.list().data == []


async def test_the_async_client_is_served_in_its_own_loop() -> None:
    async with (
        LocalServer() as server,
        AsyncOpenAI(api_key="any key", base_url=server.url, max_retries=0) as client,
    ):
        upload = await client.uploads.create(
            bytes=len(DATA), filename="a.jsonl", mime_type="text/jsonl", purpose="fine-tune"
        )
        ids = [(await client.uploads.parts.create(upload.id, data=chunk)).id for chunk in CHUNKS]
        done = await client.uploads.complete(upload.id, part_ids=ids, md5=hashlib.md5(DATA).hexdigest())
        assert done.file is not None
        assert (await client.files.content(done.file.id)).read() == DATA
        assert [file.id async for file in client.files.list(limit=1)] == [done.file.id]
