"""`asyncsdk edit-many SOURCE...`: checks all rows, then edits them in one run, and reports how each ended."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Annotated

from cyclopts import Parameter

from asyncsdk.cli import units
from asyncsdk.cli.edits.arguments import batch_arguments, check_grace, defaults_of, limits_of, request_of
from asyncsdk.cli.edits.forecast import Forecast, question
from asyncsdk.cli.edits.options import BatchRunOptions, EditOptions, RunOptions
from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Connection, Output, ShownAs
from asyncsdk.cli.output import Out, complain
from asyncsdk.cli.signals import Stop

NOTHING = "Nothing was sent."
ASK_ABOVE = 100  # pictures
CHECKED_ANYWAY = 1000  # edits: to check so many takes seconds, also where no run has begun
Sources = Annotated[
    tuple[str, ...],
    Parameter(
        name="SOURCE",
        help="Job files (.jsonl, .ndjson, .json, .csv, .tsv), directories, pictures, '*.jpg'; or their URLs.",
    ),
]


async def edit_many(
    sources: Sources,
    /,
    *,
    out: Annotated[
        str,
        Parameter(
            alias="-o",
            metavar="DIR|URL",
            help="Where to save the pictures, and the ledger of what was paid; or a bucket: s3://bucket/out/.",
        ),
    ],
    run: RunOptions = RunOptions(),  # noqa: B008 - frozen
    batch: BatchRunOptions = BatchRunOptions(),  # noqa: B008 - frozen
    options: EditOptions = EditOptions(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
    progress: ShownAs = "auto",
    stop: Annotated[Stop, Parameter(parse=False)],
) -> int:
    """Edit every row of `sources`, or report what would be sent."""
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.edits.dry_run import DryRun
    from asyncsdk.cli.edits.editing import BulkEditing
    from asyncsdk.cli.edits.out_place import out_place
    from asyncsdk.cli.edits.page_place import check_page
    from asyncsdk.cli.edits.remote_sources import rows_of
    from asyncsdk.cli.edits.report import Report, leftovers_in
    from asyncsdk.cli.edits.rescue import RescueQueue
    from asyncsdk.files import in_thread
    from asyncsdk.images.editor import ImageEditor
    from asyncsdk.remote.stores import RemoteStores

    check_grace(run.grace)
    in_batches = batch_arguments(batch, run)
    place, defaults, stores = out_place(out, run.ledger), defaults_of(run, options), RemoteStores()
    if place.shared is not None:
        place.shared.options = defaults
    rows, is_begun = await rows_of(sources, place, defaults, stores)
    request, written = request_of(run), Out(output, goes_on=True)
    warn_of_the_future(run.redo, request["redo_before"])
    await check_page(run.gallery, place, stores)
    dry = DryRun(
        rows, place, request, limits_of(run), stores, in_batches, prices=run.prices, mode=progress, written=written
    )
    if run.dry_run:
        return await dry.show()
    forecast = None
    if can_ask(run) and sum(edit.n or 1 for edit in rows.edits()) > ASK_ABOVE:
        with stop.saying(partial(complain, NOTHING)):
            forecast = await dry.look(may_check=is_begun or rows.edits_in_all <= CHECKED_ANYWAY)
            if not agreed(forecast):
                return Exit.USAGE
    async with open_client(connection, connections=run.concurrency, on_workers=run.dask is not None) as client:
        leftovers = await in_thread(leftovers_in, place.records, *rows.json_lines)
        report = Report(written, run.gallery is not None, frozenset(request["redo"]), leftovers)
        editor = ImageEditor(
            client, remote_options=stores, prices=run.prices, idempotency_header=run.idempotency_header
        )
        work = BulkEditing(editor, RescueQueue(report), place, run, request, report, stop, stores, in_batches)
        work.done_before = forecast.plan.done if forecast is not None and forecast.plan is not None else 0
        return written.code(await work.go(rows, progress, output))


def warn_of_the_future(redo: str | None, written: float | None) -> None:
    """Warn of a file of rejects that was written later than this machine's clock says it is."""
    if written is not None and (ahead := written - time.time()) > 0:
        complain(
            f"warning: --redo {redo} was written {units.duration(ahead)} in the future by this machine's clock: "
            "the time of the first run that reads it counts instead."
        )


def can_ask(run: RunOptions) -> bool:
    """Whether to ask before many are sent: there is a terminal, and the user has not agreed already."""
    return not run.yes and sys.stdin is not None and sys.stdin.isatty()


def agreed(forecast: Forecast) -> bool:
    """Whether to send them: asks the user where that is much."""
    if forecast.pictures <= ASK_ABOVE:
        return True
    complain(question(forecast))
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    complain(NOTHING)
    return False
