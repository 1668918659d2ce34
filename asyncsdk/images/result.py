"""What came of an edit: its pictures, what it cost, and how they are saved."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePath

from attrs import define, field

from asyncsdk.errors import AsyncSDKError, SaveError
from asyncsdk.images.edit import ImageEdit, file_name
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
        place = place_of(target, name, default=PurePath(file_name(self.edit.image[0]) or "edit").stem)
        free = name is None and place.directory == Path(target)
        try:
            contents = await self.contents()
            if free and not overwrite:
                return await save_beside(place, contents)
            return await save_all(place, contents, overwrite=overwrite)
        except (OSError, AsyncSDKError) as error:
            raise not_saved(error, self) from error

    async def _fetched(self, image: EditedImage) -> bytes:
        return await self._fetch(image.url or "")


def not_saved(error: Exception, result: EditResult) -> SaveError:
    """The error that tells of pictures which are paid and not on disk, and keeps them."""
    place = getattr(error, "filename2", None) or getattr(error, "filename", None)
    reason = f"{place}: {error.strerror}" if isinstance(error, OSError) and place else str(error)
    failure = SaveError(
        f"the edit is done and paid, but its pictures could not be saved ({reason}). They are in memory still: "
        "save them elsewhere with error.result.save(…); sending the edit again would be paid again."
    )
    failure.result = result
    return failure
