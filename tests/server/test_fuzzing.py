"""Calls made up from OpenAI's document, right ones and wrong ones: no failure, no answer against the document.

Longer than by default: `ASYNCSDK_FUZZ_SECONDS=600 pytest tests/server/test_fuzzing.py`. What is known to be otherwise
than in the document stands in `tests/document.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import document

SECONDS = int(os.environ.get("ASYNCSDK_FUZZ_SECONDS", "15"))
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.mark.skipif(not document.PATH.exists(), reason="OpenAI's document is not part of this repository")
def test_nothing_that_can_be_asked_breaks_the_server_or_the_document(tmp_path: Path) -> None:
    written = tmp_path / "openapi.json"
    written.write_text(json.dumps(document.amended()))
    serve = [sys.executable, "-m", "asyncsdk", "serve", "--port", "0", "--data", "data"]
    with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ran = fuzzed(json.loads(server.stdout.readline())["url"], written)
            assert server.poll() is None
        finally:
            server.terminate()
    assert ran.returncode == 0, ran.stdout[-5000:]
    assert "Selected: 10/10" in ran.stdout


def fuzzed(url: str, written: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        Path(sys.executable).with_name("schemathesis"),
        "--no-color",
        "run",
        written,
        "--url",
        url,
    ]
    options = ["--header", "Authorization: Bearer k", "--checks", ",".join(CHECKS), "--continue-on-failure"]
    bounds = ["--max-time", str(SECONDS), "--max-examples", "10", "--generation-database", "none"]
    return subprocess.run(
        [*command, *options, *bounds], cwd=written.parent, capture_output=True, text=True, check=False
    )
