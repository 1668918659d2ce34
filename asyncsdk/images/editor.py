"""`ImageEditor`: edits one image, streams one, runs many, or plans a run without sending it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from attrs import define, evolve, field

from asyncsdk import tasks
from asyncsdk.client import Client
from asyncsdk.given import wrong_type
from asyncsdk.images.arguments import edit_of, ledger_for, policy_of
from asyncsdk.images.batch.call import batch_outcomes
from asyncsdk.images.batch.options import BatchOptions
from asyncsdk.images.batch.outcomes import BatchOutcomes
from asyncsdk.images.bucket import Where
from asyncsdk.images.bulk.concurrency import check_concurrency
from asyncsdk.images.bulk.delivery import Save
from asyncsdk.images.bulk.ended import EndedPage
from asyncsdk.images.bulk.outcomes import Outcomes
from asyncsdk.images.bulk.policy import Limits, OnUncertain, cost_limit
from asyncsdk.images.bulk.preview import EditPlan, PlanBuilder
from asyncsdk.images.costs.planned import PlannedCosts
from asyncsdk.images.costs.table import Prices, today
from asyncsdk.images.dask.travel import absolute
from asyncsdk.images.edit import EditFields, ImageEdit, Picture
from asyncsdk.images.idempotency import checked_header
from asyncsdk.images.ledgers import ChosenLedger, ledger_from, limits_with
from asyncsdk.images.result import EditResult
from asyncsdk.images.runs import EditRuns, Edits
from asyncsdk.images.sending import Event, Flight, send, streaming
from asyncsdk.ratelimit import INPUT_IMAGES
from asyncsdk.remote.stores import RemoteStores

if TYPE_CHECKING:
    from distributed import Client as DaskClient


@define(eq=False)
class ImageEditor:
    """Edits images with POST /images/edits; one editor serves all tasks of an event loop.

    Args:
        client: Sends the requests. Open it before the first call.
        check: Whether pictures and fields are checked against the API's known rules before they are sent.
        remote_options: For buckets, what `obstore.store.from_url` takes besides the URL, such as `region`, `endpoint`
            or `credential_provider`. None: obstore's environment variables alone.
        prices: What models cost: a file as `asyncsdk prices --json` prints it, or a `PriceTable`. None: our table.
        idempotency_header: For a gateway that makes an edit once for each key in it, such as "Idempotency-Key"; not
            OpenAI. `edit_many` asks again for a lost answer, within 12 hours of the first try.
    """

    client: Client
    check: bool = field(default=True, kw_only=True)
    remote_options: Mapping[str, Any] | RemoteStores | None = field(default=None, kw_only=True, repr=False)
    prices: Prices | None = field(default=None, kw_only=True, repr=False)
    idempotency_header: str | None = field(default=None, kw_only=True, converter=checked_header)
    _runs: EditRuns = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.client, Client):
            raise wrong_type("the client of an ImageEditor", self.client, "a Client")
        self._runs = EditRuns(
            client=self.client,
            check=self.check,
            stores=RemoteStores.of(self.remote_options),
            prices=self.prices,
            idempotency_header=self.idempotency_header,
        )

    async def edit(
        self,
        image: ImageEdit | Picture | Iterable[Picture],
        prompt: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - a limit per attempt
        check: bool | None = None,
        **fields: Unpack[EditFields],
    ) -> EditResult:
        """Edit one picture, or make one of several.

        What was surely not paid is sent again as usual (429, 503, no connection); an edit whose response was lost is
        not, since it may have been paid. Cancelled after it was sent, as by `asyncio.timeout` or a client that
        disconnects, it may have been paid too: a warning is logged.

        Args:
            image: The picture or pictures, see `ImageEdit`; or an `ImageEdit`, in place of prompt and fields.
            prompt: What to change.
            timeout: Seconds that each wait for more of the response may take; 600 by default.
            check: Overrides the editor's `check`.
            **fields: The other fields of an `ImageEdit`. With `stream=True` the response comes in pieces, which
                keeps a proxy from cutting a long wait; the result is the same.

        Returns:
            The pictures, in memory, with what they cost.

        Raises:
            InvalidEditError: A picture or a field breaks a rule. Nothing was sent.
            EditError: A picture can't be read for now. Nothing was sent; the same call may pass later.
            ChargeUnknownError: The edit was sent and no usable image came: it may have been paid.
            APIError: Any other failure, such as ModerationBlockedError. Nothing was paid.
        """
        edit = edit_of(image, prompt, fields)
        loaded = await self._runs.loaded(edit, check=check)
        flight = Flight()
        with flight.warning_if_cancelled():
            retry = flight.retry(self.client.max_retries)
            response = await send(self.client, loaded, retry=retry, timeout=timeout)
        return EditResult(response, edit, self.client.download_url)

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
        """Edit one picture and get it as it comes: `async with editor.stream(…, partial_images=2) as events:`.

        Args:
            image: As for `edit`.
            prompt: As for `edit`.
            timeout: As for `edit`.
            check: As for `edit`.
            **fields: As for `edit`; `partial_images` (0 to 3) is how many come before each completed image.

        Yields:
            An async iterator of `PartialImage`s and `CompletedImage`s.

        Raises:
            ChargeUnknownError: The stream ended without a completed image: it may have been paid.
            Exception: Otherwise as `edit` does.
        """
        edit = evolve(edit_of(image, prompt, fields), stream=True)
        loaded = await self._runs.loaded(edit, check=check)
        async with streaming(self.client, loaded, flight=Flight(), timeout=timeout) as events:
            yield events

    def edit_many(
        self,
        edits: Edits,
        *,
        out: Where | None = None,
        save: Save | None = None,
        ledger: ChosenLedger = None,
        concurrency: int = 8,
        images_per_minute: float | None = None,
        rate_pool: str | None = None,
        on_uncertain: OnUncertain = "report",
        redo: Collection[str] = (),
        redo_before: float | None = None,
        only: Collection[str] | None = None,
        max_edits: int | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        accept_damage: bool = False,
        verify: bool = False,
        check: bool | None = None,
        dask: DaskClient | str | None = None,
    ) -> AbstractAsyncContextManager[Outcomes]:
        """Run many edits: `async with editor.edit_many(edits, out="out/") as outcomes:`, then iterate over it.

        What was sent, paid and saved is recorded in a ledger. The same call resumes where a killed one stopped: what is
        done is not sent again, what failed is. Without `out` and `save` nothing is recorded: each call sends all.

        Args:
            edits: Any iterable, also asynchronous or endless. Several tasks read it in turn: a generator must not
                `yield` within a cancel scope (PEP 789).
            out: The directory for the pictures, named by the edits' ids. Made if missing. Or a bucket, by a URL such as
                `s3://bucket/out/`: pictures wait in `ledger` until they are there.
            save: An async function `save(edit, result)` that keeps the pictures, besides `out` or instead of it. An
                ordinary one works too, and holds all edits up meanwhile.
            ledger: The ledger's directory: ASYNCSDK_LEDGER, else `out/.asyncsdk`; required for `save` alone and for a
                bucket. Or a database, `postgresql://…` or a `PostgresLedger`, for the same call on many machines.
            concurrency: How many edits run at a time, 1 to 256; fewer if this process may open too few files.
            images_per_minute: The rate limit in input images, times `n`. None: it is learned from 429s.
            rate_pool: A name: all processes that give it, with a ledger in one database, have that rate together.
            on_uncertain: For an edit whose response was lost: "report" it and don't send it again, "retry" it once,
                which may be paid twice, or "stop" the run.
            redo: Ids to send, and pay, again if their last run was before `redo_before`.
            redo_before: Unix time in seconds; now by default.
            only: The statuses of the edits to send: "new", "done", "failed", "refused", "uncertain"; "redo": those
                that `redo` names, whether or not their fields have changed since.
            max_edits: The most edits that are or may be paid, over all runs with this ledger.
            max_tokens: The same in tokens; edits in flight may exceed it.
            max_cost: The same in dollars, by `prices`: what is not known yet counts with the most that it may cost.
            accept_damage: Go on with what is intact of a damaged ledger: what it lost may be paid again.
            verify: Read the pictures of what is done too: a ledger in a database knows it by its id and fields.
            check: Overrides the editor's `check`.
            dask: A Client of Dask, or its scheduler's address: a copy runs on each worker. See docs/fleets.md.

        Returns:
            A context manager of `Outcomes`, which raises what stops a run.

        Raises:
            ConfigurationError: An argument is wrong, at once; `out`, the rate, or too few descriptors, when entered.
            RemoteError: The bucket can't be reached; when entered.
            LedgerError: The ledger can't be used; when entered, before anything is sent.
        """
        check_concurrency(concurrency)
        policy = policy_of(on_uncertain, redo, redo_before, only, verify=verify, header=self.idempotency_header)
        out = out if dask is None else absolute(out)
        target, place = self._runs.places(
            out, ledger_for(out, save, ledger), accept_damage=accept_damage, pool=rate_pool
        )
        rest: Any = {"rate": images_per_minute, "save": save, "concurrency": concurrency, "check": check, "dask": dask}
        limits = Limits(max_edits, max_tokens, max_cost=cost_limit(max_cost))
        return self._runs.running(edits, target, place, policy=policy, limits=limits, **rest)

    def edit_batch(
        self,
        edits: Edits,
        *,
        out: Where,
        ledger: ChosenLedger = None,
        batch_size: int | None = None,
        poll: float | None = None,
        detach: bool = False,
        keep_files: bool = False,
        on_uncertain: OnUncertain = "report",
        redo: Collection[str] = (),
        redo_before: float | None = None,
        only: Collection[str] | None = None,
        max_edits: int | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        accept_damage: bool = False,
        check: bool | None = None,
    ) -> AbstractAsyncContextManager[BatchOutcomes]:
        """Run many edits by the Batch API, mostly for half the price, within a day: as `edit_many`, with its ledger.

        Each picture is uploaded once, the edits go into batches, and results are saved as their files are read. The
        same call, made again, resumes a killed one at any moment; it never creates a batch twice. What `edit_many` did
        with this ledger is not sent, and the other way round.

        Args:
            edits: As for `edit_many`, but not endless. Each needs a `model`.
            out: As for `edit_many`.
            ledger: As for `edit_many`.
            batch_size: The most edits of a batch, 1 to 50,000. None: a GiB of pictures and 8 MiB of lines.
            poll: Seconds between two looks at a batch. None: 5, growing to 60.
            detach: Leave once all batches are created: the same call collects what has ended by then.
            keep_files: Leave the files on the server: pictures, requests and results.
            on_uncertain: As for `edit_many`, for edits that may be paid by an earlier run.
            redo: As for `edit_many`.
            redo_before: As for `edit_many`.
            only: As for `edit_many`. Batches that have not ended are collected whatever it is.
            max_edits: As for `edit_many`.
            max_tokens: As for `edit_many`; what batches under way use is not known yet.
            max_cost: As for `edit_many`, at the price of batches. Edits without room wait for the results of others.
            accept_damage: As for `edit_many`.
            check: Overrides the editor's `check`.

        Returns:
            A context manager of `BatchOutcomes`, which raises what stops a run.

        Raises:
            ConfigurationError: An argument is wrong, at once; `out`, when entered.
            RemoteError: The bucket can't be reached; when entered.
            LedgerError: The ledger can't be used; when entered, before anything is sent.
        """
        options = BatchOptions(size=batch_size, poll=poll, detach=detach, keep_files=keep_files)
        policy = policy_of(on_uncertain, redo, redo_before, only)
        target, place = self._runs.places(out, ledger_for(out, None, ledger), accept_damage=accept_damage)
        assert target is not None and place is not None  # noqa: S101, PT018 - for the type checker: `out` is given
        intake = partial(self._runs.intake, policy, target, check=check, in_batches=True, edits=edits)
        run: Any = {"intake": intake, "pricing": self._runs.pricing}
        limits = Limits(max_edits, max_tokens, max_cost=cost_limit(max_cost))
        return batch_outcomes(self.client, edits, target, place, limits=limits, options=options, **run)

    async def plan(
        self,
        edits: Edits,
        *,
        out: Where | None = None,
        ledger: ChosenLedger = None,
        images_per_minute: float | None = None,
        on_uncertain: OnUncertain = "report",
        redo: Collection[str] = (),
        redo_before: float | None = None,
        only: Collection[str] | None = None,
        max_edits: int | None = None,
        max_tokens: int | None = None,
        verify: bool = False,
        max_cost: float | None = None,
        batch: bool = False,
        check: bool | None = None,
    ) -> EditPlan:
        """Find out what `edit_many` would do with the same arguments: reads every picture, and sends nothing.

        Args:
            edits: As for `edit_many`, but not endless.
            out: As for `edit_many`; nothing is written.
            ledger: As for `edit_many`; it is read only.
            images_per_minute: The rate, in input images, for the estimate of minutes.
            on_uncertain: As for `edit_many`.
            redo: As for `edit_many`.
            redo_before: As for `edit_many`.
            only: As for `edit_many`.
            max_edits: As for `edit_many`.
            max_tokens: As for `edit_many`; what edits will use is not known before.
            verify: As for `edit_many`.
            max_cost: As for `edit_many`; what is held back is what has no room at its highest price.
            batch: Plan for `edit_batch`: what can't be in a batch is a problem, and limits are at the price of one.
            check: As for `edit_many`.

        Returns:
            The counts, the problems and the estimate.

        Raises:
            ConfigurationError: An argument is wrong.
            LedgerError: The ledger can't be read.
        """
        INPUT_IMAGES.checked(images_per_minute)  # as a run does
        limits = Limits(max_edits, max_tokens, max_cost=cost_limit(max_cost))
        header = None if batch else self.idempotency_header  # a batch asks for no answer again
        policy = policy_of(on_uncertain, redo, redo_before, only, verify=verify, header=header)
        pricing = await self._runs.pricing(limits)
        chosen = None if out is None and ledger is None else ledger_from(ledger)
        target, place = self._runs.places(out, chosen)
        async with AsyncExitStack() as stack:
            known = None if place is None else await stack.enter_async_context(place.look())
            if target is not None:
                await target.look()
            limits = limits_with(limits, known, pricing)
            intake = await self._runs.intake(
                policy, target, known, limits, pricing, check=check, in_batches=batch, edits=edits
            )
            costs = PlannedCosts(pricing, today())
            builder = PlanBuilder(limits.allowed, costs, limits.room, in_batches=batch, redo=policy.looked_for)
            async with aclosing(tasks.walk(edits)) as all_, aclosing(intake.in_turn(all_)) as source:
                async for edit in source:
                    if isinstance(edit, EndedPage):
                        builder.count_page(edit)
                    else:
                        builder.count(await intake.prepare(edit))
            return builder.plan(images_per_minute, damage=() if known is None else known.damage)
