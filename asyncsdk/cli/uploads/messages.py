"""Messages about an upload: its progress, how it ended, what to do next (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from asyncsdk.cli import units
from asyncsdk.error_details import whole
from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AsyncSDKError,
    RateLimitError,
    StorageError,
    UploadBusyError,
    UploadError,
)
from asyncsdk.events import Progress, UploadPhase

if TYPE_CHECKING:  # it would bring aiohttp, and --help is to be quick
    from asyncsdk.uploads.job import UploadResult

OPTIONS = (
    "concurrency|expires_after|filename|if_uploaded|key|limit_rate|max_retries|method|mime_type|on_busy|part_size|"
    "purpose|stall_timeout"
)
_OPTION = re.compile(rf"(?<![\w-])({OPTIONS}) must\b")
_IN_ORDER = "--concurrency 1 --part-size 8MiB --no-resume"
_THREE_ARGUMENTS = f"concurrency=1, part_size=8 MiB and resume=False ({_IN_ORDER})"
_ARGUMENT = re.compile(r"""(?<![\w?&-])[a-z][a-z_]*=(?:'[^']*'|"[^"]*"|\w*) \((--[^(),]*)\)""")  # and the option for it
_REMOTE_OPTIONS = re.compile(r", or (?:\w+ )*remote_options=(?:\{.*?\}\}| as a header)?")  # which no option is
_CALLS = (
    (" To send the files in it, give each to upload_many.", " `asyncsdk upload` takes directories."),
    ("cut it in two", "cut it with --split"),
    ("cut the file in two", "cut the file with --split"),
    ("the same call", "the same command"),
    ("The same call", "The same command"),
    ("call upload", "asyncsdk upload"),
    ("(journal=, --journal", "(--journal"),
    ("repeat the call", "repeat the command"),
    ("one request (method='files')", "one request (--method files)"),
    ("with method='uploads' or 'auto'", "with --method uploads or auto"),
    ("Raise limit_rate to", "Raise --limit-rate to"),
    ('upload(…, on_busy="wait") waits', "--on-busy wait waits"),
    ('check="none"', "--check none"),
    ("of size=", "of --size"),
    ("or pass the response as a stream", "or pipe it: curl URL | asyncsdk upload - --filename NAME"),
    ("Pass size= if", "Pass --size if"),
    ("Without size= it", "Without --size it"),
    ("method='files'", "--method files"),
)
MANY_FILES = 100
_NOTHING = " Nothing was sent."
MOST_NAMED = 5
ENOUGH_FOR_A_RATE = 10**6  # bytes: for fewer, the calls take most of the time
_REASONS: tuple[tuple[type[AsyncSDKError], Callable[[AsyncSDKError], str]], ...] = (
    (APITimeoutError, lambda _: "no response"),
    (APIConnectionError, lambda _: "no connection"),
    (APIResponseValidationError, lambda _: "the server's responses can't be used"),
    (RateLimitError, lambda _: "too many requests for now (429)"),
    (APIStatusError, lambda error: f"the server failed ({getattr(error, 'status_code', '')})"),
)


def moving(name: str, progress: Progress, *, now: float | None = None, zone: tzinfo | None = None) -> str:
    """The progress of an upload, on a line: `train.jsonl: 3.1 of 5.0 GB, 62%, 1.2 MB/s, 26 min left`.

    With `now` (unix time) also until when the server keeps an upload that waits for it. `zone` is as in `stopped`.
    """
    facts = [*share(progress), *pace(progress), activity(progress)]
    if now is not None and progress.state is UploadPhase.RETRYING and progress.expires_at is not None:
        facts.append(f"what is sent is kept until {units.clock_time(progress.expires_at, now=now, zone=zone)}")
    return f"{name}: {', '.join(fact for fact in facts if fact)}"


def share(progress: Progress) -> tuple[str, str]:
    """`3.1 of 5.0 GB` and `62%`: how much the other side has; of a file that is checked, how much of it is read."""
    if progress.state is UploadPhase.CHECKING:
        there = progress.bytes_hashed
    elif progress.state is UploadPhase.RETRYING:  # what was on its way may be lost
        there = progress.bytes_done
    else:
        there = progress.bytes_moved
    return units.part_of(there, progress.bytes_total), units.percent(there, progress.bytes_total)


def pace(progress: Progress) -> list[str]:
    """The rate and the time left, where known."""
    if progress.state is not UploadPhase.SENDING or not progress.rate or progress.silent_for:
        return []
    left = [] if progress.eta is None else [f"{units.duration(progress.eta)} left"]
    return [units.rate(progress.rate), *left]


def activity(progress: Progress) -> str:
    """What it does besides sending: that the server is silent, its note, else its state."""
    if progress.silent_for:
        return f"no answer for {units.duration(int(progress.silent_for))}"
    if progress.note:
        return progress.note
    return "" if progress.state is UploadPhase.SENDING else str(progress.state)


def done(name: str, result: UploadResult, stored_as: str = "") -> str:
    """The message for an upload that succeeded; `stored_as` is the file's name on the server if it may surprise.

    Its time and rate are those of the time in which it was sent, not in which it waited for its turn.
    """
    called = f"; its name on the server is {stored_as}" if stored_as else ""
    called += _twice(result)
    if result.reused:
        when = "uploaded meanwhile by another process" if result.by_others else "uploaded before"
        return f"{name}: {result.file.id}, {when}; nothing was sent{called}"
    size = units.size(result.bytes_sent + result.bytes_resumed)
    earlier = f", {units.size(result.bytes_resumed)} of it by earlier runs" if result.bytes_resumed else ""
    seconds = result.sending_seconds
    has_rate = result.bytes_sent >= ENOUGH_FOR_A_RATE and seconds
    speed = f" ({units.rate(result.bytes_sent / seconds)})" if has_rate else ""
    took = units.elapsed(max(seconds or result.seconds, 0.1))
    return f"{name}: {result.file.id}, {size}{earlier}, in {took}{speed}{called}"


def _twice(result: UploadResult) -> str:
    """What to say of files that are, or may be, there twice."""
    if result.duplicates:
        return f"; the same content is there as {', '.join(result.duplicates)}, too"
    if result.duplicate_possible:
        return "; a request's response was lost, and it was sent again: it may be there twice"
    return ""


@define
class UploadTally:
    """What several files came to. Two links to one file are one File, which is our own."""

    files: int = 0
    there_before: int = 0
    by_others: int = 0
    failed: int = 0
    bytes_sent: int = 0
    left_out: int = 0
    _ours: set[str] = field(factory=set, init=False)

    def add(self, result: UploadResult | None, error: AsyncSDKError | None = None) -> None:
        """Count a file that ended."""
        self.files += 1
        self.failed += result is None
        if result is not None:
            is_of_others = result.by_others and result.file.id not in self._ours
            self.by_others += is_of_others
            self.there_before += result.reused and not is_of_others
            if not result.reused:
                self.bytes_sent += result.bytes_sent
                self._ours.add(result.file.id)
        elif error is not None and error.progress is not None:
            self.bytes_sent += max(0, error.progress.bytes_done - error.progress.bytes_resumed)

    def line(self, seconds: float) -> str:
        """`31 files, 781 MB in 52 s, 12 of them there before, 1 failed, 3 left out`.

        Where other processes sent some: `31 files, 7 of them sent here, 781 MB in 52 s, 12 by others, 12 there before`.
        """
        ours = self.files - self.there_before - self.by_others - self.failed
        here = f"{ours:,} of them sent here" if self.by_others else ""
        sent = f"{units.size(self.bytes_sent)} in {units.elapsed(seconds)}" if self.bytes_sent else "nothing was sent"
        others = f"{self.by_others:,} by others" if self.by_others else ""
        them = "" if self.by_others else "of them "
        before = f"{self.there_before:,} {them}there before" if self.there_before else ""
        failed = f"{self.failed:,} failed" if self.failed else ""
        left_out = f"{self.left_out:,} left out" if self.left_out else ""
        facts = (units.counted(self.files, "file"), here, sent, others, before, failed, left_out)
        return ", ".join(filter(None, facts))


def held_by_others(count: int) -> str:
    """`waiting for 3 files that other processes are sending`."""
    return f"waiting for {units.counted(count, 'file')} that other processes are sending"


def left_to_others(count: int) -> str:
    """What becomes of files that other processes are sending, where this one is stopped."""
    are, them = ("is", "it") if count == 1 else ("are", "them")
    return f"{units.counted(count, 'file')} {are} being sent by other processes. The same command waits for {them}."


def tried_again(name: str, error: BaseException) -> str:
    """The message for an upload that failed and is tried once more at the end."""
    reason = as_typed(error_text(error)).partition("\n")[0]
    return f"{name}: {reason.rstrip('.')}. It is tried again at the end."


def failed(name: str, error: BaseException, *, now: float, instead: str = "") -> str:
    """The message for an upload that failed, and what to do next; `instead` as in `stopped`."""
    text = busy(error, waits=True) if isinstance(error, UploadBusyError) else as_typed(error_text(error))
    plain = f"error: {text}" if name in text else f"error: {name}: {text}"
    progress = error.progress if isinstance(error, AsyncSDKError) else None
    reason = _reason(error)
    is_forgotten = progress is not None and isinstance(error, AsyncSDKError) and error.bytes_done < progress.bytes_done
    if reason is None or is_forgotten:  # such as an object whose version its server does not name
        advice = _advice(error, instead)
        return f"{plain}\n  {advice}" if advice else plain
    if progress is None or progress.upload_id is None:
        return f"{plain}\n  The same command tries again."
    return stopped(name, progress, reason=reason, now=now, instead=instead)


def left_out(error: str, place: str) -> str:
    """The message for a file that was found and can't be sent; `place` is where it is in a list."""
    where = f" It is {place}." if place else ""
    return f"{error.removesuffix(_NOTHING)}{where} It was left out, and nothing was sent for it."


def looked_through_once(links: Sequence[Path]) -> str:
    """`Looked through once: 2 folders to which several ways lead: data/a, data/b`."""
    more = f" and {len(links) - MOST_NAMED:,} more" if len(links) > MOST_NAMED else ""
    named = ", ".join(map(str, links[:MOST_NAMED]))
    return f"Looked through once: {units.counted(len(links), 'folder')} to which several ways lead: {named}{more}"


def nothing_to_send(places: Sequence[str], *, is_filtered: bool) -> str:
    """The message where directories and lists hold no file that can be sent."""
    named = ["standard input" if place == "-" else place for place in places]
    contain = f"{', '.join(named)} {'contains' if len(named) == 1 else 'contain'}"
    if not is_filtered:
        return f"{contain} no file to send. Nothing was sent."
    where = "A pattern with a slash is a path below the folder"
    return f"{contain} no file that --include and --exclude let through. {where}. Nothing was sent."


def small_files(sizes: Sequence[int], method: str, md5: str | None) -> str:
    """The hint for many small files that are sent in parts; '' where it would not help. `sizes` are bytes."""
    from asyncsdk.uploads.method import SINGLE_REQUEST

    small = sum(size <= SINGLE_REQUEST for size in sizes)
    if method != "uploads" or small <= MANY_FILES or md5 in {"hex", "base64"}:
        return ""
    return f"note: {small:,} of these files are small: --method auto sends each by one request in place of three."


def as_typed(message: str) -> str:
    """`message` of the library with options in place of arguments, and commands in place of calls."""
    message = _ARGUMENT.sub(r"\1", message.replace(_THREE_ARGUMENTS, _IN_ORDER))
    for call, command in _CALLS:
        message = message.replace(call, command)
    message = _REMOTE_OPTIONS.sub("", message)
    return _OPTION.sub(lambda match: f"--{match[1].replace('_', '-')} must", message)


def error_text(error: BaseException) -> str:
    """The message of an error without the name of the request, which only a programmer needs."""
    if isinstance(error, UploadBusyError):
        return busy(error)
    if not isinstance(error, APIError) or not error.request:
        return str(error)
    text = str(error).removeprefix(f"{error.request}: ")
    return f"the server responded {text}" if isinstance(error, APIStatusError) else text


def busy(error: UploadBusyError, *, waits: bool = False) -> str:
    """Which process sends the file, and what to do; `waits` where the command has --on-busy."""
    process = str(error).partition(" is sending")[0]
    instead = ", or wait for its result with --on-busy wait" if waits else ""
    return (
        f"{process} is sending this file: stop it first (Ctrl-C there), then repeat the command{instead}. "
        "Nothing was sent by this command."
    )


def _advice(error: BaseException, instead: str) -> str:
    """What to do next, if the message does not contain it and something was under way."""
    if not isinstance(error, AsyncSDKError) or isinstance(error, UploadError) or error.progress is None:
        return ""
    if isinstance(error, StorageError) and error.upload_id is None:  # which says itself what to do
        return ""
    if "Nothing was sent." in str(error) and error.upload_id is None:
        return ""
    return as_typed((instead or error.advice).replace("the call", "the command"))


def stopped(
    name: str, progress: Progress, *, now: float, reason: str = "", instead: str = "", zone: tzinfo | None = None
) -> str:
    """Where an upload stopped, how long the server keeps what was sent, and what is left to send.

    `now` is the server's unix time. `instead` is the advice if the same command would not resume. `zone` is the time
    zone of the reader, by default the machine's.
    """
    why = f", {reason}" if reason else ""
    if progress.state is UploadPhase.WAITING:
        sent = " Nothing was sent by this command." if progress.upload_id is None and not progress.bytes_sent else ""
        return f"{name}: stopped waiting{why}; {progress.note or 'another process is sending it'}.{sent}"
    if progress.upload_id is None and progress.bytes_sent > 0:  # by POST /files, which has no id before its response
        further = instead or "The same command looks for its file, and sends it again where there is none."
        return f"{name}: stopped before its response came{why}. {further}"
    if progress.upload_id is None:
        return f"{name}: stopped before anything was sent{why}. The same command starts it."
    if not progress.bytes_done:
        again = instead or "The same command sends all of it, and makes no second file."
        return f"{name}: stopped before any part of it was confirmed{why}. {again}"
    place = f"{name}: stopped at {units.part_of(progress.bytes_done, progress.bytes_total)}{why}."
    left = (progress.expires_at or now + 1) - now
    if left <= 0:
        return (
            f"{place} The upload has expired, and the server has deleted what was sent. "
            "The same command starts again from the beginning."
        )
    until = units.clock_time(now + left, now=now, zone=zone)
    kept = f" What is sent is kept until {until} ({units.duration(left)})." if progress.expires_at is not None else ""
    return f"{place}{'' if instead else kept}\n  {instead or _what_is_left(progress, left)}"


def _what_is_left(progress: Progress, seconds_left: float) -> str:
    rest = progress.bytes_total - progress.bytes_done
    if rest == 0:
        return "The same command goes on: everything is sent, and only has to be completed."
    if not progress.rate:
        return f"The same command goes on: {units.size(rest)}."
    needed = rest / progress.rate
    pace_of_it = f"{units.size(rest)}, about {units.duration(needed)} at {units.rate(progress.rate)}"
    late = " That is longer than the server keeps it: use a faster connection." if needed > seconds_left else ""
    return f"The same command goes on: {pace_of_it}.{late}"


def _reason(error: BaseException) -> str | None:
    if not isinstance(error, AsyncSDKError) or not error.resumable:
        return None
    wait = getattr(error, "retry_after", None)
    asked = f", and the server asks to wait {whole(wait)}" if wait else ""
    return next((word(error) + asked for kind, word in _REASONS if isinstance(error, kind)), None)
