"""`Client`: one way in for every request. What it may carry, when it is made again, how its answer is read."""

from __future__ import annotations

import logging
import os
import ssl as tls
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import anyio

from asyncsdk import files, settings
from asyncsdk.api import Request
from asyncsdk.clock import Clock
from asyncsdk.errors import APIError, APIResponseValidationError, ConfigurationError, ResponseMismatchError
from asyncsdk.events import RequestEvent
from asyncsdk.http.connection import DEFAULT_CONNECTIONS, ConnectionConfig, check_trust, default_trust, proxy_for
from asyncsdk.http.request import PreparedRequest, prepare, prepare_external
from asyncsdk.http.response import Stream
from asyncsdk.http.transport import Transport
from asyncsdk.models import Page
from asyncsdk.retry import Retry
from asyncsdk.settings import Auth, Key

T = TypeVar("T")

FETCH_SECONDS = 120.0
LARGEST_FETCH = 100 * 10**6

log = logging.getLogger(__name__)


class Client:
    """One server, one key, one pool of connections. Use it as `async with Client() as client:` or `await aclose()`.

    What is not given comes from `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_ORG_ID`, `OPENAI_PROJECT_ID` and
    `OPENAI_CUSTOM_HEADERS`. `api_key` is text or a function, async or not, that is asked at each request.
    `timeout` (seconds) takes the place of each request's own answer limit. `ssl` is a context of your own;
    verification can't be turned off. `connections` (100) bounds the pool. A given `session` is used as it is
    and never closed. `on_event` is called with a `RequestEvent` for each attempt.

    Makes no use of an event loop until its first request. Raises ConfigurationError for a bad or missing
    setting, TypeError where `session` is given together with `ssl`, `proxy`, `connections` or `trace_configs`.
    """

    def __init__(
        self,
        api_key: Key | None = None,
        *,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        timeout: float | None = None,
        max_retries: int = 2,
        default_headers: Mapping[str, str] | None = None,
        default_query: Mapping[str, str] | None = None,
        auth: Auth = "bearer",
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
        connections: int | None = None,
        session: aiohttp.ClientSession | None = None,
        on_event: Callable[[RequestEvent], None] | None = None,
        trace_configs: list[aiohttp.TraceConfig] | None = None,
    ) -> None:
        if session is not None and (ssl, proxy, connections, trace_configs) != (None, None, None, None):
            raise TypeError(
                "a given session brings its own connections: ssl, proxy, connections, trace_configs don't go with it"
            )
        if ssl is not None:
            check_trust(ssl)
        _check_limits(timeout, max_retries)
        if connections is not None and connections < 1:
            raise ConfigurationError("connections must be 1 or more.")
        self.settings = settings.resolve(
            os.environ,
            api_key=api_key,
            base_url=base_url,
            organization=organization,
            project=project,
            auth=auth,
            headers=default_headers,
            query=default_query,
        )
        self.timeout, self.max_retries, self.on_event = timeout, max_retries, on_event
        self.clock = Clock()
        way = ConnectionConfig()
        if session is None:
            way = ConnectionConfig(
                trust=(ssl or default_trust()) if self.base_url.startswith("https:") else None,
                proxy=proxy_for(self.base_url, proxy),
                connections=connections or DEFAULT_CONNECTIONS,
                trace_configs=trace_configs,
            )
        self._transport = Transport(self.settings, self.clock, way, session)
        self._anonymous = Transport(settings.nobody(), Clock(), ConnectionConfig(proxy=way.proxy, trust=way.trust))

    @classmethod
    def azure(
        cls,
        endpoint: str | None = None,
        *,
        api_version: str | None = None,
        api_key: Key | None = None,
        token: Key | None = None,
        **options: Any,
    ) -> Self:
        """A client of Azure OpenAI: `https://<resource>.openai.azure.com`, with or without `/openai` or `/openai/v1`.

        With an `api_version` the classic API is spoken, without one v1. `api_key` goes out as `api-key`, an
        Entra `token` as bearer. What is left open comes from `AZURE_OPENAI_ENDPOINT`, `OPENAI_API_VERSION`,
        `AZURE_OPENAI_API_KEY` and `AZURE_OPENAI_AD_TOKEN`. `options` are those of `Client`.
        """
        where = settings.azure_arguments(
            os.environ, endpoint=endpoint, api_version=api_version, api_key=api_key, token=token
        )
        query = {**where.pop("query"), **(options.pop("default_query", None) or {})}
        return cls(**where, default_query=query, **options)

    @property
    def base_url(self) -> str:
        """Where requests go, normalised."""
        return self.settings.base_url

    def __repr__(self) -> str:
        return f"Client(base_url={self.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, but for those of a given session."""
        await self._transport.aclose()
        await self._anonymous.aclose()

    async def send(
        self,
        request: Request[T],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - a limit per attempt, not for the whole
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        check: Callable[[T], str | None] | None = None,
    ) -> T:
        """Send `request`, again where that helps, and return its answer as a model.

        `timeout` (seconds) is for the answer to each attempt; `retry` shares a budget among requests and
        takes the place of `max_retries`. `check` names what shows that an answer belongs to another request, which
        is then a ResponseMismatchError, and retried. Raises APIError.
        """
        call = self._call(request, timeout=timeout, max_retries=max_retries, headers=headers, query=query, retry=retry)

        async def receive() -> T:
            async with self._transport.sending(call) as answer:
                result = await answer.read(request.answer)
            problem = _of_another(request, result) or (None if check is None else check(result))
            if problem is not None:
                raise ResponseMismatchError(
                    f"{request.name}: the answer belongs to another request: {problem}. It is not believed.",
                    request=request.name,
                )
            return result

        return await self._repeat(call, receive)

    async def pages(self, request: Request[Page[T]], **options: Any) -> AsyncGenerator[T, None]:
        """Walk through a list, page after page, by its `after` cursor.

        Args:
            request: The first page.
            options: Those of `send`.

        Raises:
            APIError: A page did not come.
            APIResponseValidationError: The list leads back to a page that was given before: it has no end.
        """
        query = dict(options.pop("query", None) or {})
        cursors: set[str] = set()
        while True:
            page = await self.send(request, query=query, **options)
            for item in page.data:
                yield item
            last = page.last_id or getattr(page.data[-1] if page.data else None, "id", None)
            if page.has_more is False or not page.data or last in (None, query.get("after")):
                return
            if last in cursors:
                raise APIResponseValidationError(
                    f"{request.name}: the list has no end: after {last} comes a page that was given before. Nothing "
                    "was changed by reading it. Ask whoever runs the server or gateway.",
                    request=request.name,
                )
            cursors.add(last)
            query["after"] = last

    @asynccontextmanager
    async def stream(self, request: Request[Any], **options: Any) -> AsyncIterator[Stream]:
        """`async with client.stream(request) as chunks:` gives the answer's bytes as they come, and its `request_id`.

        Retried like any other until it begins; later a lost connection is an APIConnectionError.
        """
        call = self._call(request, **options)
        async with AsyncExitStack() as stack:
            answer = await self._repeat(call, lambda: stack.enter_async_context(self._transport.sending(call)))
            yield Stream(answer, await stack.enter_async_context(aclosing(answer.chunks())))

    async def receive(self, request: Request[Any], reader: Callable[[Stream], Awaitable[T]], **options: Any) -> T:
        """Send `request` and let `reader` read the answer as it comes: both again where that helps. Raises APIError."""
        call = self._call(request, **options)

        async def receive() -> T:
            async with self._transport.sending(call) as answer, aclosing(answer.chunks()) as chunks:
                return await reader(Stream(answer, chunks))

        return await self._repeat(call, receive)

    def annotate(self, error: APIError) -> None:
        """Note in `error`, made from a response of this server, what is known about the server by now."""
        self._transport.annotate(error)

    async def download_url(self, url: str) -> bytes:
        """What `url` gives, such as a picture of an older model's answer, of at most 100 MB; without any key.

        Raises APIError; ConfigurationError for no http(s) URL, or one without TLS where the server has it.
        """
        limit, tls_only = self.timeout or FETCH_SECONDS, self.base_url.startswith("https:")
        call = prepare_external(url, retry=Retry(self.max_retries), answer_limit=limit, tls_only=tls_only)

        async def receive() -> bytes:
            async with self._anonymous.sending(call) as answer:
                return await answer.read(bytes, limit=LARGEST_FETCH)

        return await self._repeat(call, receive)

    async def download(self, request: Request[bytes], to: str | os.PathLike[str], **options: Any) -> int:
        """Save the answer at `to`, whole or not at all, for this user alone (0600), and return its size in bytes.

        Raises APIError, and OSError where it can't be saved.
        """
        return await self.receive(request, lambda chunks: files.stream_to(to, chunks, mode=files.PRIVATE), **options)

    def _call(
        self,
        request: Request[Any],
        *,
        timeout: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        retry: Retry | None = None,
    ) -> PreparedRequest:
        _check_limits(timeout, max_retries)
        return prepare(
            request,
            self.settings,
            headers=headers or {},
            query=query or {},
            retry=retry or Retry(self.max_retries if max_retries is None else max_retries),
            answer_limit=timeout or self.timeout or request.answer_limit,
        )

    async def _repeat(self, call: PreparedRequest, receive: Callable[[], Awaitable[T]]) -> T:
        attempts = call.retry.attempts()
        while True:
            if call.retry.before_attempt is not None:
                await call.retry.before_attempt()
            call.begin()
            try:
                result = await receive()
            except APIError as error:
                delay = attempts.delay_after(error, now=self.clock.now())
                self._tell(call, attempts.made, error, delay)
                if delay is None:
                    raise
                log.warning("%s; trying again in %.1f s", error, delay)
                if call.retry.on_wait is not None:
                    call.retry.on_wait(error, delay)
                await anyio.sleep(delay)
            else:
                self._tell(call, attempts.made + 1)
                return result

    def _tell(
        self, call: PreparedRequest, attempt: int, error: APIError | None = None, wait: float | None = None
    ) -> None:
        if self.on_event is None and not log.isEnabledFor(logging.DEBUG):
            return
        event = call.event(attempt, error, wait)
        outcome = event.status or event.error
        log.debug("%s %s: %s, %.2f s, %s", event.method, event.route, outcome, event.seconds, event.request_id or "-")
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception:
            log.exception("on_event raised and is not called again")
            self.on_event = None


def _of_another(request: Request[Any], answer: object) -> str | None:
    found = getattr(answer, "id", None)
    is_right = request.answer_id is None or found == request.answer_id
    return None if is_right else f"it is of {found}, not of {request.answer_id}"


def _check_limits(timeout: float | None, max_retries: int | None) -> None:
    if timeout is not None and not timeout > 0:
        raise ConfigurationError("timeout must be above 0 seconds; None leaves it to each request.")
    if max_retries is not None and max_retries < 0:
        raise ConfigurationError("max_retries must be 0 or more.")
