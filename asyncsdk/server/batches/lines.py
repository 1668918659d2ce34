"""The lines of an input file: what is wrong with each, as a batch that failed reports it (pure).

The codes are those that the real server is known to use, the messages its own where they are known. What is wrong with
an edit itself, such as its size, is not looked at here: that is the response to its line.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field, frozen

from asyncsdk.server.batches.objects import LineRefusal
from asyncsdk.server.edits.fields import OLD_MODEL
from asyncsdk.server.errors import ApiError, missing, mistyped
from asyncsdk.server.fields import Fields

MOST_LINES = 50_000
MOST_REFUSALS = 100  # how many the real server reports is not known
_SHAPE = (
    ("custom_id", str, "a string"),
    ("method", str, "a string"),
    ("url", str, "a string"),
    ("body", dict, "an object"),
)
_STREAMING = ("stream", "partial_images")
_PICTURE_TOKENS = 200


@frozen
class InputLine:
    """A request of a batch."""

    custom_id: str
    body: Fields = field(repr=False)


@define(eq=False)
class InputCheck:
    """Takes the lines of an input file in order, and collects what is wrong with them.

    `tokens` is what they count against the limit of what waits.
    """

    endpoint: str
    refusals: list[LineRefusal] = field(factory=list, init=False)
    total: int = field(default=0, init=False)
    model: str | None = field(default=None, init=False)
    tokens: int = field(default=0, init=False)
    _ids: set[str] = field(factory=set, init=False)

    def take(self, line: bytes) -> None:
        """Look at the next line."""
        self.total += 1
        if self.total == MOST_LINES + 1:
            self.refusals.append(refused("too_many_tasks", f"A batch has at most {MOST_LINES} requests."))
        if self.total > MOST_LINES or len(self.refusals) >= MOST_REFUSALS:
            return
        try:
            request = _object_in(line)
            self._look_at(request)
        except _WrongLine as wrong:
            self.refusals.append(refused(wrong.code, wrong.message, self.total, wrong.param))

    def finish(self) -> None:
        """There is no other line."""
        if not self.total:
            self.refusals.append(refused("empty_file", "The input file has no requests."))

    def _look_at(self, request: dict[str, Any]) -> None:
        for name, kind, words in _SHAPE:
            if name not in request:
                raise _WrongLine.of(missing(name))
            if not isinstance(request[name], kind):
                raise _WrongLine.of(mistyped(name, words, request[name]))
        if request["custom_id"] in self._ids:
            raise _WrongLine("duplicate_custom_id", _DUPLICATE, "custom_id")
        self._ids.add(request["custom_id"])
        if request["method"] != "POST":
            raise _WrongLine(
                "invalid_method", f"The method is '{request['method']:.20}', and must be 'POST'.", "method"
            )
        if request["url"] != self.endpoint:
            raise _WrongLine("url_mismatch", f"The url is not that of the batch, '{self.endpoint}'.", "url")
        body = request["body"]
        self._look_at_model(body)
        for name in _STREAMING:
            if body.get(name):
                raise _WrongLine("invalid_request", f"'{name}' is not supported in a batch.", f"body.{name}")
        images, n = body.get("images"), body.get("n")
        pictures = len(images) if isinstance(images, list) else 1
        self.tokens += (n if isinstance(n, int) else 1) * (
            _PICTURE_TOKENS * pictures + len(str(body.get("prompt"))) // 4
        )

    def _look_at_model(self, body: dict[str, Any]) -> None:
        model = body.get("model")
        if model is None:
            raise _WrongLine.of(missing("body.model"))
        if not isinstance(model, str):
            raise _WrongLine.of(mistyped("body.model", "a string", model))
        if model == OLD_MODEL:
            raise _WrongLine(
                "model_not_found", f"The provided model '{model}' is not supported by the Batch API.", "body.model"
            )
        self.model = self.model or model
        if model != self.model:
            raise _WrongLine(
                "model_mismatch",
                f"The model is '{model:.80}', and that of the lines before '{self.model:.80}'.",
                "body.model",
            )


def refused(code: str, message: str, line: int | None = None, param: str | None = None) -> LineRefusal:
    return LineRefusal(code=code, message=message, line=line, param=param)


def read_line(line: bytes) -> InputLine:
    """A line of a file that was checked."""
    request = _object_in(line)
    return InputLine(request["custom_id"], request["body"])


def _object_in(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise _WrongLine("invalid_json_line", _NOT_JSON) from error
    if not isinstance(value, dict):
        raise _WrongLine("invalid_json_line", _NOT_JSON)
    return value


@define(eq=False)
class _WrongLine(Exception):  # noqa: N818 - it ends the look at one line
    code: str
    message: str
    param: str | None = None

    @classmethod
    def of(cls, error: ApiError) -> _WrongLine:
        return cls(error.code or "invalid_request", error.message, error.param)


_NOT_JSON = "This line is not parseable as valid JSON."
_DUPLICATE = (
    "The custom_id for this request is a duplicate of another request. The custom_id parameter must be unique for each "
    "request in a batch."
)
