"""`asyncsdk upload FILE...`: its options. `uploading` does it."""

from __future__ import annotations

from typing import Annotated, Literal

from attrs import frozen
from cyclopts import Parameter

from asyncsdk.cli.options import Connection, Duration, JournalPlace, Output, ShownAs, Size
from asyncsdk.cli.signals import Stop

Files = Annotated[tuple[str, ...], Parameter(name="FILE", help="What to send: regular files of 1 byte to 8 GiB.")]


@Parameter(name="*")
@frozen(kw_only=True)
class UploadOptions:
    """What becomes of the files, and how they are sent."""

    purpose: Annotated[
        str, Parameter(help="What they are for: fine-tune, batch, assistants, vision, user_data, evals.")
    ]
    filename: Annotated[str | None, Parameter(help="Another name for the one FILE.")] = None
    mime_type: Annotated[str | None, Parameter(help="Their type; else by each file's suffix.")] = None
    expires_after: Annotated[Duration | None, Parameter(help="How long the stored files live: 1h to 30d.")] = None
    md5: Annotated[Literal["hex", "base64", "off"], Parameter(help="How the digest goes along.")] = "hex"
    part_size: Annotated[Size | None, Parameter(help="At most 64MiB; else by the file's size.")] = None
    concurrency: Annotated[int, Parameter(metavar="N", help="Parts in flight, over all files.")] = 8
    limit_rate: Annotated[Size | None, Parameter(help="Bytes a second at most, over all files.")] = None
    journal: JournalPlace = None
    no_resume: Annotated[bool, Parameter(help="Begin afresh, whatever was sent before.")] = False
    no_lock: Annotated[bool, Parameter(help="For a journal on a file system without locks.")] = False
    on_busy: Annotated[Literal["wait", "fail"], Parameter(help="If another process is sending the file.")] = "wait"
    if_uploaded: Annotated[Literal["reuse", "again"], Parameter(help="If the file is there already.")] = "reuse"


async def upload(
    files: Files,
    /,
    *,
    options: UploadOptions,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
    progress: ShownAs = "auto",
    stop: Annotated[Stop, Parameter(parse=False)],
) -> int:
    """Upload files. After any interruption the same command goes on where it stopped.

    A file that is there already is not sent again. All FILEs are looked at before the first is sent.
    """
    from asyncsdk.cli.uploading import upload_files

    return await upload_files(files, options=options, connection=connection, output=output, mode=progress, stop=stop)
