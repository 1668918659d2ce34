"""`asyncsdk upload FILE...`: the command. `uploading` does it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from asyncsdk.cli.options import Connection, Output, ShownAs, UploadOptions
from asyncsdk.cli.signals import Stop

Files = Annotated[tuple[str, ...], Parameter(name="FILE", help="What to send: regular files of 1 byte to 8 GiB.")]


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
    from asyncsdk.cli.uploads.uploading import upload_files

    return await upload_files(files, options=options, connection=connection, output=output, mode=progress, stop=stop)
