"""docs/servers.md tells the truth: each of its programs runs with the server that its command starts."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "servers.md").read_text()
SECTIONS = GUIDE.split("\n## ")[1:]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "sk-test"}


def block(section: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(found)


@pytest.mark.parametrize("section", SECTIONS, ids=[section.splitlines()[0] for section in SECTIONS])
def test_each_program_runs_with_the_server_of_its_command(section: str, tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").write_bytes(os.urandom(20 << 20))
    program, *options = shlex.split(block(section, "sh"))
    assert program == "asyncsdk"
    serving = subprocess.Popen(
        [sys.executable, "-m", program, *options, "--port", "0"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert serving.stdout is not None
        url = json.loads(serving.stdout.readline())["url"]
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", block(section, "python")],
            cwd=tmp_path,
            env=ENVIRONMENT | {"OPENAI_BASE_URL": url, "ASYNCSDK_JOURNAL": str(tmp_path / "journal")},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        serving.terminate()
        serving.communicate()
    assert ran.returncode == 0, ran.stderr
    assert "another content" not in ran.stdout
    assert ran.stdout
