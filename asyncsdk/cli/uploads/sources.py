"""The SOURCEs of `upload`: files and objects by name, what directories and lists hold; what is left out, and why."""

from __future__ import annotations

import codecs
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path, PurePath

from attrs import define, field, frozen

from asyncsdk.cli.filters import Filters
from asyncsdk.cli.left_out import LeftOut
from asyncsdk.cli.patterns import expand
from asyncsdk.cli.unread import unread_source
from asyncsdk.cli.uploads.standard_input import DASH, WORD
from asyncsdk.cli.walk import is_passed_over, walk, within
from asyncsdk.errors import AsyncSDKError, ConfigurationError, RemoteError, SourceError
from asyncsdk.given import shown_as_url
from asyncsdk.remote.address import RemoteAddress, local_path, remote_address
from asyncsdk.remote.failures import before_sending
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.remote.writing import RemoteEntry, pages

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@frozen
class Selection:
    """Where to look for files, and which of them are wanted.

    `lists` are files with a path a line, `-` for standard input. `apart_from` is a directory of the program's own.
    """

    sources: Sequence[str]
    lists: Sequence[str] = ()
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    follow_links: bool = False
    apart_from: Path | None = None

    def filters(self) -> Filters:
        """The patterns. Raises ConfigurationError for one that can match nothing."""
        try:
            return Filters.of(self.include, self.exclude)
        except ValueError as error:
            raise ConfigurationError(f"--include and --exclude: {error}. Nothing was sent.") from error


@define(eq=False)
class UploadSources:
    """The files to send: `named` by the user, or `found` in directories and lists. None is in it twice.

    `found` has the path of each file, and of one in a list where it stands there. `left_out`, `ignored` and `again`
    are as in `Walk`. It `has_more` than files that were named where a directory or a list was given. `below` has the
    path of each file of a directory as it is below that, with slashes; `folders` is how many of these there are.

    An object is in it by its URL as it may be shown; `urls` has all of that, and `sizes` the bytes where a listing gave
    them. `prefixes` are to be listed, each with its place in a list; `refused` is what can't be sent of what is
    found.
    """

    named: list[str] = field(factory=list, init=False)
    found: dict[str, str] = field(factory=dict, init=False)
    left_out: list[LeftOut] = field(factory=list, init=False)
    ignored: Counter[str] = field(factory=Counter, init=False)
    again: list[Path] = field(factory=list, init=False)
    has_more: bool = field(default=False, init=False)
    below: dict[str, str] = field(factory=dict, init=False)
    folders: int = field(default=0, init=False)
    urls: dict[str, str] = field(factory=dict, init=False)
    sizes: dict[str, int] = field(factory=dict, init=False)
    prefixes: dict[RemoteAddress, str] = field(factory=dict, init=False)
    refused: dict[str, AsyncSDKError] = field(factory=dict, init=False)
    _known: set[str] = field(factory=set, init=False)

    @property
    def is_one_file(self) -> bool:
        """Whether one file was named, and nothing else."""
        return len(self.named) == 1 and not self.has_more

    @property
    def is_one_folder(self) -> bool:
        """Whether all of it is what is in one directory."""
        return self.folders == 1 and self.found.keys() == self.below.keys() and not (self.named or self.prefixes)

    def add_named(self, name: str) -> None:
        """A file that the user named."""
        if self._is_new(name):
            self.named.append(name)

    def add_found(self, path: str, place: str = "") -> None:
        """A file of a directory or a list."""
        if self._is_new(path):
            self.found[path] = place

    def add_url(self, url: str, address: RemoteAddress, place: str | None = None) -> None:
        """An object, or a prefix with all that is below it, that the user named, or that is at a `place` in a list."""
        if address.is_prefix:
            self.prefixes.setdefault(address, place or "")
            return
        if remote_address(self.urls.get(address.shown, url)) != address:
            error = ConfigurationError(
                f"two of the given URLs are {address.shown} with another query or login, which is not shown: one can't "
                "be told from the other here. Send each by a command of its own. Nothing was sent."
            )
            if place is None:
                raise error
            self.refuse(address.shown, error, place)
            return
        self.urls[address.shown] = url
        if place is None:
            self.add_named(address.shown)
        else:
            self.add_found(address.shown, place)

    def add_object(self, entry: RemoteEntry) -> None:
        """An object of a listing."""
        shown = entry.address.shown
        self.urls[shown], self.sizes[shown] = shown, entry.size
        self.add_found(shown)

    def refuse(self, name: str, error: AsyncSDKError, place: str = "") -> None:
        """Something of a list or a listing that can't be sent."""
        self.found[name], self.refused[name] = place, error

    def add_folder(self, folder: str, selection: Selection, filters: Filters) -> None:
        """The files below a directory. Raises OSError if it can't be read."""
        top = Path(folder)
        own = None if selection.apart_from is None else within(top, selection.apart_from)
        content = walk(top, apart_from=own, filters=filters, follow_links=selection.follow_links)
        self.folders += 1
        for path in content.files:
            self.below[os.fspath(path)] = path.relative_to(top).as_posix()
            self.add_found(os.fspath(path))
        self.left_out += content.left_out
        self.ignored.update(content.ignored)
        self.again += content.again

    def _is_new(self, path: str) -> bool:
        full = path if path in self.urls else os.path.abspath(path)  # noqa: PTH100 - two links are two files
        is_new = full not in self._known
        self._known.add(full)
        return is_new


def sources_in(selection: Selection) -> UploadSources:
    """Look through all sources. May block, and reads standard input if a list is `-`.

    Raises:
        ConfigurationError: A directory or a list that was named can't be read, or there is nothing to send.
    """
    filters, found = selection.filters(), UploadSources()
    if not (selection.sources or selection.lists):
        raise ConfigurationError("SOURCE is missing: give files, directories, or --files-from LIST. Nothing was sent.")
    urls = {name: address for name in selection.sources if (address := remote_address(name)) is not None}
    names = list(dict.fromkeys(expand([local_path(name) for name in selection.sources if name not in urls])))
    if WORD in names and DASH in selection.lists:
        raise ConfigurationError("standard input is either a SOURCE or a list of files, not both. Nothing was sent.")
    folders = [name for name in names if not unread_source(name) and os.path.isdir(name)]  # noqa: PTH112 - raises nothing
    for url, address in urls.items():
        found.add_url(url, address)
    found.has_more = bool(folders or found.prefixes or selection.lists)
    if filters and not found.has_more:
        raise ConfigurationError(
            "--include and --exclude are for what directories and lists hold, and none was given. Nothing was sent."
        )
    for name in names:
        if name == WORD:
            found.named.append(DASH)
        elif name not in folders:
            found.add_named(name)
    _add_folders(folders, found, selection, filters)
    for name in selection.lists:
        _add_list(name, found, selection, filters)
    return found


def _add_folders(folders: Sequence[str], found: UploadSources, selection: Selection, filters: Filters) -> None:
    for folder in folders:
        try:
            found.add_folder(folder, selection, filters)
        except OSError as error:
            raise ConfigurationError(f"can't read {folder}: {error.strerror or error}. Nothing was sent.") from error


async def look_through(found: UploadSources, selection: Selection, stores: RemoteStores) -> None:
    """List the prefixes of `found`, as directories are looked through.

    Raises ConfigurationError where one that was named can't be listed, RemoteError where its store can't be reached.
    """
    filters = selection.filters()
    for prefix, place in found.prefixes.items():
        listing = _Listing(filters)
        try:
            async for page in pages(prefix, stores):
                listing.take(page)
        except RemoteError as error:
            if place:
                found.refuse(prefix.shown, error, place)
            else:
                raise before_sending(error) from error
        else:
            listing.add_to(found)


@define(eq=False)
class _Listing:
    """What is to be sent of a listing, which comes page by page: the rest of a page is not kept."""

    _filters: Filters
    _entries: list[RemoteEntry] = field(factory=list, init=False)
    _folders: set[str] = field(factory=lambda: {""}, init=False)
    _hidden: int = field(default=0, init=False)

    def take(self, page: Sequence[RemoteEntry]) -> None:
        """Keep what is wanted of a page."""
        for entry in page:
            parts = entry.below.split("/")
            self._folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
            if any(map(is_passed_over, parts)):
                self._hidden += 1
            elif not self._filters or self._filters.takes(parts):
                self._entries.append(entry)

    def add_to(self, found: UploadSources) -> None:
        """Hand over what was kept, in the order in which a directory is looked through."""
        found.ignored["hidden"] += self._hidden
        for entry in sorted(self._entries, key=lambda entry: entry.below.split("/")):
            if entry.size:
                found.add_object(entry)
            elif entry.below not in self._folders:  # else it stands for a folder: other tools make such
                shown = entry.address.shown
                error = SourceError(f"{shown} is empty; an upload needs at least one byte. Nothing was sent.")
                found.refuse(shown, error)


def _add_list(name: str, found: UploadSources, selection: Selection, filters: Filters) -> None:
    """The files in a list; a directory in it is looked through."""
    for line, path in _paths_in(name):
        place = f"line {line:,} of {'standard input' if name == '-' else name}"
        try:
            path = local_path(path)  # noqa: PLW2901 - of a file:// URL
            address = remote_address(path)
        except ConfigurationError as error:
            found.refuse(shown_as_url(path) or path, error, place)
            continue
        if address is not None:
            if address.is_prefix or not filters or filters.takes(address.path.split("/")):
                found.add_url(path, address, place)
        elif unread_source(path):
            found.add_found(path, place)  # refused with all that can't be read
        elif os.path.isdir(path):  # noqa: PTH112 - raises nothing
            try:
                found.add_folder(path, selection, filters)
            except OSError as error:
                found.left_out.append(LeftOut(Path(path), f"{error.strerror or error} ({place})"))
        elif not filters or filters.takes(PurePath(path).parts):
            found.add_found(path, place)


def _paths_in(name: str) -> Iterator[tuple[int, str]]:
    """The paths in a list, with their lines: one a line, or with NUL between them, as `find -print0` writes them."""
    data = _content_of(name)
    if data.startswith(_UTF_16):
        try:
            data = data.decode("utf-16", "surrogatepass").encode(errors="surrogatepass")
        except UnicodeDecodeError:
            raise ConfigurationError(
                f"--files-from {name}: it begins as UTF-16, and is not. Nothing was sent."
            ) from None
    data = data.removeprefix(codecs.BOM_UTF8)
    end = b"\0" if b"\0" in data else b"\n"
    for line, path in enumerate(data.split(end), 1):
        text = path if end == b"\0" else path.removesuffix(b"\r")
        if text.strip():
            yield line, os.fsdecode(text)


def _content_of(name: str) -> bytes:
    if name == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise ConfigurationError("--files-from -: standard input is not a list: pipe one into it. Nothing was sent.")
    if (url := shown_as_url(name)) is not None:
        raise ConfigurationError(
            f"--files-from {url}: it is a URL; a list is a file of this machine. Nothing was sent."
        )
    try:
        if name == "-":  # not by its buffer, whose lock would abort a program that ends meanwhile
            return FileIO(0, closefd=False).readall()
        return Path(name).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"--files-from {name}: {error.strerror or error}. Nothing was sent.") from error
