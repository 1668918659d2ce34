"""What is refused or left out before anything is sent, and how that is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import define, field

from asyncsdk.cli.exits import Exit
from asyncsdk.cli.left_out import ignored
from asyncsdk.cli.output import Out, complain
from asyncsdk.cli.unread import unread_source
from asyncsdk.cli.uploads import messages
from asyncsdk.errors import AsyncSDKError, ConfigurationError, InvalidRequestError, SourceError, UploadError

if TYPE_CHECKING:
    from asyncsdk.cli.uploads.sources import UploadSources
    from asyncsdk.uploads.job import UploadJob
    from asyncsdk.uploads.uploader import AsyncUploader

MANY = 5000  # files: to check so many takes a second or more
SLOW = 5.0  # seconds after which a person wants to know what is waited for
MOST_NAMED = 20  # of what is left out; with --json all of it is on standard output


@contextmanager
def said_if_slow(words: str, *, quiet: bool) -> Iterator[None]:
    """Say what is waited for, where the block takes long: a store may be silent for minutes."""
    timer = None if quiet else asyncio.get_running_loop().call_later(SLOW, complain, words)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


async def check_all(
    uploader: AsyncUploader, jobs: Mapping[str, UploadJob], found: UploadSources, *, quiet: bool = False
) -> dict[str, AsyncSDKError]:
    """The errors by file name; none for files that can be sent. Objects that were found are not asked for here."""
    bad: dict[str, AsyncSDKError] = {}
    for name, job in jobs.items():
        if name in found.refused:
            bad[name] = found.refused[name]
            continue
        if name in found.urls and name in found.found:
            continue
        try:
            if job.path() is not None and (problem := unread_source(job.path() or "")) is not None:
                raise SourceError(problem)
            with said_if_slow(f"Still waiting for {name}.", quiet=quiet):
                await uploader.check(job)
        except (ConfigurationError, InvalidRequestError, UploadError) as error:
            bad[name] = error
    return bad


def refuse(out: Out, names: Mapping[str, object], bad: Mapping[str, AsyncSDKError]) -> Exit:
    """Report what is wrong; no file is sent."""
    from asyncsdk.cli.uploads import records

    for message in dict.fromkeys(str(error) for error in bad.values()):
        complain(f"error: {messages.as_typed(message)}")
    for name in names:
        error = records.error_of(bad[name]) if name in bad else records.plain_error("NotSent", "another file is bad")
        out.record(records.not_uploaded(name, error))
    return Exit.USAGE


@define(eq=False)
class LeftOutFiles:
    """Reports what directories and lists hold and is not sent, and counts it."""

    out: Out
    count: int = field(default=0, init=False)

    def report(self, found: UploadSources, bad: Mapping[str, AsyncSDKError]) -> None:
        """Report what was found and can't be sent, for the reasons in `bad` too, and what was passed over."""
        reasons = {str(left.path): left.message for left in found.left_out}
        for name, error in bad.items():
            reasons[name] = messages.left_out(messages.as_typed(str(error)), found.found[name])
        self._report_all(reasons)
        if found.again:
            complain(messages.looked_through_once(found.again))
        if found.ignored.total():
            complain(ignored(found.ignored))

    def _report_all(self, reasons: Mapping[str, str]) -> None:
        from asyncsdk.cli.uploads import records

        for name, reason in reasons.items():
            self.count += 1
            if self.count <= MOST_NAMED:
                complain(f"error: {reason}")
            self.out.record(records.not_uploaded(name, records.error_of(SourceError(reason))))
        if self.count > MOST_NAMED:
            complain(f"error: {self.count - MOST_NAMED:,} more were left out; --json lists all of them.")
