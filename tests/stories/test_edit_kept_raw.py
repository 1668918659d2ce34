"""What came in the place of pictures is kept as it came, and the error says where."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from asyncsdk import (
    ChargeUnknownError,
    Client,
    EditedImage,
    EditOutcome,
    EditResult,
    ImageEdit,
    ImageEditor,
    ImagesResponse,
    SaveError,
    UnreadableImage,
)
from asyncsdk.images.saving import FileWriter, Saving
from tests.raw_server import answering, client_of, reply
from tests.stories.edits import MODEL, PICTURE, all_of, done, jobs, until

Reply = ImagesResponse | ChargeUnknownError
Replying = Callable[..., None]

BROKEN = UnreadableImage(raw=b"aGFsZiBhIHBpY3R1cmU", reason="its base64 can't be decoded")
PAGE, SECOND_PAGE = "<html>sign in</html>", "<html>sign in again</html>"
HALF = ImagesResponse(data=(EditedImage(content=PICTURE),), unreadable=(BROKEN,), request_id="req_1")


@pytest.fixture
def editor() -> ImageEditor:
    return ImageEditor(Client("sk-test", base_url="http://127.0.0.1:9"))


@pytest.fixture
def replying(monkeypatch: pytest.MonkeyPatch) -> Replying:
    """Let edits end so, one after the other; the last one stays. What the server's bytes mean is told elsewhere."""

    def reply_with(*replies: Reply) -> None:
        left = list(replies)

        async def send(client: Client, loaded: object, *, retry: object, **_: object) -> Reply:
            if (before_attempt := getattr(retry, "before_attempt", None)) is not None:
                await before_attempt()
                retry.on_sent()  # type: ignore[attr-defined]  # it has it with the other
            found = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr("asyncsdk.images.bulk.worker.send", send)
        monkeypatch.setattr("asyncsdk.images.editor.send", send)

    return reply_with


def lost(*raw: bytes) -> ChargeUnknownError:
    error = ChargeUnknownError("the response can't be read: it may have been paid.")
    error.raw, error.request_id, error.status_code = raw, "req_1", 200
    return error


async def only(editor: ImageEditor, out: Path, **options: object) -> EditOutcome:
    async with editor.edit_many(jobs(1, n=2), out=out, **options) as outcomes:  # type: ignore[arg-type]  # passed on
        [found] = await all_of(outcomes)
    return found


async def test_a_picture_that_is_whole_is_kept_beside_one_that_can_not_be_read(
    editor: ImageEditor, out: Path, replying: Replying
) -> None:
    replying(HALF)
    found = await only(editor, out)
    [raw] = (out / ".asyncsdk" / "raw").iterdir()
    assert (found.status, found.files, raw.read_bytes()) == ("uncertain", (out / "1.png",), BROKEN.raw)
    assert isinstance(found.error, SaveError)
    assert (found.error.raw_files, found.error.urls) == ((raw,), ())
    assert all(text in str(found.error) for text in (str(raw), BROKEN.reason, "only 1 of its 2", str(out / "1.png")))
    assert found.problem is not None
    assert found.problem.raw_files == (str(raw),)


async def test_a_response_without_any_picture_is_kept_and_named(
    editor: ImageEditor, out: Path, replying: Replying
) -> None:
    replying(lost(b"<html>", b"", b"more"))
    found = await only(editor, out)
    raw = [out / ".asyncsdk" / "raw" / name for name in ("1-1.raw", "1-2.raw")]
    assert [path.read_bytes() for path in raw] == [b"<html>", b"more"]
    assert (found.status, found.problem and found.problem.raw_files) == ("uncertain", tuple(map(str, raw)))
    assert isinstance(found.error, ChargeUnknownError)
    assert (found.error.raw_files, found.error.request_id, found.error.status_code) == (tuple(raw), "req_1", 200)
    assert all(str(path) in str(found.error) for path in raw)
    [segment] = (out / ".asyncsdk" / "ledger").glob("*.jsonl")
    last = json.loads(segment.read_text().splitlines()[-1])
    assert last["problem"]["raw_files"] == list(map(str, raw))
    again = await only(editor, out)
    assert again.problem == found.problem


async def test_what_stops_a_run_says_where_it_is_too(editor: ImageEditor, out: Path, replying: Replying) -> None:
    replying(lost(b"<html>"))
    async with editor.edit_many(jobs(3), out=out, concurrency=1, on_uncertain="stop") as outcomes:
        await until(outcomes, ChargeUnknownError, match=r"raw/1-1\.raw")


async def test_a_folder_that_can_not_be_written_is_named_and_memory_has_it(
    editor: ImageEditor, out: Path, replying: Replying
) -> None:
    (out / ".asyncsdk").mkdir(parents=True)
    (out / ".asyncsdk" / "raw").write_text("not a directory")
    replying(lost(b"<html>"))
    found = await only(editor, out)
    assert isinstance(found.error, ChargeUnknownError)
    assert (found.error.raw, found.error.raw_files) == ((b"<html>",), ())
    assert f"could not be kept in {out / '.asyncsdk' / 'raw'}" in str(found.error)


async def test_a_run_that_writes_nothing_has_it_in_the_error(editor: ImageEditor, replying: Replying) -> None:
    replying(lost(b"<html>"))
    async with editor.edit_many(jobs(1)) as outcomes:
        [found] = await all_of(outcomes)
    assert isinstance(found.error, ChargeUnknownError)
    assert (found.error.raw, found.error.raw_files) == ((b"<html>",), ())


async def test_a_run_that_writes_nothing_gives_what_is_whole_and_says_what_is_not(
    editor: ImageEditor, replying: Replying
) -> None:
    replying(HALF)
    async with editor.edit_many(jobs(1, n=2)) as outcomes:
        [found] = await all_of(outcomes)
    assert (found.status, found.result and found.result.response) == ("done", HALF)
    assert found.problem is not None
    assert "1 of 2 pictures came" in found.problem.message
    assert "result.response.unreadable" in found.problem.message


@pytest.mark.parametrize("fails", [False, True])
async def test_the_caller_keeps_what_is_whole_and_the_ledger_the_rest(
    editor: ImageEditor, tmp_path: Path, replying: Replying, *, fails: bool
) -> None:
    kept: list[bytes] = []

    async def save(edit: ImageEdit, result: EditResult) -> None:
        kept.extend(await result.contents())
        if fails:
            raise ValueError("the database says no")

    replying(HALF)
    async with editor.edit_many(jobs(1, n=2), save=save, ledger=tmp_path / "ledger") as outcomes:
        [found] = await all_of(outcomes)
    assert (found.status, kept) == ("uncertain", [PICTURE])
    assert found.problem is not None
    assert found.problem.raw_files == (str(tmp_path / "ledger" / "raw" / "1-1.raw"),)
    assert BROKEN.reason in found.problem.message
    assert ("the database says no" in found.problem.message) == fails
    assert ("1 of its 2 pictures can't be used" in found.problem.message) == (not fails)


@pytest.mark.parametrize("second", [done(), reply(200, SECOND_PAGE)], ids=["a picture", "nothing"])
async def test_what_came_of_a_try_that_is_repeated_is_kept_too(out: Path, second: bytes) -> None:
    async with (
        answering(done(), reply(200, PAGE), second) as server,
        client_of(server) as client,
        ImageEditor(client).edit_many(jobs(2), out=out, concurrency=1, on_uncertain="retry") as outcomes,
    ):
        [_, found] = await all_of(outcomes)
    assert len(server.requests) == 3
    raw = sorted((out / ".asyncsdk" / "raw").iterdir())
    assert [path.read_text() for path in raw] == ([PAGE, SECOND_PAGE] if found.error else [PAGE])
    if found.error is not None:
        assert isinstance(found.error, ChargeUnknownError)
        assert found.error.raw_files == tuple(raw)


class TestUnusableResponsesInARow:
    async def test_stop_the_run(self, editor: ImageEditor, out: Path, replying: Replying) -> None:
        replying(lost(b"<html>"))
        async with editor.edit_many(jobs(9), out=out, concurrency=1) as outcomes:
            found = await until(outcomes, Exception, match="3 responses in a row may have been paid")
        assert [each.status for each in found] == ["uncertain"] * 3
        assert len(list((out / ".asyncsdk" / "raw").iterdir())) == 3

    @pytest.mark.parametrize(
        "good", [HALF, ImagesResponse(data=(EditedImage(content=PICTURE),))], ids=["half", "whole"]
    )
    async def test_are_counted_from_the_last_that_held_a_picture(
        self, editor: ImageEditor, out: Path, replying: Replying, good: ImagesResponse
    ) -> None:
        replying(lost(b"1"), lost(b"2"), good, lost(b"3"), lost(b"4"), good)
        async with editor.edit_many(jobs(7), out=out, concurrency=1) as outcomes:
            assert len(await all_of(outcomes)) == 7

    async def test_count_each_try(self, out: Path) -> None:
        async with (
            answering(done(), reply(200, '{"data": [')) as server,
            client_of(server) as client,
            ImageEditor(client).edit_many(jobs(9), out=out, concurrency=1, on_uncertain="retry") as outcomes,
        ):
            found = await until(outcomes, Exception, match="3 responses in a row")
        assert {each.status for each in found} == {"done", "uncertain"}
        assert len(server.requests) == 1 + 3

    async def test_are_not_those_of_which_nothing_came(
        self, editor: ImageEditor, out: Path, replying: Replying
    ) -> None:
        replying(lost())
        async with editor.edit_many(jobs(5), out=out, concurrency=1) as outcomes:
            assert len(await all_of(outcomes)) == 5


async def test_one_edit_saves_what_is_whole_and_what_is_raw_before_it_raises(
    editor: ImageEditor, out: Path, replying: Replying
) -> None:
    replying(HALF)
    result = await editor.edit(PICTURE, "a beret", model=MODEL, n=2)
    for name in ("beret", "scarf"):
        with pytest.raises(SaveError, match="only 1 of its 2 pictures") as caught:
            await result.save(out, name=name)
        [raw] = caught.value.raw_files
        assert (caught.value.files, raw) == ((out / f"{name}.png",), out / ".asyncsdk" / "raw" / f"{name}-1.raw")
        assert Path(raw).read_bytes() == BROKEN.raw
    assert await result.contents() == [PICTURE]


async def test_what_is_kept_is_known_before_the_sync_of_its_name_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def again(_: Exception) -> bool:
        await anyio.sleep_forever()
        return True

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    folder = tmp_path / ".asyncsdk" / "raw"
    folder.mkdir(parents=True)
    response = ImagesResponse(data=(), unreadable=(BROKEN,))
    saving = Saving(
        response=response,
        receive=None,
        place=None,
        raw_folder=folder,
        raw_name="1",
        way=FileWriter(again=again),
        shielded=True,
    )
    monkeypatch.setattr("asyncsdk.wal.disk.sync_directory", full)
    with anyio.move_on_after(0.5):
        await saving.run()
    assert [path.read_bytes() for path in saving.raw_files] == [BROKEN.raw]
