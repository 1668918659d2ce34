"""Looks at all rows, then edits them in one run, tells how each ended, and leaves behind what is to be done again."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
from attrs import define, field

from asyncsdk import files
from asyncsdk.cli import edit_records
from asyncsdk.cli.connect import open_client
from asyncsdk.cli.edit_many import RunOptions
from asyncsdk.cli.edit_options import EditOptions
from asyncsdk.cli.edit_progress import EditProgress
from asyncsdk.cli.exits import Exit, exit_code
from asyncsdk.cli.jobs import BadRow, Row, row_of
from asyncsdk.cli.options import Connection, Mode, Output
from asyncsdk.cli.output import Out, complain
from asyncsdk.cli.signals import Stop
from asyncsdk.cli.sources import rows_in
from asyncsdk.client import Client
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.editor import ImageEditor
from asyncsdk.images.gallery import GalleryItem, gallery_item, write_gallery
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.images.outcomes import Outcomes

ASK_ABOVE = 100
LEAVE_SECONDS = 10.0  # for pictures that are paid and being saved when the second signal comes


async def edit_all(
    sources: Sequence[str],
    *,
    out: str,
    run: RunOptions,
    options: EditOptions,
    connection: Connection,
    output: Output,
    mode: Mode,
    stop: Stop,
) -> int:
    """Edit every row of `sources`, or tell what that would be."""
    rows = rows_in(sources, out=Path(out), defaults=defaults_of(run, options))
    wanted = wanted_of(run)
    if run.dry_run:
        return await tell_plan(rows, out, wanted, run)
    if not agreed(len(rows), run):
        return Exit.USAGE
    async with open_client(connection, connections=run.concurrency) as client:
        report = Report(Out(output), Path(out), total=len(rows))
        limits: Any = {"max_edits": run.max_edits, "max_tokens": run.max_tokens, "concurrency": run.concurrency}
        outcomes = ImageEditor(client).edit_many(report.good(rows), out=out, **wanted, **limits)
        async with outcomes as ending:
            stop.gently(lambda: report.wind_down(ending, run.grace))
            stop.at_the_end(lambda: asyncio.run(report.leave(ending, run.gallery)))
            stop.patience = LEAVE_SECONDS
            code = await report.follow(ending, EditProgress.choose(mode, quiet=output.quiet))
        await report.leave(ending, run.gallery)
    return stop.code if stop.signum is not None else code


def defaults_of(run: RunOptions, options: EditOptions) -> dict[str, Any]:
    """The fields for rows that leave them open. Raises ConfigurationError where the prompt can't be read."""
    prompt = run.prompt
    if run.prompt_file is not None:
        try:
            prompt = Path(run.prompt_file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--prompt-file {run.prompt_file}: {error}") from error
    return options.given | ({} if prompt is None else {"prompt": prompt})


def wanted_of(run: RunOptions) -> dict[str, Any]:
    """What is to be sent again, and how fast."""
    redo, before = read_redo(run.redo)
    return {
        "images_per_minute": run.images_per_minute,
        "on_uncertain": run.on_uncertain,
        "only": None if run.only is None else [run.only],
        "redo": redo,
        "redo_before": before,
    }


def read_redo(name: str | None) -> tuple[list[str], float | None]:
    """The ids of a file, a line each, plain or as JSON; and when it was written: what was done since then stands."""
    if name is None:
        return [], None
    try:
        path = Path(name)
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        ids = [str(json.loads(line)["id"]) if line.startswith("{") else line for line in lines]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(f"--redo {name}: {getattr(error, 'strerror', None) or error}") from error
    return ids, path.stat().st_mtime


async def tell_plan(rows: Sequence[tuple[str, Row]], out: str, wanted: dict[str, Any], run: RunOptions) -> Exit:
    """Say what would be sent. No key is needed: nothing is."""
    bad = [(source, row) for source, row in rows if isinstance(row, BadRow)]
    async with Client("none", base_url="http://nothing.is.sent") as client:
        edits = [row for _, row in rows if isinstance(row, ImageEdit)]
        plan = await ImageEditor(client).plan(edits, out=out, **wanted)
    for source, row in bad:
        complain(f"{source}:{row.line}: {row.message}")
    for outcome in plan.problems:
        complain(edit_records.line_of(outcome))
    minutes = "" if plan.minutes is None else f", {plan.minutes:.1f} min at {run.images_per_minute:g} a minute"
    problems = len(plan.problems) + len(bad)
    told = (
        f"to send: {plan.to_send:,} ({plan.input_images:,} input images x n{minutes})\ndone before: {plan.done:,}\n"
        f"maybe charged: {plan.uncertain:,}\nrefused before: {plan.refused:,}\nproblems: {problems:,}"
    )
    print(told)  # noqa: T201 - standard output is what this is for
    return Exit.SOME_FAILED if bad or plan.problems else Exit.DONE


def agreed(rows: int, run: RunOptions) -> bool:
    """Whether so many may be sent: on a terminal somebody is asked."""
    if run.yes or rows <= ASK_ABOVE or not (sys.stdin is not None and sys.stdin.isatty()):
        return True
    complain(f"Up to {rows:,} edits will be sent and paid. Go on? [y/N] ")
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    complain("Nothing was sent.")
    return False


@define(eq=False)
class Report:
    """What is told of a run while it goes, and what is left of it on disk."""

    written: Out
    out: Path
    total: int
    _left: list[dict[str, Any]] = field(factory=list, init=False)
    _items: list[GalleryItem] = field(factory=list, init=False)
    _counts: Counter[str] = field(factory=Counter, init=False)
    _grace: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    _is_over: bool = field(default=False, init=False)
    _began: float = field(factory=time.monotonic, init=False)

    def good(self, rows: Sequence[tuple[str, Row]]) -> Iterator[ImageEdit]:
        """The rows that are edits; the others are told of, and the run goes on."""
        for source, row in rows:
            if isinstance(row, BadRow):
                self._tell_bad(source, row)
            else:
                yield row

    async def follow(self, outcomes: Outcomes, progress: EditProgress) -> int:
        """Tell of each edit as it ends; the exit code."""
        try:
            with self._grace:
                async for outcome in outcomes:
                    progress.pause()
                    self.add([outcome])
                    progress.show(outcomes, self.total)
        except Exception as error:  # noqa: BLE001 - what stops a run is told, and becomes its exit code
            complain(f"error: {error}")
            return exit_code(error)
        finally:
            progress.close()
        bad = sum(self._counts[status] for status in ("failed", "refused", "uncertain"))
        return Exit.SOME_FAILED if bad else Exit.DONE

    def add(self, outcomes: Sequence[EditOutcome]) -> None:
        """Tell of edits that ended."""
        for outcome in outcomes:
            self._counts[outcome.status] += 1
            self._items.append(gallery_item(outcome))
            record = edit_records.record_of(outcome)
            if outcome.status in {"done", "skipped"}:
                names = "\n".join(map(str, outcome.files))
                self.written.result(edit_records.line_of(outcome), record=record, name=names or None)
            else:
                self._left.append(
                    {**row_of(outcome.edit, outcome.id), "status": outcome.status, "error": record["error"]}
                )
                self.written.record(record)
                complain(edit_records.line_of(outcome))

    def wind_down(self, outcomes: Outcomes, grace: float) -> None:
        """The first signal: nothing new goes out."""
        outcomes.stop()
        self._grace.deadline = asyncio.get_running_loop().time() + grace
        complain(
            f"Stopping: nothing new is sent. Waiting up to {grace:g} s for {outcomes.in_flight} in flight, which are "
            "paid; Ctrl-C again leaves them."
        )

    async def leave(self, outcomes: Outcomes, gallery: str | None) -> None:
        """Write what is to be done again, and the page; say what it came to. Once: a signal may come meanwhile."""
        if self._is_over:
            return
        self._is_over = True
        self.add(outcomes.abandoned)
        failed = self.out / "failed.jsonl"
        if self._left:
            lines = "".join(json.dumps(row) + "\n" for row in self._left)
            await files.save(failed, lines.encode())
        elif failed.exists():
            failed.unlink()
        if gallery is not None:
            await write_gallery(Path(gallery), self._items, title=str(self.out))
        seconds = time.monotonic() - self._began
        tokens = outcomes.usage.total_tokens or 0
        told = edit_records.summary(
            self._counts,
            images=outcomes.images,
            tokens=tokens,
            seconds=seconds,
            failed=str(failed) if self._left else None,
        )
        complain("\n".join(told))

    def _tell_bad(self, source: str, row: BadRow) -> None:
        problem = Problem(type="InvalidEditError", message=f"{source}:{row.line}: {row.message}")
        self._counts["refused"] += 1
        self.written.record(edit_records.record(f"{source}:{row.line}", "refused", files=[], problem=problem))
        complain(f"error: {problem.message} The others go on.")
