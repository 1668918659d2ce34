"""Reports each outcome of a run: on the screen, as JSON, in the gallery, and in `failed.jsonl` to be sent again."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from asyncsdk import files
from asyncsdk.cli.edits.job_text import BadRow
from asyncsdk.cli.edits.leftovers import Leftovers, left_of
from asyncsdk.cli.edits.messages import (
    FAILED_JOBS,
    Summary,
    about_scripts,
    columns_ignored,
    given_twice,
    line_of,
    moved_aside,
    not_pictures,
    overriding,
    results,
)
from asyncsdk.cli.edits.records import record, record_of
from asyncsdk.cli.edits.sources import Rows
from asyncsdk.cli.edits.typed import without_calls
from asyncsdk.cli.gallery import GalleryItem, gallery_item
from asyncsdk.cli.left_out import LeftOut, ignored
from asyncsdk.cli.output import Out, complain, stdout_is_terminal
from asyncsdk.images.billing import problem_of
from asyncsdk.images.bulk.lifecycle import ends_run
from asyncsdk.images.bulk.policy import named_in
from asyncsdk.images.outcome import EditOutcome, Problem, words_of

MOST_ALIKE = 10  # lines with the same words
_BYTES = "surrogateescape"  # what is not text stays as it is
_FILES = re.compile(rb'"files"|\\u00[67]')  # other programs may write a letter of it as a number


@define(eq=False)
class Report:
    """`left` are the job lines of edits that did not succeed; `items` are for the gallery, if one `is_wanted`.

    Of the ids that are `watched` it collects those that were `reported`, and those `kept` from an earlier run.
    `unsaid` are edits with errors that ended the run; `alike` are how many unpaid ones ended with the same words, and
    the first of them. `leftovers` are what earlier runs left. `aside` is called before a line is written where progress
    may be drawn, and `is_stopping` tells whether something ends the run.
    """

    out: Out
    is_wanted: bool = False
    watched: Collection[str] = frozenset()
    leftovers: Leftovers = field(factory=Leftovers)
    aside: Callable[[], None] = lambda: None
    is_stopping: Callable[[], bool] = lambda: False
    tally: Summary = field(factory=Summary, init=False)
    reported: set[str] = field(factory=set, init=False)
    kept: set[str] = field(factory=set, init=False)
    left: list[dict[str, Any]] = field(factory=list, init=False)
    items: list[GalleryItem] = field(factory=list, init=False)
    unsaid: list[EditOutcome] = field(factory=list, init=False)
    alike: dict[tuple[bool, str], tuple[int, str]] = field(factory=dict, init=False)
    warned_of_scripts: bool = field(default=False, init=False)

    def add_bad(self, rows: Rows, *, only: str | None = None) -> None:
        """Report rows that are not edits, and what is left out of folders, unless the run is `only` about others."""
        if only in {None, "refused"}:
            for path, row in rows.bad:
                self._add_bad(path, row)
            for left in rows.left_out:
                self._add_left_out(left)
        for path, columns in rows.ignored_columns:
            complain(columns_ignored(path, columns))
        if rows.twice:
            complain(given_twice(rows.twice))
        for path, names in rows.overriding:
            complain(overriding(path, names))
        if rows.others:
            complain(not_pictures(rows.others))
        if rows.results:
            complain(results(rows.results))
        if rows.ignored.total():
            complain(ignored(rows.ignored))

    def add(self, outcome: EditOutcome) -> None:
        """Report an edit that ended."""
        if outcome.problem is not None:  # also of an earlier run, whose memory is lost
            outcome = evolve(outcome, problem=_in_commands(outcome.problem))
        outcome = self.leftovers.recalled(outcome, is_there=os.path.exists)
        name = named_in(self.watched, outcome.edit, outcome.id)
        if name is not None:
            self.reported.add(name)
        if name is not None and outcome.status == "skipped":
            self.kept.add(name)
        self.leftovers.note(outcome)
        self.tally.add(outcome.status, outcome.problem, is_earlier=outcome.is_earlier)
        self.tally.replaced += outcome.is_replaced
        if self.is_wanted:
            self.items.append(gallery_item(outcome, at=_saved_at(outcome)))
        if outcome.displaced or outcome.displaced_objects:
            self.aside()
            complain(moved_aside(outcome))
        if outcome.status == "batched":  # neither done nor left: a line of its own would say nothing to a person
            self.out.record(record_of(outcome))
        elif outcome.status in {"done", "skipped"} and not outcome.is_gone:
            self._show(outcome)
            self._warn_of_scripts(outcome)
        elif self._ends_run(outcome):
            self.left.append(left_of(outcome))
            self.out.record(record_of(outcome))
            self.unsaid.append(outcome)
        else:
            self.left.append(left_of(outcome))
            if self._is_one_of_many(outcome):
                self.out.record(record_of(outcome))
            else:
                self._complain(line_of(outcome), record_of(outcome))

    def say_rest(self, reason: Exception | None = None) -> None:
        """Say how many more ended with the same words, and report the edits whose errors ended the run.

        Not those with the `reason`, which each edit that was in flight meets, and which is said once, at the end.
        """
        for count, first in self.alike.values():
            if count > MOST_ALIKE:
                self.aside()
                complain(f"{count - MOST_ALIKE:,} more ended as {first} did")
        self.alike.clear()
        known = None if reason is None else _kind_of(_in_commands(problem_of(reason)))
        for outcome in self.unsaid:
            if outcome.problem is None or _kind_of(outcome.problem) != known:
                self.aside()
                complain(line_of(outcome))
        self.unsaid.clear()

    def _is_one_of_many(self, outcome: EditOutcome) -> bool:
        """Count an edit that is not paid; whether so many had the same words that its line would say nothing new."""
        if outcome.problem is None or outcome.status not in {"refused", "failed"}:
            return False
        words = outcome.is_earlier, words_of(outcome.problem)
        count, first = self.alike.get(words, (0, outcome.id))
        self.alike[words] = count + 1, first
        return count >= MOST_ALIKE

    def _ends_run(self, outcome: EditOutcome) -> bool:
        if outcome.status != "failed" or outcome.error is None or not self.is_stopping():
            return False
        return ends_run(outcome.error, answered=self.tally.counts["done"] > 0)

    def unknown(self, *, only: str | None) -> list[str]:
        """The `watched` ids that no row has, once all have ended; a run `only` of one status can't know them."""
        return sorted(set(self.watched) - self.reported) if only in {None, "redo"} else []

    async def save_left(self, out: Path, *, again: files.Again) -> tuple[Path | None, int]:
        """Write what is `left` in `out`, as `save_left` does."""
        return await save_left(out, self.left, self.leftovers, again=again)

    def _show(self, outcome: EditOutcome) -> None:
        """Print an edit that succeeded; of those that were done before, a person wants only the count."""
        shape = self.out.shape
        if outcome.status == "skipped" and not (shape.verbose or shape.json or shape.quiet):
            return
        if stdout_is_terminal():
            self.aside()
        self.out.result(line_of(outcome), record=record_of(outcome), name=outcome.id)

    def _warn_of_scripts(self, outcome: EditOutcome) -> None:
        """Warn of scripts in an SVG, once a run."""
        note = "" if self.warned_of_scripts else about_scripts(outcome.places)
        if note:
            self.warned_of_scripts = True
            self.aside()
            complain(note)

    def _add_bad(self, path: object, row: BadRow) -> None:
        name = f"{path}:{row.line}"
        problem = Problem(type="InvalidEditError", message=f"{name}: {row.message} Nothing was sent for it.")
        self.tally.counts["malformed"] += 1
        self._complain(f"error: {problem.message}", record(name, "refused", problem=problem))

    def _add_left_out(self, left: LeftOut) -> None:
        self.tally.counts["left out"] += 1
        problem = Problem(type="SourceError", message=left.message)
        self._complain(f"error: {left.message}", record(str(left.path), "failed", problem=problem))

    def _complain(self, line: str, entry: dict[str, Any]) -> None:
        self.aside()
        self.out.record(entry)
        complain(line)


def _in_commands(problem: Problem) -> Problem:
    return evolve(problem, message=without_calls(problem.message))


def _kind_of(problem: Problem) -> tuple[str, str]:
    """What two problems have in common that are one and the same."""
    return problem.type, words_of(problem)


def _saved_at(outcome: EditOutcome) -> float | None:
    """When its first picture was saved: a mark in the gallery is valid until that changes."""
    try:
        return Path(outcome.files[0]).stat().st_mtime if outcome.files else None
    except OSError:
        return None


def leftovers_in(out: Path, *sources: bytes) -> Leftovers:
    """What earlier runs left, also in `sources`: JSON lines that the user gave.

    Blocking; a file that can't be read is reported when it is written.
    """
    others = [_of_saved(data).decode(errors=_BYTES) for data in sources]
    try:
        return Leftovers.of(_text_of(out / FAILED_JOBS), *others)
    except OSError:
        return Leftovers.of("", *others)


def _of_saved(lines: bytes) -> bytes:
    """Those lines that may name files of an edit that is paid: of a job file of a million edits there may be none."""
    return b"".join(line for line in io.BytesIO(lines) if _FILES.search(line)) if _FILES.search(lines) else b""


async def save_left(
    out: Path, left: Sequence[dict[str, Any]], leftovers: Leftovers, *, again: files.Again | None = None
) -> tuple[Path | None, int]:
    """Write what is left in `out`, beside the lines of earlier runs that are of edits that this run did not report.

    Returns the path, None if nothing is left, and how many lines of earlier runs stay. Raises OSError, also if `out`
    is gone. `again` decides whether to try once more after a failure.
    """
    path = out / FAILED_JOBS
    before = _text_of(path)
    earlier = leftovers.still_left(before, left, is_there=os.path.exists)
    after = "".join(f"{line}\n" for line in [*earlier, *map(json.dumps, left)])
    if not after:
        path.unlink(missing_ok=True)
    elif after != before:  # else its time stays: a redo names the time when the file was written
        await files.save(path, after.encode(errors=_BYTES), below=out, again=again)
    return path if after else None, len(earlier)


def _text_of(path: Path) -> str:
    """Raises OSError, unless there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors=_BYTES)
    except FileNotFoundError:
        return ""
