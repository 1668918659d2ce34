"""`ImageEditor`: pictures are edited one at a time, streamed, or by the thousand."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Unpack

from attrs import define, evolve, field

from asyncsdk import descriptors, files, tasks
from asyncsdk.client import Client
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.billing import is_safe_to_repeat
from asyncsdk.images.bulk.delivery import Save
from asyncsdk.images.bulk.intake import Intake, read_and_check, thread_errors_typed
from asyncsdk.images.bulk.outcomes import Outcomes, outcomes_of
from asyncsdk.images.bulk.policy import Limits, OnUncertain, Policy
from asyncsdk.images.bulk.preview import EditPlan, PlanBuilder
from asyncsdk.images.bulk.run import BulkRun
from asyncsdk.images.edit import EditFields, ImageEdit, Picture
from asyncsdk.images.ledger.file import Ledger, load_ledger, open_ledger
from asyncsdk.images.limiter import RateLimiter
from asyncsdk.images.result import EditResult
from asyncsdk.images.saving import OWN_DIRECTORY
from asyncsdk.images.sending import Event, send, streaming
from asyncsdk.retry import Retry

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 256
_WHOLE = f"whole number from 1 to {MOST_AT_ONCE}"
Edits = Iterable[ImageEdit] | AsyncIterable[ImageEdit]
Where = str | os.PathLike[str]


@define(eq=False)
class ImageEditor:
    """Edits pictures over `client`; one editor serves all tasks of an event loop.

    With `check=False` pictures and fields are not held against the API's known rules before they are sent.
    """

    client: Client
    check: bool = field(default=True, kw_only=True)

    async def edit(
        self,
        image: ImageEdit | Picture | Iterable[Picture],
        prompt: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - a limit per attempt
        check: bool | None = None,
        **fields: Unpack[EditFields],
    ) -> EditResult:
        """Edit one picture, or make one of several (an `ImageEdit` may stand for all arguments).

        What was surely not paid is sent again as usual (429, 503, no connection); an edit whose answer was lost
        is not. `timeout` is how many seconds (600) each wait for more of the answer may take. With `stream=True`
        the answer comes in pieces, which keeps a proxy from cutting a long wait; the result is the same.

        Raises InvalidEditError before anything is sent, EditError where a picture can't be read for now,
        ChargeUnknownError where it may have been paid,
        ModerationBlockedError and other APIErrors where it was not.
        """
        edit = _edit_of(image, prompt, fields)
        found = await read_and_check(edit, checked=self.check if check is None else check)
        answer = await send(self.client, found, retry=self._retry(), timeout=timeout)
        return EditResult(answer, edit, self.client.fetch)

    @asynccontextmanager
    async def stream(
        self,
        image: ImageEdit | Picture | Iterable[Picture],
        prompt: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - a limit per attempt
        check: bool | None = None,
        **fields: Unpack[EditFields],
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """`async with editor.stream(…, partial_images=2) as events:` gives `PartialImage`s, then `CompletedImage`s.

        Arguments and errors as with `edit`; a stream that ends without a completed picture is a ChargeUnknownError.
        """
        edit = evolve(_edit_of(image, prompt, fields), stream=True)
        found = await read_and_check(edit, checked=self.check if check is None else check)
        async with streaming(self.client, found, retry=self._retry(), timeout=timeout) as events:
            yield events

    def edit_many(
        self,
        edits: Edits,
        *,
        out: Where | None = None,
        save: Save | None = None,
        ledger: Where | None = None,
        concurrency: int = 8,
        images_per_minute: float | None = None,
        on_uncertain: OnUncertain = "report",
        redo: Collection[str] = (),
        redo_before: float | None = None,
        only: Collection[str] | None = None,
        max_edits: int | None = None,
        max_tokens: int | None = None,
        accept_damage: bool = False,
        check: bool | None = None,
    ) -> AbstractAsyncContextManager[Outcomes]:
        """Edit as many as `edits` gives, which may be endless: `concurrency` are taken at a time, or as many as fit.

        `async with editor.edit_many(edits, out="out/") as outcomes:` and then `async for outcome in outcomes:`.
        Pictures go to `out`, named by the edits' ids; or the coroutine function `save(edit, result)` keeps them
        (then `ledger` names a directory). What was sent, paid and saved is written to a ledger in `out/.asyncsdk`
        (or `ledger`), so that the same call goes on where a killed one stopped: what is done is not sent
        again, what failed is. Without `out` and `save` nothing is written, and each call sends everything.

        `images_per_minute` paces by input images times `n`; None learns the pace from the server's 429s. An edit
        whose answer was lost is `on_uncertain`: "report" (not sent again), "retry" (sent once more: it may be paid
        twice) or "stop". `redo` names ids to be sent again whatever became of them before `redo_before` (unix time,
        now); `only` limits the run to edits that stand so ("new", "failed", "refused", "uncertain"). `max_edits` and
        `max_tokens` (edits in flight may pass it) count over all runs. A damaged ledger needs `accept_damage`.

        `edits` is read by several tasks in turn: a generator must not `yield` within a cancel scope (PEP 789).

        Raises ConfigurationError and LedgerError when entered, before anything is sent; `Outcomes` tells the rest.
        """
        if type(concurrency) is not int or not 1 <= concurrency <= MOST_AT_ONCE:
            raise ConfigurationError(f"concurrency={concurrency!r} is no {_WHOLE}. Nothing was sent.")
        policy = _policy(on_uncertain, redo, redo_before, only)
        limits = Limits(max_edits, max_tokens)
        where = _ledger_of(out, ledger) if _is_kept(out, save, ledger) else None

        @asynccontextmanager
        async def running() -> AsyncIterator[Outcomes]:
            async with AsyncExitStack() as stack:
                ledger = await stack.enter_async_context(_opened(where, accept_damage=accept_damage))
                await _prove(out, ledger)
                run = BulkRun(
                    client=self.client,
                    intake=await self._intake(policy, out, ledger, check=check),
                    limiter=RateLimiter(images_per_minute),
                    limits=limits if ledger is None else limits.after(ledger.spent.edits, ledger.spent.tokens),
                    ledger=ledger,
                    save=save,
                    concurrency=await _carried(concurrency),
                )
                yield await stack.enter_async_context(outcomes_of(run, edits))

        return running()

    async def plan(
        self,
        edits: Edits,
        *,
        out: Where | None = None,
        ledger: Where | None = None,
        images_per_minute: float | None = None,
        on_uncertain: OnUncertain = "report",
        redo: Collection[str] = (),
        redo_before: float | None = None,
        only: Collection[str] | None = None,
        check: bool | None = None,
    ) -> EditPlan:
        """What `edit_many` would do with the same arguments. Looks at every picture and row, and sends nothing."""
        where = None if out is None and ledger is None else _ledger_of(out, ledger)
        loaded_ledger = None if where is None else await load_ledger(where)
        intake = await self._intake(_policy(on_uncertain, redo, redo_before, only), out, loaded_ledger, check=check)
        builder = PlanBuilder()
        async with aclosing(tasks.walk(edits)) as all_, aclosing(intake.in_turn(all_)) as source:
            async for edit in source:
                builder.count(await intake.prepare(edit))
        return builder.plan(images_per_minute, damage=() if loaded_ledger is None else loaded_ledger.damage)

    async def _intake(self, policy: Policy, out: Where | None, ledger: Ledger | None, *, check: bool | None) -> Intake:
        checked = self.check if check is None else check
        if ledger is not None and policy.redo:
            policy = evolve(policy, redo_before=await ledger.redo_before(policy.redo_before))
        return Intake(policy=policy, checked=checked, out=None if out is None else Path(out), ledger=ledger)

    def _retry(self) -> Retry:
        return Retry(self.client.max_retries, worth=is_safe_to_repeat)


def _edit_of(image: Any, prompt: str | None, fields: EditFields) -> ImageEdit:
    if isinstance(image, ImageEdit):
        if prompt is not None or fields:
            raise TypeError("an ImageEdit brings its own prompt and fields: give either it, or them")
        return image
    if prompt is None:
        raise TypeError("an edit needs a prompt")
    return ImageEdit(image=image, prompt=prompt, **fields)


def _policy(
    on_uncertain: OnUncertain, redo: Collection[str], redo_before: float | None, only: Collection[str] | None
) -> Policy:
    before = time.time() if redo_before is None else redo_before
    return Policy(on_uncertain=on_uncertain, redo=redo, redo_before=before, only=only)


def _is_kept(out: Where | None, save: Save | None, ledger: Where | None) -> bool:
    """Whether what comes of the edits is kept by this call, so that a ledger can vouch for it."""
    if out is None and save is None and ledger is not None:
        raise ConfigurationError(
            "a ledger without out= or save= would call edits done whose pictures nobody has kept. Nothing was sent."
        )
    if out is None and save is not None and ledger is None:
        raise ConfigurationError("save= needs ledger=, a directory that remembers what was saved. Nothing was sent.")
    return out is not None or save is not None


def _ledger_of(out: Where | None, ledger: Where | None) -> Path:
    return Path(ledger) if ledger is not None else Path(out or ".") / OWN_DIRECTORY


async def _carried(concurrency: int) -> int:
    """As many as were asked for, or as many as this process has descriptors for. Raises ConfigurationError for none."""
    with thread_errors_typed():
        most = await files.in_thread(descriptors.most_edits)
    if most is None or most >= concurrency:
        return concurrency
    if most == 0:
        raise ConfigurationError(
            f"this process may open {descriptors.limit_of_files()} files, too few to save what one edit makes. "
            "Nothing was sent.\n  Let it open more (ulimit -n 1024), or close what it has open."
        )
    logger.warning("%s", descriptors.lowered(concurrency, most))
    return most


def _opened(where: Path | None, *, accept_damage: bool) -> AbstractAsyncContextManager[Ledger | None]:
    return nullcontext() if where is None else open_ledger(where, accept_damage=accept_damage)


async def _prove(out: Where | None, ledger: Ledger | None) -> None:
    """Make the directory of the pictures, if there is one, and see that one can be saved there before any is paid."""
    if out is None:
        return
    try:
        await files.make_writable(Path(out))
        if ledger is not None:
            await ledger.watch(Path(out))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"out={os.fspath(out)!r}: no picture can be saved there ({reason}). Nothing was sent."
        ) from error
