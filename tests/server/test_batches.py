"""Batches on the server: checked, done over time, with their results in files; expired and cancelled ones."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from openai.types import Batch

from asyncsdk.server import Fault, LocalServer, StoredBatch
from asyncsdk.server.edits import memory
from asyncsdk.server.repository import Repository
from asyncsdk.server.store import Store
from tests import document
from tests.server.batches import (
    ENDED,
    MODEL,
    body,
    create,
    created,
    ended,
    file_of,
    line,
    reached,
    results,
    vision_file,
    written,
)
from tests.server.edits import data_url, edit_json, opened, overlay, picture
from tests.server.support import NOW, Caller, Clock, calling, running

Json = dict[str, Any]


async def lines_of(call: Caller, count: int) -> list[Json]:
    file_id = await vision_file(call)
    return [line(f"c{number}", body(file_id, f"prompt {number}")) for number in range(count)]


async def test_a_batch_makes_its_edits_and_puts_their_responses_into_a_file() -> None:
    async with running() as (server, call):
        lines = await lines_of(call, 20)
        batch = await ended(call, lines, metadata={"run": "7"})
        found = await results(call, batch["output_file_id"])
        assert (batch["status"], batch["error_file_id"], batch["errors"]) == ("completed", None, None)
        assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
        assert (batch["model"], batch["metadata"], batch["endpoint"]) == (MODEL, {"run": "7"}, "/v1/images/edits")
        assert server.edits.by_prompt == {f"prompt {number}": 1 for number in range(20)}
    assert sorted(found) == sorted(each["custom_id"] for each in lines)
    assert list(found) != [each["custom_id"] for each in lines]  # in any order
    for each in found.values():
        assert each["error"] is None
        assert (each["response"]["status_code"], each["response"]["request_id"][:4]) == (200, "req_")
        [made] = each["response"]["body"]["data"]
        assert opened(base64.b64decode(made["b64_json"])).size == (64, 48)
    usages = [each["response"]["body"]["usage"] for each in found.values()]
    assert batch["usage"]["total_tokens"] == sum(usage["total_tokens"] for usage in usages)


async def test_an_edit_in_a_batch_is_the_same_as_one_that_is_sent_directly() -> None:
    async with running() as (_, call):
        file_id = await vision_file(call)
        fields = body(file_id, n=2, size="1024x1024", output_format="webp", mask={"file_id": await _mask(call)})
        direct = (await edit_json(call, **fields)).json
        batch = await ended(call, [line("a", fields)])
        [only] = (await results(call, batch["output_file_id"])).values()
    assert only["response"]["body"] | {"created": 0} == direct | {"created": 0}


async def _mask(call: Caller) -> str:
    return await file_of(call, overlay((8, 8, 24, 24)), purpose="vision", name="mask.png")


async def test_pictures_come_as_data_urls_too() -> None:
    async with running() as (_, call):
        edit = {"model": MODEL, "prompt": "x", "images": [{"image_url": data_url(picture())}]}
        batch = await ended(call, [line("a", edit)])
    assert batch["request_counts"]["completed"] == 1


async def test_requests_wait_for_memory_that_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (server, call):
        lines = await lines_of(call, 8)
        size = next(file.bytes for file in server.files if file.purpose == "vision")
        monkeypatch.setattr(memory, "MEMORY_LIMIT", size + size // 2)
        batch = await ended(call, lines)
    assert batch["request_counts"] == {"total": 8, "completed": 8, "failed": 0}


async def test_what_comes_keeps_to_the_types_of_openai_python() -> None:
    async with running() as (_, call):
        done = await ended(call, await lines_of(call, 2))
        failed = await ended(call, b"not JSON\n")
        listed = (await call("GET", "batches")).json
    for each in (done, failed, *listed["data"]):
        batch = Batch.model_validate(each, strict=True)
        assert batch.model_extra == {}
        assert batch.errors is None or batch.errors.model_extra == {}
        assert batch.to_dict() == each


@pytest.mark.skipif(not document.PATH.exists(), reason="OpenAI's document is not part of this repository")
async def test_lines_and_their_responses_keep_to_the_document() -> None:
    async with running() as (_, call):
        lines = [*await lines_of(call, 2), line("no", body("file-none"))]
        batch = await ended(call, lines)
        found = await results(call, batch["output_file_id"]) | await results(call, batch["error_file_id"])
        files = [(await call("GET", f"files/{batch[name]}")).json for name in ("output_file_id", "error_file_id")]
    for each in lines:
        assert list(document.validator("EditImageBodyJsonParam").iter_errors(each["body"])) == []
    for custom_id in ("c0", "c1"):
        assert list(document.validator("ImagesResponse").iter_errors(found[custom_id]["response"]["body"])) == []
    assert set(found["no"]["response"]["body"]) == {"error", "detail"}
    for file in files:
        assert list(document.validator("OpenAIFile").iter_errors(file)) == []
        assert (file["purpose"], file["expires_at"] - file["created_at"]) == ("batch_output", 30 * 24 * 3600)
    assert [file["filename"] for file in files] == [f"{batch['id']}_{kind}.jsonl" for kind in ("output", "error")]


async def test_its_states_come_one_after_the_other_with_their_times() -> None:
    seen: list[str] = []
    counts: list[int] = []
    async with running(batch_seconds=1.5) as (_, call):
        batch = await created(call, await lines_of(call, 6))
        assert (batch["status"], batch["expires_at"] - batch["created_at"]) == ("validating", 24 * 3600)
        while batch["status"] not in ENDED:
            batch = (await call("GET", f"batches/{batch['id']}")).json
            if batch["status"] not in seen[-1:]:
                seen.append(batch["status"])
            counts.append(batch["request_counts"]["completed"])
            await asyncio.sleep(0.01)
    order = ["validating", "in_progress", "finalizing", "completed"]
    assert [status for status in order if status in seen] == seen
    assert "in_progress" in seen
    assert sorted(counts) == counts
    assert len(set(counts)) > 3
    times = [batch[name] for name in ("created_at", "in_progress_at", "finalizing_at", "completed_at")]
    assert sorted(times) == times
    assert [batch[f"{name}_at"] for name in ("failed", "expired", "cancelling", "cancelled")] == [None] * 4


async def test_requests_that_fail_are_in_the_error_file() -> None:
    async with running() as (server, call):
        good, gone = await vision_file(call), await vision_file(call, 2)
        await call("DELETE", f"files/{gone}")
        lines = [
            line("good", body(good)),
            line("gone", body(gone)),
            line("forbidden", body(good, "forbidden")),
            line("n", body(good, n=11)),
            line("url", {"model": MODEL, "prompt": "x", "images": [{"image_url": "https://example.com/a.png"}]}),
            line("empty", body(good, "")),
        ]
        batch = await ended(call, lines)
        output, errors = await results(call, batch["output_file_id"]), await results(call, batch["error_file_id"])
        assert server.edits.edits == 1
    assert (batch["status"], batch["request_counts"]) == ("completed", {"total": 6, "completed": 1, "failed": 5})
    assert set(output) == {"good"}
    statuses = {name: each["response"]["status_code"] for name, each in errors.items()}
    assert statuses == {"gone": 404, "forbidden": 400, "n": 400, "url": 400, "empty": 400}
    blocked = errors["forbidden"]["response"]
    assert blocked["body"]["error"]["code"] == "moderation_blocked"
    assert blocked["request_id"] in blocked["body"]["error"]["message"]


async def test_a_batch_of_failures_alone_has_no_output_file() -> None:
    async with running() as (_, call):
        batch = await ended(call, [line("a", body("file-none"))])
    assert (batch["status"], batch["output_file_id"], batch["error_file_id"] is None) == ("completed", None, False)


async def test_what_is_not_done_in_time_expires_and_what_is_done_stays() -> None:
    clock = Clock()
    async with running(clock=clock, batch_seconds=1.0, batch_window=3600) as (server, call):
        batch = await created(call, await lines_of(call, 20))
        assert batch["expires_at"] == NOW + 3600
        while not server.batches[0].completed:
            await asyncio.sleep(0.01)
        clock.now += 3601
        batch = await reached(call, batch["id"])
        output, errors = await results(call, batch["output_file_id"]), await results(call, batch["error_file_id"])
        assert len(output) == server.edits.edits < 20
    assert (batch["status"], batch["expired_at"], batch["completed_at"]) == ("expired", NOW + 3601, None)
    assert len(output) + len(errors) == 20
    assert batch["request_counts"] == {"total": 20, "completed": len(output), "failed": len(errors)}
    for each in errors.values():
        assert (each["response"], each["error"]["code"]) == (None, "batch_expired")


async def test_a_cancelled_batch_keeps_what_is_done() -> None:
    async with running(batch_seconds=1.0) as (server, call):
        batch = await created(call, await lines_of(call, 20))
        while not server.batches[0].completed:
            await asyncio.sleep(0.01)
        answer = await call("POST", f"batches/{batch['id']}/cancel")
        again = await call("POST", f"batches/{batch['id']}/cancel")
        assert (answer.json["status"], again.status) == ("cancelling", 200)
        batch = await reached(call, batch["id"])
        output, errors = await results(call, batch["output_file_id"]), await results(call, batch["error_file_id"])
        late = await call("POST", f"batches/{batch['id']}/cancel")
    assert (batch["status"], batch["cancelled_at"] >= batch["cancelling_at"] > 0) == ("cancelled", True)
    assert 0 < len(output) < 20
    assert len(output) + len(errors) == 20
    assert {each["error"]["code"] for each in errors.values()} == {"batch_cancelled"}
    assert (late.status, late.error["message"]) == (409, "Cannot cancel a batch with status 'cancelled'.")


async def test_a_batch_that_is_cancelled_before_it_was_checked_does_nothing() -> None:
    async with running(batch_seconds=5) as (server, call):
        batch = await created(call, await lines_of(call, 2))
        await call("POST", f"batches/{batch['id']}/cancel")
        batch = await reached(call, batch["id"])
        assert server.edits.edits == 0
    assert (batch["status"], batch["output_file_id"], batch["error_file_id"]) == ("cancelled", None, None)


async def test_the_list_has_the_newest_first_page_by_page_with_their_metadata() -> None:
    async with running() as (_, call):
        lines = await lines_of(call, 1)
        ids = [(await created(call, lines, metadata={"n": str(n)}))["id"] for n in range(5)]
        first = (await call("GET", "batches", params={"limit": "2"})).json
        second = (await call("GET", "batches", params={"limit": "2", "after": first["last_id"]})).json
        last = (await call("GET", "batches", params={"after": second["last_id"]})).json
        wrong = [await call("GET", "batches", params=query) for query in ({"limit": "101"}, {"after": "batch_no"})]
    assert [each["id"] for page in (first, second, last) for each in page["data"]] == ids[::-1]
    assert [each["metadata"] for each in first["data"]] == [{"n": "4"}, {"n": "3"}]
    assert [page["has_more"] for page in (first, second, last)] == [True, True, False]
    assert (first["first_id"], first["last_id"]) == (ids[4], ids[3])
    assert [(answer.status, answer.error["param"]) for answer in wrong] == [(400, "limit"), (400, "after")]


async def test_a_new_batch_comes_into_the_list_later_and_can_be_asked_for_at_once() -> None:
    clock = Clock()
    async with running(clock=clock, listing_delay=20) as (_, call):
        batch = await created(call, await lines_of(call, 1))
        assert (await call("GET", "batches")).json["data"] == []
        assert (await call("GET", f"batches/{batch['id']}")).status == 200
        clock.now += 20
        assert [each["id"] for each in (await call("GET", "batches")).json["data"]] == [batch["id"]]


async def test_a_batch_above_the_tokens_that_may_wait_fails_until_another_has_ended() -> None:
    async with running(faults=[Fault("batches.line", "stall")], batch_tokens=700) as (_, call):
        lines = await lines_of(call, 3)
        first = await created(call, lines)
        await reached(call, first["id"], "in_progress")
        failed = await ended(call, lines)
        [problem] = failed["errors"]["data"]
        assert (failed["status"], problem["code"], problem["line"]) == ("failed", "token_limit_exceeded", None)
        assert "Limit: 700 enqueued tokens" in problem["message"]
        await call("POST", f"batches/{first['id']}/cancel")
        await reached(call, first["id"])
        assert (await ended(call, lines))["status"] == "completed"


async def test_two_batches_that_are_checked_at_the_same_time_share_the_tokens_that_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = Store.write_batch

    def write_slowly(store: Store, batch: StoredBatch) -> None:
        time.sleep(0.1)
        write(store, batch)

    monkeypatch.setattr(Store, "write_batch", write_slowly)
    async with running(faults=[Fault("batches.line", "stall", every=1)], batch_tokens=700) as (_, call):
        file_id = await file_of(call, written(await lines_of(call, 3)))
        made = await asyncio.gather(create(call, file_id), create(call, file_id))
        states = [await reached(call, each.json["id"], "in_progress", "failed") for each in made]
    assert sorted(each["status"] for each in states) == ["failed", "in_progress"]


async def test_a_batch_goes_on_after_a_restart_though_it_alone_has_all_the_tokens_that_may_wait(tmp_path: Path) -> None:
    async with running(tmp_path, faults=[Fault("batches.line", "stall")], batch_tokens=700) as (_, call):
        batch = await created(call, await lines_of(call, 3))
        await reached(call, batch["id"], "in_progress")
    async with running(tmp_path, batch_tokens=700) as (_, call):
        assert (await reached(call, batch["id"]))["status"] == "completed"


async def test_a_batch_that_is_cancelled_just_before_it_is_finalized_stays_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change = Repository.change_batch

    async with running() as (_, call):

        async def change_late(repository: Repository, batch_id: str, how: Any) -> StoredBatch:
            if how(repository.batches[batch_id]).status == "finalizing":
                assert (await call("POST", f"batches/{batch_id}/cancel")).json["status"] == "cancelling"
            return await change(repository, batch_id, how)

        monkeypatch.setattr(Repository, "change_batch", change_late)
        batch = await ended(call, await lines_of(call, 1))
        assert len(await results(call, batch["output_file_id"])) == 1
    assert (batch["status"], batch["finalizing_at"]) == ("cancelled", None)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input_file_id": ...}, "input_file_id"),
        ({"input_file_id": 5}, "input_file_id"),
        ({"endpoint": "/v1/chat/completions"}, "endpoint"),
        ({"endpoint": ...}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"a": 5}}, "metadata.a"),
        ({"metadata": {"a" * 65: "x"}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "output_expires_after[seconds]"),
        ({"output_expires_after": {"anchor": "now", "seconds": 3600}}, "output_expires_after[anchor]"),
        ({"surprise": 1}, "surprise"),
    ],
    ids=str,
)
async def test_a_create_that_breaks_the_rules_is_refused(changes: Json, param: str) -> None:
    async with running() as (server, call):
        answer = await create(call, **{"file_id": "file-1", **changes})
        assert (answer.status, answer.error["param"]) == (400, param)
        assert server.batches == []


async def test_its_files_expire_when_it_was_asked_to_let_them() -> None:
    async with running() as (_, call):
        policy = {"anchor": "created_at", "seconds": 3600}
        batch = await ended(call, await lines_of(call, 1), output_expires_after=policy)
        file = (await call("GET", f"files/{batch['output_file_id']}")).json
    assert file["expires_at"] - file["created_at"] == 3600


async def test_a_batch_is_not_found_by_a_wrong_id() -> None:
    async with running() as (_, call):
        for method, path in (("GET", "batches/batch_no"), ("POST", "batches/batch_no/cancel")):
            answer = await call(method, path)
            assert (answer.status, answer.error["message"]) == (404, "No such Batch object: batch_no")


async def test_an_input_file_that_is_deleted_meanwhile_fails_the_batch() -> None:
    async with running(batch_seconds=3) as (_, call):
        batch = await created(call, await lines_of(call, 3))
        await call("DELETE", f"files/{batch['input_file_id']}")
        batch = await reached(call, batch["id"])
    assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", "file_not_found")


async def test_a_server_that_is_started_again_goes_on_with_its_batches(tmp_path: Path) -> None:
    async with running(tmp_path, batch_seconds=30) as (_, call):
        going = await created(call, await lines_of(call, 2), metadata={"a": "b"})
        stopped = await created(call, await lines_of(call, 2))
        await call("POST", f"batches/{stopped['id']}/cancel")
    async with LocalServer(tmp_path) as server, calling(server) as call:
        batch = await reached(call, going["id"])
        assert (batch["status"], batch["metadata"], batch["request_counts"]["completed"]) == (
            "completed",
            {"a": "b"},
            2,
        )
        assert (await reached(call, stopped["id"]))["status"] == "cancelled"
    async with LocalServer(tmp_path) as server, calling(server) as call:
        assert [each.status for each in server.batches] == ["completed", "cancelled"]
        assert len(await results(call, batch["output_file_id"])) == 2


async def test_a_server_that_was_stopped_just_before_the_end_of_a_batch_leaves_no_second_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, is_reached = Repository.change_batch, asyncio.Event()

    async def change_never(repository: Repository, batch_id: str, how: Any) -> StoredBatch:
        if how(repository.batches[batch_id]).status == "completed":
            is_reached.set()
            await asyncio.sleep(60)
        return await change(repository, batch_id, how)

    with monkeypatch.context() as patch:
        patch.setattr(Repository, "change_batch", change_never)
        async with running(tmp_path) as (server, call):
            batch = await created(call, await lines_of(call, 1))
            await is_reached.wait()
            assert [file.purpose for file in server.files].count("batch_output") == 1
    async with running(tmp_path) as (server, call):
        batch = await reached(call, batch["id"])
        outputs = [file.id for file in server.files if file.purpose == "batch_output"]
    assert outputs == [batch["output_file_id"]]


async def test_faults_happen_to_each_of_its_calls() -> None:
    faults = [
        Fault("batches.create", "answer", status=503),
        Fault("batches.get", "answer", status=500),
        Fault("batches.list", "answer", status=429, retry_after=1),
        Fault("batches.cancel", "answer", status=502),
    ]
    async with running(faults=faults, batch_seconds=5) as (server, call):
        lines = await lines_of(call, 1)
        file_id = await file_of(call, json.dumps(lines[0]).encode())
        assert [(await create(call, file_id)).status for _ in range(2)] == [503, 200]
        batch_id = server.batches[0].id
        assert [(await call("GET", f"batches/{batch_id}")).status for _ in range(2)] == [500, 200]
        assert [(await call("GET", "batches")).status for _ in range(2)] == [429, 200]
        assert [(await call("POST", f"batches/{batch_id}/cancel")).status for _ in range(2)] == [502, 200]
        server.assert_all_met()
        assert [record.batch_id for record in server.requests if record.route == "batches.create"] == [None, batch_id]


async def test_a_create_whose_answer_is_lost_made_the_batch() -> None:
    async with running(faults=[Fault("batches.create", "reset", "done")]) as (server, call):
        file_id = await file_of(call, b"x")
        with pytest.raises(Exception, match=r"reset|disconnect|Cannot write"):
            await create(call, file_id)
        server.assert_all_met()
        [batch] = (await call("GET", "batches")).json["data"]
    assert batch["input_file_id"] == file_id


async def test_a_batch_can_be_let_expire_by_a_fault() -> None:
    async with running(faults=[Fault("batches.get", "expire")], batch_seconds=5) as (server, call):
        batch = await created(call, await lines_of(call, 3))
        assert (await reached(call, batch["id"]))["status"] == "expired"
        server.assert_all_met()


async def test_it_is_reported_outside_the_api() -> None:
    async with running() as (server, call):
        batch = await ended(call, await lines_of(call, 1))
        [stored] = (await call("GET", "/_control/batches")).json["batches"]
    assert (stored["id"], stored["status"], stored["completed"]) == (batch["id"], "completed", 1)
    assert [each.id for each in server.batches] == [batch["id"]]
