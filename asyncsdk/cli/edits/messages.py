"""Messages of the edit commands: how edits ended, and the summary of a run (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from attrs import define, field

from asyncsdk.cli import units
from asyncsdk.cli.edits.batches import in_batches
from asyncsdk.cli.edits.costs import spent
from asyncsdk.cli.edits.moment import WORDS, Moment, counted
from asyncsdk.cli.exits import Exit
from asyncsdk.counts import are, them
from asyncsdk.images.destination import NOT_DELIVERED

if TYPE_CHECKING:
    from asyncsdk.images.outcome import EditOutcome, Problem
    from asyncsdk.models import Usage

_RETRY = "--only uncertain --on-uncertain retry"
SAVED_ELSEWHERE = "saved_elsewhere"  # the code of a problem: all pictures are on disk, and not where they were wanted
MOST_NAMED = 5
FAILED_JOBS = "failed.jsonl"


def line_of(outcome: EditOutcome) -> str:
    """How an edit ended: `beach: out/beach.png, 1,205 tokens`. What the summary advises for many is not repeated."""
    from asyncsdk.images.billing import MAYBE_PAID  # --help does without it

    why = outcome.problem.message.removesuffix(f"\n  {MAYBE_PAID}") if outcome.problem else ""
    if outcome.is_gone:
        return f"{outcome.id}: {why}"
    if outcome.status in {"done", "skipped"}:
        remark = "done before; nothing was sent" if outcome.status == "skipped" else tokens_of(outcome.usage)
        return f"{outcome.id}: {', '.join(part for part in (*outcome.places, remark, why) if part)}"
    kind = kind_of(outcome.status, outcome.problem, is_earlier=outcome.is_earlier)
    return f"{outcome.id}: {WORDS[kind]}: {why}"


def paid_before(files: Sequence[Path], gone: Sequence[Path]) -> str:
    """The problem of an edit whose pictures an earlier run saved outside the directory; `gone` are not there now."""
    where = f"{', '.join(map(str, files))}"
    if not gone:
        return f"paid before; its pictures are in {where}. Nothing was sent."
    return (
        f"paid before; its pictures were saved in {where}, and {len(gone)} of {len(files)} are not there any more. "
        f"Nothing was sent. If you have none of them, to send it and pay again: add {_RETRY}"
    )


def moved_aside(outcome: EditOutcome) -> str:
    """`beach: its older picture was moved to out/.asyncsdk/replaced/20260102T030405Z-beach.png`."""
    places = (*map(str, outcome.displaced), *outcome.displaced_objects)
    where = ", ".join(places)
    older = "its older picture was moved to" if len(places) == 1 else "its older pictures were moved to"
    return f"{outcome.id}: {older} {where}"


def not_pictures(paths: Sequence[Path | str]) -> str:
    """`Left out: 2 files that are not pictures: photos/movie.mp4, photos/notes.txt`."""
    return f"{_not_pictures_in_all(len(paths))}: {_first_of(paths)}"


def results(paths: Sequence[Path | str]) -> str:
    """`Left out: 1 in --out, where the results are, which are not edited again: fertig`."""
    return f"{_results_in_all(len(paths))}: {_first_of(paths)}"


def left_out_in_all(files: int, made: int) -> list[str]:
    """A sentence for files that are not pictures, and one for results that were made before, where there are any."""
    lines = {_not_pictures_in_all(files): files, _results_in_all(made): made}
    return [f"{line}." for line, count in lines.items() if count]


def _not_pictures_in_all(count: int) -> str:
    return f"Left out: {units.counted(count, 'file')} that {'is not a picture' if count == 1 else 'are not pictures'}"


def _results_in_all(count: int) -> str:
    return f"Left out: {count:,} in --out, where the results are, which are not edited again"


def columns_ignored(path: object, columns: Mapping[str, str | None]) -> str:
    """`warning: jobs.csv: columns that are not fields of an edit are ignored: 'Notes', 'Sides' (or is it 'size'?)`."""
    named = ", ".join(f"{name!r}{f' (or is it {near!r}?)' if near else ''}" for name, near in columns.items())
    return f"warning: {path}: columns that are not fields of an edit are ignored: {named}"


def given_twice(paths: Sequence[Path | str]) -> str:
    """`Given twice: 304 pictures, each of which is sent once: photos/a.jpg, photos/b.jpg and 302 more`."""
    each = "which is sent once" if len(paths) == 1 else "each of which is sent once"
    return f"Given twice: {units.counted(len(paths), 'picture')}, {each}: {_first_of(paths)}"


def _first_of(paths: Sequence[Path | str]) -> str:
    """`photos/a.jpg, photos/b.jpg and 302 more`."""
    more = f" and {len(paths) - MOST_NAMED:,} more" if len(paths) > MOST_NAMED else ""
    return f"{', '.join(map(str, paths[:MOST_NAMED]))}{more}"


def overriding(path: object, names: Sequence[str]) -> str:
    """`note: jobs.csv has its own prompt and size; -p and --size are for rows without one`."""
    own = " and ".join(", ".join(names).rsplit(", ", 1))
    options = ["-p" if name == "prompt" else f"--{name.replace('_', '-')}" for name in names]
    typed = " and ".join(", ".join(options).rsplit(", ", 1))
    return f"note: {path} has its own {own}; {typed} {'is' if len(names) == 1 else 'are'} for rows without one"


def unknown_in_redo(names: Sequence[str]) -> str:
    """`--redo names 4 ids that no row has: b, c, d`; '' if there are none."""
    return f"--redo names {units.counted(len(names), 'id')} that no row has: {', '.join(names[:3])}" if names else ""


def about_scripts(files: Iterable[str | PurePath]) -> str:
    """What to do with an SVG among `files`; '' if there is none."""
    svg = next((file for file in files if PurePath(file).suffix.lower() == ".svg"), None)
    if svg is None:
        return ""
    return (
        f"note: {svg} is an SVG, which may contain a program that runs if a browser opens the file by itself. "
        "Look at it in a gallery or in a viewer that runs no scripts, or convert it to PNG."
    )


def replaced_since(count: int, where: str) -> str:
    """`the pictures of 13 of them were replaced since and are in out/.asyncsdk/replaced`; '' if there are none."""
    return f"the pictures of {count:,} of them were replaced since and are in {where}" if count else ""


def listed(reasons: Mapping[str, int]) -> str:
    """`3 HEIC, 2 too large`: the most frequent first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(reasons).most_common())


def summary(
    tally: Summary,
    moment: Moment,
    *,
    details: str | None,
    not_sent: int = 0,
    when: str | None = "",
    has_ledger: bool = True,
    replaced_in: str = "",
) -> str:
    """The result of a run, and how to go on. `details` is the file with those that did not succeed.

    `when` is the condition on which the same command gets further, None where the error below it has that. Without the
    ledger no edit is known as uncertain.
    `replaced_in` is the directory of pictures that were moved aside.
    """
    remarks = {"refused": listed(tally.reasons), "uncertain": "sent, no usable response"}
    remarks["skipped"] = replaced_since(tally.replaced, replaced_in)
    nothing = "nothing was sent" if moment.batches is None else "no edit was sent"  # though perhaps its pictures
    counts = ", ".join(counted(tally.counts, remarks)) or nothing
    lines = [
        f"{counts}.{f' Details: {details}' if details else ''}",
        *_made(moment),
        *([in_batches(batched, direct=moment.batches is None)] if (batched := tally.counts["batched"]) else []),
        *_next(tally, not_sent, when, "add" if has_ledger else "put the ledger back (see below), and add"),
        *left_out_in_all(moment.not_pictures, moment.results),
    ]
    return "\n  ".join(lines)


def recovered(urls: Sequence[str], out: str) -> str:
    """`2 pictures of an earlier run, which are paid, were put in s3://bucket/out/ now: s3://bucket/out/a.png, …`."""
    were = "which is paid, was" if len(urls) == 1 else "which are paid, were"
    return f"{units.counted(len(urls), 'picture')} of an earlier run, {were} put in {out} now: {_first_of(urls)}"


def still_there(out: Path, edits: int) -> str:
    """`out/failed.jsonl still has 3 edits of earlier runs, which this run did not report.`."""
    return (
        f"{out / FAILED_JOBS} still has {units.counted(edits, 'edit')} of earlier runs, which this run did not report."
    )


def stopping(in_flight: int, grace: float) -> str:
    """The message after the first signal."""
    if not in_flight:
        return "Stopping: nothing new is sent, and nothing is in flight."
    edits = units.counted(in_flight, "edit")
    return (
        f"Stopping: nothing new is sent. {edits} in flight, which may be paid: waiting for {them(in_flight)}, "
        f"up to {grace:g} s. Ctrl-C again stops at once, and leaves {them(in_flight)} uncertain."
    )


def cut_off(edits: int) -> str:
    """The message if the program ends before it could report `edits`."""
    return (
        f"Stopped: the disk did not respond in time. {units.counted(edits, 'edit')} that may be paid could not be "
        "reported. The same command reports them, and does not send them again by itself."
    )


def tokens_of(usage: Usage | None) -> str:
    """`1,205 tokens`; '' if the server does not report them."""
    return f"{usage.total_tokens:,} tokens" if usage is not None and usage.total_tokens else ""


def _made(moment: Moment) -> list[str]:
    if not moment.images:
        return []
    has_rate = moment.seconds >= 1 and moment.batches is None  # of batches the server decides when they are done
    rate = f" ({moment.images * 60 / moment.seconds:.0f} images a minute)" if has_rate else ""
    tokens = f", {moment.tokens:,} tokens" if moment.tokens else ""
    made = f"{units.counted(moment.images, 'image')}{tokens}, in {units.elapsed(moment.seconds)}{rate}."
    return [made, *spent(moment.cost, moment.unpriced, moment.prices)]


def _listed_above(tally: Summary) -> list[str]:
    """What is said of rows that are not edits, and of what could not be read in a folder."""
    lines = []
    if malformed := tally.counts["malformed"]:
        lines.append(
            f"The {units.counted(malformed, 'malformed row')} listed above can't be sent, and "
            f"{are(malformed)} not in {FAILED_JOBS}."
        )
    if left_out := tally.counts["left out"]:
        lines.append(
            f"The {left_out:,} left out {are(left_out)} listed above. Fix {them(left_out)}, or give "
            "a linked folder as a SOURCE of its own: the same command then sends what is in there."
        )
    return lines


def _next(tally: Summary, not_sent: int, when: str | None, add: str) -> list[str]:
    lines = _listed_above(tally)
    if not_sent:
        goes_on = "see the error below" if when is None else f"{when}the same command goes on"
        lines.append(f"{not_sent:,} not sent: {goes_on}.")
        when = when and ""  # once is enough
    if blocked := tally.reasons["moderation"]:
        lines.append(
            f"The {blocked:,} that the safety system refused would be refused again: change the prompt or the picture. "
            f"To send {them(blocked)} unchanged: add --only refused"
        )
    if failed := tally.counts["failed"]:
        again = "" if when is None else f": {when}the same command sends {them(failed)} again"
        lines.append(f"Nothing was paid for the {failed:,} that failed{again}.")
    if uncertain := tally.counts["uncertain"]:
        alone = f"The same command does not send the {uncertain:,} uncertain. " if add == "add" else ""
        lines.append(f"Whether {'it was' if uncertain == 1 else 'they were'} paid: look at the account's usage page.")
        more = f"; that also sends the {saved:,} saved elsewhere" if (saved := tally.counts["elsewhere"]) else ""
        lines.append(f"{alone}To send the {uncertain:,} again (may be paid twice): {add} {_RETRY}{more}")
    if unsaved := tally.counts["unsaved"]:
        lines.append(
            f"What is left of the {unsaved:,} paid but not saved is listed above. Use that first: a URL is valid for "
            f"60 minutes. To send them again (paid again): {add} {_RETRY}"
        )
    if elsewhere := tally.counts["elsewhere"]:
        then = "the same command does not send them again" if add == "add" else "put the ledger back (see below) first"
        lines.append(
            f"The {elsewhere:,} saved elsewhere {are(elsewhere)} paid: move the pictures from where "
            f"they are, see above, to where you want them; {then}."
        )
    if waiting := tally.counts["waiting"]:
        lines.append(
            f"The {waiting:,} not in the bucket yet {are(waiting)} paid, and kept where it is said "
            "above: the same command puts the pictures there, and pays nothing for it."
        )
    if gone := tally.counts["gone"]:
        lines.append(f"To send the {gone:,} missing again, and pay again: add --redo FILE, a file with their ids")
    return lines


_BAD = frozenset(WORDS) - {"done", "skipped", "batched"}


@define
class Summary:
    """`counts` by status; *unsaved* is paid and not saved, *elsewhere* is saved outside the directory.

    *gone* is paid and was saved once; *malformed* are rows that are not edits; *left out* is what could not be read in
    a folder. *refused before* are those of earlier runs; `reasons` are who refused the others. `replaced` are those
    done before whose pictures were moved aside since.
    """

    counts: Counter[str] = field(factory=Counter)
    reasons: Counter[str] = field(factory=Counter)
    replaced: int = 0

    def add(self, status: str, problem: Problem | None, *, reason: str | None = None, is_earlier: bool = False) -> None:
        """Count an edit that ended. `reason` is why it was refused, else who refused it counts."""
        kind = kind_of(status, problem, is_earlier=is_earlier)
        self.counts[kind] += 1
        if kind == "refused":
            self.reasons[reason or reason_of(problem)] += 1

    @property
    def code(self) -> Exit:
        """The exit code of a run that saw all its edits."""
        if self.counts["batched"]:
            return Exit.TRY_AGAIN
        if not any(self.counts[status] for status in _BAD):
            return Exit.DONE
        unsent = self.reasons["before sending"] + self.counts["malformed"]
        return Exit.USAGE if unsent == self.counts.total() else Exit.SOME_FAILED


def kind_of(status: str, problem: Problem | None, *, is_earlier: bool = False) -> str:
    """What an edit counts as: its status, or *unsaved*, *elsewhere* or *gone* if it is paid and not in its place.

    What the server refused in an earlier run is *refused before*.
    """
    if problem is None or problem.type != "SaveError":
        return "refused before" if status == "refused" and is_earlier else status
    if problem.code == SAVED_ELSEWHERE:
        return "elsewhere"
    if problem.code == NOT_DELIVERED:
        return "waiting"
    return "gone" if status == "skipped" else "unsaved"


def reason_of(problem: Problem | None) -> str:
    """Who refused an edit."""
    if problem is not None and (problem.moderation is not None or problem.code == "moderation_blocked"):
        return "moderation"
    return "before sending" if problem is None or problem.status_code is None else "by the server"
