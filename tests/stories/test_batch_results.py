"""What comes back of batches: each kind of line, files that are cut, gone or not as they should be, whole failures."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from attrs import evolve

from asyncsdk import Client, ImageEditor, api
from asyncsdk.images.batch.requests import line_of
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.stories.batches import (
    QUICK,
    Lines,
    batch,
    changed,
    edits,
    ended,
    lines_of,
    message,
    only,
    ours,
    statuses,
    written,
)

Change = Callable[[bytes], bytes]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server", batch_seconds=0.1) as running:
        yield running


@pytest.fixture
def timing() -> Timing:
    return QUICK


def raw_files(out: Path) -> list[Path]:
    return sorted((out / ".asyncsdk" / "raw").glob("*.raw"))


LINES = {
    "400 in the API's words": (Fault("batches.line", "answer", nth=1, status=400), "refused"),
    "401": (Fault("batches.line", "answer", nth=1, status=401), "failed"),
    "408": (Fault("batches.line", "answer", nth=1, status=408), "uncertain"),
    "409": (Fault("batches.line", "answer", nth=1, status=409), "uncertain"),
    "429": (Fault("batches.line", "answer", nth=1, status=429), "failed"),
    "500": (Fault("batches.line", "answer", nth=1, status=500), "failed"),
    "no response": (Fault("batches.line", "close", nth=1), "failed"),
    "no response, and done": (Fault("batches.line", "close", nth=1, at="done"), "failed"),
    "in neither file": (Fault("batches.line", "reset", nth=1, at="done"), "uncertain"),
    "200 without pictures": (Fault("batches.line", "answer", nth=1, status=200), "uncertain"),
}


@pytest.mark.parametrize("name", LINES)
async def test_each_kind_of_line_has_its_end(editor: ImageEditor, server: LocalServer, out: Path, name: str) -> None:
    fault, status = LINES[name]
    server.inject(fault)
    found, _ = await batch(editor, edits(2), out)
    assert sorted(statuses(found).values()) == sorted(["done", status])
    assert ours(server) == []
    [other] = [outcome for outcome in found.values() if outcome.status == status]
    assert other.problem is not None
    again, outcomes = await batch(editor, edits(2), out)
    is_sent_again = status == "failed"
    assert again[other.id].status == ("done" if is_sent_again else status)
    assert len(outcomes.batches) == is_sent_again


async def test_an_edit_that_fails_goes_again_in_three_batches_and_no_more(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    server.inject(Fault("batches.line", "answer", every=1, times=9, status=500))
    for _ in range(3):
        assert statuses((await batch(editor, edits(2), out))[0]) == only("failed", 2)
    found, outcomes = await batch(editor, edits(2), out)
    assert statuses(found) == only("failed", 2)
    assert "it failed in 3 batches" in message(found["e1"])
    assert outcomes.batches == ()
    server.clear_faults()
    assert statuses((await batch(editor, edits(2), out, only={"failed"}))[0]) == only("done", 2)


async def test_an_expired_batch_keeps_what_was_done_and_the_rest_goes_again(tmp_path: Path, out: Path) -> None:
    async with LocalServer(tmp_path / "short", batch_seconds=4.0, batch_window=2) as server:
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            editor = ImageEditor(client)
            found, _ = await batch(editor, edits(6), out)
        made = [name for name, outcome in found.items() if outcome.status == "done"]
        failed = [name for name, outcome in found.items() if outcome.status == "failed"]
        assert made
        assert failed
        assert len(made) + len(failed) == 6
        problem = found[failed[0]].problem
        assert problem is not None
        assert problem.code == "batch_expired"
        assert server.edits.edits == len(made)
        assert ours(server) == []
    async with LocalServer(tmp_path / "short", batch_seconds=0.1) as server:
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            again, _ = await batch(ImageEditor(client), edits(6), out)
        assert sorted(statuses(again).values()) == sorted(["skipped"] * len(made) + ["done"] * len(failed))


async def test_a_cancelled_batch_leaves_what_was_not_done_to_the_next_call(tmp_path: Path, out: Path) -> None:
    async with LocalServer(tmp_path / "slow", batch_seconds=4.0) as server:
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            editor = ImageEditor(client)
            await batch(editor, edits(4), out, detach=True)
            await client.send(api.cancel_batch(server.batches[0].id))
            found, _ = await batch(editor, edits(4), out)
        assert statuses(found) == only("failed", 4)
        assert ours(server) == []


async def test_a_batch_above_the_queue_limit_is_created_again_once_another_ended(tmp_path: Path, out: Path) -> None:
    async with LocalServer(tmp_path / "full", batch_seconds=0.5, batch_tokens=700) as server:
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            found, outcomes = await batch(ImageEditor(client), edits(6), out, batch_size=3)
        assert statuses(found) == only("done", 6)
        assert any(batch.status == "failed" for batch in server.batches)
        assert any("token limit" in each.reason.lower() for each in outcomes.batches)
        assert set(server.edits.by_prompt.values()) == {1}
        assert ours(server) == []


async def test_a_batch_above_the_queue_limit_by_itself_fails_after_some_tries(tmp_path: Path, out: Path) -> None:
    async with LocalServer(tmp_path / "full", batch_tokens=10) as server:
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            found, _ = await batch(ImageEditor(client), edits(2), out)
        assert statuses(found) == only("failed", 2)
        assert "failed as a whole" in message(found["e1"])
        assert len(server.batches) == 4
        assert ours(server) == []


async def test_lines_that_are_refused_end_and_the_others_are_cut_again(
    editor: ImageEditor, server: LocalServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = line_of

    def broken(edit: object, custom_id: str, **pictures: object) -> bytes:
        line = usual(edit, custom_id, **pictures)  # type: ignore[arg-type]  # as they came
        return b"{broken\n" if b"beret 2" in line else line

    monkeypatch.setattr("asyncsdk.images.batch.driver.line_of", broken)
    found, outcomes = await batch(editor, edits(4), out)
    assert statuses(found) == {"e1": "done", "e2": "refused", "e3": "done", "e4": "done"}
    assert "not parseable" in message(found["e2"])
    assert [each.edits for each in outcomes.batches] == [4, 3]
    assert server.edits.edits == 3
    assert ours(server) == []


async def changed_run(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path, change: Change
) -> dict[str, str]:
    """How edits end whose output file was changed."""
    await batch(editor, edits(3), out, detach=True)
    await changed(server, client, change)
    found, _ = await batch(editor, edits(3), out)
    assert ours(server) == []
    assert server.edits.edits == 3
    return statuses(found)


def on_lines(change: Callable[[Lines], object]) -> Change:
    def changing(content: bytes) -> bytes:
        lines = lines_of(content)
        change(lines)
        return written(lines)

    return changing


async def test_lines_in_any_order_are_told_apart(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path
) -> None:
    assert await changed_run(editor, server, client, out, on_lines(Lines.reverse)) == only("done", 3)


async def test_a_line_that_is_not_json_leaves_its_edit_uncertain_and_is_kept(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path
) -> None:
    def change(content: bytes) -> bytes:
        first, *others = content.splitlines(keepends=True)
        return b"".join([b"<html>" + first, *others])

    assert sorted((await changed_run(editor, server, client, out, change)).values()) == ["done", "done", "uncertain"]
    [kept] = raw_files(out)
    assert kept.read_bytes().startswith(b'<html>{"id"')


async def test_a_line_of_no_edit_is_kept(editor: ImageEditor, server: LocalServer, client: Client, out: Path) -> None:
    def change(lines: Lines) -> None:
        lines[0]["custom_id"] = "somebody-else's"

    found = await changed_run(editor, server, client, out, on_lines(change))
    assert sorted(found.values()) == ["done", "done", "uncertain"]
    [kept] = raw_files(out)
    assert json.loads(kept.read_bytes())["custom_id"] == "somebody-else's"


async def test_lines_of_no_edit_are_said_once_with_their_number(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await changed_run(editor, server, client, out, on_lines(lambda lines: lines.extend([lines[0]] * 5)))
    [said] = [record.message for record in caplog.records if "of no edit" in record.message]
    assert "batch 1: 5 lines of " in said
    assert "the first is line 4" in said
    assert len(raw_files(out)) == 5


async def test_a_key_that_the_server_repeats_in_lines_is_in_no_file_message_or_log(
    server: LocalServer, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-canary-0123456789abcdef"

    def change(lines: Lines) -> None:
        error = {"message": f"Incorrect {key}", "type": "invalid_request_error", "code": key, "param": key}
        lines[0]["response"] = {"status_code": 400, "request_id": key, "body": {"error": error}}
        lines[1] |= {"response": None, "error": {"code": key, "message": f"no answer to {key}"}}
        lines[2]["custom_id"] = lines[0]["custom_id"]
        lines.append({"custom_id": key, "response": {"status_code": 500, "body": {"error": error}}, "error": None})

    with caplog.at_level(logging.DEBUG):
        async with Client(key, base_url=server.url, timing=QUICK) as client:
            editor = ImageEditor(client)
            await batch(editor, edits(3), out, detach=True)
            await changed(server, client, on_lines(change))
            found, outcomes = await batch(editor, edits(3), out)
    assert {"refused", "failed"} & set(statuses(found).values())
    kept = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".raw"]  # a raw line is as it came
    assert kept
    assert not [path for path in kept if key.encode() in path.read_bytes() or key in path.name]
    assert key not in caplog.text + repr(found) + repr(outcomes.batches)
    assert not [each for each in found.values() if key in f"{each.error!r} {each.problem!r} {each.error}"]


async def test_a_line_that_comes_twice_counts_once_and_the_other_is_kept(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path
) -> None:
    found = await changed_run(editor, server, client, out, on_lines(lambda lines: lines.append(lines[0])))
    assert found == only("done", 3)
    assert len(raw_files(out)) == 1
    assert not (out / ".asyncsdk" / "replaced").exists()


async def test_a_file_that_is_cut_in_a_picture_leaves_that_edit_uncertain_and_keeps_what_came(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path
) -> None:
    found = await changed_run(editor, server, client, out, lambda content: content[: len(content) - 700])
    assert sorted(found.values()) == ["done", "done", "uncertain"]
    [kept] = raw_files(out)
    assert b"b64_json" in kept.read_bytes()


async def test_base64_that_is_no_picture_leaves_the_edit_uncertain(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path
) -> None:
    def change(lines: Lines) -> None:
        lines[0]["response"]["body"]["data"][0]["b64_json"] = "aGVsbG8gd29ybGQh"

    found = await changed_run(editor, server, client, out, on_lines(change))
    assert sorted(found.values()) == ["done", "done", "uncertain"]
    assert len(raw_files(out)) == 1


async def test_an_output_file_that_is_gone_leaves_its_edits_uncertain(
    editor: ImageEditor, server: LocalServer, client: Client, out: Path
) -> None:
    await batch(editor, edits(2), out, detach=True)
    await ended(server)
    await client.send(api.delete_file(server.batches[0].output_file_id or ""))
    found, _ = await batch(editor, edits(2), out)
    assert statuses(found) == only("uncertain", 2)
    assert "can't be read" in message(found["e1"])


async def test_a_download_that_breaks_off_is_begun_again_and_nothing_is_saved_twice(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    await batch(editor, edits(6), out, detach=True)
    await ended(server)
    server.inject(Fault("files.content", "close", at="answering", times=2, nth=1))
    found, _ = await batch(editor, edits(6), out)
    server.assert_all_met()
    assert statuses(found) == only("done", 6)
    assert not raw_files(out)
    assert not (out / ".asyncsdk" / "replaced").exists()


async def test_a_batch_whose_counts_are_not_there_yet_is_polled_on(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    await batch(editor, edits(2), out, detach=True)
    await ended(server)
    [was] = server.batches
    server._repository.batches[was.id] = evolve(was, output_file_id=None)  # noqa: SLF001 - for a moment
    found, _ = await batch(editor, edits(2), out, detach=True)
    assert statuses(found) == only("batched", 2)
    server._repository.batches[was.id] = was  # noqa: SLF001 - as above
    assert statuses((await batch(editor, edits(2), out))[0]) == only("done", 2)
