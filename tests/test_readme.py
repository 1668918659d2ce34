"""README and recipes tell the truth: their examples are typed and run, the commands are those of the gate."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

import asyncsdk
from asyncsdk import AsyncUploader, Client
from asyncsdk.server import LocalServer
from tests.buckets import bucket_of
from tests.remote.s3_server import s3_server
from tests.stories.pictures import mask, photo, png

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RECIPES = (ROOT / "docs" / "recipes.md").read_text()
COMING = (ROOT / "docs" / "coming-from-openai.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README + RECIPES + COMING, re.DOTALL)
COMMANDS = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)


def test_two_commands_do_all_the_set_up() -> None:
    assert [command.rpartition("/")[2] for command in COMMANDS] == ["asyncsdk demo", "pytest -n auto --cov"]


def test_the_gate_runs_the_test_command_as_it_stands_here() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == COMMANDS[1]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_example_runs(example: str, tmp_path: Path) -> None:
    assert example.endswith("asyncio.run(main())\n") or "async def main" not in example  # else it would do nothing
    if "Client.azure(" in example:  # there is no such resource to talk to
        example = example.removesuffix("asyncio.run(main())\n")
    for name in ("train.jsonl", "report.pdf", "notes.md"):
        (tmp_path / name).write_text('{"messages": []}\n' * 1000)
    photo(tmp_path / "otter.png")
    mask(tmp_path / "mask.png", (64, 64, 128, 128))
    (tmp_path / "photos").mkdir()
    for name in ("one.jpg", "two.jpg"):
        photo(tmp_path / "photos" / name)
    with LocalServer() as server, buckets_of(example) as buckets:
        asyncio.run(put_a_file_there(server.url))
        environment = os.environ | {
            "OPENAI_API_KEY": "sk-test",
            "OPENAI_BASE_URL": server.url,
            "ASYNCSDK_JOURNAL": str(tmp_path / "journal"),
            "PYTHONPATH": str(ROOT),
            **buckets,
        }
        command = [sys.executable, "-W", "error", "-c", example]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert bool(ran.stdout) == ("print(" in example)


@contextmanager
def buckets_of(example: str) -> Iterator[dict[str, str]]:
    """The buckets that it names, each with two photos, and the environment by which they are found."""
    names = set(re.findall(r"s3://([\w-]+)", example))
    if not names:
        yield {}
        return
    with s3_server() as store:
        for bucket in (bucket_of(store, name) for name in names):
            for seed, name in enumerate(("one.jpg", "two.jpg")):
                bucket.put(f"in/{name}", png(seed))
        yield store.environment


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


async def put_a_file_there(url: str) -> None:
    async with Client("sk-test", base_url=url) as client:
        await AsyncUploader(client, journal="memory").upload(b"notes", purpose="assistants", filename="old.md")
