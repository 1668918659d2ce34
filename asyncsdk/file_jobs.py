"""Jobs on the server's files that take many requests: find, delete, and wait until they are processed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

import anyio
from attrs import define, field, frozen

from asyncsdk import api, tasks
from asyncsdk.api import Request
from asyncsdk.clock import Clock
from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    AsyncSDKError,
    AuthenticationError,
    FileProcessingError,
    NotFoundError,
    NotTheAPIError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
)
from asyncsdk.events import call
from asyncsdk.file_filter import FileFilter
from asyncsdk.given import wrong_type
from asyncsdk.http.decode import is_no_endpoint
from asyncsdk.limiter import RateLimiter
from asyncsdk.models import File, FileDeleted
from asyncsdk.ratelimit import CALLS, Permit
from asyncsdk.retry import Retry, may_have_acted

T = TypeVar("T")

AT_ONCE = 16  # deletions in flight: at 1,000 a minute each may take a second
RETRIES = 10  # of each: a deletion may be repeated, and a refusal for its rate costs nothing
FIRST_POLL, LONGEST_POLL = 0.5, 5.0  # seconds
PROCESSING_SECONDS = 1800.0
_WHICH = "a FileFilter, or a list of Files or ids"


@frozen
class DeletedFile:
    """What became of one file.

    Args:
        id: Its id.
        bytes: Its size, where that is known.
        status: "deleted", "gone" (it was not there any more), or "failed", and then it may still be there.
        error: Why it failed, or that it was not there.
    """

    id: str
    bytes: int | None
    status: Literal["deleted", "gone", "failed"]
    error: AsyncSDKError | None = None


@define
class FilesDeleted:
    """What became of all of them.

    Args:
        deleted: How many were deleted.
        gone: How many were not there any more.
        bytes: The sizes of those that were deleted, as far as they are known.
        failures: The errors of those that failed, by id.
    """

    deleted: int = 0
    gone: int = 0
    bytes: int = 0
    failures: dict[str, AsyncSDKError] = field(factory=dict)

    def add(self, file: DeletedFile) -> None:
        """Count one.

        Args:
            file: What became of it.
        """
        self.deleted += file.status == "deleted"
        self.gone += file.status == "gone"
        self.bytes += (file.bytes or 0) if file.status == "deleted" else 0
        if file.status == "failed" and file.error is not None:
            self.failures[file.id] = file.error


class FileJobs(ABC):
    """What a `Client` does with many files, or with one for a while."""

    clock: Clock

    @abstractmethod
    async def send(self, request: Request[T], *, retry: Retry | None = None) -> T:
        """Send a request."""

    @abstractmethod
    def pages(self, request: Request[Any]) -> AsyncGenerator[Any, None]:
        """Iterate over a list."""

    async def find_files(self, files: FileFilter) -> list[File]:
        """Find files of the server, the oldest first.

        Args:
            files: Which.

        Returns:
            The files.

        Raises:
            APIError: The list did not come.
        """
        request = api.list_files(purpose=files.purpose, order="asc")
        found = {file.id: file async for file in self.pages(request) if files.takes(file, now=self.clock.now())}
        return sorted(found.values(), key=lambda file: file.created_at or math.inf)

    async def delete_files(
        self,
        files: FileFilter | Iterable[File | str],
        *,
        requests_per_minute: float | None = None,
        on_deleted: Callable[[DeletedFile], object] | None = None,
    ) -> FilesDeleted:
        """Delete files for good, as fast as the server's limit lets it. One that fails does not stop the others.

        After an interruption the same call deletes the rest: files are listed first, and then deleted by their ids.

        Args:
            files: Which: a filter, or Files or their ids.
            requests_per_minute: The limit on requests. None: learned from the server's refusals.
            on_deleted: Called with each that has ended.

        Returns:
            How many were deleted, and what failed.

        Raises:
            APIError: The list did not come, or no other deletion would succeed, such as for a wrong key.
            ConfigurationError: The limit is out of range, or what is given names no file. Nothing was deleted.
            TypeError: They are not files, and not ids. Nothing was deleted.
        """
        if isinstance(files, str | bytes | Mapping) or not isinstance(files, FileFilter | Iterable):
            raise wrong_type("files", files, _WHICH)
        deletion = _Deletion(self.send, RateLimiter(CALLS, requests_per_minute))
        found: Iterable[File | str] = await self.find_files(files) if isinstance(files, FileFilter) else files
        ids = {_checked_id(file): file for file in found}
        result = FilesDeleted()
        async with tasks.map_unordered(ids.values(), deletion.of, limit=AT_ONCE) as ended:
            async for file in ended:
                result.add(file)
                if on_deleted is not None:
                    call(on_deleted, file)
        return result

    async def wait_for_file(
        self,
        file: File | str,
        *,
        timeout: float = PROCESSING_SECONDS,  # noqa: ASYNC109 - an error of ours, which says what to do
        on_poll: Callable[[File], object] | None = None,
    ) -> File:
        """Wait until the server has processed a file.

        Args:
            file: The File or its id.
            timeout: For how many seconds to wait.
            on_poll: Called with what the server says each time.

        Returns:
            The processed File; also one of a server that gives files no status.

        Raises:
            FileProcessingError: It failed, with the server's `status_details`; or it took longer, and is `resumable`.
            APIError: It is not there, or the server did not respond.
        """
        file_id, pause, now = file if isinstance(file, str) else file.id, FIRST_POLL, File(id="")
        with anyio.move_on_after(timeout):
            while True:
                now = await self.send(api.retrieve_file(file_id), retry=Retry(RETRIES))
                if on_poll is not None:
                    call(on_poll, now)
                if now.status in {"processed", None}:
                    return now
                if now.status in {"error", "deleted"}:
                    raise _not_processed(now)
                await anyio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_POLL)
        raise _too_slow(file_id, now, timeout)


def _checked_id(file: File | str) -> str:
    """Its id. Raises ConfigurationError for what names no file, before any other is deleted."""
    if not isinstance(file, File | str):
        raise wrong_type("files", file, _WHICH)
    file_id = file if isinstance(file, str) else file.id
    _ = api.delete_file(file_id).path  # which no id may change
    return file_id


def _not_processed(file: File) -> FileProcessingError:
    reason = f": {file.status_details.removesuffix('.')}" if file.status_details else ", and it does not say why"
    named = f"{file.id} ({file.filename})" if file.filename else file.id
    error = FileProcessingError(f"the server could not process {named}{reason}. The file is there, and can't be used.")
    error.file = file
    return error


def _too_slow(file_id: str, file: File, seconds: float) -> FileProcessingError:
    what = f"the server did not process {file_id} within {seconds:g} s (its status is {file.status}). The file is there"
    if not file.id:
        what = f"the server did not say within {seconds:g} s how far {file_id} is. Nothing is known of it"
    error = FileProcessingError(f"{what}: wait for it again.")
    error.resumable, error.file = True, file if file.id else None
    return error


@define(eq=False)
class _Deletion:
    send: Callable[..., Awaitable[FileDeleted]]
    limiter: RateLimiter

    async def of(self, file: File | str) -> DeletedFile:
        """Delete one. Raises what would stop all others too."""
        file_id, size = (file, None) if isinstance(file, str) else (file.id, file.bytes)
        attempt = _Attempt(self.limiter)
        retry = Retry(RETRIES, before_attempt=attempt.begin, on_wait=attempt.failed)
        try:
            answer = await self.send(api.delete_file(file_id), retry=retry)
        except APIError as error:
            attempt.note(error)
            if isinstance(error, NotFoundError) and not is_no_endpoint(error):
                deleted = DeletedFile(file_id, size, "deleted")  # by an attempt whose response was lost
                return deleted if attempt.may_have_acted else DeletedFile(file_id, size, "gone", error)
            if stops_all(error):
                raise
            return DeletedFile(file_id, size, "failed", error)
        attempt.accepted()
        if answer.deleted is False:
            kept = APIResponseValidationError(f"DELETE /files: the server says that it did not delete {file_id}.")
            return DeletedFile(file_id, size, "failed", kept)
        return DeletedFile(file_id, size, "deleted")


@define(eq=False)
class _Attempt:
    """The permits of one deletion, and whether an earlier attempt may have done it."""

    _limiter: RateLimiter
    may_have_acted: bool = field(default=False, init=False)
    _permit: Permit | None = field(default=None, init=False)

    async def begin(self) -> None:
        self._permit = await self._limiter.acquire(1)

    def failed(self, error: APIError, _: float) -> None:
        self.note(error)
        self.may_have_acted = self.may_have_acted or may_have_acted(error)

    def note(self, error: APIError) -> None:
        if isinstance(error, RateLimitError) and self._permit is not None:
            self._limiter.refused(error, self._permit)

    def accepted(self) -> None:
        if self._permit is not None:
            self._limiter.accepted(self._permit)


def stops_all(error: APIError) -> bool:
    """Whether no other request would succeed either."""
    kinds = AuthenticationError | PermissionDeniedError | APIConnectionError | RedirectError | NotTheAPIError
    return isinstance(error, kinds) or is_no_endpoint(error)
