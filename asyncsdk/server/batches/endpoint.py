"""The /batches endpoints: create, list, retrieve, cancel; each batch is a task of its own."""

from __future__ import annotations

import asyncio

from aiohttp import web
from attrs import define, field

from asyncsdk.server.batches.fields import batch_page, read_batch_query, read_new_batch
from asyncsdk.server.batches.objects import StoredBatch
from asyncsdk.server.batches.run import BatchRun
from asyncsdk.server.bodies import drain, read_json
from asyncsdk.server.edits.endpoint import Edits
from asyncsdk.server.errors import ApiError, not_found
from asyncsdk.server.fault_plan import FaultPlan
from asyncsdk.server.ids import new_batch_id
from asyncsdk.server.log import ACTIVE_REQUEST
from asyncsdk.server.repository import Repository
from asyncsdk.server.rules import BATCH_OUTPUT


@define(eq=False, kw_only=True)
class Batches:
    """Each batch takes `seconds` at least, and has `window` seconds; the list has it after `listing_delay` seconds.

    `token_limit` is how many tokens of one model may wait in all batches; None: any number.
    """

    repository: Repository
    edits: Edits
    faults: FaultPlan
    seconds: float = 0.0
    window: int = 24 * 3600
    listing_delay: float = 0.0
    token_limit: int | None = None
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/batches", self.create, name="batches.create"),
            web.get("/batches", self.list_batches, name="batches.list", allow_head=False),
            web.get("/batches/{batch_id}", self.retrieve, name="batches.get", allow_head=False),
            web.post("/batches/{batch_id}/cancel", self.cancel, name="batches.cancel"),
        ]

    async def resume(self) -> None:
        """Go on with the batches that an earlier run left under way, less what it kept of their results."""
        for batch in [batch for batch in self.repository.batches.values() if not batch.is_ended]:
            names = {batch.result_name("output"), batch.result_name("error")}
            for file in self.repository.files():
                if file.purpose == BATCH_OUTPUT and file.filename in names:
                    await self.repository.remove_file(file.id)
            await self.repository.add_batch(batch.restarted())
            self._begin(batch.id)

    async def close(self) -> None:
        """End the work on all batches. None of it is lost for good: the next run does it again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def create(self, request: web.Request) -> web.Response:
        fields = await read_json(request)
        came_at = self.repository.clock()
        batch = read_new_batch(fields, batch_id=new_batch_id(), came_at=came_at, window=self.window)
        await self.repository.add_batch(batch)
        request[ACTIVE_REQUEST].batch_id = batch.id
        self._begin(batch.id)
        return web.json_response(batch.to_json())

    async def list_batches(self, request: web.Request) -> web.Response:
        latest = self.repository.clock() - self.listing_delay
        listed = [batch for batch in reversed(self.repository.batches.values()) if batch.came_at <= latest]
        return web.json_response(batch_page(listed, read_batch_query(request.query)))

    async def retrieve(self, request: web.Request) -> web.Response:
        return web.json_response(self._find(request).to_json())

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self._find(request)
        await drain(request)
        now = self.repository.now()
        return web.json_response(
            (await self.repository.change_batch(batch.id, lambda one: _cancelling(one, now))).to_json()
        )

    def _begin(self, batch_id: str) -> None:
        run = BatchRun(self.repository, self.edits, self.faults, batch_id, self.seconds, self.token_limit)
        task = asyncio.create_task(run.run(), name=batch_id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _find(self, request: web.Request) -> StoredBatch:
        batch_id = request.match_info["batch_id"]
        batch = self.repository.batches.get(batch_id)
        if batch is None:
            raise not_found("Batch", batch_id)
        return batch


def _cancelling(batch: StoredBatch, now: int) -> StoredBatch:
    if batch.is_ended:
        raise ApiError(409, f"Cannot cancel a batch with status '{batch.status}'.")
    return batch if batch.status == "cancelling" else batch.entered("cancelling", now)
