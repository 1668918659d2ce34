"""The driver: starts a copy on each worker, and gives how the edits end, by the ledger and not by Dask."""

from __future__ import annotations

import copyreg
import logging
import os
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import Any

import anyio
from attrs import asdict, define, evolve, field

from asyncsdk import files, tasks
from asyncsdk.client import Client
from asyncsdk.clock import boot_time
from asyncsdk.errors import AsyncSDKError, ConfigurationError, EditError, LimitReachedError
from asyncsdk.extras import where_from
from asyncsdk.images.bulk.outcomes import Outcomes, outcomes_of
from asyncsdk.images.bulk.policy import Limits, Policy
from asyncsdk.images.costs.money import NANOS
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.costs.table import packaged
from asyncsdk.images.costs.travelling import fields_of
from asyncsdk.images.dask import pages
from asyncsdk.images.dask.task import CopyEnd, CopyTask
from asyncsdk.images.dask.travel import check_fit, client_arguments
from asyncsdk.images.dask.watching import WatchedRun, WatchingIntake
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.postgres import PostgresLedger
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.images.ledgers import LedgerPlace, limits_with
from asyncsdk.images.target import Target
from asyncsdk.limiter import RateLimiter
from asyncsdk.pickling import PicklableError
from asyncsdk.postgres.url import without_password
from asyncsdk.ratelimit import INPUT_IMAGES
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.version import __version__

LOOK_EVERY = 1.0  # seconds
PATIENCE = 300.0  # seconds that a cluster without a worker is waited for
ANSWER_SECONDS = 20.0  # for the scheduler
CLOSE_SECONDS = 2.0
END_SECONDS = 5.0  # for copies that find out that all edits have ended
_GOES_ON = "What is done is recorded: the same call, to this cluster or another, goes on with the others."

logger = logging.getLogger(__name__)


@define(eq=False)
class CopiesOnWorkers:
    """One copy on each worker. Nothing rests on what Dask knows of them: it is asked whom to wait for."""

    task: CopyTask
    _dask: Any  # distributed's, which has types in part
    _place: str
    failure: AsyncSDKError | None = field(default=None, init=False)
    are_over: bool = field(default=False, init=False)
    saw_all_end: bool = field(default=False, init=False)
    _futures: dict[str, Any] = field(factory=dict, init=False)  # by worker, until they have ended
    _ended: dict[str, CopyEnd] = field(factory=dict, init=False)
    _is_stopping: bool = field(default=False, init=False)
    _alone_since: float | None = field(default=None, init=False)  # no worker is there

    def stop(self) -> None:
        """Start no more."""
        self._is_stopping = True

    async def follow(self) -> None:
        """Start a copy on each worker, also on those that come, until nothing more is to be expected of them."""
        while not self.are_over:
            try:
                workers = await self._workers()
            except Exception as error:  # distributed raises many kinds: the scheduler is gone
                logger.debug("the scheduler does not answer", exc_info=True)
                self._end(_lost(f"the Dask scheduler at {self._place} does not answer ({type(error).__name__})."))
                return
            await self._look(workers)
            self._decide(workers)
            await anyio.sleep(LOOK_EVERY)

    async def rest(self) -> None:
        """Return once the copies have ended, or after a moment: one may be stopped for long."""
        with anyio.move_on_after(END_SECONDS):
            for future in list(self._futures.values()):
                await _result_of(future)

    async def _workers(self) -> set[str]:
        with anyio.fail_after(ANSWER_SECONDS):
            return set(await tasks.await_foreign(self._dask.scheduler.ncores()))

    async def _look(self, workers: set[str]) -> None:
        for worker, future in list(self._futures.items()):
            if worker not in workers:  # retired, or killed: what it had is the ledger's
                logger.warning("the worker %s has left: the others go on", worker)
                self._forget(worker)
            elif future.done():
                self._note(worker, await _end_of(future))
        for worker in self._ended.keys() - workers:
            if self._ended[worker].is_leaving:  # one that comes back at its address is another one
                del self._ended[worker]
        for worker in workers - self._futures.keys() - self._ended.keys():
            if not self._is_stopping:
                # alone on this worker, and not made again by Dask: what a copy that is gone had, others take
                self._futures[worker] = self._dask.submit(
                    _starter(), self.task.as_text(), key=f"asyncsdk-edits-{uuid.uuid4()}", workers=[worker],
                    allow_other_workers=False, retries=0, pure=False,
                )  # fmt: skip

    def _note(self, worker: str, end: CopyEnd) -> None:
        self._forget(worker)
        self._ended[worker] = end
        if end.kind is not None and not self._is_stopping:
            logger.warning("the worker %s: %s", worker, end.message)

    def _forget(self, worker: str) -> None:
        future = self._futures.pop(worker)
        with suppress(Exception):
            future.release()

    def _decide(self, workers: set[str]) -> None:
        leaving = {worker for worker, end in self._ended.items() if end.is_leaving}
        self.saw_all_end = any(end.kind is None and not end.is_leaving for end in self._ended.values())
        if self.saw_all_end or (self._is_stopping and not self._futures):
            self._end(None)
        elif not workers - leaving:
            self._wait_for_workers()
        else:
            self._alone_since = None
            if not self._futures:
                self._end(_failure_of(self._ended))

    def _wait_for_workers(self) -> None:
        now = boot_time()
        if self._alone_since is None:
            self._alone_since = now
            logger.warning("the Dask cluster at %s has no worker: one is waited for", self._place)
        elif now - self._alone_since > PATIENCE:
            self._end(_lost(f"the Dask cluster at {self._place} has no worker."))

    def _end(self, failure: AsyncSDKError | None) -> None:
        self.failure, self.are_over = failure, True


def _failure_of(ended: Mapping[str, CopyEnd]) -> AsyncSDKError:
    """Why all copies ended: a limit that was reached goes before what else one of them met."""
    errors = [end.error(worker) for worker, end in ended.items() if end.kind is not None]
    return min(errors, key=lambda error: not isinstance(error, LimitReachedError), default=_lost("No worker sends."))


def _starter() -> Callable[[str], str]:
    """What workers call. A function within a function travels as code: a scheduler without asyncsdk can read it.

    The copy is imported by name: it is the program of another process, which has `edit_many` at its top.
    """

    def begin(text: str) -> str:
        from importlib import import_module

        ended: str = import_module("asyncsdk.images.dask.copy").run(text)
        return ended

    return begin


async def _end_of(future: Any) -> CopyEnd:
    if future.status == "finished" and (text := await _result_of(future)) is not None:
        return CopyEnd.of_text(text)
    if future.status == "error":
        error = await _result_of(future.exception())
        if isinstance(error, ImportError):
            return CopyEnd(kind="ConfigurationError", message="this worker has no asyncsdk, or another version of it.")
        return CopyEnd(
            kind="EditError", message=f"its task failed ({type(error).__name__}); its log has more.", resumable=True
        )
    return CopyEnd(kind="EditError", message=f"its task is {future.status} for Dask.", resumable=True)


async def _result_of(future: Any) -> Any:
    """What a future of Dask gives, if it does soon: a result whose worker is gone is computed again, or never comes."""
    with suppress(Exception), anyio.move_on_after(ANSWER_SECONDS):
        return await tasks.await_foreign(future)
    return None


def _lost(what: str) -> EditError:
    error = EditError(f"{what} {_GOES_ON}")
    error.resumable = True
    return error


def _keep_our_pickling(kind: type[PicklableError]) -> None:
    """Distributed loads tblib, which pickles all errors that there are by a way that fails where a cause can't be."""
    copyreg.dispatch_table.pop(kind, None)
    for each in kind.__subclasses__():
        _keep_our_pickling(each)


@asynccontextmanager
async def connected(dask: Any) -> AsyncIterator[tuple[Any, str]]:
    """Our own connection to the cluster of a client, or at an address, with the address. Raises ConfigurationError."""
    try:
        await files.in_thread(import_module, "distributed")  # which takes a second
        import distributed
    except ImportError:
        raise ConfigurationError(
            f"a run on Dask needs the extra dask. Nothing was sent. {where_from('dask')}"
        ) from None
    _keep_our_pickling(PicklableError)
    kind: Any = distributed.Client
    address, security = dask, None
    if isinstance(dask, kind):
        address, security = dask.scheduler.address if dask.scheduler else None, dask.security
    if not isinstance(address, str):
        raise ConfigurationError(
            "dask is a dask.distributed.Client that is connected, or the address of its scheduler. Nothing was sent."
        )
    client = kind(address, security=security, asynchronous=True, set_as_default=False, timeout=ANSWER_SECONDS)
    try:
        try:
            await client
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"dask={address!r}: no Dask scheduler answers there ({type(error).__name__}). Its address is like "
                "tcp://host:8786. Nothing was sent."
            ) from None
        yield client, address
    finally:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True), suppress(Exception):
            await client.close(timeout=CLOSE_SECONDS)


@asynccontextmanager
async def copies_on(dask: Any, place: str, task: CopyTask) -> AsyncIterator[CopiesOnWorkers]:
    """Have the copies on the workers for the length of the block."""
    async with tasks.group() as group:
        copies = CopiesOnWorkers(task, dask, place)
        group.start_soon(copies.follow)
        yield copies
        group.cancel_scope.cancel()


def _arguments_of(client: Client) -> dict[str, Any]:
    return client_arguments(
        client.settings, timeout=client.timeout, max_retries=client.max_retries, only_here=client.only_here,
        environment=os.environ,
    )  # fmt: skip


def _task_of(shared: PostgresLedger, ledger: SharedLedger, **rest: Any) -> CopyTask:
    return CopyTask(
        asyncsdk=__version__,
        ledger=without_password(shared.url),
        run=(ledger.run, ledger.begun),
        terms=(shared.terms.lease, shared.terms.renew_every),
        options=shared.options,
        **rest,
    )


def _policy_of(policy: Policy) -> dict[str, Any]:
    """The arguments of `edit_many` that give this policy: its fields, by their names.

    Each copy has its own now, and its editor has the header.
    """
    fields = asdict(policy, filter=lambda attribute, _: attribute.name not in {"now", "header"})
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in fields.items()}


@asynccontextmanager
async def driving(
    dask: Any,
    client: Client,
    edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit],
    target: Target | None,
    place: LedgerPlace | None,
    *,
    stores: RemoteStores,
    save: object,
    checked: bool,
    policy: Policy,
    limits: Limits,
    rate: float | None,
    concurrency: int,
    editor: Mapping[str, Any],
    pricing: Pricing,
) -> AsyncIterator[Outcomes]:
    """Run a copy of `edit_many` on each worker for the length of the block, and give the outcomes of all.

    Raises ConfigurationError, RemoteError, LedgerError before anything is sent.
    """
    shared = None if place is None else place.shared
    check_fit(
        has_save=save is not None,
        has_out=target is not None,
        is_shared=shared is not None,
        has_remote_options=bool(stores.options),
    )
    assert target is not None and place is not None and shared is not None  # noqa: S101, PT018 - for the type checker
    request = {"concurrency": concurrency, "images_per_minute": rate, "check": checked} | _policy_of(policy)
    request |= {"max_edits": limits.max_edits, "max_tokens": limits.max_tokens, "rate_pool": place.rate_pool}
    request |= {"max_cost": None if limits.max_cost is None else limits.max_cost / NANOS}
    arguments, out = _arguments_of(client), str(place.out)
    async with connected(dask) as (cluster, address), place.open() as ledger:
        assert isinstance(ledger, SharedLedger)  # noqa: S101 - for the type checker
        await target.prepare(ledger)
        names = await pages.write(edits, out, stores)
        prices = None if pricing.table is packaged() else fields_of(pricing.table)
        arguments = {"client": arguments, "editor": editor, "request": request, "prices": prices}
        task = _task_of(shared, ledger, out=out, pages=names, key=client.settings.variable, **arguments)
        before = await ledger.redo_before(policy.redo_before)
        limits = limits_with(limits, ledger, pricing)
        async with copies_on(cluster, address, task) as copies:
            intake = WatchingIntake(
                policy=evolve(policy, redo_before=before, verify=False),
                checked=checked,
                ledger=ledger,
                limits=limits,
                target=target,
                stores=stores,
                copies=copies,
                are_compared=policy.verify,
            )
            run = WatchedRun(
                client=client, intake=intake, limiter=RateLimiter(INPUT_IMAGES, rate), limits=limits, ledger=ledger,
                concurrency=concurrency, copies=copies, pricing=pricing,
            )  # fmt: skip
            try:
                async with outcomes_of(run, pages.read(names, out, stores)) as outcomes:
                    yield outcomes
                await copies.rest()
            finally:
                if not intake.is_through:  # it was left early: no copy goes on for nobody
                    run.stop()
