"""Edits one picture and saves what comes of it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import anyio
from attrs import define, frozen

from asyncsdk import files, tasks
from asyncsdk.cli.connect import open_client
from asyncsdk.cli.edits.messages import about_scripts, as_typed, tokens_of
from asyncsdk.cli.edits.options import EditOptions
from asyncsdk.cli.edits.records import record, record_of_error
from asyncsdk.cli.edits.rescue import LEAVE_SECONDS, RESCUE_SECONDS, Rescue, Rescued, Unsaved, is_due
from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Connection, Output
from asyncsdk.cli.output import Out, complain
from asyncsdk.cli.signals import Stop
from asyncsdk.errors import ChargeUnknownError, ConfigurationError, EditError, InvalidEditError, SaveError
from asyncsdk.images.billing import problem_of
from asyncsdk.images.editor import ImageEditor
from asyncsdk.images.outcome import Problem, Status
from asyncsdk.images.result import EditResult, keep_raw, not_saved, saving_at
from asyncsdk.images.saving import Destination, destination_of, raw_folder_in, shown_url

SHOWN = 3
LEFT = "Stopped. If the edit was on its way by then, it may have been paid."
PAID = (
    "Stopped. The edit is done and paid, but its pictures could not be saved in time. Sending the edit again would be "
    "paid again."
)
KEPT = "The server keeps its pictures for 60 minutes: fetch what is not saved:"


@define(eq=False)
class LastWords:
    """What is said where a signal ends the command: what is known of the edit by then."""

    result: EditResult | None = None
    failure: Exception | None = None

    def say(self) -> None:
        """Say it."""
        if self.result is None and self.failure is None:
            complain(LEFT)
        elif self.failure is not None:
            complain(f"error: {as_typed(str(self.failure))}")
        elif self.result is not None:
            urls = [shown_url(image.url) for image in self.result.images if image.url]
            complain("\n  ".join([PAID, *([KEPT, *urls] if urls else [])]))


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
    written, name, last_words = Out(output, goes_on=True), Path(images[0]).stem, LastWords()
    fields: Any = options.given
    try:
        check_images(images, out)
        await check_place(out, name, options.n or 1, overwrite=overwrite)
        async with open_client(connection) as client:
            stop.at_the_end(last_words.say)
            result = await ImageEditor(client).edit([images[0], *references], prompt, **fields)
            last_words.result, stop.patience = result, LEAVE_SECONDS
            saved = await save(result, out, name, stop, overwrite=overwrite)
    except ChargeUnknownError as error:
        stop.patience = LEAVE_SECONDS
        problem = await keep_what_came(error, destination_of(out, None, default=name), stop)
        written.record(record(name, "uncertain", problem=problem))
        last_words.failure = ChargeUnknownError(problem.message)
        raise last_words.failure from error.__cause__
    except Exception as error:
        written.record(record_of_error(name, error))
        raise
    tell(written, name, result, saved)
    if saved.failure is not None:
        last_words.failure = saved.failure
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


async def check_place(out: str, name: str, pictures: int, *, overwrite: bool) -> None:
    """Raise ConfigurationError where pictures could not be saved: better before they are paid."""
    place = destination_of(out, None, default=name)
    taken = await files.existing(place.paths(pictures))
    if taken and not overwrite:
        raise ConfigurationError(
            f"{taken[0]} is there already. Give --out another directory or file, or --overwrite. Nothing was sent."
        )
    try:
        await files.make_writable(place.directory)
    except OSError as error:
        raise ConfigurationError(f"can't save in {place.directory}: {error.strerror}. Nothing was sent.") from error


async def save(result: EditResult, out: str, name: str, stop: Stop, *, overwrite: bool) -> Saved:
    """Save what is paid: where it is wanted, else in a temporary directory. A signal ends waits and fetches."""
    place, why = destination_of(out, None, default=name), None
    is_named = place.directory != Path(out)
    saving = saving_at(result, place, is_named=is_named, overwrite=overwrite, shielded=True)
    try:
        async with tasks.group() as group:  # whose end leaves no write half-way
            group.start_soon(result.save_by, saving)
    except asyncio.CancelledError:
        why = EditError("the command was stopped meanwhile")
    if saving.is_whole:
        return Saved(saving.files)
    failure = not_saved(result, saving, why)
    if not is_due(failure):
        return Saved(failure.files, failure, problem_of(failure))
    rescued = await save_elsewhere(failure, name, stop)
    problem = rescued.added_to(problem_of(failure))
    if rescued.is_whole and stop.signum is None:
        complain(
            f"error: what is paid could not be saved in {out} ({failure.__cause__}); it is saved elsewhere: "
            f"{rescued.places}"
        )
        return Saved(rescued.files, code=Exit.SOME_FAILED)
    return Saved(rescued.files or failure.files, SaveError(problem.message), problem)


async def keep_what_came(error: ChargeUnknownError, place: Destination, stop: Stop) -> Problem:
    """Save what came in the place of pictures beside where they were wanted, else in a temporary directory."""
    if any(error.raw):
        with suppress(asyncio.CancelledError):  # a signal: elsewhere it may take no wait
            error = await keep_raw(error, raw_folder_in(place.directory), place.name)
    if not is_due(error):
        return problem_of(error)
    return (await save_elsewhere(error, place.name, stop)).added_to(problem_of(error))


async def save_elsewhere(error: Unsaved, name: str, stop: Stop) -> Rescued:
    """Save what is in memory only in a temporary directory; once a signal came there is less time for it."""
    rescue = Rescue()
    if stop.signum is None:
        with suppress(asyncio.CancelledError):
            return await rescue.save(error, name)
    with anyio.move_on_after(RESCUE_SECONDS):
        await rescue.save(error, name)
    return rescue.so_far(error)


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
