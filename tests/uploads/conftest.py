"""Threads to read in, and a file to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk.threads import DaemonThreadPool
from tests.uploads.upload_helpers import CONTENT


@pytest.fixture
def threads() -> DaemonThreadPool:
    return DaemonThreadPool("test-read", 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data.bin"
    file.write_bytes(CONTENT)
    return file
