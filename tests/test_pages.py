"""The pages are true: their programs are typed and run, their commands too, and what is JSON can be read."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from asyncsdk import AsyncUploader, Client
from asyncsdk.cli import app
from asyncsdk.cli.app import make_app
from asyncsdk.cli.help import canonical
from asyncsdk.cli.signals import Stop
from asyncsdk.server import LocalServer
from tests.buckets import bucket_of
from tests.jsonl import json_lines
from tests.pages import PAGES, ROOT, Block, all_blocks, blocks_of
from tests.ports import HeldPort
from tests.remote.s3_server import s3_server
from tests.stories.pictures import mask, photo, png

# pages whose programs need more than the others' have a test of their own: tests/test_servers_guide.py
OF_GUIDES = {path for path in PAGES if (ROOT / "tests" / f"test_{Path(path).stem.partition('-')[0]}_guide.py").exists()}
OF_GUIDES |= {"docs/a-hundred-thousand-pictures.md"}  # its commands follow one another
# pages of other libraries, which are typed there too
ELSEWHERE = {path for path, tests in {"docs/frameworks.md": "tests/recipes"}.items() if (ROOT / tests).exists()}
PYTHON = [block for block in all_blocks("python") if block.path not in ELSEWHERE]
PROGRAMS = [block for block in PYTHON if block.path not in OF_GUIDES and not block.not_run]
SHELL = [block for block in all_blocks("sh") if block.path not in OF_GUIDES | ELSEWHERE]
LANGUAGES = {"python", "sh", "js", "json", "yaml", "text", ""}  # the last two are what something prints
PLAIN = re.compile(r"(?:asyncsdk (?:[^\n|&;<>$#'\"]|'[^']*'|\"[^\"]*\")+|export OPENAI_API_KEY=sk-…)(?:#.*)?")
OWN_SERVER = "asyncsdk serve"
PARSED = re.compile(r"(?:^|[|(] ?)asyncsdk ((?:[^\n|&;)>#'\"]|'[^']*'|\"[^\"]*\")+)", re.MULTILINE)


def lines_of(block: Block) -> list[str]:
    return [line for line in block.code.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def is_plain(block: Block) -> bool:
    """Whether it has commands alone, which are run in this process: a process for each takes half a second."""
    return all(PLAIN.fullmatch(line) for line in lines_of(block))


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert len(PROGRAMS) >= 20
    for path in PAGES:
        for block in blocks_of(path):
            assert block.language in LANGUAGES, block
            assert block.language == "sh" or not block.not_run, block


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_each_program_runs(block: Block, tmp_path: Path) -> None:
    code = block.code
    assert code.endswith("asyncio.run(main())\n") or "async def main" not in code  # else it would do nothing
    if "Client.azure(" in code:  # there is no such resource to talk to
        code = code.removesuffix("asyncio.run(main())\n")
    with surroundings(code, tmp_path) as environment:
        command = [sys.executable, "-W", "error", "-c", code]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert bool(ran.stdout) == ("print(" in code)


@pytest.mark.parametrize("block", [block for block in SHELL if not block.not_run and is_plain(block)], ids=str)
def test_the_commands_of_each_block_are_done(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with surroundings(block.code, tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for line in lines_of(block):
            words = shlex.split(line, comments=True)
            if words[0] == "asyncsdk":
                code = app.run(words[1:], Stop())
                assert code == 0, (line, capfd.readouterr())


@pytest.mark.parametrize("block", [block for block in SHELL if not block.not_run and not is_plain(block)], ids=str)
def test_what_else_is_in_a_block_runs_in_a_shell(block: Block, tmp_path: Path) -> None:
    if OWN_SERVER in block.code and shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    with HeldPort() as port:
        code = block.code.replace("8787", str(port)).replace("sk-…", "sk-test")
        # else what the block began in the background would outlive it where it fails, and be waited for
        code = f"trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{code}"
        with surroundings(code, tmp_path) as environment:
            command = ["bash", "-e", "-o", "pipefail", "-c", code]
            ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "error:" not in ran.stderr


@pytest.mark.parametrize("block", [block for block in SHELL if block.not_run], ids=str)
def test_commands_that_can_not_run_here_are_taken_by_the_program(block: Block) -> None:
    for line in PARSED.findall(block.code.replace("\\\n", " ")):
        make_app().parse_args(canonical(shlex.split(line)), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("block", [*all_blocks("json"), *all_blocks("yaml")], ids=str)
def test_what_is_data_can_be_read(block: Block) -> None:
    assert json.loads(block.code) if block.language == "json" else list(yaml.safe_load_all(block.code))


@contextmanager
def surroundings(code: str, folder: Path) -> Iterator[dict[str, str]]:
    """What a block finds: files in `folder`, the program, a server with a file, and the buckets that it names."""
    for name in ("train.jsonl", "report.pdf", "notes.md", "shop.sql"):
        (folder / name).write_text('{"messages": []}\n' * 1000)
    (folder / "requests.jsonl").write_bytes(json_lines(5000, 1))
    photo(folder / "otter.png")
    mask(folder / "mask.png", (64, 64, 128, 128))
    for name in ("photos", "data"):
        (folder / name).mkdir()
    for name in ("one.jpg", "two.jpg"):
        photo(folder / "photos" / name)
    (folder / "data" / "one.pdf").write_bytes(b"%PDF-1.4")
    (folder / "jobs.jsonl").write_text(json.dumps({"image": "otter.png", "prompt": "a beret", "id": "one"}) + "\n")
    (folder / "bin").mkdir()
    program = folder / "bin" / "asyncsdk"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m asyncsdk "$@"\n')
    program.chmod(0o700)
    with LocalServer() as server, buckets_of(code) as buckets:
        asyncio.run(put_a_file_there(server.url))
        yield os.environ | {
            "OPENAI_API_KEY": "sk-test",
            "OPENAI_BASE_URL": server.url,
            "ASYNCSDK_JOURNAL": str(folder / "journal"),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
            **buckets,
        }


@contextmanager
def buckets_of(code: str) -> Iterator[dict[str, str]]:
    """The buckets that it names, each with two photos, and the environment by which they are found."""
    names = set(re.findall(r"s3://([\w-]+)", code))
    if not names:
        yield {}
        return
    with s3_server() as store:
        for bucket in (bucket_of(store, name) for name in names):
            for seed, name in enumerate(("one.jpg", "two.jpg")):
                bucket.put(f"in/{name}", png(seed))
        yield store.environment


async def put_a_file_there(url: str) -> None:
    async with Client("sk-test", base_url=url) as client:
        await AsyncUploader(client, journal="memory").upload(b"notes", purpose="assistants", filename="old.md")
