"""SOURCEs of `edit-many` that are URLs: a job file, a picture, or what is below a prefix of a bucket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

from attrs import frozen

from asyncsdk.cli.edits.job_file import JOB_FILES, foreign_file
from asyncsdk.cli.edits.out_place import OutPlace
from asyncsdk.cli.edits.results import results_in
from asyncsdk.cli.edits.sources import FolderPictures, JobFile, Rows, named_below, rows_in
from asyncsdk.cli.pictures import is_picture
from asyncsdk.cli.walk import is_passed_over
from asyncsdk.errors import ConfigurationError, RemoteError
from asyncsdk.images.bulk.identity import ListedURL
from asyncsdk.images.bulk.ids import UniqueIds
from asyncsdk.remote.address import RemoteAddress, local_path, remote_address
from asyncsdk.remote.failures import before_sending
from asyncsdk.remote.reading import read_whole
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.remote.writing import RemoteEntry, pages

LARGEST_JOB_FILE = 1 << 30  # bytes; its rows are read from memory
Fetched = Mapping[str, JobFile | FolderPictures]


async def rows_of(
    sources: Sequence[str], place: OutPlace, defaults: Mapping[str, Any], stores: RemoteStores
) -> tuple[Rows, bool]:
    """Check all rows of all sources, and return them with whether a run has begun in `place`.

    Raises ConfigurationError, LedgerError, RemoteError.
    """
    names = list(map(local_path, sources))
    made = await results_in(place, names)
    reader = _SourceReader(place, defaults, () if made is None else made.objects, stores)
    found = await _fetched(names, reader)
    rows = rows_in(
        names,
        out=place.directory,
        kept=place.kept,
        defaults=defaults,
        made=None if made is None else made.paths,
        fetched=found,
        ids=None if place.shared is None else UniqueIds(),
    )
    if rows.url is not None:
        stores.open(rows.url)  # whether the extra for URLs is there, before anything is paid
    return rows, made is not None


async def _fetched(sources: Sequence[str], reader: _SourceReader) -> Fetched:
    """What those of `sources` contain that are URLs, by source.

    Raises ConfigurationError if one is bad, RemoteError if its store can't be reached for now.
    """
    found = dict[str, JobFile | FolderPictures]()
    for source in sources:
        address = remote_address(source)
        if address is not None:
            try:
                found[source] = await reader.content(source, address)
            except RemoteError as error:
                raise before_sending(error) from None
    return found


def kind_of(address: RemoteAddress) -> Literal["job file", "picture", "prefix"]:
    """What a URL is, by its end: stores have no folders, and a web server can't be listed."""
    suffix = PurePosixPath(address.name).suffix.lower()
    if suffix in JOB_FILES:
        return "job file"
    return "picture" if address.is_web or is_picture(PurePosixPath(address.name)) else "prefix"


@frozen
class _SourceReader:
    """Reads sources that are URLs. `made` are the results of earlier runs, by their URLs."""

    place: OutPlace
    defaults: Mapping[str, Any]
    made: Collection[str]
    stores: RemoteStores

    async def content(self, source: str, address: RemoteAddress) -> JobFile | FolderPictures:
        """What is at an address. Raises ConfigurationError, RemoteError."""
        name = PurePosixPath(address.name)
        if foreign := foreign_file(name.suffix.lower()):
            raise ConfigurationError(f"{address}: {foreign}. Nothing was sent.")
        if kind_of(address) == "job file":
            return JobFile(address, await read_whole(address, self.stores, limit=LARGEST_JOB_FILE), self.defaults)
        if not self.defaults.get("prompt"):
            advice = "give --prompt TEXT or --prompt-file FILE for pictures"
            raise ConfigurationError(f"{address}: {advice}. Nothing was sent.")
        if kind_of(address) == "picture":
            return FolderPictures([(name.stem or "picture", source)], self.defaults)
        return await self.below(address)

    async def below(self, prefix: RemoteAddress) -> FolderPictures:
        """The pictures below a prefix, without the results: neither those made nor their prefix within this one."""
        pictures, others, results, ignored = dict[PurePosixPath, str | None](), list[str](), list[str](), Counter[str]()
        is_apart = self.place.address not in {None, prefix} and self.place.is_below(prefix)
        async for page in pages(prefix, self.stores):
            for entry in page:
                passed_over = _passed_over(entry)
                if passed_over:
                    ignored[passed_over] += 1
                elif _is_marker(entry) or (is_apart and self.place.holds(entry.address)):
                    continue
                elif entry.address.shown in self.made:
                    results.append(entry.address.shown)
                elif is_picture(PurePosixPath(entry.below)):
                    pictures[PurePosixPath("/", entry.below)] = entry.etag
                else:
                    others.append(entry.address.shown)
        if not pictures and not results:
            raise ConfigurationError(f"{prefix} contains no picture (PNG, JPEG or WebP). Nothing was sent.")
        named = named_below(_TOP, sorted(pictures))
        urls = [
            (tame(name), ListedURL(prefix.child(path.as_posix()[1:]).shown, pictures[path])) for name, path in named
        ]
        del ignored[_OURS]
        return FolderPictures(urls, self.defaults, others, ignored=ignored, results=results)


_TOP, _OURS = PurePosixPath("/"), ".asyncsdk"


def tame(name: str) -> str:
    """A name of an object as that of a picture: what would lead out of the directory is encoded, as `%2E%2E`."""
    return "/".join(part.replace(".", "%2E") if part in {".", ".."} else part for part in name.split("/") if part)


def _passed_over(entry: RemoteEntry) -> str:
    """How an object is counted that is hidden, or in a folder that a system keeps for itself; else ''."""
    part = next((part for part in entry.below.split("/") if is_passed_over(part)), "")
    return "hidden" if part.startswith(".") and not part.startswith(_OURS) else part


def _is_marker(entry: RemoteEntry) -> bool:
    """Whether it stands for an empty folder, as web consoles make them."""
    return entry.size == 0 and not PurePosixPath(entry.below).suffix
