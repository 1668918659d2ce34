"""Batches as the server stores them and sends them as JSON, and what each status leads to (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import asdict, evolve, field, frozen

BatchStatus = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
ENDED = frozenset({"failed", "completed", "expired", "cancelled"})


@frozen(kw_only=True)
class LineRefusal:
    """Why a line of an input file can't be used, or, without a line, the whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@frozen(kw_only=True)
class BatchTokens:
    """What the requests of a batch cost, in tokens."""

    input: int = 0
    output: int = 0

    def plus(self, usage: Mapping[str, Any] | None) -> BatchTokens:
        """With the usage of one more response."""
        if usage is None:
            return self
        return BatchTokens(input=self.input + usage["input_tokens"], output=self.output + usage["output_tokens"])

    def to_json(self) -> dict[str, Any]:
        return {
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.input + self.output,
        }


@frozen(kw_only=True)
class StoredBatch:
    """A batch that the server holds.

    Args:
        id: Its id, such as "batch_abc".
        came_at: Unix seconds, with their fractions: batches of one second have an order, too.
        expires_at: Unix seconds, when what is not done is dropped.
        endpoint: That of its requests.
        input_file_id: The file with its requests.
        completion_window: As it was sent.
        metadata: As it was sent.
        output_seconds: How long the files with its results are kept, in seconds; None: 30 days.
        status: Its status.
        model: The model of its requests, once they are checked.
        queued_tokens: How much its requests count against the limit of what waits, once they are checked.
        total: How many requests it has, once they are checked.
        completed: How many succeeded so far.
        failed: How many failed so far.
        usage: What they cost so far.
        output_file_id: The file with the responses, once it is made.
        error_file_id: The file with the failures, once it is made.
        refusals: What is wrong with its input file.
        times: When it came to each status, in unix seconds.
    """

    id: str
    came_at: float
    expires_at: int
    endpoint: str
    input_file_id: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_seconds: int | None = None
    status: BatchStatus = "validating"
    model: str | None = None
    queued_tokens: int = 0
    total: int = 0
    completed: int = 0
    failed: int = 0
    usage: BatchTokens = field(factory=BatchTokens)
    output_file_id: str | None = None
    error_file_id: str | None = None
    refusals: tuple[LineRefusal, ...] = ()
    times: dict[str, int] = field(factory=dict)

    @property
    def created_at(self) -> int:
        """When it was created, in unix seconds."""
        return int(self.came_at)

    @property
    def is_ended(self) -> bool:
        """Whether its status does not change any more."""
        return self.status in ENDED

    def result_name(self, kind: Literal["output", "error"]) -> str:
        """The name of a file with its results.

        Args:
            kind: Which of the two.
        """
        return f"{self.id}_{kind}.jsonl"

    def entered(self, status: BatchStatus, now: int, **changes: Any) -> StoredBatch:
        """The batch in its next status.

        Args:
            status: The status.
            now: When it was reached, in unix seconds.
            **changes: What else is another.
        """
        return evolve(self, status=status, times={**self.times, status: now}, **changes)

    def restarted(self) -> StoredBatch:
        """As a server that starts again goes on with it: from its first line, since no result was kept."""
        kept = {name: time for name, time in self.times.items() if name == "cancelling"}
        status: BatchStatus = "cancelling" if self.status == "cancelling" else "validating"
        return evolve(self, status=status, times=kept, total=0, completed=0, failed=0, usage=BatchTokens())

    def to_json(self) -> dict[str, Any]:
        """Return it as the real server sends it: with a null for each time and file that it does not have."""
        errors = [asdict(refusal) for refusal in self.refusals]
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": {"object": "list", "data": errors} if errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "in_progress_at": self.times.get("in_progress"),
            "expires_at": self.expires_at,
            "finalizing_at": self.times.get("finalizing"),
            "completed_at": self.times.get("completed"),
            "failed_at": self.times.get("failed"),
            "expired_at": self.times.get("expired"),
            "cancelling_at": self.times.get("cancelling"),
            "cancelled_at": self.times.get("cancelled"),
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "usage": self.usage.to_json(),
            "metadata": self.metadata,
        }
