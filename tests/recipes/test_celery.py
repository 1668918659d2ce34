"""The recipe for Celery, with a worker that takes its tasks from a queue in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.recipes.frameworks import RECIPES, needs
from tests.stories.pictures import photo

needs("celery")

TRIES = 6  # more than the uploader itself has

# a process of its own: Celery's worker patches and keeps much of the process that it runs in
RUN = """
import os, sys
from celery.contrib.testing.worker import start_worker
import tasks
tasks.app.conf.update(broker_url="memory://", result_backend="cache+memory://", worker_hijack_root_logger=False)
tasks.app.conf.broker_transport_options = {"polling_interval": 0.01}
retry = tasks.upload.retry
tasks.upload.retry = lambda *, countdown, **options: retry(countdown=0.1, **options)  # for a test 30 s are long
with start_worker(tasks.app, pool="solo", perform_ping_check=False):
    for name, argument in zip(sys.argv[1::2], sys.argv[2::2]):
        result = getattr(tasks, name).delay(argument)
        print(result.get(timeout=60, propagate=False, interval=0.02), flush=True)
    os._exit(0)  # the worker would take four seconds to end
"""


def worked(folder: Path, *calls: str) -> list[str]:
    (folder / "tasks.py").write_text(RECIPES["Celery"][0])
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{folder}"}
    ran = subprocess.run(
        [sys.executable, "-c", RUN, *calls], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.asyncsdk_server(
    faults=[
        Fault("create", "answer", status=503, retry_after=0.01, times=TRIES),
        Fault("create", "answer", status=400, nth=TRIES + 2),
    ]
)
def test_what_may_pass_later_is_tried_again_and_what_was_paid_is_not_paid_twice(
    asyncsdk_environment: LocalServer, tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "two.txt").write_text("two")
    photo(tmp_path / "a.jpg")
    one, two, folder = str(tmp_path / "one.txt"), str(tmp_path / "two.txt"), str(tmp_path)
    told = worked(tmp_path, "upload", one, "upload", two, "edit", folder, "edit", folder)
    assert told[0] == asyncsdk_environment.files[0].id
    assert "400" in told[1]
    assert told[2:] == ["{'done': 1}", "{'skipped': 1}"]
    assert asyncsdk_environment.calls["edit"] == 1
