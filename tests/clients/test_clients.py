"""The official clients, of two languages and two generations, drive every operation and can't tell the difference."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.stories.pictures import mask, photo

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PREVIOUS = ROOT / ".venv" / "clients" / "openai2" / "bin" / "python"
NODE = shutil.which("node")
SECOND_BATCH_STALLS = Fault("batches.line", "stall", nth=3)  # so that it can be cancelled
DATA = random.Random(6).randbytes(300_001)
ROUTES = {
    *("create", "part", "complete", "cancel", "edit"),
    *("batches.create", "batches.get", "batches.list", "batches.cancel"),
    *("files.list", "files.create", "files.get", "files.delete", "files.content"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data.jsonl").write_bytes(DATA)
    photo(tmp_path / "otter.png", (64, 48))
    mask(tmp_path / "mask.png", (16, 8, 48, 24), (64, 48))
    return tmp_path


def driven(server: LocalServer, folder: Path, command: Sequence[object], *kind: str) -> dict[str, Any]:
    environment = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    words = [*map(str, command), server.url, "sk-own", str(folder), *kind]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    facts: dict[str, Any] = json.loads(ran.stdout)
    return facts


def finds_openai(facts: dict[str, Any], server: LocalServer) -> None:
    """What a client got is what it would get at OpenAI's, and the server holds what it sent."""
    stored = [facts["uploaded"].pop(1), facts["chunked"].pop(1)]
    assert [server.stored(file_id).read_bytes() for file_id in stored] == [DATA, DATA]
    assert set(server.calls) == ROUTES
    assert facts == {
        "version": facts["version"],
        "stranger": [401, None, "invalid_api_key", True],
        "uploaded": ["completed", "träin.jsonl", 604800],
        "chunked": ["completed", "data.jsonl"],
        "cancelled": ["cancelled", 400],
        "made": ["processed", "data.jsonl", len(DATA), 3600],
        "listed": ["träin.jsonl", "data.jsonl", "data.jsonl"],
        "batches": 1,
        "content": hashlib.sha256(DATA).hexdigest(),
        "deleted": True,
        "missing": [404, "id", None, True],
        "several": ["jpeg", "jpeg"],
        "usage": True,
        "one": ["png"],
        "events": ["image_edit.partial_image", "image_edit.partial_image", "image_edit.completed"],
        "last": "png",
        "refused": facts["refused"],
        "moderated": [400, None, "moderation_blocked", True],
        "batch": ["completed", 2, 1, 1, {"run": "7"}],
        "lines": [["good", 200], ["bad", 400]],
        "output": "png",
        "stopped": "cancelling",
        "all": True,
        "late": [409, None, None, True],
    }
    assert facts["refused"][0] == 400


@pytest.mark.parametrize("kind", ["sync", "async", "aiohttp"])
def test_openai_python(folder: Path, kind: str) -> None:
    with LocalServer(api_key="sk-own", faults=[SECOND_BATCH_STALLS]) as server:
        facts = driven(server, folder, [sys.executable, "-W", "error", HERE / "drive.py"], kind)
        assert facts["version"].startswith("3.")
        finds_openai(facts, server)


@pytest.mark.skipif(not PREVIOUS.exists(), reason="openai 2.x is not installed: .ci/run does it")
@pytest.mark.parametrize("kind", ["sync", "async", "aiohttp"])
def test_openai_python_of_the_previous_generation(folder: Path, kind: str) -> None:
    with LocalServer(api_key="sk-own", faults=[SECOND_BATCH_STALLS]) as server:
        facts = driven(server, folder, [PREVIOUS, "-W", "error", HERE / "drive.py"], kind)
        assert facts["version"].startswith("2.")
        finds_openai(facts, server)


@pytest.mark.skipif(
    NODE is None or not (HERE / "node_modules" / "openai").exists(),
    reason="there is no Node, or openai-node is not installed: .ci/run does it",
)
def test_openai_node(folder: Path) -> None:
    with LocalServer(api_key="sk-own", faults=[SECOND_BATCH_STALLS]) as server:
        facts = driven(server, folder, [NODE, HERE / "drive.mjs"])
        assert int(facts["version"].partition(".")[0]) >= 6
        finds_openai(facts, server)
