"""A call of `edit_batch`: opens the ledger, and runs the driver while the caller takes the outcomes."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from asyncsdk import tasks
from asyncsdk.client import Client
from asyncsdk.images.batch.driver import BatchDriver
from asyncsdk.images.batch.memory import BatchMemory, FileBatches
from asyncsdk.images.batch.options import BatchOptions
from asyncsdk.images.batch.outcomes import BatchOutcomes
from asyncsdk.images.batch.sending import BatchSender
from asyncsdk.images.batch.state import BatchCall
from asyncsdk.images.bulk.intake import EditIntake
from asyncsdk.images.bulk.policy import Limits
from asyncsdk.images.bulk.run import BulkRun
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.file import FileLedger
from asyncsdk.images.ledgers import LedgerPlace, limits_with
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.images.target import Target
from asyncsdk.limiter import RateLimiter
from asyncsdk.ratelimit import INPUT_IMAGES

if TYPE_CHECKING:
    from asyncsdk.images.ledger.shared import SharedLedger

IntakeMaker = Callable[["FileLedger | SharedLedger", Limits, Pricing], Awaitable[EditIntake]]
PricingMaker = Callable[[Limits], Awaitable[Pricing]]


@asynccontextmanager
async def batch_outcomes(
    client: Client,
    edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit],
    target: Target,
    place: LedgerPlace,
    *,
    intake: IntakeMaker,
    pricing: PricingMaker,
    limits: Limits,
    options: BatchOptions,
) -> AsyncIterator[BatchOutcomes]:
    """Bring all edits to their ends in batches; leaving the block leaves the batches where they are."""
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(place.open(for_batches=True))
        await target.prepare(ledger)
        prices = await pricing(limits)
        limits = limits_with(limits, ledger, prices)
        run = BulkRun(
            client=client,
            intake=await intake(ledger, limits, prices),
            limiter=RateLimiter(INPUT_IMAGES),
            limits=limits,
            ledger=ledger,
            pricing=prices,
        )
        send, receive = anyio.create_memory_object_stream[EditOutcome]()
        memory = _memory_of(ledger)
        sender = BatchSender(client=client, memory=memory)
        call = BatchCall(run=run, memory=memory, target=target, options=options, sender=sender, outcomes=send)
        async with receive, tasks.group() as group:
            group.start_soon(BatchDriver(call).work, edits)
            yield BatchOutcomes(run, receive, call.progress, call.leave)
            group.cancel_scope.cancel()


def _memory_of(ledger: FileLedger | SharedLedger) -> BatchMemory:
    if isinstance(ledger, FileLedger):
        return FileBatches(ledger)
    from asyncsdk.images.batch.shared_memory import SharedBatches  # a run of one machine does not load it

    return SharedBatches(ledger)
