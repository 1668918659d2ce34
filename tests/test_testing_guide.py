"""docs/testing-with-asyncsdk.md tells the truth: each of its recipes is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.clients.test_clients import HERE as CLIENTS
from tests.pages import ROOT, blocks_of
from tests.ports import HeldPort
from tests.test_pytest_plugin import pytest_run

BLOCKS = blocks_of("docs/testing-with-asyncsdk.md")
PYTHON = [block.code for block in BLOCKS if block.language == "python"]
TESTS = [recipe for recipe in PYTHON if "def test_" in recipe]
PROGRAMS = [recipe for recipe in PYTHON if "def test_" not in recipe]
[SHELL] = [block.code for block in BLOCKS if block.language == "sh"]
[NODE] = [block.code for block in BLOCKS if block.language == "js"]
ENVIRONMENT = os.environ | {
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
    "PYTHONPATH": str(ROOT),
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def run(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT | more
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("recipe", TESTS, ids=range(len(TESTS)))
def test_tests_pass(recipe: str, tmp_path: Path) -> None:
    ran = pytest_run(tmp_path, recipe)
    assert ran.returncode == 0, ran.stdout
    assert f"{recipe.count('def test_')} passed" in ran.stdout


@pytest.mark.parametrize("recipe", PROGRAMS, ids=range(len(PROGRAMS)))
def test_programs_do_what_their_comments_say(recipe: str, tmp_path: Path) -> None:
    ran = run([sys.executable, "-c", recipe], tmp_path)
    assert ran.returncode == 0, ran.stderr
    [told] = ran.stdout.splitlines()
    if "part" in recipe:
        assert told == "completed {'create': 1, 'part': 4, 'complete': 1}"
    else:
        assert told in {"a.jsonl b'{}'", "[503, 503, 200]", "1 otter"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_shell_recipe_does_what_its_comments_say(tmp_path: Path) -> None:
    with HeldPort() as port:
        recipe = SHELL.replace("8787", str(port)) + 'wait $server; echo " ended with $?"\n'
        ran = run(["bash", "-c", recipe], tmp_path)
    assert ran.stdout.endswith("ended with 143\n"), ran.stdout + ran.stderr
    assert ran.stdout.index('"type": "server_error"') < ran.stdout.index('"status": "completed"')
    for words in ("hello\n", "the connection was reset, as planned\n", '"all_met": true', '"route": "files.content"'):
        assert words in ran.stdout
    assert (tmp_path / "health.json").read_text() == '{"status": "ok"}'


@pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules" / "openai").exists(),
    reason="there is no Node, or openai-node is not installed: .ci/run does it",
)
def test_the_recipe_for_node(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    (tmp_path / "recipe.mjs").write_text(NODE)
    with LocalServer() as server:
        ran = run(["node", "recipe.mjs"], tmp_path, OPENAI_BASE_URL=server.url, OPENAI_API_KEY="any")
    assert ran.stdout == "true a.jsonl\n", ran.stderr
