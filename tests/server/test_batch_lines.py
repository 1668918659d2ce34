"""What is wrong with the lines of an input file, and what can go wrong with a request of a batch on request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyncsdk.server import Fault
from asyncsdk.server.batches.lines import MOST_LINES, MOST_REFUSALS, InputCheck
from tests.server.batches import ENDPOINT, body, create, created, ended, file_of, line, reached, results, vision_file
from tests.server.support import running

Json = dict[str, Any]

GOOD = line("a", body("file-1"))
OTHER = line("b", body("file-1"))


def problems(content: bytes) -> list[tuple[int | None, str, str | None]]:
    check = InputCheck(ENDPOINT)
    for each in content.removesuffix(b"\n").split(b"\n") if content else []:
        check.take(each)
    check.finish()
    return [(refusal.line, refusal.code, refusal.param) for refusal in check.refusals]


def written(*lines: Json | bytes) -> bytes:
    return b"\n".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines)


def without(name: str) -> Json:
    return {key: value for key, value in OTHER.items() if key != name}


@pytest.mark.parametrize(
    ("second", "code", "param"),
    [
        (b"not JSON", "invalid_json_line", None),
        (b"", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'{"custom_id": "\xff"}', "invalid_json_line", None),
        (b"[" * 100_000, "invalid_json_line", None),
        *((without(name), "missing_required_parameter", name) for name in OTHER),
        (OTHER | {"custom_id": 5}, "invalid_type", "custom_id"),
        (OTHER | {"body": "x"}, "invalid_type", "body"),
        (OTHER | {"custom_id": "a"}, "duplicate_custom_id", "custom_id"),
        (OTHER | {"method": "GET"}, "invalid_method", "method"),
        (OTHER | {"url": "/v1/images/generations"}, "url_mismatch", "url"),
        (OTHER | {"body": {"prompt": "x"}}, "missing_required_parameter", "body.model"),
        (OTHER | {"body": body("f", model=5)}, "invalid_type", "body.model"),
        (OTHER | {"body": body("f", model="gpt-image-1")}, "model_mismatch", "body.model"),
        (OTHER | {"body": body("f", model="dall-e-2")}, "model_not_found", "body.model"),
        (OTHER | {"body": body("f", stream=True)}, "invalid_request", "body.stream"),
        (OTHER | {"body": body("f", partial_images=2)}, "invalid_request", "body.partial_images"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_line_that_is_wrong_is_named(second: Json | bytes, code: str, param: str | None) -> None:
    assert problems(written(GOOD, second, line("c", body("file-1")))) == [(2, code, param)]


def test_all_lines_that_are_wrong_are_named_up_to_a_limit() -> None:
    assert problems(written(b"x", GOOD, b"y")) == [(1, "invalid_json_line", None), (3, "invalid_json_line", None)]
    assert len(problems(b"x\n" * (MOST_REFUSALS + 50))) == MOST_REFUSALS


def test_a_file_without_lines_or_with_too_many_is_wrong_as_a_whole() -> None:
    assert problems(b"") == [(None, "empty_file", None)]
    lines = [line(str(number), body("f")) for number in range(MOST_LINES)]
    assert problems(written(*lines)) == []
    assert problems(written(*lines, GOOD)) == [(None, "too_many_tasks", None)]


async def test_a_batch_with_wrong_lines_fails_and_makes_nothing() -> None:
    async with running() as (server, call):
        file_id = await vision_file(call)
        lines = [line("a", body(file_id)), line("a", body(file_id)), line("b", body(file_id), url="/v1/x")]
        batch = await ended(call, lines)
        assert server.edits.edits == 0
    assert (batch["status"], batch["in_progress_at"], batch["failed_at"] is None) == ("failed", None, False)
    assert batch["errors"]["object"] == "list"
    assert [(each["line"], each["code"]) for each in batch["errors"]["data"]] == [
        (2, "duplicate_custom_id"),
        (3, "url_mismatch"),
    ]
    assert all(set(each) == {"code", "message", "line", "param"} for each in batch["errors"]["data"])
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}


async def test_an_input_file_that_can_not_be_used_fails_the_batch_after_its_create() -> None:
    async with running() as (_, call):
        ids = ["file-none", await file_of(call, b"{}", purpose="user_data")]
        batches = [(await create(call, file_id)).json for file_id in ids]
        codes = [(await reached(call, batch["id"]))["errors"]["data"][0]["code"] for batch in batches]
    assert codes == ["file_not_found", "invalid_file"]


async def test_a_line_over_many_blocks_and_a_last_one_without_its_end_are_read() -> None:
    async with running() as (_, call):
        file_id = await vision_file(call)
        batch = await ended(call, written(*(line(n, body(file_id), surplus="x" * 3_000_000) for n in "ab")))
    assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}


FAULTS: list[tuple[Fault, str | None, Json | None, int]] = [
    # what happens, in which file the line is then, how it ended, and how many edits were made
    (Fault("batches.line", "answer", status=500), "error", {"status": 500}, 0),
    (Fault("batches.line", "answer", "done", status=500), "error", {"status": 500}, 1),
    (Fault("batches.line", "answer", status=429, body={"error": {"code": "x"}}), "error", {"status": 429}, 0),
    (Fault("batches.line", "answer", status=200), "output", {"status": 200}, 0),
    (Fault("batches.line", "answer", status=200, body="<html>"), "output", {"status": 200}, 0),
    (Fault("batches.line", "close"), "error", {"code": "request_timeout"}, 0),
    (Fault("batches.line", "close", "done"), "error", {"code": "request_timeout"}, 1),
    (Fault("batches.line", "reset"), None, None, 0),
    (Fault("batches.line", "reset", "done"), None, None, 1),
    (Fault("batches.line", "stall", seconds=0.1), "output", {"status": 200}, 1),
    (Fault("batches.line", "expire"), "error", {"code": "batch_expired"}, 0),
    (Fault("batches.line", "expire", "done"), "output", {"status": 200}, 1),
]


@pytest.mark.parametrize(("fault", "place", "end", "edits"), FAULTS, ids=repr)
async def test_a_request_can_fail_on_request(fault: Fault, place: str | None, end: Json | None, edits: int) -> None:
    async with running(faults=[fault]) as (server, call):
        batch = await ended(call, [line("a", body(await vision_file(call)))])
        found = {kind: await results(call, batch[f"{kind}_file_id"]) for kind in ("output", "error")}
        server.assert_all_met()
        assert server.edits.edits == edits
    assert [kind for kind, lines in found.items() if lines] == ([] if place is None else [place])
    if place is not None and end is not None:
        [result] = found[place].values()
        response, error = result["response"], result["error"]
        assert end == ({"code": error["code"]} if response is None else {"status": response["status_code"]})
    assert bool(batch["usage"]["total_tokens"]) == bool(edits)


async def test_a_request_that_stalls_for_ever_expires_with_its_batch() -> None:
    faults = [Fault("batches.line", "stall"), Fault("batches.get", "expire", nth=3)]
    async with running(faults=faults) as (_, call):
        batch = await created(call, [line("a", body(await vision_file(call)))])
        batch = await reached(call, batch["id"])
    assert (batch["status"], batch["request_counts"]) == ("expired", {"total": 1, "completed": 0, "failed": 1})


async def test_faults_of_any_call_do_not_happen_to_lines() -> None:
    async with running(faults=[Fault("*", "stall", "before", seconds=0.001, every=1)]) as (_, call):
        batch = await ended(call, [line("a", body(await vision_file(call)))])
    assert batch["request_counts"]["completed"] == 1


@pytest.mark.parametrize("kind", ["slow", "md5", "limit"])
def test_a_line_takes_no_fault_of_a_connection(kind: Any) -> None:
    more: Json = {"slow": {"rate": 5}, "limit": {"per_minute": 5}}.get(kind, {})
    with pytest.raises(ValueError, match=f"a line of a batch takes answer, close, expire, reset, stall, not {kind}"):
        Fault("batches.line", kind, **more)
