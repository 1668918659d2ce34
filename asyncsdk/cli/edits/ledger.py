"""`asyncsdk ledger show | failed | uncertain | release | export | copy | accept | schema`: what a ledger has."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from attrs import asdict
from cyclopts import App, Parameter

from asyncsdk.cli.edits.costs import earlier_in, spent_in
from asyncsdk.cli.edits.workers import tell_who_works
from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Output
from asyncsdk.cli.output import Out, complain, show_text
from asyncsdk.counts import counted
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.costs.money import NANOS

if TYPE_CHECKING:
    from asyncsdk.images.ledger.postgres import PostgresLedger

app = App(name="ledger")

_HELP = "The ledger: the directory of the pictures or its .asyncsdk, or a database; else ASYNCSDK_LEDGER."
_UNSENT = " What was refused before it was sent is not in the ledger, but in failed.jsonl."
LedgerName = Annotated[str | None, Parameter(name="--ledger", metavar="DIR|postgresql://…", help=_HELP)]
LedgerPlace = Annotated[str | None, Parameter(name="LEDGER", metavar="DIR|postgresql://…", help=_HELP)]
LedgerOption = Annotated[str | None, Parameter(name="--ledger", metavar="DIR|postgresql://…", help="Same as LEDGER.")]


@app.command(usage="Usage: asyncsdk ledger show [OPTIONS] [DIR|postgresql://…]")
async def show(
    place: LedgerPlace = None,
    /,
    *,
    ledger: LedgerOption = None,
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Show how many edits there are of each state, what counts, and who works at it now."""
    chosen = _chosen(_one_of(place, ledger))
    if isinstance(chosen, Path):
        from asyncsdk.images.bulk.policy import status_of_state
        from asyncsdk.images.ledger.file import holder_of, load_ledger

        holder, known = await holder_of(chosen), await load_ledger(chosen)
        states = dict(Counter(status_of_state(state) for _, state in known.index.states.items()))
        workers = [] if holder is None else [asdict(holder)]
        figures = {**asdict(known.spent), **asdict(known.index.costs)}
        shown: dict[str, Any] | None = {"states": states, "workers": workers, **figures}
        if "uncertain" in states:
            tell_who_works(holder)
    else:
        shown = await chosen.show()
    if shown is None:
        complain("Nothing was ever written there.")
        return Exit.DONE
    lines = [f"{state}: {number:,}" for state, number in sorted(shown["states"].items())]
    lines.append(f"sent so far: {shown['edits']:,} edits, {shown['tokens']:,} tokens{spent_in(shown)}")
    shown["cost_earlier"] = earlier_in(shown)
    shown |= {name: shown[name] / NANOS for name in ("cost", "cost_paid", "cost_possible", "cost_earlier")}
    if shown.get("late"):
        lines.append(f"with an answer that came late: {shown['late']:,}")
    lines += [f"at work: process {worker['pid']} on {worker['host']}" for worker in shown.get("workers", ())]
    options = shown.get("options", {})
    if "moved-to" in options:
        lines.append(f"moved to {options['moved-to']}: no run sends from here")
    elif "copied-from" in options:
        lines.append(f"not whole yet: a copy of {options['copied-from']}; the same asyncsdk ledger copy goes on")
    elif shown.get("is_rewound"):
        lines.append("stopped: the database lost what it had acknowledged; see asyncsdk ledger accept --help")
    Out(output).result("\n".join(lines), record=shown, name=None)
    return Exit.DONE


@app.command(usage="Usage: asyncsdk ledger failed [OPTIONS] [DIR|postgresql://…]")
async def failed(
    place: LedgerPlace = None,
    /,
    *,
    ledger: LedgerOption = None,
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """List the edits that failed or were refused, with the reason; nothing was paid for them.

    An edit that was refused before it was sent is not in a ledger: edit-many reports it, and without a database
    lists it in failed.jsonl.
    """
    return await _list(_one_of(place, ledger), output, ("failed", "refused"), _UNSENT)


@app.command(usage="Usage: asyncsdk ledger uncertain [OPTIONS] [DIR|postgresql://…]")
async def uncertain(
    place: LedgerPlace = None,
    /,
    *,
    ledger: LedgerOption = None,
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """List the uncertain edits: each was sent and no answer came, so it may be paid."""
    return await _list(_one_of(place, ledger), output, ("uncertain",))


@app.command(usage="Usage: asyncsdk ledger release [OPTIONS] (ID... | --all)")
async def release(
    *ids: Annotated[str, Parameter(name="ID", help="The ids of uncertain edits.")],
    every: Annotated[bool, Parameter(name="--all", help="All of them.")] = False,
    force: Annotated[bool, Parameter(help="Also those to which an answer may yet come.")] = False,
    ledger: LedgerName = None,
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Let the next run send uncertain edits again: they may be paid twice."""
    from asyncsdk.images.ledger.seen import key_of_id

    if bool(ids) == every:
        raise ConfigurationError("name the ids, or give --all. Nothing was changed.")
    keys = None if every else [key_of_id(each) for each in ids]
    free, later = await _database(ledger, "a run with --on-uncertain retry sends them again").release(keys, force=force)
    out = Out(output)
    for each in free:
        out.result(f"{each}: the next run sends it again", record={"id": each, "released": True}, name=each)
    for each, at in later.items():
        when = time.strftime("%H:%M:%S", time.localtime(at))
        complain(f"{each}: not before {when}: until then its answer may yet come (--force)")
        out.record({"id": each, "released": False, "from": at})
    if not free and not later:
        complain("No edit of these is uncertain.")
    return Exit.SOME_FAILED if later else Exit.DONE


@app.command(usage="Usage: asyncsdk ledger export [OPTIONS] [DIR|postgresql://…]")
async def export(place: LedgerPlace = None, /, *, ledger: LedgerOption = None) -> int:
    """Write all edits to standard output, a JSON object a line."""
    async for entry in _entries(_chosen(_one_of(place, ledger))):
        show_text(json.dumps(entry))
    return Exit.DONE


@app.command(usage="Usage: asyncsdk ledger copy [OPTIONS] FROM TO")
async def copy(
    source: Annotated[str, Parameter(name="FROM", help="A directory such as out/.asyncsdk, or a database.")],
    target: Annotated[str, Parameter(name="TO", help="A database without a ledger: postgresql://….")],
    /,
    *,
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Copy a ledger into a database, compare the two, and seal FROM: runs go on with TO, and none sends from FROM.

    Refused while a run works with FROM. Where it is killed, the same command goes on.
    """
    from asyncsdk.images.ledger.copying import copy_ledger
    from asyncsdk.images.ledgers import database_of, ledger_from

    to = database_of(ledger_from(target))
    if to is None:
        raise ConfigurationError(f"{target}: a ledger is copied into a database: postgresql://…. Nothing was changed.")
    copied = await copy_ledger(_chosen(source, "FROM "), to)
    lines = [f"{counted(copied.edits, 'edit')} copied to {to.url.place}, and compared there."]
    if not copied.is_new:
        lines = [f"It was copied to {to.url.place} before."]
    lines.append("No run sends from FROM any more: give --ledger TO from now on.")
    Out(output).result("\n".join(lines), record={"to": to.url.place, **asdict(copied)}, name=to.url.place)
    if copied.others:
        complain(
            f"note: {copied.others:,} more have the id of another edit, and are left out: a database has one edit for "
            "each id, here what is or may be paid, and else the last. A run that has one of the others sends it."
        )
    if copied.numbered:
        complain(
            f"note: {copied.numbered:,} have a number for an id, as rows without one do. A database knows an edit by "
            "its id: give each of these rows that number as its id, or it is sent and paid again."
        )
    return Exit.DONE


@app.command(usage="Usage: asyncsdk ledger accept [OPTIONS] [DIR|postgresql://…]")
async def accept(place: LedgerPlace = None, /, *, ledger: LedgerOption = None) -> int:
    """Accept a database that lost what it had acknowledged, or another one in its place: runs go on with it.

    What it has lost may be paid again. Compare it with the pictures first.
    """
    await _database(_one_of(place, ledger), "one in a directory has nothing to accept").accept()
    complain("Accepted: runs go on with it as it is.")
    return Exit.DONE


@app.command
async def schema() -> int:
    """Print the SQL that makes the tables of a ledger in Postgres, for users who may not create them."""
    from asyncsdk.postgres.faults import VERSION
    from asyncsdk.postgres.statements import schema_script

    show_text(schema_script(VERSION))
    return Exit.DONE


async def _list(ledger: str | None, output: Output, wanted: tuple[str, ...], note: str = "") -> int:
    out, number = Out(output), 0
    chosen = _chosen(ledger)
    if "uncertain" in wanted and isinstance(chosen, Path):
        from asyncsdk.images.ledger.file import holder_of

        tell_who_works(await holder_of(chosen))
    for status in wanted:
        async for entry in _entries(chosen, status):
            problem = entry.get("problem") or {}
            out.result(f"{entry['id']}: {status}{_because(problem)}", record=entry, name=entry["id"])
            number += 1
    if not number:
        complain(f"No edit is {' or '.join(wanted)}.{note if isinstance(chosen, Path) else ''}")
    return Exit.DONE


def _because(problem: dict[str, Any]) -> str:
    message = str(problem.get("message", "")).partition("\n")[0]
    return f": {message}" if message else ""


def _entries(chosen: Path | PostgresLedger, status: str | None = None) -> AsyncIterator[dict[str, Any]]:
    return _in_files(chosen, status) if isinstance(chosen, Path) else chosen.entries(status)


async def _in_files(directory: Path, status: str | None) -> AsyncIterator[dict[str, Any]]:
    from asyncsdk.images.bulk.policy import status_of_state
    from asyncsdk.images.ledger.file import load_ledger
    from asyncsdk.images.ledger.index import usage_fields
    from asyncsdk.images.ledger.states import problem_fields

    known = await load_ledger(directory)
    for state in (state for _, state in known.index.states.items()):  # each is unpacked as it comes
        has = status_of_state(state)
        if status in {None, has}:
            fields: dict[str, Any] = {"id": state.id, "status": has, "n": state.n, "at": state.at}
            fields |= {"files": list(state.files)} if state.files else {}
            fields |= {} if state.cost is None else {"cost": state.cost / NANOS}
            fields |= {} if state.usage is None else {"usage": usage_fields(state.usage)}
            yield fields | ({} if state.problem is None else {"problem": problem_fields(state.problem)})


def _one_of(place: str | None, ledger: str | None) -> str | None:
    if place is not None and ledger is not None:
        raise ConfigurationError("LEDGER and --ledger both name a ledger. Give one of them.")
    return ledger if place is None else place


def _chosen(ledger: str | None, name: str = "") -> Path | PostgresLedger:
    from asyncsdk.images.destination import LEDGER
    from asyncsdk.images.ledgers import ledger_from
    from asyncsdk.remote.address import local_directory

    chosen = ledger_from(ledger)
    if chosen is None:
        raise ConfigurationError(
            "name the ledger: the directory that the pictures are in, postgresql://…, or ASYNCSDK_LEDGER."
        )
    if not isinstance(chosen, str | os.PathLike):
        return chosen
    path = local_directory(chosen, LEDGER)
    directory = _ledger_in(path)
    if directory is None:
        raise ConfigurationError(f"{name}{path}: no ledger is there. It is in .asyncsdk, beside the pictures.")
    return directory


def _ledger_in(directory: Path) -> Path | None:
    """The ledger that a directory of this machine is, or that is in it; None if there is none."""
    from asyncsdk.images.destination import OWN_DIRECTORY
    from asyncsdk.wal.segments import SEGMENT

    known = [each for each in (directory, directory / OWN_DIRECTORY) if (each / "ledger").is_dir()]
    for each in known:
        if any((each / "ledger").glob(f"*{SEGMENT}")):  # a folder of pictures may have the name too
            return each
    return known[0] if known else None


def _database(ledger: str | None, otherwise: str) -> PostgresLedger:
    chosen = _chosen(ledger)
    if isinstance(chosen, Path):
        raise ConfigurationError(f"{chosen}: this is for a ledger in a database; {otherwise}.")
    return chosen
