"""Saves an edit's pictures: free names, older files moved aside, what can't be used kept raw, none lost."""

from __future__ import annotations

import errno
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, count
from pathlib import Path, PurePath
from typing import Literal
from urllib.parse import quote

import anyio
from attrs import define, evolve, field, frozen

from asyncsdk import files
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.destination import OWN_DIRECTORY, RAW, SUFFIXES, Destination, aside, beside
from asyncsdk.images.names import raw_stem, safe_name
from asyncsdk.models import EditedImage, ImagesResponse, UnreadableImage
from asyncsdk.remote.address import local_path, remote_address
from asyncsdk.wal import disk

LONGEST_URL = 8192

_LOGIN = re.compile(r"\A((?:[a-z][a-z0-9+.-]*:)?//)[^/?#]*@", re.IGNORECASE)
_NOT_IN_URLS = re.compile(r"[^\x21-\x7e]")

IfTaken = Literal["refuse", "overwrite", "beside", "move aside"]


def destination_of(target: str | os.PathLike[str], name: str | None, *, default: str) -> Destination:
    """Read the `target` of a caller: a directory, or a file if it has the suffix of a picture.

    Raises ConfigurationError for a URL.
    """
    if isinstance(target, str):
        if (address := remote_address(target)) is not None:
            raise ConfigurationError(
                f"{address} is a URL, and pictures of one edit are saved on this machine: pass a path; edit_many puts "
                "pictures in a bucket, by out=."
            )
        target = local_path(target)
    path = Path(target)
    if path.suffix.lower() in SUFFIXES and not is_directory(target):
        return Destination(path.parent, name or path.stem, path.suffix)
    return Destination(path, name or safe_name(default))


def is_directory(target: str | os.PathLike[str]) -> bool:
    """Whether a caller's `target` is a directory that is there, or is written as one: `out/`."""
    return os.fspath(target).endswith(("/", os.sep)) or os.path.isdir(target)  # noqa: PTH112 - which raises nothing


@frozen
class FileWriter:
    """Writes and moves files. `drafts` is a directory for files until they are whole; None for beside their place.

    `below` is a directory that is not made again where it is gone. After a failure `again` decides whether to try once
    more. `doubts` collects the disk's errors about files whose names may not survive a power cut.
    """

    drafts: Path | None = None
    below: Path | None = None
    again: files.Again = field(factory=lambda: files.Waiting().again)
    doubts: list[OSError] = field(factory=list)

    async def save(
        self,
        path: Path,
        content: bytes,
        *,
        overwrite: bool = False,
        mode: int = files.BY_UMASK,
        on_saved: Callable[[], object] = lambda: None,
    ) -> None:
        """Save one file, as `files.save` does. Raises OSError where it is not saved."""
        doubt = await files.save(
            path,
            content,
            overwrite=overwrite,
            drafts=self.drafts,
            mode=mode,
            below=self.below,
            again=self.again,
            on_saved=on_saved,
        )
        if doubt is not None:
            self.doubts.append(doubt)

    async def has(self, path: Path, content: bytes) -> bool:  # noqa: ARG002 - for those that save again
        """Whether `content` is at `path` already, saved by an earlier run that was not recorded."""
        return False

    async def move(self, path: Path, target: Path) -> None:
        """Move a file. Raises OSError: FileExistsError where something is at `target`."""
        below = self.below if self.drafts is None else self.drafts.parent  # a ledger's directory, if it is in there
        await files.move(path, target, below=below, again=self.again)


@define(eq=False, kw_only=True)
class Saving:
    """Saves the images of one paid edit: each that can be saved is, whatever happens to the others.

    The images in the response are saved first, then each that has only a URL, as `receive` fetches it (None: it is not
    fetched), all under the name of their number. Without a `place` only what can't be used is kept, in `raw_folder`.
    `if_taken` is what to do if a name is in use: refuse the image, overwrite the file, save beside it, or move aside
    the files of the first `names` names, and call `moved` with them; an image beyond those gets a name that is free
    and that is not another edit's (`is_anothers`). An image that does not get the place's suffix is saved beside. With
    `shielded` a cancellation interrupts no write, unless that takes longer than `end_within` allows; it does interrupt
    a wait of `way.again`.

    Afterwards `saved` are the images on disk by their number, `fetched` those that were fetched and are not on disk,
    `raw_files` have what came in the place of others, `displaced` are older images where they are now, and `failures`
    are what went wrong.
    """

    response: ImagesResponse
    receive: Callable[[str], Awaitable[bytes | UnreadableImage]] | None
    place: Destination | None
    raw_folder: Path | None
    raw_name: str
    if_taken: IfTaken = "refuse"
    names: int = 0
    way: FileWriter = field(factory=FileWriter)
    moved: Callable[[Mapping[str, str]], Awaitable[object]] | None = None
    is_anothers: Callable[[str], bool] = lambda _: False
    beside: Callable[[str], Iterator[str]] = beside
    shielded: bool = False
    saved: dict[int, Path] = field(factory=dict, init=False)
    fetched: dict[int, bytes] = field(factory=dict, init=False)
    raw_files: list[Path] = field(factory=list, init=False)
    displaced: list[Path] = field(factory=list, init=False)
    failures: list[Exception | UnreadableImage] = field(factory=list, init=False)
    disk_failure: Exception | None = field(default=None, init=False)  # the first, if the disk refused something
    _scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    _deadline: float = field(default=math.inf, init=False)
    _at: Destination | None = field(default=None, init=False)  # where its pictures go: `place`, or one beside it

    @property
    def doubts(self) -> list[OSError]:
        """The disk's errors about saved images whose names may not survive a power cut."""
        return self.way.doubts

    @property
    def files(self) -> tuple[Path, ...]:
        """The images on disk, in the order of the response."""
        return tuple(self.saved[number] for number in sorted(self.saved))

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the server keeps images that are not on disk."""
        unsaved = [image for number, image in enumerate(self.response.data) if number not in self.saved]
        return () if self.place is None else tuple(shown_url(image.url) for image in unsaved if image.url)

    @property
    def data(self) -> tuple[EditedImage, ...]:
        """The images of the response, with the content of those that were fetched and are not on disk."""
        images = enumerate(self.response.data)
        return tuple(
            evolve(image, content=self.fetched[number]) if number in self.fetched else image for number, image in images
        )

    @property
    def came(self) -> int:
        """How many images the response has, usable or not."""
        return len(self.response.data) + len(self.response.unreadable)

    @property
    def misnamed(self) -> str:
        """The message for images that have another suffix than was requested; '' if there are none."""
        if self.place is None:
            return ""
        others = (number for number in sorted(self.saved) if not self.place.accepts(self.saved[number]))
        names = [f"{self.saved[number]} (not {self.place.requested(number).name})" for number in others]
        return f"the server sent another format than was requested: saved as {', '.join(names)}" if names else ""

    @property
    def unusable(self) -> list[UnreadableImage]:
        """What came in the place of images."""
        return [failure for failure in self.failures if isinstance(failure, UnreadableImage)]

    @property
    def is_whole(self) -> bool:
        """Whether all that came is an image, and on disk if there is a place for it."""
        return not self.failures and (self.place is None or len(self.saved) == self.came)

    @property
    def is_in_memory(self) -> bool:
        """Whether an image that came is not on disk."""
        unsaved = (image for number, image in enumerate(self.data) if number not in self.saved)
        return self.place is not None and any(image.content is not None for image in unsaved)

    async def run(self) -> None:
        """Save everything that can be saved. Raises nothing but a cancellation; see `failures`."""
        with self._whole_writes():
            for number, image in enumerate(self.response.data):
                if image.content is not None:
                    await self._save(number, image.content)
            for unreadable in self.response.unreadable:
                await self._keep_raw(unreadable)
        for number, image in enumerate(self.response.data):
            if image.content is None and self.place is not None and self.receive is not None:
                await self._fetch(number, partial(self.receive, image.url or ""))

    def end_within(self, seconds: float) -> None:
        """Give up after `seconds` what the disk has not written by then: it may hang for ever."""
        self._scope.deadline = self._deadline = anyio.current_time() + seconds

    async def _fetch(self, number: int, receive: Callable[[], Awaitable[bytes | UnreadableImage]]) -> None:
        try:
            content = await files.patiently(receive, self.way.again)
        except Exception as error:  # noqa: BLE001 - whatever one URL does, the others are fetched
            self.failures.append(error)
            return
        with self._whole_writes():
            if isinstance(content, UnreadableImage):
                await self._keep_raw(content)
            else:
                self.fetched[number] = content
                await self._save(number, content)

    @contextmanager
    def _whole_writes(self) -> Iterator[None]:
        with anyio.CancelScope(shield=self.shielded, deadline=self._deadline) as self._scope:
            yield
        if self._scope.cancelled_caught:
            self._fail(TimeoutError(errno.ETIMEDOUT, "the disk hangs"))

    @property
    def _way(self) -> FileWriter:
        return evolve(self.way, again=self._again)

    async def _again(self, error: Exception) -> bool:
        """Ask `way.again`; a cancellation interrupts the wait, during which nothing is written."""
        self._scope.shield = False
        try:
            return await self.way.again(error)
        finally:
            self._scope.shield = self.shielded

    async def _save(self, number: int, content: bytes) -> None:
        if self.place is None:
            return
        try:
            if await self._way.has(path := self.place.path(number, content), content):
                self._note(number, path)
                return
            self._at = self._at or await self._cleared(self.place)
            await self._write(self._at, number, content)
        except Exception as error:  # noqa: BLE001 - such as a thread that can't be had
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failures.append(error)
        self.disk_failure = self.disk_failure or error

    async def _cleared(self, place: Destination) -> Destination:
        """Before the first is saved: a place whose names are free, or whose files were moved aside."""
        if self.if_taken == "beside":
            return await self._free(place, range(len(self.response.data)))
        if self.if_taken == "move aside":
            moved = await move_existing_aside(place, self.names, self._way, spare=self.files)
            self.displaced += [place.directory / now for now in moved.values()]
            if self.moved is not None:
                await self.moved(moved)
        return place

    async def _write(self, place: Destination, number: int, content: bytes) -> None:
        is_requested = number < self.names or self.if_taken != "move aside"
        if not is_requested:  # its name may be another edit's
            place = await self._free(place, [number])
        path = place.path(number, content)
        if_taken = self.if_taken if place.accepts(path) else "beside"  # nobody asked for another file to be replaced
        try:
            on_saved = partial(self._note, number, path)
            await self._way.save(path, content, overwrite=if_taken == "overwrite", on_saved=on_saved)
        except FileExistsError:
            if if_taken == "refuse":
                raise
            if is_requested:  # a file could not be moved, or came meanwhile: all that follow go elsewhere too
                place = self._at = await self._free(place, range(len(self.response.data)))
            await self._write(place, number, content)

    def _note(self, number: int, path: Path) -> None:
        self.saved[number] = path
        self.fetched.pop(number, None)

    async def _free(self, place: Destination, numbers: Iterable[int]) -> Destination:
        """`place`, or the first beside it where the names of these images are free."""
        first = self.place or place
        for candidate in chain([place], (evolve(first, name=name) for name in self.beside(first.name))):
            if any(self.is_anothers(candidate.stem(number)) for number in numbers):
                continue
            paths = [path for number in numbers for path in candidate.paths_of(number)]
            if not await files.existing(paths, again=self._way.again):
                return candidate
        raise AssertionError("numbers do not end")

    async def _keep_raw(self, unreadable: UnreadableImage) -> None:
        self.failures.append(unreadable)
        if self.raw_folder is None or not unreadable.raw:
            return
        try:
            await save_raw(self.raw_folder, self.raw_name, unreadable.raw, self._way, on_saved=self.raw_files.append)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)


async def save_raw(
    folder: Path, name: str, content: bytes, way: FileWriter, *, on_saved: Callable[[Path], object]
) -> None:
    """Save in `folder` what came in the place of an image, for this user alone. Raises OSError.

    The file is named after the edit and gets the next number that is free; `on_saved` gets its path before
    its directory is synced.
    """
    make = partial(files.in_thread, _make_private, folder, way.below, again=way.again)
    await files.patiently(make, way.again)
    for number in count(1):
        path = folder / f"{raw_stem(name)}-{number}.raw"
        if not await files.existing([path], again=way.again):
            with suppress(FileExistsError):  # another process was quicker: the next number
                await way.save(path, content, mode=files.PRIVATE, on_saved=partial(on_saved, path))
                return
    raise AssertionError("numbers do not end")


def raw_folder_in(directory: Path) -> Path:
    """The directory of what can't be used, beside the pictures of `directory`."""
    return directory / OWN_DIRECTORY / RAW


def shown_url(url: str) -> str:
    """`url` as it may be shown and used: on one line, of bounded length, without user name and password."""
    return _NOT_IN_URLS.sub(
        lambda match: quote(match[0].encode("utf-8", "surrogatepass")), _LOGIN.sub(r"\1", url[:LONGEST_URL], count=1)
    )


def _make_private(folder: Path, below: Path | None) -> None:
    """Make a directory, and its parent unless it is that of a run, which is not made again where it is gone."""
    if below is None:
        files.make_directory(folder.parent.parent)
    for path in (folder.parent, folder) if below is None else (folder,):
        if disk.make_directory(path):
            disk.sync_directory(path.parent)


async def move_existing_aside(
    place: Destination, pictures: int, way: FileWriter, *, spare: Iterable[Path] = ()
) -> dict[str, str]:
    """Move what is at `place`, but for `spare`, into `.asyncsdk/replaced`, under names that contain the time.

    Returns where each was and where it is now, below the directory. What can't be moved stays where it is.
    """
    moved = {}
    for path in await files.existing(place.paths(pictures), again=way.again):
        if path in spare:
            continue
        was = PurePath(path.relative_to(place.directory))
        with suppress(OSError):
            moved[was.as_posix()] = (await _aside(place.directory, was, way)).as_posix()
    return moved


async def _aside(directory: Path, was: PurePath, way: FileWriter) -> PurePath:
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in count(1):
        now = PurePath(aside(was.as_posix(), moment, number))
        with suppress(FileExistsError):  # it was moved before within this second
            await way.move(directory / was, directory / now)
            return now
    raise AssertionError("numbers do not end")
