"""Checks an edit against the rules of its model before it is sent: pictures by header, fields by range (pure).

Rules from OpenAI's document (CreateImageEditRequest) and openai-python's types. Models are open names: an unknown
one has only the rules of all, and what may change, such as sizes in pixels, is left to the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from asyncsdk.api import ImageFile, ImageRef
from asyncsdk.errors import InvalidEditError
from asyncsdk.images.edit import EDIT_FIELDS, HeicImage, ImageEdit, Loaded
from asyncsdk.images.header import BadPicture, Header, look

LONGEST_URL = 20_971_520
LARGEST = 50 * 10**6  # bytes; the API's "less than 50MB" read as the smaller unit, which is safe under both
LARGEST_MASK = 4 * 10**6
MOST_COUNTED = 10_000  # of pictures and the like: each has a name, and a ledger keeps 64 bits of their costs
SMALLEST_MODEL = "dall-e-2"  # which takes less of everything than the others
_TEXTS = tuple(name for name, about in EDIT_FIELDS.items() if about.kind is str and name not in {"prompt", "size"})
_RANGES = {name: about.allowed for name, about in EDIT_FIELDS.items() if about.allowed is not None}
_SIZE = re.compile(r"auto|[1-9]\d{0,4}x[1-9]\d{0,4}")
_NEARLY_A_SIZE = re.compile(r"\s*(\d{1,5})(?:\s*[xX*\u00d7,:/ ]\s*(\d{1,5}))?(?:\s*px)?\s*")


@frozen(kw_only=True)
class Family:
    """The limits of models that have the same."""

    pictures: int = 16
    prompt: int = 32_000
    largest: int = LARGEST
    square_png: bool = False
    sizes: tuple[str, ...] | None = None
    names_sizes: bool = False  # such as "2K"
    not_taken: tuple[str, ...] = ()


def _refused_by(family: str) -> tuple[str, ...]:
    return tuple(name for name, about in EDIT_FIELDS.items() if about.refused_by == family)


UNNAMED = Family()
UNKNOWN = Family(names_sizes=True)
GPT_IMAGE = Family(not_taken=_refused_by("gpt-image"))
DALL_E_2 = Family(
    pictures=1, prompt=1000, largest=4 * 10**6, square_png=True, not_taken=_refused_by("dall-e-2"),
    sizes=("256x256", "512x512", "1024x1024"),
)  # fmt: skip


def family_of(model: str | None) -> Family:
    """The rules for `model`."""
    if model == SMALLEST_MODEL:
        return DALL_E_2
    if not isinstance(model, str):
        return UNNAMED
    return GPT_IMAGE if model.startswith(("gpt-image", "chatgpt-image")) else UNKNOWN


def check(edit: ImageEdit, images: Sequence[Loaded], mask: Loaded | None = None, markup: Loaded | None = None) -> None:
    """Raise InvalidEditError where `edit` breaks a rule, with all that is wrong: the file, the rule, the figure."""
    family = family_of(edit.model)
    problems = [*(("wrong field", problem) for problem in _fields(edit, family)), *_pictures(edit, images, family)]
    if not problems:
        overlays = {"mask": mask, "markup": markup}
        problems = [
            (f"wrong {name}", problem)
            for name, overlay in overlays.items()
            for problem in _overlay(name, overlay, images[0])
        ]
    if problems:
        raise _refusal([problem for _, problem in problems], problems[0][0])


def refusal_of_fields(edit: ImageEdit, *, checked: bool = True) -> InvalidEditError | None:
    """Why `edit` is refused for what is known before a picture is read; None where its fields are right.

    `checked` as `check` does; else only for a number that nothing here can count.
    """
    problems = list(_fields(edit, family_of(edit.model)) if checked else _uncountable(edit))
    return _refusal(problems, "wrong field") if problems else None


def _refusal(problems: Sequence[str], reason: str) -> InvalidEditError:
    text = "; ".join(problems)
    return invalid(f"{text}{'' if text.endswith('?') else '.'} Nothing was sent.", reason)


def invalid(message: str, reason: str) -> InvalidEditError:
    """An InvalidEditError with its reason in a word or two."""
    error = InvalidEditError(message)
    error.reason = reason
    return error


def _fields(edit: ImageEdit, family: Family) -> Iterator[str]:
    yield from _prompt(edit.prompt, family)
    for name in _TEXTS:
        value: object = getattr(edit, name)
        if not isinstance(value, str | None):
            yield f"{name}={value!r} is not text"
    for name, (low, high) in _RANGES.items():
        value = getattr(edit, name)
        if value is not None and not (type(value) is int and low <= value <= high):
            yield f"{name}={value!r} is not a whole number from {low} to {high}"
    for name in family.not_taken:
        if getattr(edit, name) is not None:
            yield f"{edit.model} does not accept {name}"
    if edit.size is not None and not _is_size(edit.size, family):
        yield f"size={edit.size!r} is not a size that {edit.model or 'a model'} takes: {_sizes(edit.size, family)}"
    yield from _formats(edit)


def _uncountable(edit: ImageEdit) -> Iterator[str]:
    for name, (low, high) in _RANGES.items():
        value: object = getattr(edit, name)
        if isinstance(value, int) and abs(value) > MOST_COUNTED:
            yield f"{name} is beyond {MOST_COUNTED:,}, and {low} to {high} are taken: it is refused without checks, too"


def _prompt(prompt: Any, family: Family) -> Iterator[str]:
    if not isinstance(prompt, str) or not prompt.strip():
        yield "the prompt is empty"
    elif len(prompt) > family.prompt:
        yield f"the prompt has {len(prompt)} characters, and {family.prompt} is the most"


def _is_size(size: Any, family: Family) -> bool:
    if not isinstance(size, str):
        return False
    if family.names_sizes:
        return size != ""
    return size in family.sizes if family.sizes else _SIZE.fullmatch(size) is not None


def _sizes(size: Any, family: Family) -> str:
    """Which sizes there are, or the one that is probably meant."""
    match = _NEARLY_A_SIZE.fullmatch(size) if isinstance(size, str) else None
    near = f"{int(match[1])}x{int(match[2] or match[1])}" if match else ""
    if near and _is_size(near, family):
        return f"did you mean '{near}'?"
    return ", ".join(family.sizes) if family.sizes else "'auto', or a width and a height such as '1024x1536'"


def _formats(edit: ImageEdit) -> Iterator[str]:
    kind = edit.output_format
    if edit.background == "transparent" and kind == "jpeg":
        yield "background='transparent' needs output_format png or webp, not jpeg"
    if edit.output_compression is not None and kind in {"png", "gif", "svg"}:
        yield f"output_compression is for webp and jpeg, not {kind}"
    if edit.partial_images and not edit.stream:
        yield "partial images need stream=True"
    if kind in {"svg", "gif"} and edit.stream:
        yield f"output_format={kind!r} can't be streamed"
    if kind == "svg" and (edit.n or 1) != 1:
        yield f"output_format='svg' makes one picture, not n={edit.n}"
    if kind == "gif" and edit.mask is not None:
        yield "a mask does not go with output_format='gif'"
    if edit.mask is not None and edit.markup is not None:
        yield "mask and markup don't go together"


def _pictures(edit: ImageEdit, images: Sequence[Loaded], family: Family) -> Iterator[tuple[str, str]]:
    """What is wrong with the pictures, each in a word or two and in full."""
    if len(images) > family.pictures:
        yield (
            "with too many pictures",
            f"{len(images)} pictures, and {edit.model or 'the API'} takes {family.pictures} at most",
        )
    for image in images:
        if isinstance(image, ImageRef):
            yield from (("too large", problem) for problem in _reference(image))
        else:
            yield from _picture(image, family, edit.model)


def _reference(image: ImageRef) -> Iterator[str]:
    if len(image.image_url or "") > LONGEST_URL:
        yield f"an image_url has {len(image.image_url or '')} characters, and {LONGEST_URL} is the most"


def _picture(image: ImageFile, family: Family, model: str | None) -> Iterator[tuple[str, str]]:
    if not isinstance(image, HeicImage) and len(image.content) >= family.largest:
        problem = f"{image.filename} has {len(image.content)} bytes, and less than {family.largest} are taken"
        yield "too large", problem
    header = _header(image)
    if isinstance(header, str):
        yield "damaged", header
    elif header.kind == "gif":
        yield "GIF", f"{image.filename} is a GIF: PNG, JPEG and WebP are taken, convert it"
    elif family.square_png and (header.kind != "png" or header.width != header.height):
        kind = "HEIC" if isinstance(image, HeicImage) else header.kind
        problem = f"{image.filename} is a {kind} of {_by(header)}: {model} takes a square PNG"
        yield "of a wrong shape", problem


def _overlay(name: str, overlay: Loaded | None, first: Loaded) -> Iterator[str]:
    """The rules for a mask or a markup, which is laid over the first picture."""
    if isinstance(overlay, ImageRef):
        yield from _reference(overlay)
    if not isinstance(overlay, ImageFile) or not isinstance(first, ImageFile):
        return
    header, below = _header(overlay), _header(first)
    if isinstance(header, str) or isinstance(below, str):
        yield header if isinstance(header, str) else f"{first.filename} can't be read"
        return
    if header.kind != "png":
        yield f"the {name} {overlay.filename} is a {header.kind}: it must be a PNG"
    elif not header.has_alpha:
        yield f"the {name} {overlay.filename} has no transparency: only its transparent parts are edited"
    if not isinstance(overlay, HeicImage) and len(overlay.content) >= LARGEST_MASK:
        yield f"the {name} {overlay.filename} has {len(overlay.content)} bytes, and less than {LARGEST_MASK} are taken"
    if header.size != below.size:
        yield f"the {name} {overlay.filename} is {_by(header)}, but {first.filename} is {_by(below)}"


def _header(image: ImageFile) -> Header | str:
    if isinstance(image, HeicImage):
        return image.header
    try:
        header = look(image.content)
    except BadPicture as error:
        return f"{image.filename} can't be used: {error}"
    return header if header is not None else f"{image.filename} is not a picture"


def _by(header: Header) -> str:
    return "x".join(map(str, header.size))
