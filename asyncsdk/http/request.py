"""A prepared request and its attempts: URL, headers, a new body for each, and the result of the last one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypedDict
from urllib.parse import quote, urljoin

from attrs import define, field
from multidict import CIMultiDict
from yarl import URL

from asyncsdk import api
from asyncsdk.api.request import URL_ROUTE, FormFile, Request, RequestBody
from asyncsdk.errors import APIError, APIStatusError, ConfigurationError, RedirectError
from asyncsdk.events import RequestEvent
from asyncsdk.given import wrong_type
from asyncsdk.http import multipart
from asyncsdk.http.body import ChunksBody
from asyncsdk.retry import Retry, may_have_acted, redirect_may_have_acted
from asyncsdk.settings import Settings, checked_headers
from asyncsdk.version import USER_AGENT

_RIGHT_SERVER = "Nothing was done. If that is the right server, set base_url to it."
_MAYBE_DONE = "The server may have acted on the request all the same: check that before you send it again."
_NOWHERE = "nowhere"


class RequestOptions(TypedDict, total=False):
    """What a call of `Client` may set for its request; see `Client.send`."""

    timeout: float | None
    max_retries: int | None
    headers: Mapping[str, str] | None
    query: Mapping[str, str] | None
    retry: Retry | None


@define(eq=False, kw_only=True)
class PreparedRequest:
    """One `Request` under one `Settings`, without the key."""

    request: Request[Any]
    target: URL = field(repr=False)
    headers: CIMultiDict[str] = field(repr=False)
    retry: Retry
    response_timeout: float
    url: URL = field(init=False, repr=False)
    body: RequestBody | None = field(default=None, init=False)
    status: int | None = field(default=None, init=False)
    request_id: str | None = field(default=None, init=False)
    _began: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.begin()

    @property
    def name(self) -> str:
        """`POST /uploads/{upload_id}/parts`, for messages and metrics."""
        return self.request.name

    def mismatch(self, result: object) -> str | None:
        """What shows that `result` belongs to another request; None if nothing does."""
        result_id = getattr(result, "id", None)
        is_right = self.request.response_id is None or result_id == self.request.response_id
        return None if is_right else f"its id is {result_id}, not {self.request.response_id}"

    def may_repeat(self, error: APIError) -> bool:
        """Whether it may be sent again after `error` at all, whatever its `retry` decides: see `Request.repeatable`."""
        return self.request.repeatable or not may_have_acted(error)

    def begin(self) -> None:
        """Start an attempt."""
        self._began, self.url = time.monotonic(), self.target
        self.body = self.status = self.request_id = None

    def new_body(self) -> RequestBody | None:
        """The body for one attempt, with the limits of this request."""
        self.body = encoded_body(self.request)
        if self.body is not None:
            self.body.limit_response(self.response_timeout)
            self.body.on_sent = self.retry.on_sent
        return self.body

    def response_began(self, status: int, headers: Mapping[str, str]) -> None:
        """Stop the timer of the body: the response's reader has its own limits."""
        self.status, self.request_id = status, headers.get("x-request-id")
        self.stop_watching()

    def stop_watching(self) -> None:
        """Stop the timer of this attempt."""
        if self.body is not None:
            self.body.stop_watching()

    @contextmanager
    def abort_on_failure(self) -> Iterator[None]:
        """On any failure within, cancellation included, drop the connection and what the kernel has not taken yet.

        A closing transport would keep its socket until the peer has received it, perhaps forever.
        """
        try:
            yield
        except BaseException:
            if self.body is not None:
                self.body.abort()
            raise

    @property
    def failure(self) -> BaseException | None:
        """The error that the body itself raised while it was written."""
        return None if self.body is None else self.body.failure

    @property
    def was_sent(self) -> bool:
        """Whether the server may have seen enough of the request to act on it."""
        return self.body is None or self.body.bytes_sent > 0

    def was_fully_sent(self) -> bool:
        """Whether the server can have seen the whole request."""
        return self.body is None or self.body.fully_sent

    def redirect(self, location: str, *, shown: str) -> None:
        """Follow `location` if it is on the same origin and keeps the method (RFC 9110, 15.4.8 and 15.4.9).

        A RedirectError names the origin of `shown`, which is `location` without secrets.
        """
        target = _joined(self.url, location)
        if _origin(target) == _origin(self.url) and (self.status in {307, 308} or self.request.method == "GET"):
            self.url = target
            return
        elsewhere = _origin(target) not in {_NOWHERE, _origin(self.url)}
        acted = redirect_may_have_acted(self.request.method, self.status, elsewhere=elsewhere)
        advice, origin = _MAYBE_DONE if acted else _RIGHT_SERVER, _origin(_joined(self.url, shown))
        raise RedirectError(
            f"{self.name}: the server responded with {self.status} and points to {origin}. The request was "
            f"not repeated there, and no key was sent there. {advice}",
            request=self.name,
            may_have_acted=acted,
        )

    def event(self, attempt: int, error: BaseException | None, wait: float | None) -> RequestEvent:
        """The event of the attempt that just ended."""
        refusal = error if isinstance(error, APIStatusError) else None
        return RequestEvent(
            method=self.request.method,
            route=self.request.route,
            attempt=attempt,
            seconds=time.monotonic() - self._began,
            bytes_sent=0 if self.body is None else self.body.bytes_sent,
            status=refusal.status_code if refusal else self.status,
            request_id=self.request_id,
            error=None if error is None else type(error).__name__,
            wait=wait,
        )


def check_limits(timeout: object, max_retries: object) -> None:
    """Raise ConfigurationError for limits that make no sense."""
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise ConfigurationError(
            f"timeout must be a number of seconds above 0, or None for each request's own limit{_instead(timeout)}."
        )
    if max_retries is not None and not (isinstance(max_retries, int | float) and max_retries >= 0):
        raise ConfigurationError(f"max_retries must be a number, 0 or more{_instead(max_retries)}.")


def _instead(number: object) -> str:
    return "" if isinstance(number, int | float) else f", not of the type {type(number).__name__}"


def check_call(request: object, timeout: object, max_retries: object) -> None:
    """Raise TypeError for what is not a Request, such as the function that makes one, else as `check_limits`."""
    check_limits(timeout, max_retries)
    if isinstance(request, Request):
        return
    name = str(getattr(request, "__name__", ""))
    if callable(request) and name and hasattr(api, name):
        raise TypeError(f"api.{name} is a function that makes a Request: call it, api.{name}(…). Nothing was sent.")
    raise wrong_type("request", request, "a Request, such as api.list_files() makes")


def prepare(
    request: Request[Any],
    settings: Settings,
    *,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    retry: Retry,
    response_timeout: float,
) -> PreparedRequest:
    """Settle the URL and the headers of `request`, except for the key."""
    target = _target(settings.base_url, _path(request, settings).removeprefix("/"))
    merged = _common_headers(request.accept)
    if request.method == "POST" and not _has_body(request):
        merged["Content-Type"] = "application/json"  # aiohttp would call an empty body octet-stream
    if settings.organization:
        merged["OpenAI-Organization"] = settings.organization
    if settings.project:
        merged["OpenAI-Project"] = settings.project
    merged.update(settings.headers)
    merged.update(checked_headers(headers))
    parameters = {**settings.query, **request.query, **query}
    return PreparedRequest(
        request=request,
        target=target.update_query(parameters) if parameters else target,
        headers=merged,
        retry=retry,
        response_timeout=response_timeout,
    )


@lru_cache(maxsize=64)
def _target(base_url: str, path: str) -> URL:
    return URL(base_url).joinpath(path, encoded=True)


def _has_body(request: Request[Any]) -> bool:
    return request.json is not None or any((request.body, request.streamed_file, request.files))


def _path(request: Request[Any], settings: Settings) -> str:
    """Classic Azure expects some calls below the name of their model's deployment."""
    if request.deployment is None or not settings.by_deployment:
        return request.path
    return f"/deployments/{quote(request.deployment, safe='')}{request.path}"


def prepare_external(url: str, *, retry: Retry, response_timeout: float, tls_only: bool = False) -> PreparedRequest:
    """A GET of a URL that a response contains. Raises ConfigurationError unless it is an http(s) URL."""
    target = _unchanged(url)
    if tls_only and target.scheme == "http":
        raise ConfigurationError(
            "the response came by https and contains an image URL that is not https; nothing was downloaded."
        )
    if target.scheme not in {"http", "https"} or not target.host:
        raise ConfigurationError(
            "the response contains an image URL that is not an http(s) URL; nothing was downloaded."
        )
    return PreparedRequest(
        request=Request(method="GET", route=URL_ROUTE, response_model=bytes, accept="*/*"),
        target=target,
        headers=_common_headers("*/*"),
        retry=retry,
        response_timeout=response_timeout,
    )


def encoded_body(request: Request[Any]) -> RequestBody | None:
    """Return a new body for one attempt at `request`."""
    if request.body is not None:
        return request.body()
    if request.streamed_file is not None:
        file = request.streamed_file
        frame = multipart.frame(request.fields, file.name, filename=file.filename, mime_type=file.mime_type)
        return file.body(frame)
    if request.files:
        return _form_body(request.fields, request.files)
    if request.json is not None:
        return ChunksBody([json.dumps(request.json, separators=(",", ":")).encode()], "application/json")
    return None


def _form_body(fields: Mapping[str, Any], files: Sequence[FormFile]) -> ChunksBody:
    boundary = multipart.new_boundary()
    before = multipart.text_parts(boundary, fields)
    chunks: list[bytes] = []
    for file in files:
        head = multipart.file_head(boundary, file.name, filename=file.filename, mime_type=file.mime_type)
        chunks += [before + head, file.content]
        before = multipart.NEXT
    return ChunksBody([*chunks, multipart.closing(boundary)], multipart.content_type(boundary))


def _common_headers(accept: str) -> CIMultiDict[str]:
    return CIMultiDict({"User-Agent": USER_AGENT, "Accept": accept, "Accept-Encoding": "identity"})


def _unchanged(url: str) -> URL:
    try:
        return URL(url, encoded=url.isascii())  # a signed one must not be quoted again
    except ValueError:
        return URL()


def _joined(url: URL, location: str) -> URL:
    try:
        return URL(urljoin(str(url), location))
    except ValueError:
        return URL()


def _origin(url: URL) -> str:
    if not url.host or url.user or url.password:
        return _NOWHERE
    return f"{url.scheme}://{url.host_subcomponent}:{url.port}"
