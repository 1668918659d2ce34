"""Brings the edits of a call to their ends in batches."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asyncsdk.client import Client
from asyncsdk.images.batch.options import BatchOptions
from asyncsdk.images.batch.outcomes import BatchOutcomes
from asyncsdk.images.bulk.intake import EditIntake
from asyncsdk.images.bulk.policy import Limits
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.file import FileLedger
from asyncsdk.images.ledgers import LedgerPlace
from asyncsdk.images.target import Target

if TYPE_CHECKING:
    from asyncsdk.images.ledger.shared import SharedLedger

IntakeMaker = Callable[["FileLedger | SharedLedger", Limits], Awaitable[EditIntake]]


@asynccontextmanager
async def batch_outcomes(
    client: Client,
    edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit],
    target: Target,
    place: LedgerPlace,
    *,
    intake: IntakeMaker,
    limits: Limits,
    options: BatchOptions,
) -> AsyncIterator[BatchOutcomes]:
    """Bring all edits to their ends in batches; leaving the block leaves the batches where they are."""
    if client is not None:
        raise NotImplementedError
    yield
