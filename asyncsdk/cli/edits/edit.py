"""`asyncsdk edit IMAGE`: edits one picture and saves what comes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

from attrs import define
from cyclopts import Parameter

from asyncsdk.cli.edits.messages import about_scripts, tokens_of
from asyncsdk.cli.edits.options import EditOptions, PricesFile
from asyncsdk.cli.edits.typed import as_typed
from asyncsdk.cli.options import Connection, Output, ShownAs
from asyncsdk.cli.output import Out, complain
from asyncsdk.cli.signals import Stop
from asyncsdk.cli.unread import unread_source
from asyncsdk.errors import AsyncSDKError, ChargeUnknownError, ConfigurationError, InvalidEditError

if TYPE_CHECKING:
    from asyncsdk.cli.edits.rescue import Saved
    from asyncsdk.images.destination import Destination
    from asyncsdk.images.edit import ImageEdit
    from asyncsdk.images.outcome import Status
    from asyncsdk.images.result import EditResult

STOPPED = "Stopped. The edit may have been paid. The same command sends, and pays, again."
PAID = (
    "Stopped. The edit is done and paid, but its pictures could not be saved in time. Sending the edit again costs "
    "again."
)
KEPT = "The server keeps its pictures for 60 minutes. Download what is not saved:"
Images = Annotated[tuple[str, ...], Parameter(name="IMAGE", help="The picture to edit: PNG, JPEG or WebP.")]
References = Annotated[tuple[str, ...], Parameter(metavar="IMAGE", help="Another picture to combine with it.")]


@define(eq=False)
class LastWords:
    """The message if a signal ends the command: what is known of the edit by then."""

    result: EditResult | None = None
    failure: Exception | None = None
    aside: Callable[[], None] = lambda: None

    def say(self) -> None:
        """Print it."""
        self.aside()
        if self.result is None and self.failure is None:
            complain(STOPPED)
        elif self.failure is not None:
            complain(f"error: {as_typed(str(self.failure))}")
        elif self.result is not None:
            from asyncsdk.images.saving import shown_url

            urls = [shown_url(image.url) for image in self.result.images if image.url]
            complain("\n  ".join([PAID, *([KEPT, *urls] if urls else [])]))


async def edit(
    images: Images,
    /,
    *,
    prompt: Annotated[str, Parameter(alias="-p", help="What to change.")],
    out: Annotated[
        str,
        Parameter(
            alias="-o",
            metavar="DIR",
            help="Where to save the result: a directory, or a file name, whose suffix sets the format.",
        ),
    ],
    reference: References = (),
    overwrite: Annotated[bool, Parameter(help="Replace existing files.")] = False,
    prices: PricesFile = None,
    options: EditOptions = EditOptions(),  # noqa: B008 - frozen
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
    progress: ShownAs = "auto",
    stop: Annotated[Stop, Parameter(parse=False)],
) -> int:
    """Send one edit. What goes wrong is a record with --json, and is raised to be reported."""
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.display import choose
    from asyncsdk.cli.edits.advice import advice_on
    from asyncsdk.cli.edits.records import record, record_of_error
    from asyncsdk.cli.edits.rescue import LEAVE_SECONDS, keep_what_came, save
    from asyncsdk.cli.edits.waiting import WaitingView
    from asyncsdk.images.bulk.intake import read_and_check
    from asyncsdk.images.costs.pricing import Pricing
    from asyncsdk.images.costs.table import current_prices
    from asyncsdk.images.edit import file_name
    from asyncsdk.images.editor import ImageEditor
    from asyncsdk.images.saving import destination_of
    from asyncsdk.remote.address import local_path
    from asyncsdk.remote.stores import RemoteStores

    images, out = (*map(local_path, images),), local_out(out)
    written, name, last_words = Out(output, goes_on=True), PurePath(file_name(images[0]) or "edit").stem, LastWords()
    place, stores = destination_of(out, None, default=name), RemoteStores()
    try:
        wanted = edit_of([*images], [*reference], prompt, out, options.given)
        await read_and_check(wanted, checked=True, stores=stores)
        pricing = Pricing(await current_prices(prices))
        async with open_client(connection) as client:
            await check_place(place, wanted.n or 1, overwrite=overwrite)
            stop.at_the_end(last_words.say)
            view = WaitingView(file_name(images[0]) or name)
            with choose(progress, view, quiet=output.quiet, verbose=output.verbose, is_brief=True) as display:
                last_words.aside = display.aside
                result = await ImageEditor(client, remote_options=stores).edit(wanted)
            last_words.result, stop.patience = result, LEAVE_SECONDS
            saved = await save(result, out, name, stop, overwrite=overwrite)
    except ChargeUnknownError as error:
        stop.patience = LEAVE_SECONDS
        problem = await keep_what_came(error, place, stop)
        written.record(record(name, "uncertain", problem=problem))
        last_words.failure = ChargeUnknownError(problem.message)
        raise last_words.failure from error.__cause__
    except Exception as error:
        written.record(record_of_error(name, error))
        if isinstance(error, AsyncSDKError):
            error.advice = advice_on(error)
        raise
    report(written, name, result, saved, pricing.cost(wanted, result.usage))
    if saved.failure is not None:
        last_words.failure = saved.failure
        raise saved.failure
    return written.code(saved.code)


def local_out(out: str) -> str:
    """The path that --out is. Raises ConfigurationError for a URL."""
    from asyncsdk.remote.address import local_path, remote_address

    if (address := remote_address(out)) is not None:
        raise ConfigurationError(
            f"--out {address} is a URL, and `edit` saves on this machine: give a directory or a file name, or use "
            "edit-many, which puts pictures in a bucket. Nothing was sent."
        )
    return local_path(out)


def edit_of(images: list[str], reference: list[str], prompt: str, out: str, given: Mapping[str, Any]) -> ImageEdit:
    """The edit to send. Raises InvalidEditError or ConfigurationError, with the command to type instead."""
    from asyncsdk.cli.edits.refusals import format_for, too_many
    from asyncsdk.images.edit import ImageEdit
    from asyncsdk.images.saving import is_directory
    from asyncsdk.remote.address import local_path, remote_address

    if len(images) > 1:
        raise InvalidEditError(too_many(images, out))
    check_source(images[0], prompt, out, given)
    for other in (*reference, given.get("mask"), given.get("markup")):
        if remote_address(other or "") is None and (problem := unread_source(local_path(other or ""))):
            raise InvalidEditError(problem)
    output_format = format_for(out, given, is_directory=is_directory(out))
    fields = {**given, **({} if output_format is None else {"output_format": output_format})}
    return ImageEdit(image=[*images, *reference], prompt=prompt, **fields)


def check_source(image: str, prompt: str, out: str, given: Mapping[str, Any]) -> None:
    """Raise InvalidEditError where `image` is not a file that `edit` could read, with what to type instead."""
    from asyncsdk.cli.edits.refusals import instead_of
    from asyncsdk.remote.address import remote_address

    if (address := remote_address(image)) is not None:
        is_directory = address.is_prefix and not address.is_web
        problem = instead_of(address.shown, prompt, out, given, is_directory=is_directory)
        if problem is not None:
            raise InvalidEditError(problem)
        return
    is_directory = os.path.isdir(image)  # noqa: PTH112 - which raises nothing
    problem = unread_source(image) or instead_of(image, prompt, out, given, is_directory=is_directory)
    if problem is None and "*" in image and not os.path.lexists(image):
        problem = f"{image} does not exist. In quotes * is not expanded; for several pictures there is edit-many."
        problem = f"{problem} Nothing was sent."
    if problem is not None:
        raise InvalidEditError(problem)


async def check_place(place: Destination, pictures: int, *, overwrite: bool) -> None:
    """Raise ConfigurationError if pictures could not be saved, before they are paid."""
    from asyncsdk import files

    names = [place.requested(number) for number in range(pictures)] if place.suffix else place.paths(pictures)
    taken = await files.existing(names)
    if taken and not overwrite:
        raise ConfigurationError(f"{taken[0]} already exists. Give another --out, or --overwrite. Nothing was sent.")
    try:
        await files.make_writable(place.directory)
    except OSError as error:
        raise ConfigurationError(f"can't save in {place.directory}: {error.strerror}. Nothing was sent.") from error


def report(written: Out, name: str, result: EditResult, saved: Saved, cost: int | None) -> None:
    """Print where the pictures are and what they cost: a line each, or one record."""
    from asyncsdk.cli.edits.records import record
    from asyncsdk.images.costs.money import in_dollars, shown

    files = [str(path) for path in saved.files]
    facts = [fact for fact in (tokens_of(result.usage), "" if cost is None else shown(cost)) if fact]
    lines = [", ".join([files[0], *facts]), *files[1:]] if files else []
    status: Status = "done" if saved.failure is None else "uncertain"
    dollars = in_dollars(cost)
    entry = record(name, status, files=files, usage=result.usage, cost=dollars, problem=saved.problem)
    if files:
        written.result("\n".join(lines), record=entry, name="\n".join(files))
    else:
        written.record(entry)
    if note := about_scripts(files):
        complain(note)
