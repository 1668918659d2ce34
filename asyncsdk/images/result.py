"""What came of an edit: its pictures, what it cost, and how they are saved."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path, PurePath

from attrs import define, field

from asyncsdk.errors import AsyncSDKError, SaveError
from asyncsdk.images.edit import ImageEdit, file_name
from asyncsdk.images.outcome import Problem
from asyncsdk.images.saving import place_of, save_all, save_beside
from asyncsdk.models import EditedImage, ImagesResponse, Usage

Fetch = Callable[[str], Awaitable[bytes]]


@define(eq=False)
class EditResult:
    """The pictures of one edit, with the server's own words on how it made them. `response` is the whole answer."""

    response: ImagesResponse = field(repr=False)
    edit: ImageEdit
    _fetch: Fetch = field(repr=False)

    @property
    def images(self) -> tuple[EditedImage, ...]:
        """The pictures: each with `content` (bytes) or, from older models, a `url` that lives 60 minutes."""
        return self.response.data

    @property
    def created(self) -> int | None:
        """When it was made, in unix seconds."""
        return self.response.created

    @property
    def usage(self) -> Usage | None:
        """What it cost, in tokens, for all its pictures together; None where the server does not say."""
        return self.response.usage

    @property
    def request_id(self) -> str | None:
        """The server's name for the request, to be told to its support."""
        return self.response.request_id

    @property
    def size(self) -> str | None:
        """The size that was used, such as `1024x1024`."""
        return self.response.size

    @property
    def quality(self) -> str | None:
        """The quality that was used."""
        return self.response.quality

    @property
    def background(self) -> str | None:
        """The background that was used."""
        return self.response.background

    @property
    def output_format(self) -> str | None:
        """The format that was used: png, jpeg, webp, gif or svg."""
        return self.response.output_format

    async def contents(self) -> list[bytes]:
        """The pictures' bytes; those behind a URL are fetched, without the key. Raises APIError."""
        return [image.content if image.content is not None else await self._fetched(image) for image in self.images]

    async def save(
        self, target: str | os.PathLike[str], *, name: str | None = None, overwrite: bool = False
    ) -> list[Path]:
        """Save the pictures, durably, and return where: the suffix says what their bytes are.

        `target` is a directory, made if missing, or a file if it ends like one (`otter.png`); more than one
        become `name.png`, `name.1.png` and so on. Without a `name` the first source picture gives it, and one
        that is taken gets a number. Raises SaveError, which keeps the pictures: also where `name` or the file
        is there already, unless `overwrite`.
        """
        saved: list[Path] = []
        place = place_of(target, name, default=PurePath(file_name(self.edit.image[0]) or "edit").stem)
        free = name is None and place.directory == Path(target)
        try:
            contents = await self.contents()
            if free and not overwrite:
                return await save_beside(place, contents, saved=saved)
            return await save_all(place, contents, overwrite=overwrite, saved=saved)
        except (OSError, AsyncSDKError) as error:
            raise not_saved(error, self, saved) from error

    async def _fetched(self, image: EditedImage) -> bytes:
        return await self._fetch(image.url or "")


def not_saved(error: Exception, result: EditResult, files: Sequence[Path] = ()) -> SaveError:
    """The error that tells of pictures which are paid and could not be kept: `files` are those on disk."""
    pictures = len(result.images)
    what = "its pictures could not be saved"
    if files:
        what = f"only {len(files)} of its {pictures} pictures could be saved"
    if len(files) >= pictures:
        what = "its pictures, which are on disk, could not be handed on"
    place = getattr(error, "filename2", None) or getattr(error, "filename", None)
    reason = f"{place}: {error.strerror}" if isinstance(error, OSError) and place else str(error) or repr(error)
    failure = SaveError(f"the edit is done and paid, but {what} ({reason}). {_where(result, files)}")
    failure.__cause__, failure.result, failure.files = error, result, tuple(files)
    return failure


def _where(result: EditResult, files: Sequence[Path]) -> str:
    """Where each picture is, in words."""
    on_disk = f"On disk: {', '.join(map(str, files))}. " if files else ""
    if len(files) >= len(result.images):
        return f"{on_disk}Sending the edit again would be paid again."
    if any(image.content is None for image in result.images):
        rest = "The server keeps them for 60 minutes, behind the URLs in error.result.images; fetch and save them"
    else:
        rest = "They are in memory still: save them elsewhere"
    return f"{on_disk}{rest} with error.result.save(…); sending the edit again would be paid again."


def shortfall(result: EditResult) -> Problem | None:
    """What is told of an edit that is done where fewer pictures came than were asked for."""
    came, asked = len(result.images), result.edit.n or 1
    if came >= asked:
        return None
    message = f"{came} of {asked} pictures came, and they are paid. Another edit may make the others."
    return Problem(type="EditError", message=message, request_id=result.request_id)
