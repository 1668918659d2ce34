"""One batch over time: its file is checked, its edits are made a few at a time, and its results become files."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Literal

from attrs import define, evolve, field

from asyncsdk.server.batches.lines import InputCheck, InputLine, read_line, refused
from asyncsdk.server.batches.objects import BatchStatus, LineRefusal, StoredBatch
from asyncsdk.server.batches.results import LineResult, Reason, not_executed, responded
from asyncsdk.server.edits.endpoint import Edits
from asyncsdk.server.errors import ApiError, not_found
from asyncsdk.server.fault_plan import FaultPlan
from asyncsdk.server.faults import LINE, MOMENTS, Fault
from asyncsdk.server.ids import new_file_id, new_part_id, new_request_id
from asyncsdk.server.incoming import IncomingFile
from asyncsdk.server.inject import error_of
from asyncsdk.server.objects import StoredFile
from asyncsdk.server.repository import Repository
from asyncsdk.server.rules import BATCH_FILE_LIMIT, BATCH_OUTPUT, file_expiry

logger = logging.getLogger(__name__)

AT_ONCE = 8  # requests, and each is made within that many places of its line
RESULT_LIMIT = 2**40  # bytes
VALIDATED, FINALIZED = 0.1, 0.9  # the shares of its time after which it is validated, and all its edits are made
_STEP_SECONDS = 0.05


@define(eq=False)
class BatchRun:
    """It takes `seconds` at least; `token_limit` is how many tokens of one model may wait in all batches."""

    repository: Repository
    edits: Edits
    faults: FaultPlan
    batch_id: str
    seconds: float
    token_limit: int | None
    _began: float = field(default=0.0, init=False)
    _is_cut_short: bool = field(default=False, init=False)  # requests were left, since it expired or was cancelled

    @property
    def batch(self) -> StoredBatch:
        return self.repository.batches[self.batch_id]

    async def run(self) -> None:
        """Bring the batch to its end."""
        self._began = asyncio.get_running_loop().time()
        try:
            await self._until(VALIDATED)
            await self._validate()
            if self.batch.status == "in_progress":
                await self._execute()
            elif self.batch.status == "cancelling":
                await self._enter("cancelled", after="cancelling")
        except ApiError as error:  # its input file does not exist, or was deleted
            await self._fail(refused("file_not_found", error.message))
        except Exception:
            logger.exception("%s failed", self.batch_id)
            await self._fail(refused("server_error", "The server failed; its log contains the reason."))

    async def _validate(self) -> None:
        file = self._input_file()
        check = InputCheck(self.batch.endpoint)
        if problem := _problem_of(file):
            check.refusals.append(problem)
        else:
            async with aclosing(self._lines(file)) as lines:
                async for line in lines:
                    check.take(line)
            check.finish()
        if check.refusals:
            await self._fail(*check.refusals)
            return
        now = self.repository.now()
        checked = {"model": check.model, "total": check.total, "queued_tokens": check.tokens}

        def go_on(batch: StoredBatch) -> StoredBatch:
            if batch.status != "validating":
                return batch
            if self._is_above_limit(check):  # looked at here, since another batch may be checked at the same time
                return batch.entered("failed", now, refusals=(_too_many_tokens(check.model, self.token_limit),))
            return batch.entered("in_progress", now, **checked)

        await self.repository.change_batch(self.batch_id, go_on)

    def _is_above_limit(self, check: InputCheck) -> bool:
        if self.token_limit is None:
            return False
        batches = self.repository.batches.values()
        others = [one for one in batches if one.model == check.model and not one.is_ended and one.id != self.batch_id]
        return sum(one.queued_tokens for one in others) + check.tokens > self.token_limit

    async def _execute(self) -> None:
        file = self._input_file()
        async with self.repository.incoming(RESULT_LIMIT) as output, self.repository.incoming(RESULT_LIMIT) as errors:
            await self._make_all(file, output, errors)
            if self._reason() is None:
                await self._enter("finalizing", after="in_progress")
                await self._until(1.0)
            output_id = await self._kept(output, "output")
            error_id = await self._kept(errors, "error")
        files = {"output_file_id": output_id, "error_file_id": error_id}
        now, is_cut_short = self.repository.now(), self._is_cut_short

        def end(batch: StoredBatch) -> StoredBatch:
            status: BatchStatus = "expired" if is_cut_short else "completed"
            return batch.entered("cancelled" if batch.status == "cancelling" else status, now, **files)

        await self.repository.change_batch(self.batch_id, end)

    async def _make_all(self, file: StoredFile, output: IncomingFile, errors: IncomingFile) -> None:
        """Make the edits, a few at a time, and these in any order, as the real server does."""
        order, number = random.Random(self.batch_id), 0
        some: list[InputLine] = []
        async with aclosing(self._lines(file)) as lines:
            async for line in lines:
                number += 1
                some.append(read_line(line))
                if len(some) == AT_ONCE or number == self.batch.total:
                    order.shuffle(some)
                    before = number - len(some)
                    async with asyncio.TaskGroup() as group:
                        for place, one in enumerate(some, before):
                            group.create_task(self._make(one, place, output, errors))
                    some = []

    async def _make(self, line: InputLine, place: int, output: IncomingFile, errors: IncomingFile) -> None:
        result = await self._result(line, place)
        if result is not None:
            await (output if result.succeeded else errors).write(result.text)
            self._count(result)

    async def _result(self, line: InputLine, place: int) -> LineResult | None:
        """How the request that is the `place`-th from 0 ended; None where it is in no file."""
        share = VALIDATED + (FINALIZED - VALIDATED) * place / self.batch.total
        if reason := await self._until(share):
            return self._left(line, reason)
        planned = next(iter(self.faults.meet(LINE)), None)
        if planned is None:
            return await self._edited(line)
        try:
            is_made = MOMENTS.index(planned.fault.at) >= MOMENTS.index("done")
            made = await self._edited(line) if is_made else None
            planned.happened()
            return await self._faulty(planned.fault, line, made)
        finally:
            planned.release()

    async def _faulty(self, fault: Fault, line: InputLine, made: LineResult | None) -> LineResult | None:
        usage = None if made is None else made.usage
        match fault.kind:
            case "answer":
                status = fault.status or 500
                nothing = {"created": self.repository.now(), "data": []} if status < 400 else error_of(status)
                body = nothing if fault.body is None else fault.body
                return responded(line.custom_id, status, new_request_id(), body, usage)
            case "close":
                return not_executed(line.custom_id, "request_timeout", usage)
            case "reset":
                self._count(not_executed(line.custom_id, "request_timeout", usage) if made is None else made)
                return None
            case "stall":
                reason = await self._pause(math.inf if fault.seconds is None else _now() + fault.seconds)
            case _:
                await self.repository.expire_batch(self.batch_id)
                reason = self._reason()
        if made is None and reason is not None:
            return self._left(line, reason)
        return made or await self._edited(line)

    async def _edited(self, line: InputLine) -> LineResult:
        request_id = new_request_id()
        while True:
            try:
                body = await self.edits.batched(dict(line.body), request_id)
            except ApiError as error:
                if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return responded(line.custom_id, error.status, request_id, error.to_json())
            else:
                return responded(line.custom_id, HTTPStatus.OK, request_id, body, body["usage"])
            if reason := self._reason():
                return self._left(line, reason)
            await asyncio.sleep(_STEP_SECONDS)  # there are too many pictures at once: a batch has time

    def _left(self, line: InputLine, reason: Reason) -> LineResult:
        self._is_cut_short = True
        return not_executed(line.custom_id, reason)

    def _count(self, result: LineResult) -> None:
        batch = self.batch
        self.repository.batches[self.batch_id] = evolve(
            batch,
            completed=batch.completed + result.succeeded,
            failed=batch.failed + (not result.succeeded),
            usage=batch.usage.plus(result.usage),
        )

    async def _kept(self, incoming: IncomingFile, kind: Literal["output", "error"]) -> str | None:
        """Make a file of the results; None where there are none."""
        if not incoming.size:
            return None
        now = self.repository.now()
        file = StoredFile(
            id=new_file_id(),
            bytes=incoming.size,
            created_at=now,
            expires_at=file_expiry(now, BATCH_OUTPUT, self.batch.output_seconds),
            filename=self.batch.result_name(kind),
            purpose=BATCH_OUTPUT,
            part_ids=(new_part_id(),),
        )
        await self.repository.add_file(file, incoming)
        return file.id

    def _input_file(self) -> StoredFile:
        """Raises ApiError where there is none, or none any more."""
        file_id = self.batch.input_file_id
        file = self.repository.file(file_id)
        if file is None:
            raise not_found("File", file_id)
        return file

    async def _lines(self, file: StoredFile) -> AsyncGenerator[bytes, None]:
        pieces: list[bytes] = []
        async with aclosing(self.repository.read_file(file)) as blocks:
            async for block in blocks:
                first, *others = block.split(b"\n")
                pieces.append(first)
                for other in others:
                    yield b"".join(pieces)
                    pieces = [other]
        if rest := b"".join(pieces):
            yield rest

    async def _enter(self, status: BatchStatus, *, after: BatchStatus) -> None:
        """Bring it to its next status, unless it was cancelled meanwhile."""
        now = self.repository.now()
        await self.repository.change_batch(
            self.batch_id, lambda batch: batch.entered(status, now) if batch.status == after else batch
        )

    async def _fail(self, *refusals: LineRefusal) -> None:
        now = self.repository.now()
        await self.repository.change_batch(self.batch_id, lambda batch: batch.entered("failed", now, refusals=refusals))

    async def _until(self, share: float) -> Reason | None:
        """Wait until this share of the batch's time is over. Returns why it ends early, if it does."""
        return await self._pause(self._began + share * self.seconds)

    async def _pause(self, moment: float) -> Reason | None:
        while True:
            reason, left = self._reason(), moment - _now()
            if reason is not None or left <= 0:
                return reason
            await asyncio.sleep(min(left, _STEP_SECONDS))

    def _reason(self) -> Reason | None:
        """Why no other request is begun."""
        if self.batch.status == "cancelling":
            return "batch_cancelled"
        return "batch_expired" if self.repository.clock() >= self.batch.expires_at else None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _problem_of(file: StoredFile) -> LineRefusal | None:
    if file.purpose != "batch":
        return refused("invalid_file", f"The file {file.id} has the purpose '{file.purpose}', not 'batch'.")
    if file.bytes > BATCH_FILE_LIMIT:
        return refused("file_too_large", f"The input file is larger than {BATCH_FILE_LIMIT} bytes.")
    return None


def _too_many_tokens(model: str | None, limit: int | None) -> LineRefusal:
    return refused(
        "token_limit_exceeded",
        f"Enqueued token limit reached for {model} in organization org-local. Limit: {limit:,} enqueued tokens. Please "
        "try again once some in_progress batches have been completed.",
    )
