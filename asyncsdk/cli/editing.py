"""Edits one picture and saves what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asyncsdk.cli.connect import open_client
from asyncsdk.cli.edit_options import EditOptions
from asyncsdk.cli.edit_records import record
from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Connection, Output
from asyncsdk.cli.output import Out
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.charge import problem_of
from asyncsdk.images.editor import ImageEditor

SHOWN = 3


async def edit_one(
    images: Sequence[str],
    references: Sequence[str],
    *,
    prompt: str,
    out: str,
    overwrite: bool,
    options: EditOptions,
    connection: Connection,
    output: Output,
) -> Exit:
    """Send one edit. Its failure is a record with --json, and is raised to be told."""
    written, edit_id = Out(output), Path(images[0]).stem if images else "edit"
    if len(images) != 1:
        raise ConfigurationError(too_many(images, out) if images else "IMAGE is missing. Nothing was sent.")
    fields: Any = options.given
    try:
        check_place(Path(out))
        async with open_client(connection) as client:
            result = await ImageEditor(client).edit([images[0], *references], prompt, **fields)
            paths = await result.save(out, overwrite=overwrite)
    except Exception as error:
        written.record(record(edit_id, "failed", files=[], problem=problem_of(error)))
        raise
    shown = record(edit_id, "done", files=[str(path) for path in paths], usage=result.usage)
    tokens = result.usage.total_tokens if result.usage else None
    for number, path in enumerate(paths):
        told = f"{path}, {tokens:,} tokens" if tokens and not number else str(path)
        if number and output.json:
            break
        written.result(told, record=shown, name=str(path))
    return Exit.DONE


def too_many(images: Sequence[str], out: str) -> str:
    """What is to be said to somebody who gave several pictures."""
    return (
        f"{len(images)} pictures given, but `edit` makes ONE picture. Each on its own: "
        f'asyncsdk edit-many {" ".join(images[:SHOWN])}{" …" if len(images) > SHOWN else ""} --prompt "…" --out {out}\n'
        f"  As references of one: asyncsdk edit {images[0]} --reference {images[1]} …   "
        "Nothing was sent, nothing was paid."
    )


def check_place(out: Path) -> None:
    """Raise ConfigurationError where nothing could be saved: better before it is paid."""
    folder = out if not out.suffix or out.is_dir() else out.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".asyncsdk-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(f"can't save in {folder}: {error.strerror}. Nothing was sent.") from error
