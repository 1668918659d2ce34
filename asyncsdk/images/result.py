"""`EditResult`: the pictures of an edit and what they cost; saving them, and the error where that fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path, PurePath

from attrs import define, evolve, field, frozen

from asyncsdk.api import AT_URL
from asyncsdk.counts import counted
from asyncsdk.errors import APIConnectionError, APIResponseValidationError, ChargeUnknownError, SaveError
from asyncsdk.images.destination import NOT_DELIVERED, Destination
from asyncsdk.images.edit import ImageEdit, file_name
from asyncsdk.images.header import picture_problem
from asyncsdk.images.saving import FileWriter, Saving, destination_of, raw_folder_in, save_raw
from asyncsdk.models import EditedImage, ImagesResponse, UnreadableImage, Usage

logger = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]


async def without_a_client(url: str) -> bytes:  # noqa: ARG001 - a Fetch
    """Raise APIConnectionError: a result that came out of a pickle has no client."""
    raise APIConnectionError(
        "GET the image's URL: this result came from another process, or out of a file, and has no client. Nothing was "
        "sent. Fetch it with Client.download_url(image.url) within 60 minutes of its creation.",
        request="GET the image's URL",
        sent=False,
    )


@frozen(eq=False)
class Fetching:
    """Fetches by `fetch`, a client's. Copies share it; a pickle leaves it behind."""

    fetch: Fetch

    async def __call__(self, url: str) -> bytes:
        """The image at `url`. Raises APIError."""
        return await self.fetch(url)

    def __deepcopy__(self, memo: object) -> Fetching:
        return self

    def __reduce__(self) -> tuple[type[Fetching], tuple[Fetch]]:
        return Fetching, (without_a_client,)


@define(eq=False)
class EditResult:
    """The pictures of one edit, with what the server reports of how it made them.

    It may be pickled; the copy has no client, and can't fetch images of which there is only a URL.

    Attributes:
        response: The whole response.
        edit: The edit that was sent.
    """

    response: ImagesResponse = field(repr=False)
    edit: ImageEdit
    _fetch: Fetching = field(converter=Fetching, repr=False)  # a client's `fetch`

    @property
    def images(self) -> tuple[EditedImage, ...]:
        """The pictures: each has `content` (bytes) or, from older models, a `url` that is valid for 60 minutes."""
        return self.response.data

    @property
    def created(self) -> int | None:
        """When they were made, in unix seconds."""
        return self.response.created

    @property
    def usage(self) -> Usage | None:
        """What all its pictures cost together, in tokens; None where the server does not report it."""
        return self.response.usage

    @property
    def request_id(self) -> str | None:
        """The server's id of the request, for its support."""
        return self.response.request_id

    @property
    def size(self) -> str | None:
        """The size that was used, width and height in pixels, such as `1024x1024`."""
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
        """The bytes of the pictures; those at a URL are fetched, without the key.

        Returns:
            One `bytes` for each picture, in the order of `images`.

        Raises:
            APIError: A picture can't be fetched.
        """
        return [image.content if image.content is not None else await self._fetched(image) for image in self.images]

    async def save(
        self, target: str | os.PathLike[str], *, name: str | None = None, overwrite: bool = False
    ) -> list[Path]:
        """Save the pictures durably, each with the suffix of what its bytes are.

        Args:
            target: A directory, made if missing, or a file if it ends like one (`otter.png`). Pictures of another
                format get the suffix of that, which is logged as a warning.
            name: The name without suffix; several pictures become `name.png`, `name.1.png` and so on. By default the
                name of the first source picture, with a number where that is taken.
            overwrite: Whether to replace files that exist; never one with another suffix than `target`'s.

        Returns:
            The paths of the pictures.

        Raises:
            SaveError: Not all were saved, or `name` or the file exists. Every picture that can be saved is; the error
                has the others. What came in the place of a picture is kept in `.asyncsdk/raw` beside them.
        """
        place = destination_of(target, name, default=PurePath(file_name(self.edit.image[0]) or "edit").stem)
        saving = saving_at(self, place, is_named=name is not None or bool(place.suffix), overwrite=overwrite)
        await self.save_by(saving)
        if saving.misnamed:
            logger.warning("%s", saving.misnamed)
        if not saving.is_whole:
            raise not_saved(self, saving)
        return list(saving.files)

    async def save_by(self, saving: Saving) -> None:
        """Save all that can be saved. What was fetched and could not be saved stays in memory, like the others.

        Args:
            saving: Where to, and how far it is.
        """
        try:
            await saving.run()
        finally:
            if saving.fetched:
                self.response = evolve(self.response, data=saving.data)

    async def receive(self, url: str) -> bytes | UnreadableImage:
        """Fetch a picture, or what is there instead of one.

        Args:
            url: Where the server keeps it.

        Raises:
            APIError: It can't be fetched.
        """
        content = await self._fetch(url)
        problem = picture_problem(content)
        return content if problem is None else UnreadableImage(raw=content, reason=f"{AT_URL}: {problem}")

    async def _fetched(self, image: EditedImage) -> bytes:
        content = await self.receive(image.url or "")
        if isinstance(content, bytes):
            return content
        raise APIResponseValidationError(content.reason, request=AT_URL)


def saving_at(
    result: EditResult, place: Destination, *, is_named: bool, overwrite: bool, shielded: bool = False
) -> Saving:
    """How the pictures of `result` get to `place`: beside what is there, unless the caller named the file."""
    return Saving(
        response=result.response,
        receive=result.receive,
        place=place,
        raw_folder=raw_folder_in(place.directory),
        raw_name=place.name,
        if_taken="overwrite" if overwrite else "refuse" if is_named else "beside",
        shielded=shielded,
    )


def not_saved(result: EditResult, saving: Saving, why: Exception | None = None) -> SaveError:
    """The SaveError of an edit that is paid and not wholly saved, with where each picture is.

    `why` is what went wrong besides the failures of `saving`.
    """
    causes = [*([] if why is None else [why]), *saving.failures]
    reasons = "; ".join(dict.fromkeys(map(_reason, causes)))
    failure = SaveError(f"the edit is done and paid, but {_what(saving, why)} ({reasons}). {_where(saving, why)}")
    errors = (cause for cause in causes if isinstance(cause, Exception))
    failure.__cause__ = saving.disk_failure or why or next(errors, None)
    failure.result, failure.files, failure.urls = result, saving.files, saving.urls
    failure.in_memory = _is_in_memory(saving, why)
    failure.raw, failure.raw_files = tuple(unusable.raw for unusable in saving.unusable), tuple(saving.raw_files)
    return failure


def not_delivered(result: EditResult, kept: Sequence[Path], target: str, why: Exception | None) -> SaveError:
    """The SaveError of an edit that is paid, and whose pictures wait on this machine for the way to `target`."""
    reason = "there was no time for it" if why is None else _reason(why)
    failure = SaveError(
        f"the edit is done and paid, but its pictures could not be put in {target} ({reason.removesuffix('.')})."
        f"\n  They are kept: {', '.join(map(str, kept))}.\n  Nothing is lost: once that works, the next run puts them "
        "there, and pays nothing for it."
    )
    failure.__cause__, failure.result, failure.files, failure.code = why, result, tuple(kept), NOT_DELIVERED
    return failure


async def keep_raw(
    error: ChargeUnknownError, folder: Path, name: str, way: FileWriter | None = None
) -> ChargeUnknownError:
    """Save in `folder` what came in the place of images of the edit `name`; returns the error with those files."""
    paths: list[Path] = []
    way = way or FileWriter()
    try:
        for content in filter(None, error.raw):
            await save_raw(folder, name, content, way, on_saved=paths.append)
        words = f"What came is kept as it came: {', '.join(map(str, paths))}."
    except Exception as failure:  # noqa: BLE001 - whatever the disk does, the edit's own error is what is reported
        words = f"What came could not be kept in {folder} ({_reason(failure)}); it is in error.raw."
    kept = ChargeUnknownError(f"{error}\n  {words}")
    kept.__cause__, kept.request_id, kept.status_code = error.__cause__, error.request_id, error.status_code
    kept.raw, kept.raw_files = error.raw, tuple(paths)
    return kept


def _what(saving: Saving, why: Exception | None) -> str:
    """What happened, for the message."""
    if saving.place is None and why is None:
        return f"{len(saving.unusable)} of its {counted(saving.came, 'picture')} can't be used"
    if saving.place is not None and saving.is_whole:
        return "`save` failed for its pictures, which are on disk"
    if saving.files:
        return f"only {len(saving.files)} of its {counted(saving.came, 'picture')} could be saved"
    return "its pictures could not be saved"


def _where(saving: Saving, why: Exception | None) -> str:
    """Where each picture is, for the message; addresses come last, each on its own line."""
    words = []
    if saving.files:
        words.append(f"On disk: {', '.join(map(str, saving.files))}.")
    if saving.raw_files:
        words.append(
            f"What came in the place of a picture is kept as it came: {', '.join(map(str, saving.raw_files))}."
        )
    if _is_in_memory(saving, why):
        rest = "The others" if saving.files else "They"
        words.append(f"{rest} are in memory as long as the program runs: error.result.save(…) saves them elsewhere.")
    words.append("Sending the edit again would be paid again.")
    if saving.urls:
        words.append("The server keeps a picture for 60 minutes: fetch it, or call error.result.save(…) again:")
    return "\n  ".join([" ".join(words), *saving.urls])


def _is_in_memory(saving: Saving, why: Exception | None) -> bool:
    """Whether a picture is in memory only; where the caller saves them all, that is so once its `save` fails."""
    return saving.is_in_memory or (saving.place is None and why is not None)


def _reason(cause: Exception | UnreadableImage) -> str:
    if isinstance(cause, UnreadableImage):
        return cause.reason
    place = getattr(cause, "filename2", None) or getattr(cause, "filename", None)
    return f"{place}: {cause.strerror}" if isinstance(cause, OSError) and place else str(cause) or repr(cause)
