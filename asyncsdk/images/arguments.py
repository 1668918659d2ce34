"""What the calls of an editor make of their arguments: an edit, a policy, limits, where the ledger is."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from asyncsdk import files, open_files
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bucket import Where
from asyncsdk.images.bulk.delivery import Save
from asyncsdk.images.bulk.intake import thread_errors_typed
from asyncsdk.images.bulk.policy import Limits, OnUncertain, Policy, ReservedLimits
from asyncsdk.images.edit import EditFields, ImageEdit
from asyncsdk.images.ledger.file import FileLedger
from asyncsdk.images.ledgers import ChosenLedger, LedgerPlace, database_of, directory_of, ledger_from
from asyncsdk.images.target import Target

if TYPE_CHECKING:
    from asyncsdk.images.ledger.shared import SharedLedger

logger = logging.getLogger(__name__)


def edit_of(image: Any, prompt: str | None, fields: EditFields) -> ImageEdit:
    if isinstance(image, ImageEdit):
        if prompt is not None or fields:
            raise TypeError("an ImageEdit has its own prompt and fields: pass either it or them")
        return image
    if prompt is None:
        raise TypeError("an edit needs a prompt")
    return ImageEdit(image=image, prompt=prompt, **fields)


def policy_of(
    on_uncertain: OnUncertain, redo: Collection[str], redo_before: float | None, only: Collection[str] | None
) -> Policy:
    before = time.time() if redo_before is None else redo_before
    return Policy(on_uncertain=on_uncertain, redo=redo, redo_before=before, only=only)


def ledger_for(out: Where | None, save: Save | None, ledger: ChosenLedger) -> ChosenLedger:
    """The ledger of a run that keeps its pictures this way; None for one beside them, and where none are kept.

    Raises ConfigurationError for a ledger without a place for pictures, and for `save` alone without a ledger.
    """
    if out is None and save is None and ledger is None:
        return None
    chosen = ledger_from(ledger)
    if out is None and save is None:
        raise ConfigurationError(
            "ledger= needs out= or save=: without them edits would be recorded as done, and no picture is kept. "
            "Nothing was sent."
        )
    if out is None and chosen is None:
        raise ConfigurationError(
            "save= needs ledger=, which remembers what was saved: a directory, or a database. Nothing was sent."
        )
    return chosen


def place_of(target: Target | None, out: Where | None, ledger: ChosenLedger, **rest: Any) -> LedgerPlace:
    """Where the ledger is of a run whose pictures go to `target`."""
    near = None if target is None or target.is_elsewhere else target.directory
    shown = None if target is None else target.where if target.is_elsewhere else str(out)
    directory, shared = directory_of(ledger, near), database_of(ledger)
    return LedgerPlace(directory=directory, shared=shared, out=shown, is_remote=near is None, **rest)


def limits_with(limits: Limits, ledger: FileLedger | SharedLedger | None) -> Limits:
    """The limits, with what earlier runs used: a shared ledger counts by itself."""
    if ledger is None or isinstance(ledger, FileLedger):
        return limits if ledger is None else limits.after(ledger.spent.edits, ledger.spent.tokens)
    return ReservedLimits(limits.max_edits, limits.max_tokens, ledger.spent.edits, ledger.spent.tokens)


async def possible_concurrency(concurrency: int) -> int:
    """`concurrency`, or fewer if this process may open too few files. Raises ConfigurationError for less than one."""
    with thread_errors_typed():
        most = await files.in_thread(open_files.most_edits)
    if most is None or most >= concurrency:
        return concurrency
    if most == 0:
        raise ConfigurationError(
            f"this process may open {open_files.limit_of_files()} files, too few to save the pictures of one edit. "
            "Nothing was sent.\n  Let it open more (ulimit -n 1024), or close what it has open."
        )
    logger.warning("%s", open_files.lowered(concurrency, most))
    return most
