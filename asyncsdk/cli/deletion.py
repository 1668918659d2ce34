"""What `files delete` and `files prune` share: they say what would go, ask, delete, and count."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from asyncsdk import api
from asyncsdk.cli import units
from asyncsdk.cli.display import NullDisplay, choose
from asyncsdk.cli.exits import exit_code_of_all
from asyncsdk.cli.options import Mode, Output
from asyncsdk.cli.output import Out, complain, stdout_is_terminal
from asyncsdk.cli.uploads import records
from asyncsdk.cli.uploads.messages import error_text
from asyncsdk.errors import APIStatusError, ConfigurationError
from asyncsdk.file_jobs import DeletedFile, FilesDeleted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from asyncsdk.client import Client
    from asyncsdk.models import File

NOTHING = "Nothing was deleted."
SHOWN = 5  # of many, before the user is asked


async def files_by_id(client: Client) -> dict[str, File]:
    """The server's files; none where the key may not list them or the server can't, since that prevents no deletion."""
    try:
        return {file.id: file async for file in client.pages(api.list_files())}
    except APIStatusError as error:
        if error.status_code not in {403, 404, 405, 501}:
            raise
        return {}


@define(eq=False)
class Deletion:
    """Deletes `files`, some of which are ids alone.

    `named`: by the user, one by one. So each has its line, and an id that was never there is a failure: it may be
    misspelt.
    """

    files: Sequence[File | str]
    output: Output
    named: bool
    result: FilesDeleted = field(factory=FilesDeleted, init=False)
    _unlisted: frozenset[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._unlisted = frozenset(file for file in self.files if isinstance(file, str))

    @property
    def what(self) -> str:
        """How many, and how many bytes they are."""
        sizes = [file.bytes for file in self.files if not isinstance(file, str)]
        known = [size for size in sizes if size is not None]
        total = units.size(sum(known))
        if not known:
            return units.counted(len(self.files), "file")
        return f"{units.counted(len(self.files), 'file')}, {total}{'' if len(known) == len(self.files) else ' or more'}"

    def agree(self, *, yes: bool) -> bool:
        """Say what would go, and ask. Raises ConfigurationError where nobody can be asked, and --yes is not given."""
        if yes:
            return True
        if sys.stdin is None or not sys.stdin.isatty():
            raise ConfigurationError(
                f"{self.what} would be deleted for good: give --yes, since nobody can be asked here. {NOTHING}"
            )
        for file in self.files[:SHOWN]:
            line = file if isinstance(file, str) else f"{file.id}  {file.filename or ''}"
            complain(f"  {line}".replace("\n", "\\n"))  # a name is not to look like another line
        if len(self.files) > SHOWN:
            complain(f"  … and {len(self.files) - SHOWN:,} more")
        complain(f"{self.what}, will be deleted for good. Continue? [y/N] ")
        if sys.stdin.readline().strip().lower() in {"y", "yes"}:
            return True
        complain(NOTHING)
        return False

    async def run(self, client: Client, progress: Mode, requests_per_minute: float | None) -> int:
        """Delete them; returns the exit code. However it ends, it says how many are gone."""
        out = Out(self.output, goes_on=True)
        display = choose(progress, self, quiet=self.output.quiet, verbose=self.output.verbose)
        try:
            with display:
                await client.delete_files(
                    self.files,
                    requests_per_minute=requests_per_minute,
                    on_deleted=lambda file: self._ended(file, out, display),
                )
        finally:
            if len(self.files) > 1:
                complain(self.summary)
        return out.code(exit_code_of_all([*self.result.failures.values(), *[None] * self._went]))

    @property
    def _went(self) -> int:
        return self.result.deleted + self.result.gone

    @property
    def summary(self) -> str:
        """What was done, and what was not."""
        result = self.result
        words = [f"deleted {units.counted(result.deleted, 'file')}, {units.size(result.bytes)}"]
        if result.gone:
            words.append(f"{result.gone:,} were gone already")
        if result.failures:
            words.append(f"{len(result.failures):,} failed")
        left = len(self.files) - self._went - len(result.failures)
        return f"{'; '.join(words)}.{f' {left:,} are left: the same command goes on.' if left else ''}"

    def _ended(self, file: DeletedFile, out: Out, display: NullDisplay[Deletion]) -> None:
        if file.status == "gone" and file.id in self._unlisted:
            file = evolve(file, status="failed")
        self.result.add(file)
        record: dict[str, Any] = {"id": file.id, "object": "file", "deleted": file.status != "failed"}
        if file.status == "failed" or stdout_is_terminal():
            display.aside()
        if file.status == "failed" and file.error is not None:
            complain(f"error: {file.id}: {error_text(file.error)}")
            out.record(record | {"error": records.error_of(file.error)})
        elif self.named or self.output.quiet or self.output.json:
            out.result(f"{file.id}: deleted", record=record, name=file.id)

    def lines(self) -> Iterable[str]:
        """One, of how far it is."""
        done = self._went + len(self.result.failures)
        return [f"{done:,} of {units.counted(len(self.files), 'file')} deleted, {units.size(self.result.bytes)}"]

    def records(self) -> Iterable[Mapping[str, Any]]:
        """The same for programs."""
        return [{"deleted": self._went, "failed": len(self.result.failures), "files": len(self.files)}]

    def frame(self, width: int) -> RenderableType:
        """The same, as a line that stays in its place."""
        return " ".join(self.lines())[:width]
