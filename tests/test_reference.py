"""The reference and the pages made of the code: every public name is in them, and says what a caller has to know."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

import asyncsdk
from asyncsdk.cli.app import COMMANDS
from asyncsdk.cli.help import EXAMPLES
from docs.making.commands import commands_page
from docs.making.docstrings import Docstring, docstring_of, grouped, parsed
from docs.making.errors import TO_DO, errors_part, in_order, to_do
from docs.making.gathering import menu
from docs.making.links import anchors, links, moved, slug
from docs.making.public import (
    NAMES_OF,
    SINCE,
    Public,
    class_docstring,
    constant_docstring,
    documented,
    members,
    parameters,
    public_names,
)
from docs.making.reference import reference_pages
from tests.pages import ROOT

NAMES = list(public_names())
ERRORS = {public.name for public in NAMES if public.is_error}


def described(public: Public) -> Iterator[tuple[str, Any, Docstring]]:
    """A public class or function, and the methods and properties of a class, each with its docstring."""
    if inspect.isfunction(public.value):
        yield public.name, public.value, docstring_of(public.value)
    if isinstance(public.value, type):
        yield public.name, public.value, class_docstring(public.value)
        for name, member in members(public.value):
            yield f"{public.name}.{name}", member, documented(public.value, name, member)


def raised_by(subject: Any) -> set[str]:
    """The public errors that a function raises in its own lines."""
    function = subject.fget if isinstance(subject, property) else subject
    if not inspect.isfunction(function):
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call))
    return {call.func.id for call in raised if isinstance(call.func, ast.Name)} & ERRORS


DESCRIBED = [each for public in NAMES for each in described(public)]


def missing_of(name: str, subject: Any, docstring: Docstring) -> Iterator[str]:
    if not docstring.text:
        yield f"{name} has no docstring"
    is_error = isinstance(subject, type) and issubclass(subject, BaseException)
    for each in () if is_error else parameters(subject):
        if not each.name.startswith("_") and not docstring.parameters.get(each.name):
            yield f"{name} does not say what {each.name} is"
    for error in raised_by(subject) - set(docstring.entries.get("Raises", {})):
        yield f"{name} does not say that it raises {error}"


def test_every_public_name_says_what_it_is_what_it_takes_and_what_it_raises() -> None:
    assert len(DESCRIBED) > 250
    assert [problem for each in DESCRIBED for problem in missing_of(*each)] == []
    others = [each for each in NAMES if not isinstance(each.value, type) and not inspect.isfunction(each.value)]
    assert [each.name for each in others if not constant_docstring(each)] == []


def test_the_reference_has_every_public_name() -> None:
    pages = reference_pages()
    headings = {heading for text in pages.values() for heading in re.findall(r"^##+ `?([\w.]+)`?$", text, re.MULTILINE)}
    assert {name for name, _, _ in DESCRIBED if name.partition(".")[0] not in ERRORS} <= headings
    assert {public.name for public in NAMES if not public.is_error} <= headings
    assert all(f"[`{public.name}`]" in pages["api/index.md"] for public in NAMES if not public.is_error)


def test_every_public_name_says_since_when_it_is_there() -> None:
    assert len(NAMES) > 140
    assert set(SINCE) == {public.name for public in NAMES}
    assert sum(len(names.split()) for names in NAMES_OF.values()) == len(NAMES)
    pages = "".join(reference_pages().values()) + errors_part()
    said = re.findall(r"(?:^|(?<= ))Since ([\d.]+)\.$", pages, re.MULTILINE)
    assert len(said) == len(NAMES)


def test_a_version_that_names_came_with_is_in_the_changelog_or_this_one() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = {*re.findall(r"^## \[([\d.]+)\]", changelog, re.MULTILINE), asyncsdk.__version__}
    assert set(NAMES_OF) <= versions


def test_the_page_of_errors_has_each_with_what_to_do() -> None:
    page = errors_part()
    listed = [error.__name__ for error in in_order()]
    assert set(listed) == ERRORS
    assert set(TO_DO) <= set(listed)
    for error in in_order():
        assert f"### {error.__name__}\n" in page
        assert to_do(error)
        if error.__mro__[1].__name__ in asyncsdk.__all__:
            assert listed.index(error.__mro__[1].__name__) < listed.index(error.__name__)


def test_the_page_of_errors_names_those_that_may_be_retried_and_their_exit_codes() -> None:
    written = (ROOT / "docs" / "errors.md").read_text()
    table = [line for line in written.splitlines() if line.startswith("|")]
    named = re.findall(r"`(\w+Error)`", "".join(table))
    assert sorted(named) == sorted(error.__name__ for error in in_order() if error.resumable)
    sections = {part.partition("\n")[0]: part for part in errors_part().split("\n### ")}
    assert "Exit code 75." in sections["RateLimitError"]
    assert "Exit code 2; 75 once something was sent." in sections["StorageError"]
    assert "Exit code 2; 1 once something was sent." in sections["SourceError"]


def test_the_page_of_commands_has_each_with_its_options_and_examples() -> None:
    page = commands_page()
    assert {f"asyncsdk {name}" for name in EXAMPLES if name} == set(
        re.findall(r"^##+ (asyncsdk .*)$", page, re.MULTILINE)
    )
    assert len(COMMANDS) == len(re.findall(r"^## asyncsdk ", page, re.MULTILINE))
    for name, examples in EXAMPLES.items():
        assert all(example in page for example in examples if name)
    for option in ("--on-uncertain", "--part-size", "--no-resume", "--batch-window"):
        assert f"`{option}" in page
    assert not {"--no-json", "--empty-header", "default: False"} & set(re.findall(r"--[\w-]+|default: \w+", page))


def test_the_page_of_commands_does_not_depend_on_how_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    page = commands_page()
    spec = find_spec("docs.__main__")
    assert spec is not None
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    monkeypatch.setattr(sys, "argv", [spec.origin])
    assert commands_page() == page
    assert re.search(r"^asyncsdk uploads list \[OPTIONS\]$", page, re.MULTILINE)


def test_a_docstring_is_taken_apart() -> None:
    docstring = parsed(
        """Do it.

        As here.

        Args:
            one, *two: A thing
                of two lines.
            three: Another: with a colon.

        Returns:
            What came
            of it.

        Raises:
            KeyError: There is none.
        """
    )
    assert docstring.text == "Do it.\n\nAs here."
    assert docstring.parameters == {
        "one": "A thing of two lines.",
        "two": "A thing of two lines.",
        "three": "Another: with a colon.",
    }
    assert grouped(docstring.parameters)[0] == (("one", "two"), "A thing of two lines.")
    assert docstring.results == {"Returns": "What came of it."}
    assert docstring.entries["Raises"] == {"KeyError": "There is none."}


def test_links_are_moved_with_their_pages_and_code_is_left_alone() -> None:
    where = {"docs/a.md": "a.md", "SECURITY.md": "security.md", "docs/decisions/README.md": "decisions/README.md"}
    text = (
        "[a](../a.md#b), [b](../../SECURITY.md), [c](.), `[d](../a.md)`, [e](https://x/a.md)\n```\n[f](../a.md)\n```\n"
    )
    moved_text = moved(text, path="docs/decisions/1.md", page="decisions/1.md", page_of=where.get)
    assert moved_text == text.replace("[a](../a.md#b)", "[a](../a.md#b)").replace(
        "../../SECURITY", "../security"
    ).replace("[c](.)", "[c](README.md)")
    assert list(links(moved_text)) == ["../a.md#b", "../security.md", "README.md"]


def test_anchors_are_those_of_headings_outside_of_blocks() -> None:
    assert anchors("# A `b` c?\n\n```sh\n# no\n```\n\n## [x](y.md), z\n") == {"a-b-c", "x-z"}
    assert slug("AsyncUploader.upload") == "asyncuploaderupload"


def test_a_page_that_nobody_put_into_the_menu_is_in_it_all_the_same() -> None:
    assert menu({"index", "start", "news", "decisions/001"}) == {
        "Guides": ["start"], "Test your code": [], "Reference": [], "Background": [], "More": ["news"],
    }  # fmt: skip
