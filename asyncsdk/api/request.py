"""A call of the API as a value: a `Request`, the files of its form, and what makes its body (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar
from urllib.parse import quote

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError

T_co = TypeVar("T_co", covariant=True)

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"] | str  # noqa: PYI051 - the known ones are for editors
"""What a file is for."""

URL_ROUTE = "the picture's URL"
"""The route of a request outside the API, to a URL that a response contains."""
AT_URL = f"GET {URL_ROUTE}"
"""What an error calls such a request."""


class RequestBody(Protocol):
    """What is written to the connection in one attempt, such as an `http.body.Body`."""

    on_sent: Callable[[], object] | None

    @property
    def failure(self) -> BaseException | None:
        """Why this side ended the attempt."""

    @property
    def bytes_sent(self) -> int:
        """How many bytes were handed to the connection."""

    @property
    def fully_sent(self) -> bool:
        """Whether every byte was."""

    def limit_response(self, seconds: float) -> None:
        """Set how long the server may take once it has everything.

        Args:
            seconds: So long.
        """

    def stop_watching(self) -> None:
        """Stop the timer that gives up a stalled attempt."""

    def abort(self) -> None:
        """Drop the connection and what it still holds of this body."""


BodyFactory = Callable[[], RequestBody]
"""Makes a new body for each attempt."""


@frozen(kw_only=True)
class FormFile:
    """A file in a multipart form.

    Args:
        name: The form field's name.
        content: Its bytes.
        filename: The file's name.
        mime_type: Such as "image/png".
    """

    name: str
    content: bytes = field(repr=False)
    filename: str
    mime_type: str


@frozen
class FormFrame:
    """What a form has around the content of its one file.

    Args:
        before: The bytes before it.
        after: The bytes after it.
        content_type: The Content-Type of the whole.
    """

    before: bytes = field(repr=False)
    after: bytes
    content_type: str


FileBodyFactory = Callable[[FormFrame], RequestBody]
"""Makes a new body for each attempt: the frame of a form around a file's content."""


@frozen(kw_only=True)
class StreamedFile:
    """The one file in a multipart form, whose content is read while it is sent.

    Args:
        name: The form field's name.
        filename: The file's name.
        mime_type: Such as "application/octet-stream".
        body: Makes a new body for each attempt: all of the frame it is called with, around the content.
    """

    name: str
    filename: str
    mime_type: str
    body: FileBodyFactory = field(repr=False)


@frozen(kw_only=True)
class Request(Generic[T_co]):
    """A call as a value, which `http` encodes.

    Args:
        method: The HTTP method.
        route: The path below the base URL, with `{names}` for what `ids` holds.
        response_model: The model of the response; `bytes` for its content as it is.
        ids: What stands for the names in `route`.
        query: Query parameters.
        json: The body as JSON.
        fields: The fields of a multipart form, before its `files`.
        files: The files of a multipart form.
        streamed_file: The file of a multipart form that is too large for memory, in place of `files`.
        body: Makes a new body for each attempt, in place of all of these.
        deployment: The model below which classic Azure keeps this call.
        response_id: The id that the response must have, where it is the object that the call is about: a gateway may
            swap two responses.
        accept: The Accept header.
        response_timeout: How many seconds the server may take once it has the whole request.
        repeatable: Whether it may be sent again by itself, with whatever retries, after a failure in which the server
            may have acted.
    """

    method: str
    route: str
    response_model: type[T_co] = field(repr=False)
    ids: Mapping[str, str] = field(factory=dict)
    query: Mapping[str, str] = field(factory=dict)
    json: Mapping[str, Any] | None = field(default=None, repr=False)
    fields: Mapping[str, Any] = field(factory=dict, repr=False)
    files: Sequence[FormFile] = field(default=(), repr=False)
    streamed_file: StreamedFile | None = field(default=None, repr=False)
    body: BodyFactory | None = field(default=None, repr=False)
    deployment: str | None = None
    response_id: str | None = None
    accept: str = "application/json"
    response_timeout: float = 120.0
    repeatable: bool = True

    @property
    def name(self) -> str:
        """The method and the route, without ids, for messages and metrics."""
        return f"{self.method} {self.route}"

    @property
    def path(self) -> str:
        """The path below the base URL.

        Raises:
            ConfigurationError: An id would change the path.
        """
        for name, value in self.ids.items():
            if value in {"", ".", ".."}:
                raise ConfigurationError(f"{name} is {value!r}, which names nothing. Nothing was sent.")
        quoted = {name: quote(value, safe="", errors="replace") for name, value in self.ids.items()}
        return self.route.format_map(quoted)


def fields_set(fields: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """What of `fields` the caller set, and all of `extra`, which the API may know and we do not."""
    return {name: value for name, value in fields.items() if value is not None} | dict(extra or {})
