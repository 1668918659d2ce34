"""What the edits of one run share: counts, limits, the edits in flight, and why the run stops before its end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Protocol
from weakref import WeakSet

import anyio
from attrs import define, field

from asyncsdk.client import Client
from asyncsdk.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    ChargeUnknownError,
    EditError,
    LedgerError,
    LimitReachedError,
    SaveError,
)
from asyncsdk.images.bulk.delivery import Save
from asyncsdk.images.bulk.intake import EditIntake
from asyncsdk.images.bulk.lifecycle import EditLifecycle
from asyncsdk.images.bulk.model_ends import ModelEnds
from asyncsdk.images.bulk.policy import Limits, OnUncertain
from asyncsdk.images.bulk.refused_alike import MOST_REFUSED_ALIKE, RefusedAlike
from asyncsdk.images.costs.money import shown
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger import Ledger
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.limiter import Limiter
from asyncsdk.models import Usage, add

logger = logging.getLogger(__name__)
_DEARER = (
    "an edit cost %s, and %s was counted as its most: the prices or the rules for tokens are not those of its model. "
    "What it cost is counted; a limit in dollars may be passed by what is in flight."
)

# paid responses in a row without an image that can be used, or that the caller's `save` could not keep: the next would
# be paid for nothing too
MOST_IN_VAIN = 3
# edits in a row that were answered so that they may be paid; where 30 % are, that happens once in 170,000 edits
MOST_IN_DOUBT = 10


class Worker(Protocol):
    """An edit in flight, as its run sees it."""

    @property
    def lifecycle(self) -> EditLifecycle:
        """How far it is."""

    @property
    def waits_to_be_counted(self) -> bool:
        """Whether it is not under way, and counts against the limits once it is."""

    @property
    def trouble(self) -> str:
        """Why it waits to be sent again, in a few words; '' if it does not."""

    def stop(self) -> None:
        """End it, unless it is under way."""

    def leave(self) -> None:
        """Limit how long it waits for a disk that hangs: it is cancelled next."""


@define(eq=False, kw_only=True)
class BulkRun:
    """The state of one run. `reason` is why it stops before its end, if it does."""

    client: Client
    intake: EditIntake
    limiter: Limiter
    limits: Limits
    ledger: Ledger | None = None
    save: Save | None = None
    concurrency: int = 1
    pricing: Pricing | None = None
    ends: ModelEnds | None = None
    idempotency_header: str | None = None
    answered: bool = field(default=False, init=False)
    stopping: bool = field(default=False, init=False)
    reason: Exception | None = field(default=None, init=False)
    counts: Counter[str] = field(factory=Counter, init=False)
    usage: Usage = field(factory=Usage, init=False)
    images_made: int = field(default=0, init=False)
    cost: int = field(default=0, init=False)  # of what is paid in this run, in billionths of a dollar
    unpriced: int = field(default=0, init=False)  # tokens of it whose price is not known
    _is_warned: bool = field(default=False, init=False)
    _settled: anyio.Event = field(factory=anyio.Event, init=False)
    untaken: dict[int, EditOutcome] = field(factory=dict, init=False)  # ended, and not given to the caller yet
    workers: set[Worker] = field(factory=set, init=False)
    reading: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)  # of the caller's edits, for `stop`
    _unusable: list[Exception | None] = field(factory=list, init=False)  # in a row
    _not_handed_on: int = field(default=0, init=False)  # in a row
    _in_doubt: int = field(default=0, init=False)  # in a row
    _refused: RefusedAlike = field(factory=RefusedAlike, init=False)
    _before_refused: WeakSet[Worker] = field(factory=WeakSet, init=False)  # under way when the row of those began

    @property
    def on_uncertain(self) -> OnUncertain:
        """What becomes of an edit whose response was lost."""
        return self.intake.policy.on_uncertain

    def ended(self, outcome: EditOutcome | None) -> None:
        """Count how an edit ended, and keep it until it is taken."""
        if outcome is None:
            return
        self.untaken[id(outcome)] = outcome
        self.counts[outcome.status] += 1
        if outcome.result is not None:  # paid, and kept or not
            self.images_made += len(outcome.result.images)
            self.usage = add([self.usage, outcome.usage or Usage()])

    def taken(self, outcome: EditOutcome) -> None:
        """The caller has it."""
        self.untaken.pop(id(outcome), None)

    def stop(self) -> None:
        """Send nothing new; what is at the server is awaited."""
        self.stopping = True
        self.reading.cancel()
        for worker in self.workers:
            worker.stop()

    def halt(self, reason: Exception) -> None:
        """Stop for a reason, which is raised to the caller at the end."""
        # where the ledger is gone, that is why pictures can't be saved
        if self.reason is None or (isinstance(self.reason, SaveError) and isinstance(reason, LedgerError)):
            self.reason = reason
            logger.warning("stopping: %s", reason)
        self.stop()

    def leave(self) -> None:
        """The run is cancelled next: no edit waits for long for a disk that hangs."""
        for worker in self.workers:
            worker.leave()

    def spend(self, usage: Usage | None) -> None:
        """Count what an edit used. Edits in flight may exceed the limit, which stops the run if others wait.

        Where none does, the next that is to be sent finds the limit; if none comes, nothing was held back.
        """
        self.limits.spend(usage)
        if self.limits.is_passed and any(worker.waits_to_be_counted for worker in self.workers):
            self.halt(self.limits.reached())

    def count_response(self, error: Exception | None, *, is_usable: bool) -> None:
        """Count a response that is paid: several in a row without an image that can be used stop the run."""
        self._unusable, self._in_doubt = [] if is_usable else [*self._unusable, error], 0
        self._refused.note_paid()
        if len(self._unusable) >= MOST_IN_VAIN:
            self.halt(EditError(_unusable(self._unusable)))

    def count_handed_on(self, failure: Exception | None, *, is_handed_on: bool | None) -> None:
        """Count an edit whose pictures went to the caller's `save`: several failures in a row stop the run."""
        if is_handed_on is None:
            return
        self._not_handed_on = 0 if is_handed_on else self._not_handed_on + 1
        if self._not_handed_on >= MOST_IN_VAIN:
            reason = EditError(
                f"`save` failed for {self._not_handed_on} paid edits in a row, the last time with: {failure}\n"
                "  Nothing more was sent. Each outcome's error has what came. Once `save` works, the same call goes on."
            )
            reason.__cause__ = failure
            self.halt(reason)

    def count_unusable(self, error: Exception, recorded: Exception | None) -> None:
        """Count an attempt that ended with `error` if a response came: one that was lost is neither good nor bad.

        `recorded` is the same error with the files that have what came.
        """
        cause = error.__cause__
        was_lost = isinstance(cause, APIConnectionError)  # also where a part of a response came
        is_unusable = isinstance(error, ChargeUnknownError) and (
            error.raw or isinstance(cause, APIResponseValidationError)
        )
        if is_unusable and not was_lost:
            self.count_response(recorded, is_usable=False)

    def count_doubt(self, error: Exception) -> None:
        """Count an attempt after which nothing asks for its response: several in a row that may be paid stop the run.

        Of one without a response nothing is counted: once none comes, no connection is made either.
        """
        if not (isinstance(error, ChargeUnknownError) and isinstance(error.__cause__, APIStatusError)):
            return
        self._in_doubt += 1
        if self._in_doubt >= MOST_IN_DOUBT:
            reason = EditError(
                f"{self._in_doubt} edits in a row may have been paid, and none was done between: {error.__cause__}\n"
                "  Nothing more was sent. These edits stay uncertain. Once the server is well the same call goes on "
                "with the others."
            )
            reason.resumable = True
            self.halt(reason)

    def count_refusal(self, error: Exception, edit: ImageEdit) -> None:
        """Count an `edit` that ended unpaid: several in a row that were refused in the same way stop the run.

        Those that are under way when the first of them ends may yet be paid: they are awaited, if not for long.
        """
        if self._refused.note(error, edit):
            self._before_refused = WeakSet(worker for worker in self.workers if worker.lifecycle.is_under_way)
        is_long = self._refused.count >= MOST_REFUSED_ALIKE * self.concurrency
        reason = self._refused.reason()
        if reason is not None and (is_long or self._before_refused.isdisjoint(self.workers)):
            self.halt(reason)

    async def make_room(self, most: int | None) -> None:
        """Wait while an edit that costs `most` at most has no room, and what is in flight may yet cost less."""
        while not self.limits.has_room(most) and self.limits.may_have_room:
            await self._settled.wait()

    def settle(self, most: int | None, cost: int | None, usage: Usage | None = None) -> None:
        """Count what an edit cost in the place of what it costs at most."""
        self.limits.settle(most, cost)
        if cost is not None and most is not None and cost > most and not self._is_warned:
            self._is_warned = True
            logger.warning(_DEARER, shown(cost), shown(most))
        self.note_settled()
        if usage is not None:
            self.cost += cost or 0
            self.unpriced += (usage.total_tokens or 0) if cost is None else 0

    def note_settled(self) -> None:
        """Those that wait for room look again."""
        self._settled.set()
        self._settled = anyio.Event()

    def take_reason(self) -> Exception | None:
        """Why it stopped before its end, once; limits are reported with their final counts."""
        reason, self.reason = self.reason, None
        return self.limits.reached() if isinstance(reason, LimitReachedError) else reason


def _unusable(errors: Sequence[Exception | None]) -> str:
    """Why a run ends after responses without a picture; addresses come last, each on its own line."""
    urls = [url for error in errors for url in getattr(error, "urls", ())]
    folders = dict.fromkeys(str(path.parent) for error in errors for path in getattr(error, "raw_files", ()))
    words = [f"{len(errors)} responses in a row may have been paid and had no usable picture."]
    words.append("Nothing more was sent.")
    if folders or any(getattr(error, "raw", ()) for error in errors):
        words.append(f"What came is in {', '.join(folders) or 'error.raw of each outcome'}: look at it.")
    if not urls:
        words.append("Is the base URL the API's, and does something on the way change the responses?")
    words.append("These edits stay uncertain. Once the cause is fixed the same call goes on with the others.")
    if urls:
        words.append("The server keeps a picture for 60 minutes: fetch these, or find out why they can't be fetched:")
    return "\n  ".join([" ".join(words), *urls])
