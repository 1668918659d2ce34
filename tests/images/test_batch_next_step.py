"""What the state of a whole batch asks for next, and how a batch whose create was not answered is found."""

from __future__ import annotations

from typing import Any

import pytest

from asyncsdk import Batch, BatchProblem, BatchProblems, BatchRequestCounts, Usage
from asyncsdk.images.batch.next_step import MOST_ROUNDS, SETTLING_SECONDS, next_step
from asyncsdk.images.batch.search import CreateSearch

NOW = 1_795_000_000


def batch(status: str | None, **fields: Any) -> Batch:
    return Batch(id="batch_1", status=status, **fields)


def counts(total: int, completed: int, failed: int) -> BatchRequestCounts:
    return BatchRequestCounts(total=total, completed=completed, failed=failed)


def failed(*problems: BatchProblem, **fields: Any) -> Batch:
    return batch("failed", errors=BatchProblems(data=problems), failed_at=NOW, **fields)


def step_of(a_batch: Batch, **options: Any) -> str:
    return next_step(a_batch, **{"now": NOW, **options}).step


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling", "paused", None])
def test_what_may_still_change_is_asked_for_again(status: str | None) -> None:
    assert step_of(batch(status)) == "poll"


@pytest.mark.parametrize("status", ["completed", "expired", "cancelled"])
def test_what_has_ended_is_read(status: str) -> None:
    assert step_of(batch(status, output_file_id="a", error_file_id="b", request_counts=counts(3, 2, 1))) == "read"
    assert step_of(batch(status, output_file_id="a")) == "read"
    assert step_of(batch(status)) == "read"


def test_a_completed_batch_of_failures_alone_has_no_output_and_is_read() -> None:
    assert step_of(batch("completed", error_file_id="b", request_counts=counts(3, 0, 3), completed_at=NOW)) == "read"


@pytest.mark.parametrize(
    "fields",
    [
        {"request_counts": counts(3, 3, 0)},
        {"request_counts": counts(3, 2, 1), "output_file_id": "a"},
        {"request_counts": counts(3, 1, 1), "output_file_id": "a", "error_file_id": "b"},
    ],
    ids=["no output", "no errors", "not all"],
)
def test_counts_and_files_that_disagree_are_asked_for_again_but_not_for_ever(fields: dict[str, Any]) -> None:
    one = batch("completed", completed_at=NOW, **fields)
    assert step_of(one, now=NOW + SETTLING_SECONDS - 1) == "poll"
    assert next_step(one, now=NOW).reason
    assert step_of(one, now=NOW + SETTLING_SECONDS) == "read"
    assert step_of(batch("completed", **fields)) == "read"  # without a time it can't be known how long that is so


def test_a_cancelled_batch_that_did_something_is_read_once_its_output_is_there() -> None:
    assert step_of(batch("cancelled", cancelled_at=NOW, request_counts=counts(3, 1, 0))) == "poll"
    assert step_of(batch("cancelled", cancelled_at=NOW, request_counts=counts(3, 1, 0), output_file_id="a")) == "read"
    assert step_of(batch("cancelled", cancelled_at=NOW, request_counts=counts(3, 0, 0))) == "read"


def test_a_full_queue_is_waited_for() -> None:
    full = BatchProblem(code="token_limit_exceeded", message="Enqueued token limit reached.")
    found = next_step(failed(full), now=NOW)
    assert (found.step, found.reason) == ("wait_for_another", "Enqueued token limit reached.")


def test_lines_that_are_named_are_refused_and_the_rest_is_cut_again_three_times_at_most() -> None:
    problems = [BatchProblem(code="invalid_value", line=number, message=f"No {number}.") for number in (2, 5, 5)]
    found = next_step(failed(*problems), now=NOW)
    assert (found.step, dict(found.refused)) == ("cut_again", {2: problems[0], 5: problems[1]})
    assert [step_of(failed(*problems), rounds=rounds) for rounds in range(MOST_ROUNDS + 1)] == [
        *["cut_again"] * MOST_ROUNDS,
        "give_up",
    ]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (failed(BatchProblem(code="invalid_file")), "invalid_file"),
        (failed(BatchProblem(code="x", message="No."), BatchProblem(code="y", message="No.")), "No."),
        (failed(), "the server does not say why"),
        (batch("failed"), "the server does not say why"),
        (failed(BatchProblem(code="x", line=0, message="No.")), "No."),
    ],
)
def test_a_batch_that_failed_as_a_whole_is_given_up_with_the_reason(one: Batch, reason: str) -> None:
    found = next_step(one, now=NOW)
    assert (found.step, found.reason) == ("give_up", reason)


@pytest.mark.parametrize(
    "fields",
    [
        {"output_file_id": "a"},
        {"error_file_id": "b"},
        {"in_progress_at": NOW - 9},
        {"usage": Usage(total_tokens=5)},
        {"request_counts": counts(3, 0, 1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("code", ["server_error", "token_limit_exceeded", "file_not_found"])
def test_a_batch_that_failed_half_way_may_be_paid_so_it_is_read_and_not_created_again(
    code: str, fields: dict[str, Any]
) -> None:
    assert step_of(failed(BatchProblem(code=code, line=2), **fields)) == "read"


def test_a_batch_that_failed_half_way_is_asked_for_until_its_output_is_there() -> None:
    half = failed(BatchProblem(code="server_error"), request_counts=counts(3, 2, 0), in_progress_at=NOW - 9)
    assert step_of(half) == "poll"
    assert step_of(half, now=NOW + SETTLING_SECONDS) == "read"


def test_lines_that_are_still_refused_at_the_last_round_are_named() -> None:
    problem = BatchProblem(code="invalid_value", line=2, message="No.")
    found = next_step(failed(problem), now=NOW, rounds=MOST_ROUNDS)
    assert (found.step, dict(found.refused)) == ("give_up", {2: problem})


def test_no_line_is_refused_where_the_server_counts_them_from_zero() -> None:
    problems = [BatchProblem(code="invalid_value", line=number, message=f"No {number}.") for number in (3, 0)]
    found = next_step(failed(*problems), now=NOW)
    assert (found.step, dict(found.refused), found.reason) == ("give_up", {}, "No 3.; No 0.")


def search() -> CreateSearch:
    return CreateSearch(input_file_id="file-1", metadata={"run": "7", "part": "2"}, intended_at=NOW)


def listed(number: int, created_at: int | None = NOW, **fields: Any) -> Batch:
    return Batch(id=f"batch_{number}", created_at=created_at, **{"input_file_id": "file-other", **fields})


def test_a_batch_is_found_by_its_input_file() -> None:
    looking = search()
    looking.look([listed(1), listed(2, input_file_id="file-1"), listed(3)])
    assert (list(looking.found), looking.is_over) == (["batch_2"], False)


def test_a_batch_is_found_by_its_metadata_where_the_list_has_no_input_file() -> None:
    looking = search()
    metadata = {"run": "7", "part": "2", "more": "x"}
    looking.look([listed(1, input_file_id=None, metadata=metadata), listed(2, metadata=metadata)])
    looking.look([listed(3, input_file_id=None, metadata={"run": "7"}), listed(4, input_file_id=None)])
    assert list(looking.found) == ["batch_1"]


def test_two_batches_of_one_create_are_both_found_once() -> None:
    looking = search()
    for _ in range(2):
        looking.look([listed(1, input_file_id="file-1"), listed(2, input_file_id="file-1")])
    assert list(looking.found) == ["batch_1", "batch_2"]


def test_a_batch_that_seems_older_than_its_intent_is_found_all_the_same() -> None:
    looking = search()
    looking.look([listed(1, NOW - 400), listed(2, NOW - 500, input_file_id="file-1")])
    assert (list(looking.found), looking.is_over) == (["batch_2"], True)


def test_the_list_is_read_until_five_minutes_before_the_intent() -> None:
    looking, ends = search(), []
    for page in (
        [listed(1, None), listed(2, NOW - 300)],
        [listed(3, NOW - 301), listed(4, NOW - 400)],
    ):
        looking.look(page)
        ends.append(looking.is_over)
    assert (ends, looking.found) == ([False, True], {})
