"""`asyncsdk schema job|upload|edit`: the JSON Schemas of what the program reads and writes."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from asyncsdk.cli.exits import Exit
from asyncsdk.cli.output import show_text

Kind = Literal["job", "upload", "edit"]


async def schema(
    kind: Annotated[
        Kind,
        Parameter(
            name="KIND", help="A row of a job file, or a line that upload or edit and edit-many write with --json."
        ),
    ],
    /,
) -> int:
    """Print the schema of `kind`."""
    show_text(json.dumps(schema_for(kind), indent=2))
    return Exit.DONE


def schema_for(kind: Kind) -> dict[str, Any]:
    """The JSON Schema of `kind`."""
    if kind == "job":
        from asyncsdk.cli.edits.job_fields import job_schema

        return job_schema()
    from asyncsdk.cli.json_schema import line_schema

    if kind == "upload":
        from asyncsdk.cli.uploads.records import UploadLine

        return line_schema("A line of asyncsdk upload --json", UploadLine, is_open=True)  # of the API's own object
    from asyncsdk.cli.edits.records import EditLine

    return line_schema("A line of asyncsdk edit --json and edit-many --json", EditLine)
