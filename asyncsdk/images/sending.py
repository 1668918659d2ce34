"""One edit on its way to the server, streamed or not, and what is lost on the way in terms of money."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from functools import partial

from attrs import evolve

from asyncsdk.client import Client
from asyncsdk.errors import APIError, ChargeUnknownError
from asyncsdk.http.reading import Stream
from asyncsdk.images.charge import may_be_charged
from asyncsdk.images.pictures import LoadedEdit
from asyncsdk.images.stream import CompletedImage, Events, PartialImage
from asyncsdk.models import EditedImage, ImagesResponse, Usage
from asyncsdk.retry import Retry

logger = logging.getLogger(__name__)
Event = PartialImage | CompletedImage

_MAYBE_PAID = (
    "The edit was sent and its answer lost: it may have been paid, and sending it again may be paid twice. "
    "The account's usage page tells; send it again only if that is worth it."
)


async def send(client: Client, loaded: LoadedEdit, *, retry: Retry, timeout: float | None = None) -> ImagesResponse:  # noqa: ASYNC109 - a limit per attempt
    """Send an edit and return its answer. Raises ChargeUnknownError where it may have been paid, else APIError."""
    with _told_in_terms_of_money():
        if not loaded.edit.stream:
            return _whole(await client.send(loaded.request(), retry=retry, timeout=timeout))
        completed = partial(_completed, pictures=_wanted(loaded))
        return _answer(await client.read(loaded.request(), completed, retry=retry, timeout=timeout))


@asynccontextmanager
async def streaming(
    client: Client,
    loaded: LoadedEdit,
    *,
    retry: Retry,
    timeout: float | None = None,  # noqa: ASYNC109 - a limit per attempt
) -> AsyncIterator[AsyncIterator[Event]]:
    """Send an edit and give its pictures as they come. Raises as `send` does, also where no completed one comes."""
    async with AsyncExitStack() as stack:
        with _told_in_terms_of_money():
            chunks = await stack.enter_async_context(
                client.stream(loaded.request(stream=True), retry=retry, timeout=timeout)
            )
        yield await stack.enter_async_context(aclosing(_in_terms_of_money(_decoded(chunks, _wanted(loaded)))))


def _wanted(loaded: LoadedEdit) -> int:
    return loaded.edit.n or 1


def in_terms_of_money(error: APIError) -> APIError | ChargeUnknownError:
    """`error` itself where surely nothing was paid, else the ChargeUnknownError that it means."""
    if not may_be_charged(error):
        return error
    failure = ChargeUnknownError(f"{error}\n  {_MAYBE_PAID}")
    failure.__cause__ = error
    failure.request_id = getattr(error, "request_id", None)
    failure.status_code = getattr(error, "status_code", None)
    return failure


@contextmanager
def _told_in_terms_of_money() -> Iterator[None]:
    try:
        yield
    except APIError as error:
        told = in_terms_of_money(error)
        if told is error:
            raise
        raise told from error


async def _in_terms_of_money(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    with _told_in_terms_of_money():
        async with aclosing(events):
            async for event in events:
                yield event


async def _completed(chunks: Stream, *, pictures: int) -> list[CompletedImage]:
    """The whole pictures of a stream. What is whole is paid and stays, whatever comes after it."""
    found: list[CompletedImage] = []
    try:
        async with aclosing(_decoded(chunks, pictures)) as events:
            async for event in events:
                found += [event] if isinstance(event, CompletedImage) else []
    except APIError as error:
        if not found:
            raise
        logger.warning("%d of %d pictures came before the stream broke off: %s", len(found), pictures, error)
    return found


async def _decoded(chunks: Stream, pictures: int) -> AsyncGenerator[Event, None]:
    """What a stream says until so many pictures are whole: nobody waits for the server to hang up as well."""
    events = Events(chunks.request_id, chunks.shown)
    async for chunk in chunks:
        for event in events.feed(chunk):
            yield event
        if events.ended or events.completed >= pictures:
            break
    if not events.completed:
        failure = ChargeUnknownError(f"the stream ended without the completed picture.\n  {_MAYBE_PAID}")
        failure.request_id = chunks.request_id
        raise failure


def _whole(answer: ImagesResponse) -> ImagesResponse:
    """`answer` with those of its items that hold a picture. Raises ChargeUnknownError where none does."""
    pictures = tuple(image for image in answer.data if image.content is not None or image.url)
    if pictures:
        return evolve(answer, data=pictures)
    failure = ChargeUnknownError(
        "the server took the edit and answered without a picture: it may have been paid, and sending it again may be "
        "paid twice. The account's usage page tells."
    )
    failure.request_id = answer.request_id
    raise failure


def _answer(completed: list[CompletedImage]) -> ImagesResponse:
    last = completed[-1]
    return ImagesResponse(
        created=last.created_at,
        data=tuple(EditedImage(content=event.content) for event in completed),
        background=last.background,
        output_format=last.output_format,
        quality=last.quality,
        size=last.size,
        usage=_sum(event.usage for event in completed),
        request_id=last.request_id,
    )


def _sum(usages: Iterable[Usage | None]) -> Usage | None:
    known = [usage for usage in usages if usage is not None]
    return add(known) if known else None


def add(usages: Iterable[Usage]) -> Usage:
    """The tokens of several edits together."""
    found = list(usages)
    return Usage(
        input_tokens=sum(usage.input_tokens or 0 for usage in found),
        output_tokens=sum(usage.output_tokens or 0 for usage in found),
        total_tokens=sum(usage.total_tokens or 0 for usage in found),
    )
