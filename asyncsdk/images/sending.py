"""Sends one edit, streamed or not; an error after which it may have been paid becomes ChargeUnknownError."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager

from attrs import define, evolve, field

from asyncsdk.client import Client
from asyncsdk.errors import APIError, ChargeUnknownError, ConfigurationError
from asyncsdk.http.edit_response import Message, Messages, shown_bytes
from asyncsdk.http.response import Stream, received
from asyncsdk.images.billing import MAYBE_PAID, is_safe_to_repeat, may_be_charged
from asyncsdk.images.header import picture_problem
from asyncsdk.images.pictures import LoadedEdit
from asyncsdk.images.stream import CompletedImage, PartialImage, completed_image, partial_image
from asyncsdk.models import EditedImage, ImagesResponse, UnreadableImage
from asyncsdk.retry import Retry

logger = logging.getLogger(__name__)
Event = PartialImage | CompletedImage

_WITHOUT_PICTURE = (
    "the server took the edit and responded without a picture{why}: it may have been paid, and sending it again may "
    "be paid twice. Look at the account's usage page."
)
_LONGEST_REASON = 300


async def send(
    client: Client,
    loaded: LoadedEdit,
    *,
    retry: Retry,
    timeout: float | None = None,  # noqa: ASYNC109 - a limit per attempt
    messages: list[Messages] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ImagesResponse:
    """Send an edit and return the response, each of its images a picture, at a URL, or among the unreadable ones.

    `messages` becomes a list of what came in the last attempt, also where another one follows.

    Raises ChargeUnknownError where it may have been paid and no image can be used, else APIError.
    """
    last = [] if messages is None else messages

    async def read(chunks: Stream) -> ImagesResponse:
        last[:] = [chunks.messages(_requested(loaded))]
        return await _response(chunks, last[0])

    with _translating_to_charge_error(last):
        return await client.receive(loaded.request(), read, retry=retry, timeout=timeout, headers=headers)


@define(eq=False)
class Flight:
    """One edit without a ledger, on its way or not: where it is cancelled then, only a warning can say so."""

    _is_sent: bool = field(default=False, init=False)

    def retry(self, max_retries: int) -> Retry:
        """How it is sent: again only where surely nothing was paid."""
        return Retry(max_retries, should_retry=is_safe_to_repeat, on_sent=self._leave, on_wait=lambda *_: self.end())

    def end(self) -> None:
        """Its response came, or surely nothing was paid so far."""
        self._is_sent = False

    @contextmanager
    def warning_if_cancelled(self) -> Iterator[None]:
        """Log a warning where the block is cancelled while the edit may be under way at the server."""
        try:
            yield
        except asyncio.CancelledError:
            if self._is_sent:
                logger.warning("the edit was sent and cancelled before its response came: it may have been paid")
            raise

    def _leave(self) -> None:
        self._is_sent = True


@asynccontextmanager
async def streaming(
    client: Client,
    loaded: LoadedEdit,
    *,
    flight: Flight,
    timeout: float | None = None,  # noqa: ASYNC109 - a limit per attempt
) -> AsyncIterator[AsyncIterator[Event]]:
    """Send an edit and give its pictures as they come.

    Raises as `send` does; at the end also if some of what came is not a picture.
    """
    retry = flight.retry(client.max_retries)
    with flight.warning_if_cancelled():
        async with AsyncExitStack() as stack:
            with _translating_to_charge_error([]):
                request = loaded.request(stream=True)
                chunks = await stack.enter_async_context(client.stream(request, retry=retry, timeout=timeout))
            messages = chunks.messages(_requested(loaded))
            yield await stack.enter_async_context(aclosing(_events(client, chunks, messages, flight)))


def _requested(loaded: LoadedEdit) -> int:
    return loaded.edit.n or 1


def as_charge_error(error: APIError, attempts: list[Messages]) -> APIError | ChargeUnknownError:
    """`error` itself if surely nothing was paid, otherwise a ChargeUnknownError with what came."""
    if not may_be_charged(error):
        return error
    return _lost(error, tuple(raw for messages in attempts for raw in _raw(messages, messages.response)))


def _lost(error: APIError, raw: tuple[bytes, ...] = ()) -> ChargeUnknownError:
    failure = ChargeUnknownError(f"{error}\n  {MAYBE_PAID}")
    failure.__cause__ = error
    failure.request_id = getattr(error, "request_id", None)
    failure.status_code = getattr(error, "status_code", None)
    failure.raw = raw
    return failure


@contextmanager
def _translating_to_charge_error(attempts: list[Messages]) -> Iterator[None]:
    try:
        yield
    except APIError as error:
        failure = as_charge_error(error, attempts)
        attempts.clear()  # they lead to the error, and its traceback leads to them
        if failure is error:
            raise
        raise failure from error


def usable(response: ImagesResponse, shown: Callable[[str], str]) -> ImagesResponse:
    """`response` with those of its images that are pictures or at a URL; the others become unreadable ones.

    `shown` removes the key from a text of the server.
    """
    judged = [_judged(image, shown) for image in response.data]
    if all(now is image for now, image in zip(judged, response.data, strict=True)):
        return response
    return evolve(
        response,
        data=tuple(image for image in judged if isinstance(image, EditedImage)),
        unreadable=(*response.unreadable, *(image for image in judged if isinstance(image, UnreadableImage))),
    )


def _judged(image: EditedImage, shown: Callable[[str], str]) -> EditedImage | UnreadableImage:
    problem = None if image.content is None else picture_problem(image.content)
    if problem is None:
        return image
    if image.url is not None:
        return evolve(image, content=None)
    return UnreadableImage(raw=shown_bytes(shown, image.content or b""), reason=problem)


def _unusable(messages: Messages, response: ImagesResponse) -> ChargeUnknownError:
    """The error of a response without a usable image: it may have been paid."""
    raw = _raw(messages, response)
    if messages.failure is not None:
        return _lost(messages.failure, raw)
    reasons = "; ".join(dict.fromkeys(image.reason for image in response.unreadable))[:_LONGEST_REASON]
    failure = ChargeUnknownError(_WITHOUT_PICTURE.format(why=f" that can be used ({reasons})" if reasons else ""))
    failure.request_id, failure.status_code, failure.raw = response.request_id, messages.status, raw
    return failure


def _raw(messages: Messages, response: ImagesResponse) -> tuple[bytes, ...]:
    return tuple(image.raw for image in response.unreadable) or tuple(filter(None, [messages.last_text]))


async def _response(chunks: Stream, messages: Messages) -> ImagesResponse:
    """Read a whole response. An image that is complete is paid and kept, whatever comes after it."""
    async with aclosing(received(messages, chunks)) as all_:
        async for _ in all_:
            pass
    response = usable(messages.response, messages.shown)
    try:
        if response.data:
            if messages.failure is not None:
                counts = len(response.data), messages.wanted
                logger.warning("%d of %d pictures came before the response was cut: %s", *counts, messages.failure)
            return response
        if messages.failure is not None and not messages.has_begun:
            raise messages.failure
        raise _unusable(messages, response)
    finally:
        del messages, chunks  # the error's traceback would lead to them, and they to the error


async def _events(client: Client, chunks: Stream, messages: Messages, flight: Flight) -> AsyncGenerator[Event, None]:
    completed, broken = 0, list[UnreadableImage]()
    async with (
        aclosing(received(messages, chunks)) as all_,
        aclosing(_images(client, all_, messages)) as images,
    ):
        async for image in images:
            if isinstance(image, UnreadableImage):
                broken.append(image)
            else:
                completed += isinstance(image, CompletedImage)
                if completed == messages.wanted:
                    flight.end()
                yield image
    flight.end()
    if completed < messages.wanted:
        broken += messages.strange
        if messages.failure is not None:
            client.annotate(messages.failure)
        _check(messages, evolve(messages.response, unreadable=tuple(broken)), completed)


def _check(messages: Messages, response: ImagesResponse, completed: int) -> None:
    """Raise the error of a stream that had fewer pictures than requested, unless it just ended."""
    failure = messages.failure
    if failure is not None and not messages.has_begun and not may_be_charged(failure):
        raise failure
    if failure is not None or response.unreadable or not completed:
        raise _unusable(messages, response)


async def _images(
    client: Client, all_: AsyncIterator[Message], messages: Messages
) -> AsyncGenerator[Event | UnreadableImage, None]:
    """The events of a stream's messages: partial and completed images, and what can't be used."""
    async for message in all_:
        response = usable(message.response, messages.shown) if message.standing == "final" else message.response
        for image in response.data:
            if message.standing == "final":
                content = await _content(client, image)
                yield content if isinstance(content, UnreadableImage) else completed_image(response, image, content)
            elif message.standing == "partial" and image.content is not None:
                yield partial_image(message, image.content)
        for broken in response.unreadable if message.standing == "final" else ():
            yield broken


async def _content(client: Client, image: EditedImage) -> bytes | UnreadableImage:
    """The picture, or its URL: unlike `EditResult`, a stream leaves the caller nothing else to fetch it by."""
    if image.content is not None:
        return image.content
    url = image.url or ""
    try:
        content = await client.download_url(url)
        problem = picture_problem(content)
    except (APIError, ConfigurationError) as error:
        problem = str(error)
    return content if problem is None else UnreadableImage(raw=url.encode("utf-8", "replace"), reason=problem)
