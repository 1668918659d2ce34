"""One picture is edited, saved, streamed; and what it says when that can't be."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncsdk import (
    AuthenticationError,
    BadRequestError,
    ChargeUnknownError,
    Client,
    ImageEdit,
    ImageEditor,
    ImageRef,
    InvalidEditError,
    ModerationBlockedError,
    RateLimitError,
    SaveError,
)
from asyncsdk.images.stream import CompletedImage, PartialImage
from asyncsdk.server import Fault, LocalServer
from tests.stories.pictures import changed, mask, photo, png

MODEL = "gpt-image-2"


async def test_only_the_masked_region_changes(editor: ImageEditor, tmp_path: Path) -> None:
    otter, hole = photo(tmp_path / "otter.png"), (64, 32, 192, 96)
    result = await editor.edit(otter, "a beret", mask=mask(tmp_path / "mask.png", hole), model=MODEL)
    [path] = await result.save(tmp_path / "out")
    assert path == tmp_path / "out" / "otter.png"
    assert changed(otter, path) == hole


async def test_pictures_come_in_the_size_and_format_and_number_that_were_asked(
    editor: ImageEditor, tmp_path: Path
) -> None:
    result = await editor.edit(
        png(), "a beret", model=MODEL, n=3, size="1024x640", output_format="webp", output_compression=50
    )
    paths = await result.save(tmp_path, name="otter")
    assert [path.name for path in paths] == ["otter.webp", "otter.1.webp", "otter.2.webp"]
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("WEBP", (1024, 640))
    assert len({path.read_bytes() for path in paths}) == 3
    assert result.usage is not None
    assert result.usage.total_tokens
    assert (result.size, result.output_format) == ("1024x640", "webp")
    assert result.request_id
    assert result.created


async def test_an_edit_may_be_given_as_a_value(editor: ImageEditor) -> None:
    result = await editor.edit(ImageEdit(image=png(), prompt="a beret", model=MODEL, n=2))
    assert len(result.images) == 2
    with pytest.raises(TypeError, match="has its own prompt"):
        await editor.edit(ImageEdit(image=png(), prompt="a beret"), "another")
    with pytest.raises(TypeError, match="needs a prompt"):
        await editor.edit(png())


async def test_an_older_models_pictures_are_fetched_from_their_urls(editor: ImageEditor, tmp_path: Path) -> None:
    result = await editor.edit(png(), "a beret", model="dall-e-2", size="256x256")
    assert result.images[0].content is None
    [path] = await result.save(tmp_path / "beret.png")
    with Image.open(path) as picture:
        assert picture.size == (256, 256)


async def test_one_uploaded_picture_serves_many_edits(
    editor: ImageEditor, client: Client, tmp_path: Path, journal: Path
) -> None:
    from asyncsdk import AsyncUploader

    otter = photo(tmp_path / "otter.png")
    uploaded = await AsyncUploader(client, journal=journal).upload(otter, purpose="vision")
    reference = ImageRef(file_id=uploaded.file.id)
    results = [await editor.edit(reference, prompt, model=MODEL) for prompt in ("a beret", "a scarf")]
    contents = [(await result.contents())[0] for result in results]
    assert contents[0] != contents[1]


async def test_several_pictures_make_one(editor: ImageEditor) -> None:
    result = await editor.edit([png(1), png(2), png(3)], "together", model=MODEL)
    assert len(result.images) == 1


async def test_partial_pictures_come_before_the_completed_one(editor: ImageEditor) -> None:
    async with editor.stream(png(), "a beret", model=MODEL, partial_images=2) as events:
        found = [event async for event in events]
    *partial, completed = found
    assert [type(event) for event in partial] == [PartialImage, PartialImage]
    assert isinstance(completed, CompletedImage)
    assert completed.content
    assert completed.usage is not None


async def test_a_streamed_edit_has_the_same_result(editor: ImageEditor) -> None:
    plain = await editor.edit(png(), "a beret", model=MODEL)
    streamed = await editor.edit(png(), "a beret", model=MODEL, stream=True)
    assert await streamed.contents() == await plain.contents()
    assert streamed.usage is not None


@pytest.mark.parametrize("kind", ["close", "reset"])
async def test_a_stream_that_ends_without_its_picture_may_have_been_paid(kind: str, tmp_path: Path) -> None:
    cut = Fault("edit", kind, at="answering")  # type: ignore[arg-type]  # a literal by parameter
    async with LocalServer(tmp_path, faults=[cut]) as server, Client("sk-test", base_url=server.url) as client:
        with pytest.raises(ChargeUnknownError):
            await ImageEditor(client).edit(png(), "a beret", model=MODEL, stream=True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("edit", "reset", at="done"),
        Fault("edit", "reset", at="after"),
        Fault("edit", "close", at="answering"),
        Fault("edit", "answer", status=500),
        Fault("edit", "answer", status=502, body="<html>Bad Gateway</html>"),
        Fault("edit", "answer", status=504),
        Fault("edit", "answer", status=524, body="<html>a timeout</html>"),
        Fault("edit", "answer", status=408),
        Fault("edit", "answer", status=503, body="<html>no word of the API's own</html>"),
    ],
    ids=str,
)
async def test_an_edit_whose_answer_is_lost_is_not_sent_again(fault: Fault, tmp_path: Path) -> None:
    async with LocalServer(tmp_path, faults=[fault]) as server, Client("sk-test", base_url=server.url) as client:
        with pytest.raises(ChargeUnknownError, match="may be paid twice") as caught:
            await ImageEditor(client).edit(png(), "a beret", model=MODEL)
        assert caught.value.__cause__ is not None
        assert server.unmet_faults() == []
        assert len([request for request in server.requests if request.route == "edit"]) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("edit", "answer", status=429, headers={"retry-after-ms": "1"}),
        Fault("edit", "answer", status=503, headers={"retry-after": "0"}, body="<html>busy</html>"),
        Fault("edit", "answer", status=503),
    ],
    ids=str,
)
async def test_what_was_surely_not_paid_is_sent_again(fault: Fault, tmp_path: Path) -> None:
    async with LocalServer(tmp_path, faults=[fault]) as server, Client("sk-test", base_url=server.url) as client:
        await ImageEditor(client).edit(png(), "a beret", model=MODEL)
        assert server.unmet_faults() == []


async def test_a_timeout_may_have_been_paid(tmp_path: Path) -> None:
    stalled = Fault("edit", "stall", at="after")
    async with LocalServer(tmp_path, faults=[stalled]) as server, Client("sk-test", base_url=server.url) as client:
        with pytest.raises(ChargeUnknownError):
            await ImageEditor(client).edit(png(), "a beret", model=MODEL, timeout=1.0)


async def test_moderation_says_at_which_stage_and_why(editor: ImageEditor) -> None:
    with pytest.raises(ModerationBlockedError) as caught:
        await editor.edit(png(), "something forbidden", model=MODEL)
    assert caught.value.stage == "input"
    assert caught.value.categories
    assert caught.value.request_id


async def test_a_bad_picture_is_refused_before_anything_is_sent(
    editor: ImageEditor, server: LocalServer, tmp_path: Path
) -> None:
    text = tmp_path / "notes.png"
    text.write_text("no picture")
    with pytest.raises(InvalidEditError, match=r"notes\.png"):
        await editor.edit(text, "a beret", model=MODEL)
    with pytest.raises(InvalidEditError):
        await editor.edit(png(), "", model=MODEL)
    with pytest.raises(InvalidEditError):
        await editor.edit(png(), "a beret", model=MODEL, n=11)
    assert server.requests == []


async def test_without_checks_the_server_has_the_word(server: LocalServer, client: Client) -> None:
    with pytest.raises(BadRequestError) as caught:
        await ImageEditor(client, check=False).edit(png(), "a beret", model=MODEL, n=11)
    assert caught.value.param == "n"
    assert len(server.requests) == 1


async def test_without_checks_more_pictures_than_have_names_are_asked_of_no_server(
    server: LocalServer, client: Client
) -> None:
    with pytest.raises(InvalidEditError, match="n is beyond 10,000"):
        await ImageEditor(client, check=False).edit(png(), "a beret", model=MODEL, n=20_000)
    assert server.requests == []


async def test_a_wrong_key_says_so(tmp_path: Path) -> None:
    async with LocalServer(tmp_path, api_key="right") as server, Client("wrong", base_url=server.url) as client:
        with pytest.raises(AuthenticationError):
            await ImageEditor(client).edit(png(), "a beret", model=MODEL)


async def test_more_pictures_than_the_limit_are_not_tried_again(tmp_path: Path) -> None:
    async with (
        LocalServer(tmp_path, images_per_minute=5) as server,
        Client("sk-test", base_url=server.url) as client,
    ):
        with pytest.raises(RateLimitError, match="Requested 10"):
            await ImageEditor(client).edit(png(), "a beret", model=MODEL, n=10)
        assert len(server.requests) == 1


class TestSaving:
    async def test_a_name_that_is_taken_gets_a_number(self, editor: ImageEditor, tmp_path: Path) -> None:
        otter = photo(tmp_path / "otter.png")
        result = await editor.edit(otter, "a beret", model=MODEL)
        before = otter.read_bytes()
        assert await result.save(tmp_path) == [tmp_path / "otter-2.png"]
        assert await result.save(tmp_path) == [tmp_path / "otter-3.png"]
        assert otter.read_bytes() == before

    async def test_a_file_that_was_named_is_not_overwritten_unless_asked(
        self, editor: ImageEditor, tmp_path: Path
    ) -> None:
        result = await editor.edit(png(), "a beret", model=MODEL)
        target = tmp_path / "beret.png"
        target.write_bytes(b"precious")
        with pytest.raises(SaveError, match="paid") as caught:
            await result.save(target)
        assert target.read_bytes() == b"precious"
        assert caught.value.result is result
        assert isinstance(caught.value.__cause__, FileExistsError)
        assert await result.save(target, overwrite=True) == [target]
        assert target.read_bytes() == result.images[0].content

    async def test_the_suffix_says_what_the_bytes_are(self, editor: ImageEditor, tmp_path: Path) -> None:
        result = await editor.edit(png(), "a beret", model=MODEL, output_format="jpeg")
        assert await result.save(tmp_path / "beret.png") == [tmp_path / "beret.jpg"]

    async def test_a_directory_that_can_not_be_written_loses_nothing(self, editor: ImageEditor, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no directory")
        result = await editor.edit(png(), "a beret", model=MODEL)
        with pytest.raises(SaveError):
            await result.save(tmp_path / "file" / "out")
        assert await result.save(tmp_path / "out") == [tmp_path / "out" / "edit.png"]

    async def test_a_directory_that_can_not_be_looked_into_loses_nothing(
        self, editor: ImageEditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = await editor.edit(png(), "a beret", model=MODEL)
        (tmp_path / "closed").mkdir()
        stat = os.stat

        def refusing(path: Any, *more: Any, **named: Any) -> os.stat_result:  # root, who may run this, sees all
            if "closed/" in str(path):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return stat(path, *more, **named)

        monkeypatch.setattr(os, "stat", refusing)
        with pytest.raises(SaveError, match="Permission denied") as caught:
            await result.save(tmp_path / "closed" / "x.png")
        assert caught.value.in_memory


async def test_one_editor_serves_many_tasks(editor: ImageEditor) -> None:
    results = await asyncio.gather(*(editor.edit(png(seed), f"beret {seed}", model=MODEL) for seed in range(8)))
    assert len({result.images[0].content for result in results}) == 8


async def test_a_format_that_is_not_the_suffixs_is_saved_under_its_own_and_logged(
    editor: ImageEditor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = await editor.edit(png(), "a beret", model=MODEL, n=2)
    assert await result.save(tmp_path / "b.jpg") == [tmp_path / "b.png", tmp_path / "b.1.png"]
    names = f"{tmp_path / 'b.png'} (not b.jpg), {tmp_path / 'b.1.png'} (not b.1.jpg)"
    assert caplog.messages == [f"the server sent another format than was requested: saved as {names}"]
    caplog.clear()
    assert await result.save(tmp_path / "new" / "b.PNG") == [tmp_path / "new" / "b.PNG", tmp_path / "new" / "b.1.PNG"]
    assert caplog.messages == []


async def test_a_file_that_was_not_named_is_never_replaced_by_another_format(
    editor: ImageEditor, tmp_path: Path
) -> None:
    other = photo(tmp_path / "b.png")
    before, result = other.read_bytes(), await editor.edit(png(), "a beret", model=MODEL)
    assert await result.save(tmp_path / "b.jpg", overwrite=True) == [tmp_path / "b-2.png"]
    assert await result.save(tmp_path / "b.jpg") == [tmp_path / "b-3.png"]
    assert other.read_bytes() == before
