"""Edits one picture and saves what comes of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from attrs import frozen

from asyncsdk.cli.connect import open_client
from asyncsdk.cli.edits.options import EditOptions
from asyncsdk.cli.edits.records import record, record_of_error
from asyncsdk.cli.edits.rescue import Rescue, Rescued, is_due
from asyncsdk.cli.edits.words import about_scripts, tokens_of
from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Connection, Output
from asyncsdk.cli.output import Out, complain
from asyncsdk.cli.signals import Stop
from asyncsdk.errors import ChargeUnknownError, ConfigurationError, InvalidEditError, SaveError
from asyncsdk.files import make_directory
from asyncsdk.images.charge import problem_of
from asyncsdk.images.editor import ImageEditor
from asyncsdk.images.outcome import Problem, Status
from asyncsdk.images.result import EditResult, keep_raw
from asyncsdk.images.saving import Place, place_of, raw_folder_in, shown_url

SHOWN = 3
LEFT = "Stopped. If the edit was on its way by then, it may have been paid."


@frozen
class Saved:
    """What is on disk of an edit that is paid, and what is not."""

    files: Sequence[PurePath]
    failure: Exception | None = None
    problem: Problem | None = None
    code: Exit = Exit.DONE


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
    stop: Stop,
) -> int:
    """Send one edit. What goes wrong is a record with --json, and is raised to be told."""
    written, name = Out(output, goes_on=True), Path(images[0]).stem
    fields: Any = options.given
    try:
        check_images(images, out)
        check_place(out, name, options.n or 1, overwrite=overwrite)
        async with open_client(connection) as client:
            stop.at_the_end(partial(complain, LEFT))
            result = await ImageEditor(client).edit([images[0], *references], prompt, **fields)
            stop.at_the_end(partial(tell_urls, result))
            saved = await save(result, out, name, overwrite=overwrite)
    except ChargeUnknownError as error:
        told = await keep_what_came(error, place_of(out, None, default=name))
        written.record(record_of_error(name, told))
        raise told from error.__cause__
    except Exception as error:
        written.record(record_of_error(name, error))
        raise
    tell(written, name, result, saved)
    if saved.failure is not None:
        raise saved.failure
    return written.code(saved.code)


def check_images(images: Sequence[str], out: str) -> None:
    """Raise InvalidEditError unless there is one picture to be edited."""
    if len(images) > 1:
        raise InvalidEditError(too_many(images, out))


def too_many(images: Sequence[str], out: str) -> str:
    """What is to be said to somebody who gave several pictures."""
    one, other = shlex.quote(images[0]), shlex.quote(images[1])
    return (
        f"{len(images):,} pictures given, but `edit` makes ONE picture. Each on its own: "
        f'asyncsdk edit-many {named(images)} --prompt "…" --out {shlex.quote(out)}\n'
        f"  As references of one: asyncsdk edit {one} --reference {other} …   Nothing was sent, nothing was paid."
    )


def named(images: Sequence[str]) -> str:
    """The pictures as they were probably typed: `photos/*.jpg`, or the first of them."""
    alike = {(Path(image).parent, Path(image).suffix) for image in images}
    if len(images) > SHOWN and len(alike) == 1:
        [(folder, suffix)] = alike
        return f"{'' if folder == Path() else shlex.quote(f'{folder}/')}*{suffix}"
    return " ".join(map(shlex.quote, images[:SHOWN])) + (" …" if len(images) > SHOWN else "")


def check_place(out: str, name: str, pictures: int, *, overwrite: bool) -> None:
    """Raise ConfigurationError where pictures could not be saved: better before they are paid."""
    place = place_of(out, None, default=name)
    taken = next((path for path in place.paths(pictures) if path.exists()), None)
    if taken is not None and not overwrite:
        raise ConfigurationError(
            f"{taken} is there already. Give --out another directory or file, or --overwrite. Nothing was sent."
        )
    try:
        make_directory(place.directory)
        probe = place.directory / ".asyncsdk-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(f"can't save in {place.directory}: {error.strerror}. Nothing was sent.") from error


async def save(result: EditResult, out: str, name: str, *, overwrite: bool) -> Saved:
    """Save what is paid: where it is wanted, else in a temporary directory."""
    try:
        return Saved(await result.save(out, overwrite=overwrite))
    except SaveError as error:
        failure = error
    problem = problem_of(failure)
    rescued = await Rescue().save(failure, result, name) if is_due(failure) else Rescued()
    if not rescued.places:
        return Saved(failure.files, failure, problem)
    complain(f"error: what is paid could not be saved in {out} ({failure.__cause__}); it is saved elsewhere:")
    if rescued.is_whole:
        return Saved(rescued.files, code=Exit.SOME_FAILED)
    complain(f"  {rescued.places}")
    return Saved(rescued.files or failure.files, failure, rescued.added_to(problem))


async def keep_what_came(error: ChargeUnknownError, place: Place) -> ChargeUnknownError:
    """Save what came in the place of pictures beside where they were wanted, else in a temporary directory."""
    if not any(error.raw):
        return error
    kept = await keep_raw(error, raw_folder_in(place.directory), place.name)
    return await Rescue().keep_raw(kept, place.name) if is_due(kept) else kept


def tell_urls(result: EditResult) -> None:
    """The last words where pictures that are paid were not fetched yet: nothing else has their addresses."""
    urls = [shown_url(image.url) for image in result.images if image.url]
    if urls:
        complain(
            "\n  ".join(["It is paid. The server keeps its pictures for 60 minutes: fetch what is not saved:", *urls])
        )


def tell(written: Out, name: str, result: EditResult, saved: Saved) -> None:
    """Say where the pictures are: a line each, or one record."""
    files = [str(path) for path in saved.files]
    tokens = tokens_of(result.usage)
    lines = [f"{files[0]}{f', {tokens}' if tokens else ''}", *files[1:]] if files else []
    status: Status = "done" if saved.failure is None else "uncertain"
    told = record(name, status, files=files, usage=result.usage, problem=saved.problem)
    if files:
        written.result("\n".join(lines), record=told, name="\n".join(files))
    else:
        written.record(told)
    if note := about_scripts(files):
        complain(note)
