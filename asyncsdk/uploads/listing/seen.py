"""Whether Files that the journal knows are still on the server: one by one, or by a page of the list where many ask."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import aclosing
from functools import partial

import anyio
from attrs import define, field, frozen

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import APIError, NotFoundError, PermissionDeniedError
from asyncsdk.models import File
from asyncsdk.retry import Retry
from asyncsdk.uploads.listing.listed import PAGE_FILES, Listed, file_of, file_pages
from asyncsdk.uploads.response_checks import Content, not_a_file_of

FEW = 32  # that are asked for one by one before a page is read
FIRST_PAGE_FILES = 1_000  # of the first page; one that paid makes the next one larger
FRESH_SECONDS = 10.0  # for which a page answers; the next one costs little
WORTH_A_PAGE = 64  # Files: one that answered fewer cost more than it saved

log = logging.getLogger(__name__)


@frozen(eq=False)
class _Page:
    """Files that were listed. `began` is when it was asked for, in monotonic seconds."""

    files: Mapping[str, Listed]
    began: float

    def is_of_use(self, since: float) -> bool:
        """Whether it was asked for `since`, and not long ago."""
        return self.began >= since and time.monotonic() - self.began <= FRESH_SECONDS


@define(eq=False)
class SeenFiles:
    """The look at what is on the server that the uploads of one uploader share, on one event loop.

    Once `FEW` were asked for within seconds, a page of the list is read that begins at the oldest that is waited for: a
    run goes through a folder in the order in which an earlier one made its Files, so the page answers the next
    thousands, too. A File that a page does not contain is asked for by itself before it counts as gone. Where pages
    answer few, as in another order, they become seldom.
    """

    _client: Client
    page_files: int = FIRST_PAGE_FILES
    _turn: anyio.Lock = field(factory=anyio.Lock, init=False)
    _page: _Page | None = field(default=None, init=False)
    _waiting: list[File] = field(factory=list, init=False)  # for a page
    _answered: int = field(default=0, init=False)  # by this page
    _asked: int = field(default=0, init=False)  # one by one, since this page, in quick succession
    _asked_at: float = field(default=0.0, init=False)  # the last of these, in monotonic seconds
    _before_a_page: int = field(default=FEW, init=False)  # how many are asked for one by one

    async def file(self, file: File, content: Content, retry: Retry, *, since: float) -> File | None:
        """Return the File as it is on the server now, None where it is not visible: deleted, or another account's.

        Args:
            file: As it was when the upload was completed.
            content: What it must be of.
            retry: The budget.
            since: No look that began before this (monotonic seconds) is good enough.

        Raises:
            APIError: It could not be asked for, or the response is of another file.
        """
        seen = self._on_page(file, content, since)
        if seen is None and (self._waiting or self._wants_a_page):
            seen = await self._on_next_page(file, content, since)
        return await self._one(file, content, retry) if seen is None else seen

    @property
    def _wants_a_page(self) -> bool:
        return self._asked >= self._before_a_page and time.monotonic() - self._asked_at <= FRESH_SECONDS

    def _on_page(self, file: File, content: Content, since: float) -> File | None:
        page = self._page
        listed = None if page is None or not page.is_of_use(since) else page.files.get(file.id)
        if listed is None:
            return None
        try:
            seen = file_of(listed)
        except APIError:
            return None
        if not_a_file_of(seen, content=content) is not None:
            return None
        self._answered += 1
        return seen

    async def _on_next_page(self, file: File, content: Content, since: float) -> File | None:
        """The File on the page that another call reads now, or this one."""
        self._waiting.append(file)
        try:
            async with self._turn:
                seen = self._on_page(file, content, since)
                if seen is None and self._wants_a_page:
                    await self._read_page(content.purpose)
                    seen = self._on_page(file, content, since)
                return seen
        finally:
            self._waiting.remove(file)

    async def _read_page(self, purpose: str) -> None:
        """Read the page of the files that were made after the oldest that is waited for. Raises nothing."""
        if self._answered >= WORTH_A_PAGE:
            self._before_a_page, self.page_files = FEW, min(4 * self.page_files, PAGE_FILES)
        elif self._page is not None:
            self._before_a_page *= 4
        oldest, began = min(self._waiting, key=lambda file: file.created_at or 0), time.monotonic()
        files: dict[str, Listed] = {}
        pages = file_pages(self._client, Retry(0), purpose=purpose, order="asc", after=oldest.id, limit=self.page_files)
        try:
            async with aclosing(pages):
                files = {str(item.get("id")): item for item in await anext(pages, ())}
        except APIError as error:  # such as for a cursor that is gone
            log.info("the files could not be listed, and are asked for one by one: %s", error)
        self._page, self._answered, self._asked = _Page(files, began), 0, 0

    async def _one(self, file: File, content: Content, retry: Retry) -> File | None:
        now = time.monotonic()
        self._asked, self._asked_at = 1 if now - self._asked_at > FRESH_SECONDS else self._asked + 1, now
        try:
            check = partial(not_a_file_of, content=content)
            return await self._client.send(api.retrieve_file(file.id), retry=retry, check=check)
        except (NotFoundError, PermissionDeniedError) as error:
            log.warning("%s: %s is not visible: deleted, or another account's (%s)", content.filename, file.id, error)
            return None
