"""`asyncsdk edit-many SOURCE...`: the command. `bulk_editing` does it."""

from __future__ import annotations

from typing import Annotated, Literal

from attrs import frozen
from cyclopts import Group, Parameter

from asyncsdk.cli.edits.options import EditOptions
from asyncsdk.cli.options import Connection, Output, ShownAs
from asyncsdk.cli.signals import Stop

RUN = Group("Run", sort_key=4)
Sources = Annotated[
    tuple[str, ...],
    Parameter(name="SOURCE", help="Job files (.jsonl, .ndjson, .json, .csv, .tsv), directories, or pictures."),
]


@Parameter(name="*", group=RUN)
@frozen(kw_only=True)
class RunOptions:
    """How many, how fast, and what becomes of those that did not go well."""

    prompt: Annotated[str | None, Parameter(help="For pictures, and jobs that have none.")] = None
    prompt_file: Annotated[str | None, Parameter(metavar="FILE", help="The same, from a file.")] = None
    concurrency: Annotated[int, Parameter(metavar="N", help="Edits in flight.")] = 8
    images_per_minute: Annotated[
        float | None, Parameter(metavar="N", help="Your rate limit; else learned from the server.")
    ] = None
    on_uncertain: Annotated[
        Literal["report", "retry", "stop"], Parameter(help="If an answer is lost: it may have been paid.")
    ] = "report"
    only: Annotated[
        Literal["failed", "refused", "uncertain"] | None, Parameter(help="Send only those that stand so.")
    ] = None
    redo: Annotated[
        str | None,
        Parameter(
            metavar="FILE", help="Ids to send and pay again, as a gallery saves them: once each time it is written."
        ),
    ] = None
    max_edits: Annotated[int | None, Parameter(metavar="N", help="Stop there; counts over reruns.")] = None
    max_tokens: Annotated[
        int | None, Parameter(metavar="N", help="The same in tokens; edits in flight, which are awaited, may pass it.")
    ] = None
    accept_damage: Annotated[
        bool, Parameter(help="Go on with what is intact of a damaged ledger: what it lost may be paid again.")
    ] = False
    dry_run: Annotated[bool, Parameter(help="Look at all, and tell what would be sent.")] = False
    yes: Annotated[bool, Parameter(help="Don't ask before many are sent.")] = False
    grace: Annotated[float, Parameter(metavar="SECONDS", help="How long Ctrl-C waits for those in flight.")] = 120.0
    gallery: Annotated[str | None, Parameter(metavar="FILE", help="A page of this run: before, after.")] = None


async def edit_many(
    sources: Sources,
    /,
    *,
    out: Annotated[str, Parameter(metavar="DIR", help="Where pictures go, and the ledger of what was paid.")],
    run: RunOptions = RunOptions(),
    options: EditOptions = EditOptions(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
    progress: ShownAs = "auto",
    stop: Annotated[Stop, Parameter(parse=False)],
) -> int:
    """Edit many pictures, each once. After an interruption the same command goes on: what is paid is not sent again."""
    from asyncsdk.cli.edits.bulk_editing import edit_all

    return await edit_all(
        sources, out=out, run=run, options=options, connection=connection, output=output, mode=progress, stop=stop
    )
