"""The README is short and true: its two commands are those of the gate; the table of names is there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import openai

import asyncsdk
from docs.making.links import anchors, links
from tests.pages import ROOT

README = (ROOT / "README.md").read_text()
COMING = (ROOT / "docs" / "coming-from-openai.md").read_text()
COMMANDS = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_its_links_lead_somewhere() -> None:
    for link in links(README):
        path, _, anchor = link.partition("#")
        assert (ROOT / path).is_file(), link
        assert not anchor or anchor in anchors((ROOT / path).read_text()), link


def test_two_commands_do_all_the_set_up() -> None:
    assert [command.rpartition("/")[2] for command in COMMANDS] == ["asyncsdk demo", "pytest -n auto"]


def test_the_first_page_of_the_site_has_the_same_commands() -> None:
    start = (ROOT / "docs" / "start.md").read_text()
    assert all(command in start for command in COMMANDS)


def test_the_gate_runs_the_test_command_as_it_stands_here() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == COMMANDS[1]


def test_what_the_table_for_users_of_openai_python_names_is_there() -> None:
    table = "".join(line for line in COMING.splitlines() if line.startswith("|"))
    theirs, ours = zip(*(line.strip("|").split(" | ", 1) for line in COMING.splitlines() if " | " in line), strict=True)
    assert len(theirs) > 30
    errors = set(re.findall(r"\b[A-Z]\w+Error\b", table)) - {"OpenAIError"}
    assert errors <= set(asyncsdk.__all__)
    assert {name for name in errors if hasattr(openai, name)} >= {"APIStatusError", "RateLimitError"}
    assert set(re.findall(r"`api\.(\w+)|\(api\.(\w+)", "".join(ours))) != set()
    for name in [a or b for a, b in re.findall(r"`api\.(\w+)|\(api\.(\w+)", "".join(ours))]:
        assert hasattr(asyncsdk.api, name), name
    takes: list[tuple[Callable[..., Any], str]] = [
        (asyncsdk.Client, "api_key base_url organization project timeout max_retries default_headers default_query"),
        (asyncsdk.Client, "proxy ssl session on_event"),
        (asyncsdk.Client.azure, "endpoint api_version api_key azure_ad_token azure_ad_token_provider token"),
        (asyncsdk.AsyncUploader, "part_size max_retries stall_timeout"),
        (asyncsdk.Client.send, "timeout max_retries headers query"),
    ]
    for made, arguments in takes:
        assert set(arguments.split()) <= set(inspect.signature(made).parameters)
