"""What the calls of an editor make of their arguments: an edit, a policy, limits, where the ledger is."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bucket import Where
from asyncsdk.images.bulk.delivery import Save
from asyncsdk.images.bulk.policy import OnUncertain, Policy
from asyncsdk.images.edit import EditFields, ImageEdit
from asyncsdk.images.ledgers import ChosenLedger, LedgerPlace, database_of, directory_of, ledger_from
from asyncsdk.images.target import Target


def edit_of(image: Any, prompt: str | None, fields: EditFields) -> ImageEdit:
    if isinstance(image, ImageEdit):
        if prompt is not None or fields:
            raise TypeError("an ImageEdit has its own prompt and fields: pass either it or them")
        return image
    if prompt is None:
        raise TypeError("an edit needs a prompt")
    return ImageEdit(image=image, prompt=prompt, **fields)


def policy_of(
    on_uncertain: OnUncertain,
    redo: Collection[str],
    redo_before: float | None,
    only: Collection[str] | None,
    *,
    verify: bool = False,
    header: str | None = None,
) -> Policy:
    """The policy of a run; `header`: the server knows an edit again by a key in it."""
    now = time.time()
    before = now if redo_before is None else redo_before
    known: Any = {"verify": verify, "now": None if header is None else now, "header": header}
    return Policy(on_uncertain=on_uncertain, redo=redo, redo_before=before, only=only, **known)


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
