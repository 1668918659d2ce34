"""The pages of the reference: every public name, from its signature and its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence

from docs.making.docstrings import Docstring, docstring_of
from docs.making.links import slug
from docs.making.public import (
    SINCE,
    Parameter,
    Public,
    class_docstring,
    constant_docstring,
    documented,
    members,
    parameters,
    public_names,
    returned,
)

# the page of what is defined in a module of the package, by the start of its name; the first that fits
_PAGES: Mapping[str, Sequence[str]] = {
    "client": ("client", "keys", "http", "file_filter", "file_jobs", "events.RequestEvent"),
    "uploads": ("uploads.journal", "uploads", "events"),
    "edits": ("images",),
    "objects": ("models", "batches", "error_details"),
    "endpoints": ("api",),
    "server": ("server",),
}
_TITLES = {
    "client": ("The client", "A `Client` sends every request. Uploads and edits are made with one."),
    "uploads": ("Uploads", "`AsyncUploader` sends files; a journal remembers what was sent."),
    "edits": ("Image edits", "`ImageEditor` edits one picture, or thousands; a ledger remembers what was paid."),
    "objects": ("Objects of the API", "What the server answers, as values. Fields that are not known are in `extra`."),
    "endpoints": (
        "Endpoints",
        "`asyncsdk.api`: each endpoint is a function that makes a `Request`, for `Client.send`.",
    ),
    "server": ("The server for tests", "`asyncsdk.server`: OpenAI's API on this machine, with faults on request."),
    "more": ("More", "What is public besides."),
}
_WIDTH = 88
_NAME = re.compile(r"`([A-Za-z_]\w*(?:\.\w+)?)`")


def reference_pages() -> dict[str, str]:
    """The pages by their names; links between them and to the errors are by name."""
    pages: dict[str, list[Public]] = {}
    for public in public_names():
        if not public.is_error:
            pages.setdefault(page_of(public), []).append(public)
    places = dict(_places(pages))
    texts = {f"api/{name}.md": _linked(_page(name, values), name, places) for name, values in pages.items()}
    return texts | {"api/index.md": _index(pages)}


def page_of(public: Public) -> str:
    """The page of a public name."""
    home = public.module if not hasattr(public.value, "__module__") else str(public.value.__module__)
    if home == "typing" or not home.startswith("asyncsdk."):
        home = public.module
    home = f"{home}.{public.name}".removeprefix("asyncsdk.")
    fits = ((page, start) for page, starts in _PAGES.items() for start in starts)
    return next((page for page, start in fits if f"{home}.".startswith(f"{start}.")), "more")


def _places(pages: Mapping[str, Sequence[Public]]) -> Iterator[tuple[str, str]]:
    """Where each name is explained: a page of the reference and an anchor."""
    for public in public_names():
        if public.is_error:
            yield public.name, f"../errors.md#{slug(public.name)}"
    for page, values in pages.items():
        for public in values:
            yield public.name, f"{page}.md#{slug(public.name)}"
            for name, _ in members(public.value) if isinstance(public.value, type) else ():
                yield f"{public.name}.{name}", f"{page}.md#{slug(f'{public.name}.{name}')}"


def _linked(text: str, page: str, places: Mapping[str, str]) -> str:
    """Names in code become links, but for those in headings and blocks."""

    def link(match: re.Match[str]) -> str:
        place = places.get(match[1])
        return match[0] if place is None else f"[{match[0]}]({place.removeprefix(f'{page}.md')})"

    lines, in_block = [], False
    for line in text.splitlines():
        in_block ^= line.startswith("```")
        lines.append(line if in_block or line.startswith("#") else _NAME.sub(link, line))
    return "\n".join(lines) + "\n"


def _page(name: str, values: Sequence[Public]) -> str:
    title, about = _TITLES[name]
    return "\n\n".join([f"# {title}", about, *(part for public in values for part in _public(public))])


def _public(public: Public) -> Iterator[str]:
    value = public.value
    yield f"## {public.name}" if public.name[0] != "_" else f"## `{public.name}`"
    yield f"Since {SINCE[public.name]}."
    if isinstance(value, type):
        own = [each for each in parameters(value) if not each.name.startswith("_")]
        if own:
            yield _block(f"{public.module}.{public.name}", own)
        yield from described(class_docstring(value), own)
        for name, member in members(value):
            yield from _member(value, public.name, name, member)
    elif inspect.isfunction(value):
        yield _block(f"{public.module}.{public.name}", parameters(value), returned(value))
        yield from described(docstring_of(value), parameters(value))
    else:
        yield f"```python\n{public.module}.{public.name} = {_shown(value)}\n```"
        yield constant_docstring(public)


def _member(kind: type, owner: str, name: str, member: object) -> Iterator[str]:
    yield f"### {owner}.{name}"
    if isinstance(member, property) and member.fget is not None:
        yield f"```python\n{owner}.{name}: {returned(member.fget)}\n```"
        yield from described(docstring_of(member), [])
    elif inspect.isfunction(member):
        is_async = inspect.iscoroutinefunction(member)
        yield _block(f"{'await ' if is_async else ''}{owner}.{name}", parameters(member), returned(member))
        yield from described(documented(kind, name, member), parameters(member))


def described(docstring: Docstring, given: Sequence[Parameter]) -> Iterator[str]:
    """A docstring as Markdown, with the types and defaults of what it describes."""
    if docstring.text:
        yield docstring.text.replace("\n::\n", "\n")
    named = {each.name: each for each in given}
    about = docstring.parameters
    lines = [_entry(named.get(name) or Parameter(name, "", ""), text) for name, text in about.items()]
    lines += [_entry(each, "") for each in given if each.name not in about]  # a test lets there be none
    if lines:
        yield "\n".join(lines)
    for heading, text in docstring.results.items():
        yield f"**{heading}:** {text}"
    raises = docstring.entries.get("Raises", {})
    if raises:
        yield "**Raises:**\n\n" + "\n".join(f"- `{name}`: {text}" for name, text in raises.items())


def _entry(parameter: Parameter, text: str) -> str:
    kind = f" `{' '.join(parameter.kind.split())}`" if parameter.kind else ""
    default = f" = `{parameter.default}`" if parameter.default else ""
    separator = ":" if text else ""
    return f"- **`{parameter.prefix}{parameter.name}`**{kind}{default}{separator} {text}".rstrip()


def _block(name: str, given: Sequence[Parameter], result: str = "") -> str:
    written: list[str] = []
    for each in given:
        if each.is_by_name and "*" not in written and not any(word.startswith("*") for word in written):
            written.append("*")
        written.append(f"{each.prefix}{each.name}" + (f"={each.default}" if each.default else ""))
    arrow = f" -> {result}" if result not in {"", "None"} else ""
    line = f"{name}({', '.join(written)}){arrow}"
    if len(line) > _WIDTH:
        line = f"{name}(\n" + "".join(f"    {word},\n" for word in written) + f"){arrow}"
    return f"```python\n{line}\n```"


def _shown(value: object) -> str:
    return repr(value).replace("typing.", "").replace("collections.abc.", "")


def _index(pages: Mapping[str, Sequence[Public]]) -> str:
    parts = ["# API reference", "Every public name, with its arguments, their types and defaults, and what it raises."]
    parts.append("What can be caught is on the page of [errors](../errors.md).")
    parts.append(
        "Each says since which version it is there; what changed in it, the [changelog](../changelog.md) says."
    )
    for page in (name for name in _TITLES if name in pages):
        names = ", ".join(f"[`{each.name}`]({page}.md#{slug(each.name)})" for each in pages[page])
        parts.append(f"## {_TITLES[page][0]}\n\n{_TITLES[page][1]}\n\n{names}")
    return "\n\n".join(parts) + "\n"
