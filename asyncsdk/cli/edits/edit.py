"""`asyncsdk edit IMAGE`: the command. `editing` does it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from asyncsdk.cli.edits.options import EditOptions
from asyncsdk.cli.options import Connection, Output
from asyncsdk.cli.signals import Stop

Images = Annotated[tuple[str, ...], Parameter(name="IMAGE", help="The picture: PNG, JPEG or WebP.")]
References = Annotated[tuple[str, ...], Parameter(metavar="IMAGE", help="More pictures to make the one of.")]


async def edit(
    images: Images,
    /,
    *,
    prompt: Annotated[str, Parameter(help="What is to become of it.")],
    out: Annotated[str, Parameter(metavar="DIR", help="Where it is saved: a directory, or a file's name.")],
    reference: References = (),
    overwrite: Annotated[bool, Parameter(help="Save over a file that is there.")] = False,
    options: EditOptions = EditOptions(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
    stop: Annotated[Stop, Parameter(parse=False)],
) -> int:
    """Edit one picture. It is looked at before anything is sent and paid; what comes of it has the picture's name."""
    from asyncsdk.cli.edits.editing import edit_one

    return await edit_one(
        images,
        reference,
        prompt=prompt,
        out=out,
        overwrite=overwrite,
        options=options,
        connection=connection,
        output=output,
        stop=stop,
    )
