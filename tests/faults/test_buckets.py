"""`edit-many` from a bucket into a bucket of another process, killed again and again: paid once, and all there."""

from __future__ import annotations

import html
import json
import os
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from asyncsdk.server import LocalServer
from tests.buckets import bucket_of
from tests.remote.s3_server import KEY, SECRET, S3Server, s3_server
from tests.stories.pictures import png

PICTURES, KILLS, CONCURRENCY = 24, 2, 4
API_KEY = "sk-canary-of-the-api"


@pytest.fixture
def store() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def test_a_killed_run_pays_once_and_all_is_in_the_bucket(store: S3Server, tmp_path: Path) -> None:
    originals, results, numbers = bucket_of(store, "originals"), bucket_of(store, "results"), random.Random(7)
    for number in range(PICTURES):
        originals.put(f"photos/{number:02}.png", png(number))
    with LocalServer(tmp_path / "server") as server:
        account = {"OPENAI_API_KEY": API_KEY, "OPENAI_BASE_URL": server.url}
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | store.environment | account
        command = [sys.executable, "-m", "asyncsdk", "edit-many", "s3://originals/photos/", "--prompt", "x"]
        command += ["--model", "gpt-image-2", "--out", "s3://results/made/", "--ledger", str(tmp_path / "ledger")]
        command += ["--gallery", "s3://results/made/index.html", "-c", str(CONCURRENCY), "--json", "--verbose"]
        log = (tmp_path / "log").open("ab")
        for _ in range(KILLS):
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            ahead = server.edits.edits + numbers.randint(5, 9)
            while server.edits.edits < ahead and process.poll() is None:
                time.sleep(0.002)
            process.kill()
            process.wait()
        last = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        statuses = [record["status"] for record in map(json.loads, last.stdout.splitlines())]
        lost = statuses.count("uncertain")  # at the server when the process was killed
        assert last.returncode == (3 if lost else 0), last.stderr
        assert set(statuses) <= {"done", "skipped", "uncertain"}
        assert len(statuses) == PICTURES
        assert lost <= KILLS * CONCURRENCY
        assert PICTURES - lost <= server.edits.edits <= PICTURES
        made = [name for name in results.names("made") if name.endswith(".png")]
        assert len(made) == PICTURES - lost
        assert [path for path in (tmp_path / "ledger" / "undelivered").rglob("*") if path.is_file()] == []
        retry = [*command, "--only", "uncertain", "--on-uncertain", "retry"]
        assert subprocess.run(retry, env=environment, check=False, stdout=log, stderr=log).returncode == 0
        whole = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert whole.returncode == 0
    log.close()
    assert [name for name in results.names("made") if name.endswith(".png")] == sorted(
        f"made/{number:02}.png" for number in range(PICTURES)
    )
    page = f"{store.url}/results/made/index.html"
    with urllib.request.urlopen(asked(page)) as opened:
        assert opened.headers["content-type"] == "text/html; charset=utf-8"
        content = opened.read()
    links = set(re.findall(r'(?:src|href)="([^"]+)"', content.decode())) - {"data:,"}
    for link in links:  # of the results; the originals are in another bucket, and named
        with urllib.request.urlopen(asked(urljoin(page, html.unescape(link)))) as opened:
            assert opened.headers["content-type"] == "image/png"
            assert opened.read().startswith(b"\x89PNG")
    assert len(links) == PICTURES
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "server" not in path.parts]
    told = b"".join([content, *written, last.stdout.encode(), last.stderr.encode(), whole.stderr.encode()])
    assert not [secret for secret in (KEY, SECRET, API_KEY, str(tmp_path)) if secret.encode() in content]
    assert not [secret for secret in (KEY, SECRET, API_KEY) if secret.encode() in told]


def asked(url: str) -> urllib.request.Request:
    """A GET of an object that is not public."""
    return urllib.request.Request(url, headers={"Authorization": "AWS any:any"})


@pytest.mark.parametrize(
    ("out", "change", "why"),
    [
        ("s3://missing/out/", {}, "the bucket s3://missing does not exist"),
        ("s3://out/", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "s3://out"),  # by what the machine says
    ],
)
def test_a_bucket_that_can_not_be_used_is_found_before_anything_is_paid(
    store: S3Server, tmp_path: Path, out: str, change: dict[str, str], why: str
) -> None:
    store.put("out")
    (tmp_path / "a.png").write_bytes(png())
    with LocalServer(tmp_path / "server") as server:
        account = {"OPENAI_API_KEY": API_KEY, "OPENAI_BASE_URL": server.url}
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | store.environment | account | change
        environment = {name: value for name, value in environment.items() if value}
        command = [sys.executable, "-m", "asyncsdk", "edit-many", "a.png", "-p", "x", "-m", "gpt-image-2"]
        command += ["--out", out, "--ledger", "ledger"]
        ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 2, ran.stderr
        assert why in ran.stderr
        assert "Nothing was sent" in ran.stderr
        assert server.edits.edits == 0
