"""What our client sends and gets is what OpenAI's document allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, api
from asyncsdk.server import LocalServer
from tests.stories.openapi import DOCUMENT, Document, Exchange, Recorder
from tests.stories.support import MakeFile

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="OpenAI's document is not beside the project")


async def test_every_request_and_answer_of_an_upload_keeps_to_the_document(
    server: LocalServer, journal: Path, make_file: MakeFile
) -> None:
    recorder, path = Recorder(), make_file()
    async with recorder.session() as session, Client("sk-test", base_url=server.url, session=session) as client:
        uploader = AsyncUploader(client, journal=journal, part_size=1 << 20)
        result = await uploader.upload(path, purpose="batch", expires_after=3600)
        await uploader.upload(path, purpose="batch", expires_after=3600)
        plain = await uploader.upload(path, purpose="assistants")
        other = await client.send(
            api.create_upload(bytes=3, filename="a.txt", mime_type="text/plain", purpose="assistants")
        )
        await client.send(api.add_upload_part(other.id, data=b"abc"))
        await client.send(api.cancel_upload(other.id))
        assert len([file async for file in client.pages(api.list_files(limit=1, order="asc"))]) == 2
        await client.send(api.retrieve_file(plain.file.id))
        async with client.stream(api.file_content(result.file.id)) as chunks:
            content = b"".join([chunk async for chunk in chunks])
        await client.send(api.delete_file(result.file.id))
    assert content == path.read_bytes()
    document = Document()
    wrong = {f"{each.method} {each.path}": found for each in recorder.exchanges if (found := document.judge(each))}
    assert wrong == {}
    assert len(recorder.exchanges) > 20


def test_the_judge_finds_what_is_wrong() -> None:
    headers = {"content-type": "application/json"}
    unknown = Exchange("POST", "/v1/uploads", headers, bytearray(b'{"bytes": 1, "colour": "red"}'))
    assert any("colour" in finding for finding in Document().judge(unknown))
