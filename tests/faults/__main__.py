"""`python -m tests.faults [FORM...] [--rounds N]`: the long forms, with a table; 1 where something did not hold.

`python -m tests.faults versions CHECKOUT` is one by itself: what this version and that of another checkout do with
journals and ledgers that the other one began.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

from attrs import evolve, field, frozen

from asyncsdk.cli.units import parse_size
from tests.faults.any_sequence import search
from tests.faults.batch_costs import kill_within_a_limit
from tests.faults.batches import die_at_each_step, kill_batches
from tests.faults.boxes import pass_boxes
from tests.faults.cancels import cancel_everywhere
from tests.faults.crossing import cross_answers
from tests.faults.damage import LIVES, flipped, journal_of
from tests.faults.fleet import Fleet, lead
from tests.faults.kills import Sizes, kill_uploads
from tests.faults.large_output import read_large_output
from tests.faults.outages import go_on_after_outages
from tests.faults.patience import have_patience
from tests.faults.power import Recorder
from tests.faults.power_cuts import Findings, live
from tests.faults.share import share_everywhere
from tests.faults.small import kill_small_uploads
from tests.faults.steps import die_at_every_step
from tests.faults.table import Row, lines_of
from tests.faults.versions import go_on_with_each_other
from tests.fleet.run import EditFleet, lead_edits
from tests.fleet.simulation import search as simulate
from tests.postgres.server import NoPostgresError
from tests.postgres.server import running as running_postgres


@frozen
class Options:
    """`rounds` is how many kills or examples there are to be; what is exhaustive has its own number."""

    rounds: int
    seed: int
    sizes: Sizes
    other: Path | None = None
    fleet: Fleet = field(factory=Fleet)
    shared: int = 200
    edits: int = 6000
    batched: int = 2000
    lines: int = 1466


async def kills(folder: Path, options: Options) -> Row:
    return await kill_uploads(folder, options.rounds, sizes=options.sizes, seed=options.seed)


async def streams(folder: Path, options: Options) -> Row:
    return await kill_uploads(folder, options.rounds, sizes=options.sizes, seed=options.seed, as_streams=True)


async def small(folder: Path, options: Options) -> Row:
    return await kill_small_uploads(folder, max(1, options.rounds // 16), files=2000, seed=options.seed)


async def posted(folder: Path, options: Options) -> Row:
    kills = max(1, options.rounds // 16)
    return await kill_small_uploads(folder, kills, files=2000, seed=options.seed, method="files")


async def share(folder: Path, options: Options) -> Row:
    return await share_everywhere(folder, options.shared, seed=options.seed, lease=options.fleet.lease)


async def steps(folder: Path, _: Options) -> Row:
    return await die_at_every_step(folder, torn=False)


async def torn_writes(folder: Path, _: Options) -> Row:
    return await die_at_every_step(folder, torn=True)


async def batch_steps(folder: Path, _: Options) -> Row:
    return await die_at_each_step(folder)


async def batches(folder: Path, options: Options) -> Row:
    return await kill_batches(folder, options.batched, seed=options.seed)


async def batch_fleet(folder: Path, options: Options) -> Row:
    with running_postgres() as postgres:
        database = postgres.url(postgres.new_database())
        return await kill_batches(folder, options.batched, seed=options.seed, database=database)


async def batch_costs(folder: Path, options: Options) -> Row:
    return await kill_within_a_limit(folder, options.batched, seed=options.seed)


async def cost_fleet(folder: Path, options: Options) -> Row:
    with running_postgres() as postgres:
        database = postgres.url(postgres.new_database())
        return await kill_within_a_limit(folder, options.batched, seed=options.seed, database=database)


async def large_output(folder: Path, options: Options) -> Row:
    found = await read_large_output(folder / "output", lines=options.lines, size=2_200_000)
    row = Row("largeoutput", found["done"], {"peak": f"{found['peak'] / 2**20:.0f} MiB"})
    row.figures["pictures/s"] = f"{found['done'] / found['seconds']:.0f}"
    row.must(found["done"] == options.lines, f"{options.lines - found['done']} are not done")
    row.must(found["peak"] <= 96 * 2**20, f"the peak is {found['peak'] / 2**20:.0f} MiB")
    return row


async def boxes(folder: Path, _: Options) -> Row:
    return await pass_boxes(folder)


async def cancels(folder: Path, _: Options) -> Row:
    return await cancel_everywhere(folder)


async def patience(_: Path, __: Options) -> Row:
    return await have_patience()


async def damage(_: Path, __: Options) -> Row:
    row = Row("damage")
    for life, written in LIVES.items():
        row.cases += 255 * len(journal_of(written))
        row.violations += [f"{life}, {what}" for what in flipped(life, range(1, 256))]
    return row


async def power(folder: Path, _: Options) -> Row:
    await live(recorder := Recorder(folder), folder / "journal")
    found = Findings.of(recorder.moments)
    row = Row("power cuts", found.contents, {"moments": str(len(recorder.moments))})
    row.must(not found.lost, f"lost: {found.lost[:3]}")
    row.must(not found.invented, f"invented: {found.invented[:3]}")
    return row


async def any_sequence(_: Path, options: Options) -> Row:
    return await asyncio.to_thread(partial(search, options.rounds, seed=options.seed))


async def crossed(_: Path, options: Options) -> Row:
    return await cross_answers(10 * options.rounds, seed=options.seed)


async def fleet(folder: Path, options: Options) -> Row:
    return await lead(folder, evolve(options.fleet, size=options.sizes.least), seed=options.seed)


async def outages(folder: Path, options: Options) -> Row:
    return await go_on_after_outages(folder, size=options.sizes.least, away=60.0)


async def edit_fleet(folder: Path, options: Options) -> Row:
    return await lead_edits(folder, EditFleet(edits=options.edits), seed=options.seed)


async def rate_fleet(folder: Path, options: Options) -> Row:
    """No more than 429s: for the rate."""
    fleet = EditFleet(edits=options.edits, killed=0, stopped=0, restarts=0, lost=0, busy=0)
    return evolve(await lead_edits(folder, fleet, seed=options.seed), name="rate fleet")


async def protocol(_: Path, options: Options) -> Row:
    sequences = 10 * options.rounds
    row = Row("protocol", sequences)
    row.violations = await asyncio.to_thread(partial(simulate, sequences, first=options.seed))
    return row


async def versions(folder: Path, options: Options) -> Row:
    assert options.other is not None
    return await go_on_with_each_other(folder, options.other, max(1, options.rounds // 100), seed=options.seed)


FORMS: dict[str, Callable[[Path, Options], Coroutine[object, object, Row]]] = {
    "kills": kills,
    "streams": streams,
    "small": small,
    "posted": posted,
    "share": share,
    "steps": steps,
    "torn": torn_writes,
    "batchsteps": batch_steps,
    "batches": batches,
    "batchfleet": batch_fleet,
    "batchcosts": batch_costs,
    "costfleet": cost_fleet,
    "largeoutput": large_output,
    "boxes": boxes,
    "cancels": cancels,
    "patience": patience,
    "power": power,
    "damage": damage,
    "any": any_sequence,
    "crossed": crossed,
    "fleet": fleet,
    "outages": outages,
    "editfleet": edit_fleet,
    "ratefleet": rate_fleet,
    "protocol": protocol,
}
VERSIONS = "versions"


async def _row_of(name: str, folder: Path, options: Options) -> Row:
    form = versions if name == VERSIONS else FORMS[name]
    try:
        return await form(folder, options)
    except NoPostgresError as error:
        return Row(name, figures={"skipped:": str(error)})


def main() -> int:
    names, options = _read(sys.argv[1:])
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="asyncsdk-faults-") as folder:
            began = time.monotonic()
            row = asyncio.run(_row_of(name, Path(folder), options))
            rows.append(evolve(row, seconds=time.monotonic() - began))
        print(*lines_of(rows[-1:]), sep="\n", flush=True)  # noqa: T201 - it is a program
    print("", f"seed {options.seed}", *lines_of(rows), sep="\n")  # noqa: T201 - it is a program
    return 1 if any(row.violations for row in rows) else 0


def _read(arguments: list[str]) -> tuple[list[str], Options]:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("forms", nargs="*", metavar="FORM", help=f"{', '.join(FORMS)}; or {VERSIONS} CHECKOUT")
    parser.add_argument("--rounds", type=int, default=1000, metavar="N", help="kills or examples (1000)")
    parser.add_argument("--seed", type=int, default=int(time.time()), metavar="S")
    parser.add_argument("--size", default="64MiB..512MiB", metavar="A..B", help="of the files that are uploaded")
    parser.add_argument(
        "--files",
        type=int,
        metavar="N",
        help="of the fleet (60), or that are shared (a fifth of the rounds, 20 at least)",
    )
    parser.add_argument("--edits", type=int, default=6000, metavar="N", help="of the fleet of edits (6000)")
    parser.add_argument("--batched", type=int, default=2000, metavar="N", help="edits in batches (2000)")
    parser.add_argument("--lines", type=int, default=1466, metavar="N", help="of the large output: 1,466 are 4 GiB")
    parser.add_argument(
        "--lease", type=float, default=60.0, metavar="SECONDS", help="of the processes of fleet and share (60)"
    )
    given = parser.parse_args(arguments)
    least, _, most = given.size.partition("..")
    options = Options(
        given.rounds,
        given.seed,
        Sizes(parse_size(least), parse_size(most or least)),
        fleet=Fleet(files=given.files or 60, lease=given.lease),
        shared=given.files or max(20, given.rounds // 5),
        edits=given.edits,
        batched=given.batched,
        lines=given.lines,
    )
    if given.forms[:1] == [VERSIONS] and len(given.forms) == 2:
        return [VERSIONS], evolve(options, other=Path(given.forms[1]))
    if unknown := set(given.forms) - set(FORMS):
        parser.error(f"no such form: {', '.join(sorted(unknown))}")
    return given.forms or list(FORMS), options


if __name__ == "__main__":
    sys.exit(main())
