"""How busy a thread is: time without a CPU counts, time of its own waiting does not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from asyncsdk.uploads.pacing import busy
from asyncsdk.uploads.pacing.busy import busy_seconds

SPIN = "while True: pass"


def spin(seconds: float) -> float:
    """The share of the time in which this thread was busy."""
    began, before = time.monotonic(), busy_seconds()
    while time.monotonic() - began < seconds:
        pass
    return (busy_seconds() - before) / (time.monotonic() - began)


@pytest.mark.skipif(not busy._TIMES.exists(), reason="Linux tells for how long a thread waited")  # noqa: SLF001 - its source
def test_a_thread_that_shares_its_cpu_with_others_is_as_busy_as_one_that_has_it_alone() -> None:
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(8)]
    try:
        assert spin(0.5) > 0.9
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_a_thread_that_sleeps_is_not_busy() -> None:
    before, began = busy_seconds(), time.monotonic()
    time.sleep(0.3)
    late = time.monotonic() - began - 0.3  # it may have waited for a CPU for as long, once it was awake
    assert busy_seconds() - before < 0.1 + late


def test_elsewhere_the_time_on_a_cpu_is_what_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(busy, "_TIMES", tmp_path / "none")
    assert busy_seconds() == pytest.approx(time.thread_time(), abs=0.01)
    (tmp_path / "odd").write_text("what is this?")
    monkeypatch.setattr(busy, "_TIMES", tmp_path / "odd")
    assert busy_seconds() == pytest.approx(time.thread_time(), abs=0.01)
