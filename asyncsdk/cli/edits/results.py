"""What earlier runs saved in the directory of results, so that it is not taken for an original."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from attrs import frozen

from asyncsdk.cli.edits.out_place import OutPlace
from asyncsdk.cli.edits.sources import lies_in
from asyncsdk.images.ledger.file import load_ledger
from asyncsdk.remote.address import local_path, remote_address


@frozen(kw_only=True)
class Results:
    """The results of earlier runs: full paths, or the URLs of objects."""

    paths: Collection[Path] = ()
    objects: Collection[str] = ()


async def results_in(place: OutPlace, sources: Sequence[str]) -> Results | None:
    """What earlier runs made, if any of `sources` lies where the results are; None if no run has begun there.

    Raises LedgerError.
    """
    if place.shared is None and not place.kept.is_dir():
        return None
    if not any(_may_hold_results(place, source) for source in sources):
        return Results()
    if place.shared is None:
        ledger = await load_ledger(place.kept)
        names = [file for _, state in ledger.index.states.items() for file in state.files]
    else:
        names = [file async for entry in place.shared.entries() for file in entry.get("files", ())]
    if place.directory is None:
        return Results(objects=frozenset(place.address.child(name).shown for name in names if place.address))
    root = place.directory.resolve()
    return Results(paths=frozenset(root / name for name in names))


def _may_hold_results(place: OutPlace, source: str) -> bool:
    if place.directory is not None:
        return remote_address(source) is None and lies_in(Path(local_path(source)), place.directory)
    address = remote_address(source)
    return address is not None and place.address is not None and address.store == place.address.store
