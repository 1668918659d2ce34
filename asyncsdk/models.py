"""The API's objects as frozen values: unknown fields are kept, and only ids are required (pure).

The live server breaks its own specification (nulls where it allows none), and compatible servers leave fields
out, so only an object's id is required.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_type_hints

from attrs import field, fields, frozen

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")

_LARGEST_COUNT = 253_402_214_400  # seconds until the last day of the year 9999; no file has as many bytes
_LONGEST_COUNT = 20  # digits


@frozen(kw_only=True)
class Model:
    """`extra` holds the fields of the response that this version does not know."""

    extra: Mapping[str, Any] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class File(Model):
    """A stored file.

    Args:
        id: Such as `file-abc123`.
        object: Always "file".
        bytes: Its size.
        created_at: Unix time in seconds.
        expires_at: Unix time in seconds; None where it does not expire.
        filename: The name that it was uploaded under.
        purpose: Such as "batch".
        status: Deprecated by OpenAI.
        status_details: Deprecated by OpenAI.
        extra: Fields of the response that this version does not know.
    """

    id: str
    object: str | None = None
    bytes: int | None = None
    created_at: int | None = None
    expires_at: int | None = None
    filename: str | None = None
    purpose: str | None = None
    status: str | None = None
    status_details: str | None = None


@frozen(kw_only=True)
class Upload(Model):
    """An upload session.

    Args:
        id: Such as `upload_abc123`.
        object: Always "upload".
        bytes: The size of the whole file.
        created_at: Unix time in seconds.
        expires_at: Unix time in seconds, after which it takes no more parts.
        filename: The name of the file.
        purpose: Such as "batch".
        status: "pending", "completed", "cancelled" or "expired".
        file: The file that was made of it, once it is completed.
        extra: Fields of the response that this version does not know.
    """

    id: str
    object: str | None = None
    bytes: int | None = None
    created_at: int | None = None
    expires_at: int | None = None
    filename: str | None = None
    purpose: str | None = None
    status: str | None = None
    file: File | None = None


@frozen(kw_only=True)
class UploadPart(Model):
    """A part that the server holds; it has neither size nor offset.

    Args:
        id: Such as `part_abc123`.
        object: Always "upload.part".
        created_at: Unix time in seconds.
        upload_id: The upload that it is of.
        extra: Fields of the response that this version does not know.
    """

    id: str
    object: str | None = None
    created_at: int | None = None
    upload_id: str | None = None


@frozen(kw_only=True)
class FileDeleted(Model):
    """The response to a delete.

    Args:
        id: Of the file.
        object: Always "file".
        deleted: Whether it is gone.
        extra: Fields of the response that this version does not know.
    """

    id: str
    object: str | None = None
    deleted: bool | None = None


@frozen(kw_only=True)
class Page(Model, Generic[T]):
    """One page of a list; `Client.pages` walks through all of them.

    Args:
        data: The objects of the page, in order.
        object: Always "list".
        first_id: The id of the first object.
        last_id: The id of the last object, from which the next page goes on.
        has_more: Whether there is a next page.
        extra: Fields of the response that this version does not know.
    """

    data: tuple[T, ...]
    object: str | None = None
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool | None = None


@frozen(kw_only=True)
class ModelInfo(Model):
    """A model that the server has.

    Args:
        id: Its name.
        object: Always "model".
        created: Unix time in seconds.
        owned_by: Who made it.
        shutdown_date: The day on which it ends, as YYYY-MM-DD; None where that is not planned.
        extra: Fields of the response that this version does not know.
    """

    id: str
    object: str | None = None
    created: int | None = None
    owned_by: str | None = None
    shutdown_date: str | None = None


@frozen(kw_only=True)
class TokenDetails(Model):
    """Tokens of images and of text."""

    image_tokens: int | None = None
    text_tokens: int | None = None


@frozen(kw_only=True)
class Usage(Model):
    """What an edit cost.

    Args:
        input_tokens: Tokens of the prompt and the input images.
        output_tokens: Tokens of the `n` images together.
        total_tokens: The sum of both.
        input_tokens_details: Those of the input by kind.
        output_tokens_details: Those of the output by kind.
        extra: Fields of the response that this version does not know.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: TokenDetails | None = None
    output_tokens_details: TokenDetails | None = None


@frozen(kw_only=True)
class EditedImage(Model):
    """One image of a response.

    Args:
        content: Its bytes, decoded; None where it is at `url`.
        url: Where older models keep it, for 60 minutes.
        revised_prompt: The prompt that was used in the place of yours.
        extra: Fields of the response that this version does not know.
    """

    content: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    revised_prompt: str | None = None


@frozen(kw_only=True)
class UnreadableImage:
    """An image that was paid for and can't be used.

    Args:
        raw: What the server sent for it.
        reason: What is wrong with it.
    """

    raw: bytes = field(repr=False)
    reason: str


@frozen(kw_only=True)
class ImagesResponse(Model):
    """The response to an edit: its images, and the settings that were used.

    Args:
        data: The images that can be used.
        created: Unix time in seconds.
        background: As used.
        output_format: As used, such as "png".
        quality: As used.
        size: As used, such as "1024x1024".
        safety_identifier: As sent.
        usage: What it cost, in tokens.
        svg_usage: What SVG output cost, as the server reports it.
        request_id: From the header `x-request-id`.
        unreadable: What came in the place of images that can't be used.
        extra: Fields of the response that this version does not know.
    """

    data: tuple[EditedImage, ...]
    created: int | None = None
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    safety_identifier: str | None = None
    usage: Usage | None = None
    svg_usage: Mapping[str, Any] | None = None
    request_id: str | None = None
    unreadable: tuple[UnreadableImage, ...] = ()


def add(usages: Iterable[Usage]) -> Usage:
    """The tokens of several edits together."""
    summands = list(usages)
    return Usage(
        input_tokens=sum(usage.input_tokens or 0 for usage in summands),
        output_tokens=sum(usage.output_tokens or 0 for usage in summands),
        total_tokens=sum(usage.total_tokens or 0 for usage in summands),
    )


M = TypeVar("M", bound=Model)


class InvalidModelError(ValueError):
    """The JSON does not contain what the model needs."""


def from_json(model: type[T], data: object) -> T:
    """Read `model` from decoded JSON. Raises InvalidModelError with what is missing or of the wrong kind.

    An impossible count (a text, a fraction, below 0 or beyond the year 9999) counts as missing.
    """
    try:
        return _converter().structure(data, model)
    except Exception as error:  # cattrs raises whatever a field's type does
        name = getattr(model, "__name__", str(model))
        raise InvalidModelError(f"no {name}: {_reason(error)}") from error


def from_odd_json(model: type[M], data: Mapping[str, Any]) -> M:
    """Read `model` from decoded JSON, less the fields of a wrong type: what is paid is not lost for them."""
    with suppress(InvalidModelError):  # the faster way, and nearly always enough
        return from_json(model, data)
    kept: dict[str, Any] = {}
    kinds = _kinds(cast("Any", model))
    for name, kind in kinds.items():
        if data.get(name) is not None:
            with suppress(Exception):  # cattrs raises whatever a field's type does
                kept[name] = _odd_converter().structure(data[name], kind)
    return model(**kept, extra={name: value for name, value in data.items() if name not in kinds})


def to_json(model: Model) -> dict[str, Any]:
    """The JSON that `model` came from, less its nulls; `from_json` makes the same model of it."""
    known = {a.name: getattr(model, a.name) for a in fields(type(model)) if a.name != "extra"}
    return {name: _plain(value) for name, value in known.items() if value is not None} | dict(model.extra)


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return to_json(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _reason(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_reason(part) for part in error.exceptions)
    return f"{type(error).__name__}: {error}"


def _keeping_extra(model: type[Any], converter: cattrs.Converter) -> Any:
    from cattrs.gen import make_dict_structure_fn

    read = make_dict_structure_fn(model, converter)
    known = {a.name for a in fields(getattr(model, "__origin__", model))} - {"extra"}

    def structure(data: Any, _: Any) -> Any:
        if not isinstance(data, Mapping):
            raise TypeError(f"an object was expected, not {type(data).__name__}")
        extra = {name: value for name, value in data.items() if name not in known}
        return read({name: value for name, value in data.items() if name in known} | {"extra": extra}, _)

    return structure


def _is_model(kind: Any) -> bool:
    origin = getattr(kind, "__origin__", kind)
    return isinstance(origin, type) and issubclass(origin, Model)


def _text(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected, not {type(value).__name__}")
    return value


def _count(value: Any, _: Any) -> int | None:
    """A whole number from 0 to the largest count, which may be written as a text; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= _LONGEST_COUNT:
        value = int(value)
    is_count = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST_COUNT
    return int(value) if is_count and value == int(value) else None


def _plain_converter() -> cattrs.Converter:
    import cattrs  # for the first response: `import asyncsdk` stays light

    converter = cattrs.Converter()
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook_func(lambda kind: kind == int | None, _count)
    return converter


@cache
def _converter() -> cattrs.Converter:
    converter = _plain_converter()
    converter.register_structure_hook_factory(_is_model, _keeping_extra)
    return converter


@cache
def _odd_converter() -> cattrs.Converter:
    converter = _plain_converter()
    converter.register_structure_hook_func(_is_model, lambda data, model: from_odd_json(model, data))
    return converter


@cache
def _kinds(model: type[Any]) -> dict[str, Any]:
    return {name: kind for name, kind in get_type_hints(model).items() if name != "extra"}
