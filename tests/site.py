"""The site, built once for all tests of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.pages import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, each as HTML and as Markdown. Fails where the build warns of anything."""
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.getbasetemp()
    shared = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "site"
    with FileLock(f"{shared}.lock"):
        if not (shared / "html" / "llms.txt").exists():
            # in a process of its own, since Sphinx warns of what it will change itself
            command = [sys.executable, "-m", "docs", str(shared)]
            built = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
            assert built.returncode == 0, built.stdout + built.stderr
    return shared / "html"
