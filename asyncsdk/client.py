"""`Client`, the one way in for every request: options, retries and response handling."""

from __future__ import annotations

import os
import ssl as tls
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import aiohttp
from attrs import evolve

from asyncsdk import files, settings
from asyncsdk.api import Request
from asyncsdk.clock import Clock
from asyncsdk.errors import APIError, ResponseMismatchError
from asyncsdk.events import RequestEvent
from asyncsdk.file_jobs import FileJobs
from asyncsdk.http.connection import ConnectionConfig
from asyncsdk.http.repeat import Repeater, check_on_event
from asyncsdk.http.request import PreparedRequest, RequestOptions, check_call, check_limits, prepare, prepare_external
from asyncsdk.http.response import Stream
from asyncsdk.http.session import Sessions
from asyncsdk.http.transport import Transport
from asyncsdk.models import Page
from asyncsdk.paging import each_page
from asyncsdk.retry import Retry
from asyncsdk.settings import Auth, Key
from asyncsdk.timing import DEFAULT_TIMING, Timing

T = TypeVar("T")

DOWNLOAD_SECONDS, LARGEST_DOWNLOAD = 120.0, 100 * 10**6


class Client(FileJobs):
    """One server, one key, one pool of connections. Use it as `async with Client() as client:` or `await aclose()`.

    It uses no event loop until its first request, and then one at a time: once that is closed, as `asyncio.run` does at
    its end, it works on the next. So one for a whole module is right for async endpoints (FastAPI, ASGI), Celery's
    prefork, management commands and Lambda. Two loops at once are an UnusableClientError: in threaded WSGI (gunicorn
    gthread, Django's runserver), with `celery -P threads`, and in sync endpoints beside async ones, use
    `async with Client() as client:` in each call.

    Args:
        api_key: The key, or a function, async or not, that is called at each attempt, and once more after a 401; see
            `CachedKey`. Default: `OPENAI_API_KEY`.
        base_url: The server, with the API's path. Default: `OPENAI_BASE_URL`, else OpenAI.
        organization: Default: `OPENAI_ORG_ID`.
        project: Default: `OPENAI_PROJECT_ID`.
        timeout: How many seconds the server may take for its response, in place of each request's own limit.
        max_retries: How many more attempts each request has, but those of an upload: see `AsyncUploader`.
        default_headers: Headers of every request, besides those in `OPENAI_CUSTOM_HEADERS`.
        default_query: Query parameters of every request.
        auth: How the key is sent: "bearer" or "api-key".
        ssl: A context of your own, such as from `create_ssl_context`; verification can't be turned off.
        proxy: The proxy's URL. Default: `HTTPS_PROXY` and the like, else the system's.
        connections: The size of the pool. Default: 100.
        session: A session to use as it is; it is never closed.
        on_event: Called with a RequestEvent after each attempt; an ordinary function, not
            an async one. What it raises is logged, and it is called again.
        trace_configs: For aiohttp's tracing.
        timing: Durations that the client chooses itself; meant for tests, which hand in shorter ones.

    Raises:
        ConfigurationError: A setting is wrong or missing.
        TypeError: `session` is given together with `ssl`, `proxy`, `connections` or `trace_configs`.
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
        on_event: Callable[[RequestEvent], object] | None = None,
        trace_configs: list[aiohttp.TraceConfig] | None = None,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        if session is not None and (ssl, proxy, connections, trace_configs) != (None, None, None, None):
            raise TypeError(
                "a given session has its own connections: ssl, proxy, connections and trace_configs don't go with it"
            )
        check_limits(timeout, max_retries)
        check_on_event(on_event)
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
        self.timeout, self.max_retries, self.timing = timeout, max_retries, timing
        given = {"ssl": ssl, "proxy": proxy, "session": session}
        self.only_here = tuple(name for name, value in given.items() if value is not None)  # which do not travel
        self.clock = Clock()
        config = ConnectionConfig(timing=timing)
        if session is None:
            config = ConnectionConfig.to(
                self.base_url, ssl=ssl, proxy=proxy, connections=connections, traces=trace_configs, timing=timing
            )
        self._transport = Transport(self.settings, self.clock, config, Sessions(config, session))
        self._repeater = Repeater(self.clock, timing, on_event, self.is_closed)
        anonymous = ConnectionConfig(proxy=config.proxy, trust=config.trust, timing=timing)
        self._anonymous = Transport(settings.nobody(), Clock(), anonymous, Sessions(anonymous))

    @classmethod
    def azure(  # noqa: D417 - the others are described at the class
        cls,
        endpoint: str | None = None,
        *,
        api_version: str | None = None,
        api_key: Key | None = None,
        token: Key | None = None,
        azure_ad_token: Key | None = None,
        azure_ad_token_provider: Key | None = None,
        organization: str | None = None,
        project: str | None = None,
        timeout: float | None = None,
        max_retries: int = 2,
        default_headers: Mapping[str, str] | None = None,
        default_query: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
        connections: int | None = None,
        session: aiohttp.ClientSession | None = None,
        on_event: Callable[[RequestEvent], object] | None = None,
        trace_configs: list[aiohttp.TraceConfig] | None = None,
        timing: Timing = DEFAULT_TIMING,
    ) -> Self:
        """Make a client of Azure OpenAI. Its other arguments are those of `Client`.

        Args:
            endpoint: `https://<resource>.openai.azure.com`, with or without `/openai` or `/openai/v1`. Default:
                `AZURE_OPENAI_ENDPOINT`.
            api_version: The version of the classic API; without one, v1 is used. Default: `OPENAI_API_VERSION`.
            api_key: Sent as `api-key`. Default: `AZURE_OPENAI_API_KEY`.
            token: An Entra token, sent as bearer, or a function that returns one; also by openai-python's names,
                `azure_ad_token` and `azure_ad_token_provider`. Default: `AZURE_OPENAI_AD_TOKEN`.
            azure_ad_token, azure_ad_token_provider: The same as `token`.
            organization, project, timeout, max_retries: As for `Client`.
            default_headers, default_query, ssl, proxy, connections, session: As for `Client`.
            on_event, trace_configs, timing: As for `Client`.

        Raises:
            ConfigurationError: A setting is wrong or missing.
        """
        tokens = {"token": token, "azure_ad_token": azure_ad_token, "azure_ad_token_provider": azure_ad_token_provider}
        keys = {"api_key": api_key, **tokens}
        azure = settings.resolve_azure(os.environ, endpoint=endpoint, api_version=api_version, keys=keys)
        client = cls(
            azure.key,
            base_url=azure.base_url,
            auth=azure.auth,
            default_query={**azure.query, **(default_query or {})},
            organization=organization,
            project=project,
            timeout=timeout,
            max_retries=max_retries,
            default_headers=default_headers,
            ssl=ssl,
            proxy=proxy,
            connections=connections,
            session=session,
            on_event=on_event,
            trace_configs=trace_configs,
            timing=timing,
        )
        client.settings = evolve(client.settings, variable=azure.variable)
        return client

    @property
    def base_url(self) -> str:
        """The server's base URL, normalised."""
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
        """Close the connections, except those of a given session."""
        await self._transport.aclose()
        await self._anonymous.aclose()

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._transport.is_closed

    async def close(self) -> None:
        """The same as `aclose`, by the name that openai-python has for it."""
        await self.aclose()

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
        """Send a request, with retries, and return its response as a model.

        Args:
            request: From a function of `asyncsdk.api`.
            timeout: How many seconds the server may take for the response to each attempt.
            max_retries: How many more attempts it has.
            headers: Headers of this request.
            query: Query parameters of this request.
            retry: A budget that several requests share, in place of `max_retries`.
            check: Returns what shows that a response belongs to another request, else None. Such a response is a
                ResponseMismatchError, and retried.

        Returns:
            The model that `request.response_model` names.

        Raises:
            APIError: No usable response came.
            ResponseMismatchError: By `check`, it belongs to another request, each time.
            ConfigurationError: An option is out of range.
            TypeError: `request` is not a Request.
        """
        call = self._call(request, timeout=timeout, max_retries=max_retries, headers=headers, query=query, retry=retry)

        async def receive() -> T:
            async with self._transport.sending(call) as response:
                result = await response.read(request.response_model)
            problem = call.mismatch(result) or (None if check is None else check(result))
            if problem is not None:
                raise ResponseMismatchError(
                    f"{request.name}: the response belongs to another request: {problem}. It is not used.",
                    request=request.name,
                )
            return result

        return await self._repeater.repeat(call, receive)

    async def pages(self, request: Request[Page[T]], **options: Unpack[RequestOptions]) -> AsyncGenerator[T, None]:
        """Iterate over a list, page after page, by its `after` cursor.

        Args:
            request: The first page.
            **options: Those of `send`.

        Yields:
            The items of all pages.

        Raises:
            APIError: A page did not come.
            APIResponseValidationError: The list leads back to a page that came before: it has no end.
        """
        async with aclosing(each_page(self.send, request, **options)) as pages:
            async for page in pages:
                for item in page.data:
                    yield item

    @asynccontextmanager
    async def stream(self, request: Request[Any], **options: Unpack[RequestOptions]) -> AsyncIterator[Stream]:
        """Read a response as it comes: `async with client.stream(request) as chunks: async for chunk in chunks: ...`

        The request is retried until the response begins; later a lost connection is an APIConnectionError.

        Args:
            request: From a function of `asyncsdk.api`.
            **options: Those of `send`, without `check`.

        Yields:
            An iterator over the response's bytes, with its `request_id`.

        Raises:
            APIError: No usable response came, or it broke off.
        """
        call = self._call(request, **options)
        async with AsyncExitStack() as stack:
            response = await self._repeater.repeat(
                call, lambda: stack.enter_async_context(self._transport.sending(call))
            )
            yield Stream(response, await stack.enter_async_context(aclosing(response.chunks())))

    async def receive(
        self, request: Request[Any], reader: Callable[[Stream], Awaitable[T]], **options: Unpack[RequestOptions]
    ) -> T:
        """Send a request and let `reader` read the response as it comes, both with retries.

        Args:
            request: From a function of `asyncsdk.api`.
            reader: Called with the stream of each attempt.
            **options: Those of `send`, without `check`.

        Returns:
            What `reader` returned.

        Raises:
            APIError: No usable response came, or it broke off.
        """
        call = self._call(request, **options)

        async def receive() -> T:
            async with self._transport.sending(call) as response, aclosing(response.chunks()) as chunks:
                return await reader(Stream(response, chunks))

        return await self._repeater.repeat(call, receive)

    def annotate(self, error: APIError) -> None:
        """Set on an error what is known about the server by now.

        Args:
            error: One that was made from a response of this server.
        """
        self._transport.annotate(error)

    async def download_url(self, url: str) -> bytes:
        """Download a URL that a response contains, such as an older model's image; without any key.

        Args:
            url: An http(s) URL.

        Returns:
            Its content, at most 100 MB.

        Raises:
            APIError: No usable response came.
            ConfigurationError: It is not an http(s) URL, or one without TLS where the server has TLS.
        """
        limit, tls_only = self.timeout or DOWNLOAD_SECONDS, self.base_url.startswith("https:")
        call = prepare_external(url, retry=Retry(self.max_retries), response_timeout=limit, tls_only=tls_only)

        async def receive() -> bytes:
            async with self._anonymous.sending(call) as response:
                return await response.read(bytes, limit=LARGEST_DOWNLOAD)

        return await self._repeater.repeat(call, receive)

    async def download(
        self, request: Request[bytes], to: str | os.PathLike[str], **options: Unpack[RequestOptions]
    ) -> int:
        """Save a response to a file, whole or not at all, readable for this user alone (0600).

        Args:
            request: Such as `api.file_content(file_id)`.
            to: The file's path.
            **options: Those of `send`, without `check`.

        Returns:
            Its size in bytes.

        Raises:
            APIError: No usable response came, or it broke off.
            OSError: It can't be saved.
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
        check_call(request, timeout, max_retries)
        return prepare(
            request,
            self.settings,
            headers=headers or {},
            query=query or {},
            retry=retry or Retry(self.max_retries if max_retries is None else max_retries),
            response_timeout=timeout or self.timeout or request.response_timeout,
        )
