"""Any sequence of faults, cancels, edits, lost time and calls, as hypothesis finds it (a state machine)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from asyncsdk import AsyncSDKError, AsyncUploader, Client, CompletionUnknownError, UploadResult
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.journal import Opened, Part
from asyncsdk.uploads.resuming.resume import non_overlapping
from tests.faults.support import remembered, sha256_of
from tests.faults.table import Row

MAYBE_DONE = {408, 409, 500, 503}
SIZE = 2 * BLOCK + 12345
HASTY = Timing(first_delay=0.001, file_search=0.02, file_search_interval=0.005)


def _is_honest(refusal: Fault) -> bool:
    """A server that completes and says that it refused, or says that a file is gone which is not, is believed."""
    if refusal.route == "complete" and refusal.at == "done":
        return refusal.status in MAYBE_DONE
    return not (refusal.route == "files.get" and refusal.status == 404)


def _fault_at(place: tuple[Any, Any], kind: Any, **more: Any) -> Fault:
    return Fault(place[0], kind, place[1], **more)


ROUTES = st.sampled_from(["create", "part", "part", "part", "complete", "complete", "files.get", "files.list"])
MOMENTS = st.sampled_from(["before", "in", "after", "done", "answering"])
PLACES = st.tuples(ROUTES, MOMENTS).filter(lambda place: not (place[0].startswith("files.") and place[1] == "in"))
PART_SIZES = st.sampled_from([BLOCK, 2 * BLOCK])
LOSSES = st.builds(_fault_at, PLACES, st.sampled_from(["reset", "close"]), nth=st.integers(1, 3))
STALLS = st.builds(_fault_at, PLACES, st.just("stall"), nth=st.integers(1, 3))
REFUSALS = st.builds(
    _fault_at,
    PLACES.filter(lambda place: place[1] != "answering"),
    st.just("answer"),
    status=st.sampled_from([400, 401, 404, 408, 409, 413, 429, 500, 503]),
    headers=st.sampled_from([{"retry-after-ms": "1"}, {"retry-after-ms": "1", "x-should-retry": "false"}]),
    every=st.just(1),
    times=st.integers(1, 5),
).filter(_is_honest)
SETTLED = 3600 + 300 + 10  # seconds by which an upload is gone and all doubt with it


class AnySequence(RuleBasedStateMachine):
    """`edits` makes every content unlike all before it, so that one file for each is all that may ever be there."""

    outcomes: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="asyncsdk-any-"))
        self.path, self.journal = self.folder / "data.bin", self.folder / "journal"
        self.skipped, self.edits = 0.0, 0
        self.contents: set[str] = set()
        self.edited: set[str] = set()  # uploads that the source was changed under
        self.done: str | None = None  # the content that the last call has sent, unless it has changed
        self.retries = 3
        self.runner = asyncio.Runner()

    @initialize(repeated=st.sampled_from([200, 400, 404, 409]), seed=st.integers(0, 99))
    def begin(self, repeated: int, seed: int) -> None:
        self.server = LocalServer(self.folder / "server", clock=self.now, repeated_complete=repeated)
        self.runner.run(self.server.__aenter__())
        self.path.write_bytes((hashlib.sha256(bytes([seed])).digest() * (SIZE // 32 + 1))[:SIZE])
        self.note()

    def now(self) -> float:
        return time.time() + self.skipped

    # what happens to a call

    @rule(part=PART_SIZES, connections=st.integers(1, 3))
    def call(self, part: int, connections: int) -> None:
        self.runner.run(self.judge(self.upload(part, connections)))

    @rule(new=st.booleans(), losses=st.lists(LOSSES, min_size=1, max_size=3))
    def call_on_a_bad_line(self, losses: list[Fault], *, new: bool) -> None:
        self.meet(self.upload(BLOCK, 2), *losses, new=new)

    @rule(new=st.booleans(), refusals=st.lists(REFUSALS, min_size=1, max_size=2))
    def call_a_bad_server(self, refusals: list[Fault], *, new: bool) -> None:
        self.meet(self.upload(BLOCK, 2), *refusals, new=new)

    @rule(new=st.booleans(), stall=STALLS)
    def cancel(self, stall: Fault, *, new: bool) -> None:
        """Cancel a call while the server is at some moment of one of its requests."""
        self.meet(self.cancelled(stall), stall, new=new)

    @rule(new=st.booleans(), stall=STALLS, refusal=REFUSALS)
    def cancel_what_a_bad_server_has_refused(self, stall: Fault, refusal: Fault, *, new: bool) -> None:
        self.meet(self.cancelled(stall), refusal, stall, new=new)

    @rule(seconds=st.sampled_from([1800, 3590, SETTLED]))
    def lose_time(self, seconds: int) -> None:
        self.skipped += seconds

    def meet(self, call: Coroutine[Any, Any, UploadResult | None], *faults: Fault, new: bool) -> None:
        if new:
            self.write_number(BLOCK)
        self.server.inject(*faults)
        self.runner.run(self.judge(call))
        self.server.clear_faults()

    # what happens to the source

    @rule(block=st.integers(0, 2), seen=st.booleans())
    def change_a_byte(self, block: int, *, seen: bool) -> None:
        before = self.path.stat()
        self.write_number(block * BLOCK)
        if not seen:
            os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(longer=st.sampled_from([1, BLOCK, -1, 1 - BLOCK]))
    def change_its_size(self, longer: int) -> None:
        os.truncate(self.path, max(BLOCK + 8, self.path.stat().st_size + longer))
        self.write_number(0)

    @rule(replaced=st.booleans())
    def touch(self, *, replaced: bool) -> None:
        os.utime(self.path)
        if replaced:
            shutil.copyfile(self.path, other := self.path.with_suffix(".new"))
            other.replace(self.path)

    # what must hold

    @invariant()
    def every_file_is_the_source_as_it_was_once_and_there_are_no_two_of_it(self) -> None:
        if hasattr(self, "server"):
            stored = [sha256_of(self.server.stored(file.id)) for file in self.server.files]
            assert set(stored) <= self.contents, "a file has bytes that the source never had"
            assert len(set(stored)) == len(stored), "two files of one content"

    @invariant()
    def no_part_is_sent_again_that_the_journal_holds_and_the_source_confirms(self) -> None:
        records = remembered(self.journal)
        for upload in {record.upload for record in records} - self.edited:
            parts = [record for record in records if isinstance(record, Part) and record.upload == upload]
            assert len(non_overlapping(parts)) == len(parts)

    def teardown(self) -> None:
        try:
            if hasattr(self, "server"):
                self.server.clear_faults()
                self.runner.run(self.settle())
                self.every_file_is_the_source_as_it_was_once_and_there_are_no_two_of_it()
                self.runner.run(self.server.__aexit__())
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)

    async def settle(self) -> None:
        """In the end, with nothing failing any more, the same call brings the file up; two may find out what was."""
        for _ in range(3):
            outcome = await self.judge(self.upload(BLOCK, 2))
            if isinstance(outcome, UploadResult):
                return
            self.skipped += SETTLED if isinstance(outcome, CompletionUnknownError) else 0
        raise AssertionError(f"nothing fails any more, and still: {outcome!r}")

    async def judge(self, call: Any) -> object:
        """Await a call, and hold what comes out of it against what is promised."""
        content = sha256_of(self.path)
        try:
            async with asyncio.timeout(30):
                outcome = await call
        except AsyncSDKError as error:
            self.outcomes[type(error).__name__] += 1
            return error
        self.outcomes["cancelled" if outcome is None else "there already" if outcome.reused else "File"] += 1
        if isinstance(outcome, UploadResult):
            assert sha256_of(self.server.stored(outcome.file.id)) == content, "the file has other bytes"
            assert self.done != content or (outcome.reused and outcome.bytes_sent == 0), "sent what was there"
            self.done = content
        return outcome

    @rule(retries=st.integers(0, 3))
    def be_so_patient(self, retries: int) -> None:
        """How often the calls that follow try again."""
        self.retries = retries

    async def upload(self, part: int, connections: int) -> UploadResult:
        async with Client("sk-test", base_url=self.server.url, timing=HASTY) as client:
            uploader = AsyncUploader(
                client, journal=self.journal, part_size=part, concurrency=connections, max_retries=self.retries
            )
            return await uploader.upload(self.path, purpose="batch")

    async def cancelled(self, at: Fault) -> UploadResult | None:
        task = asyncio.ensure_future(self.upload(BLOCK, 2))
        while not task.done() and at in self.server.unmet_faults():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return None

    def write_number(self, offset: int) -> None:
        self.edits += 1
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(self.edits.to_bytes(8, "big"))
        self.note()

    def note(self) -> None:
        self.contents.add(sha256_of(self.path))
        self.edited |= {record.upload for record in remembered(self.journal) if isinstance(record, Opened)}


def search(examples: int, *, seed: int, steps: int = 25) -> Row:
    """Look for a sequence after which something does not hold."""
    row, outcomes = Row("any"), Counter[str]()
    rules = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with (
        patch.object(AnySequence, "outcomes", outcomes),
    ):
        try:
            run_state_machine_as_test(hypothesis.seed(seed)(AnySequence), settings=rules)
        except Exception as error:  # noqa: BLE001 - hypothesis raises what it found, with the sequence as notes
            row.violations += [repr(error), *getattr(error, "__notes__", [])]
    row.cases = outcomes.total()
    row.figures = {name: f"{count:,}" for name, count in outcomes.most_common()}
    return row
