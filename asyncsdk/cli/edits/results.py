"""What earlier runs saved in the directory of results, so that it is not taken for an original."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from asyncsdk.cli.edits.sources import lies_in
from asyncsdk.images.destination import OWN_DIRECTORY
from asyncsdk.images.ledger.file import load_ledger


async def results_in(out: Path, sources: Sequence[str]) -> Collection[Path] | None:
    """The full paths of the results, if any of `sources` lies in `out`; None if no run has begun there.

    Raises LedgerError.
    """
    if not _is_begun(out):
        return None
    if not any(lies_in(Path(source), out) for source in sources):
        return ()
    ledger, root = await load_ledger(out / OWN_DIRECTORY), out.resolve()  # noqa: ASYNC240 - nothing else runs yet
    return frozenset(root / file for _, state in ledger.index.states.items() for file in state.files)


def _is_begun(out: Path) -> bool:
    return (out / OWN_DIRECTORY).is_dir()
