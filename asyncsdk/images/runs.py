"""What the calls of one editor have in common: its settings, and how a run is put together of them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from asyncsdk.client import Client
from asyncsdk.images.arguments import place_of
from asyncsdk.images.bucket import Where, target_of
from asyncsdk.images.bulk.concurrency import possible
from asyncsdk.images.bulk.delivery import Save
from asyncsdk.images.bulk.ids import ComparedEdits
from asyncsdk.images.bulk.intake import EditIntake, Intake, as_sent, read_and_check
from asyncsdk.images.bulk.model_ends import ModelEnds
from asyncsdk.images.bulk.outcomes import Outcomes, outcomes_of
from asyncsdk.images.bulk.policy import Limits, Policy
from asyncsdk.images.bulk.run import BulkRun
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.costs.table import Prices, current_prices
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.file import FileLedger
from asyncsdk.images.ledgers import ChosenLedger, LedgerPlace, directory_of, limits_with
from asyncsdk.images.pictures import LoadedEdit
from asyncsdk.images.rate_pool import check_pool, limiter_of
from asyncsdk.images.target import Target
from asyncsdk.remote.stores import RemoteStores

if TYPE_CHECKING:
    from distributed import Client as DaskClient

    from asyncsdk.images.ledger.shared import SharedLedger

Edits = Iterable[ImageEdit] | AsyncIterable[ImageEdit]


@frozen(eq=False, kw_only=True)
class EditRuns:
    """The settings of an editor, and the runs that they make."""

    client: Client
    check: bool
    stores: RemoteStores
    prices: Prices | None
    idempotency_header: str | None

    def places(
        self, out: Where | None, ledger: ChosenLedger, *, accept_damage: bool = False, pool: str | None = None
    ) -> tuple[Target | None, LedgerPlace | None]:
        """Where the pictures of a run go, and where its ledger is, if anywhere. Raises ConfigurationError."""
        target = target_of(out, None if ledger is None else directory_of(ledger, None), self.stores)
        check_pool(pool, ledger)
        if out is None and ledger is None:
            return target, None
        idle = self.client.timing.thread_idle
        return target, place_of(target, out, ledger, accept_damage=accept_damage, idle=idle, rate_pool=pool)

    @asynccontextmanager
    async def running(
        self,
        edits: Edits,
        target: Target | None,
        place: LedgerPlace | None,
        *,
        policy: Policy,
        limits: Limits,
        rate: float | None,
        save: Save | None,
        concurrency: int,
        check: bool | None,
        dask: DaskClient | str | None,
    ) -> AsyncIterator[Outcomes]:
        """Run the edits for the length of the block, here or on workers of Dask. Raises as `edit_many` does."""
        async with AsyncExitStack() as stack:
            pricing = await self.pricing(limits)
            if dask is not None:
                from asyncsdk.images.dask.driver import driving

                common: Any = {"policy": policy, "limits": limits, "pricing": pricing, "stores": self.stores}
                common |= {
                    "rate": rate,
                    "concurrency": concurrency,
                    "save": save,
                    "checked": self._checked(check=check),
                }
                common |= {"editor": {"idempotency_header": self.idempotency_header}}
                yield await stack.enter_async_context(driving(dask, self.client, edits, target, place, **common))
                return
            ledger = None if place is None else await stack.enter_async_context(place.open())
            if target is not None and ledger is not None:
                await target.prepare(ledger)
            limits = limits_with(limits, ledger, pricing)
            run = BulkRun(
                client=self.client,
                intake=await self.intake(
                    policy, target, ledger, limits, pricing, check=check, few=concurrency, edits=edits
                ),
                limiter=await stack.enter_async_context(limiter_of(place, ledger, per_minute=rate)),
                limits=limits,
                ledger=ledger,
                save=save,
                concurrency=await possible(concurrency),
                pricing=pricing,
                ends=ModelEnds.of(self.client, edits, rate),
                idempotency_header=self.idempotency_header,
            )
            yield await stack.enter_async_context(outcomes_of(run, edits))

    async def pricing(self, limits: Limits) -> Pricing:
        """The prices of a run. Raises ConfigurationError."""
        return Pricing(await current_prices(self.prices), is_limited=limits.max_cost is not None)

    async def intake(
        self,
        policy: Policy,
        target: Target | None,
        ledger: FileLedger | SharedLedger | None,
        limits: Limits,
        pricing: Pricing,
        *,
        check: bool | None,
        few: int = 1,
        in_batches: bool = False,
        edits: Edits = (),
    ) -> EditIntake:
        """What takes the `edits` of a run in. Raises LedgerError."""
        if ledger is not None and policy.redo:
            policy = evolve(policy, redo_before=await ledger.redo_before(policy.redo_before))
        common: Any = {"policy": policy, "checked": self._checked(check=check), "target": target, "stores": self.stores}
        if ledger is None or isinstance(ledger, FileLedger):
            return Intake(ledger=ledger, pricing=None if in_batches else pricing, **common)  # a batch has its own rules
        from asyncsdk.images.bulk import shared_intake  # a run of one machine does not load it

        few = min(few, shared_intake.MOST_CLAIMED)
        compared = edits.problems if isinstance(edits, ComparedEdits) else None
        common |= {"limits": limits, "pricing": pricing, "few": few, "in_batches": in_batches, "compared": compared}
        return shared_intake.SharedIntake(ledger=ledger, **common)

    async def loaded(self, edit: ImageEdit, *, check: bool | None) -> LoadedEdit:
        """The edit with its pictures as they are sent. Raises InvalidEditError, EditError."""
        checked = self._checked(check=check)
        return await as_sent(await read_and_check(edit, checked=checked, stores=self.stores), checked=checked)

    def _checked(self, *, check: bool | None) -> bool:
        return self.check if check is None else check
