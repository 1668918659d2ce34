"""Batches as the API sends them: frozen values, like those of `models`, with statuses that may be new ones (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from asyncsdk.models import Model, Usage

ENDED = frozenset({"failed", "completed", "expired", "cancelled"})  # statuses that do not change any more


@frozen(kw_only=True)
class BatchRequestCounts(Model):
    """How many requests of a batch ended, and how.

    Args:
        total: How many the batch has.
        completed: How many were done.
        failed: How many failed.
        extra: Fields of the response that this version does not know.
    """

    total: int | None = None
    completed: int | None = None
    failed: int | None = None


@frozen(kw_only=True)
class BatchProblem(Model):
    """What is wrong with a line of a batch's input file, or with the whole.

    Args:
        code: Such as "invalid_json_line", "duplicate_custom_id" or "token_limit_exceeded".
        message: What is wrong.
        line: The number of the line, from 1; None where it is not about one.
        param: The field that is wrong.
        extra: Fields of the response that this version does not know.
    """

    code: str | None = None
    message: str | None = None
    line: int | None = None
    param: str | None = None


@frozen(kw_only=True)
class BatchProblems(Model):
    """What is wrong with the input file of a batch.

    Args:
        object: Always "list".
        data: The problems, each with its line.
        extra: Fields of the response that this version does not know.
    """

    object: str | None = None
    data: tuple[BatchProblem, ...] | None = None


@frozen(kw_only=True)
class Batch(Model):
    """Many requests in one file, done within a day.

    Args:
        id: Such as `batch_abc123`.
        object: Always "batch".
        endpoint: That of its requests, such as "/v1/images/edits".
        input_file_id: The file with its requests.
        completion_window: How long it may take, such as "24h".
        status: "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling" or
            "cancelled", or one that this version does not know.
        output_file_id: The file with the responses that succeeded; None without any.
        error_file_id: The file with the requests that failed; None without any.
        errors: What is wrong with its input file, where it failed as a whole.
        created_at: Unix time in seconds, as all of these.
        in_progress_at: When it was validated.
        expires_at: When what is not done by then is dropped.
        finalizing_at: When its last request was done.
        completed_at: When it was completed.
        failed_at: When it failed as a whole.
        expired_at: When it expired.
        cancelling_at: When it was asked to end.
        cancelled_at: When it was cancelled.
        request_counts: How many of its requests ended so far.
        metadata: As it was created with.
        model: The model of its requests.
        usage: What its requests cost, in tokens.
        extra: Fields of the response that this version does not know.
    """

    id: str
    object: str | None = None
    endpoint: str | None = None
    input_file_id: str | None = None
    completion_window: str | None = None
    status: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: BatchProblems | None = None
    created_at: int | None = None
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: BatchRequestCounts | None = None
    metadata: Mapping[str, Any] | None = None
    model: str | None = None
    usage: Usage | None = None

    @property
    def is_ended(self) -> bool:
        """Whether nothing changes any more. A status that is not known is one that may still change."""
        return self.status in ENDED
