"""`asyncsdk serve`: the first line is the address; then it serves until it is stopped."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from asyncsdk import Client, ImageEditor, RateLimitError
from tests.cli.support import MakeFile, Run, Start
from tests.stories.pictures import photo


def address(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    told: dict[str, object] = json.loads(process.stdout.readline())
    return told


def test_it_says_where_it_listens_keeps_its_data_and_its_key_and_meets_its_faults(
    start: Start, run: Run, make_file: MakeFile, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_file(1000)
    fault = {"route": "create", "kind": "answer", "status": 403}
    (tmp_path / "faults.json").write_text(json.dumps([fault]))
    options = ["--port", "0", "--data", "data", "--api-key", "sk-own", "--upload-ttl", "10m", "--faults", "faults.json"]
    process = start("serve", *options)
    told = address(process)
    assert told == {"url": f"http://127.0.0.1:{told['port']}/v1", "port": told["port"]}
    environment.setenv("OPENAI_BASE_URL", str(told["url"]))
    assert "403" in run("upload", "train.jsonl", "--purpose", "batch").err  # a fault comes before the key is looked at
    assert "401" in run("upload", "train.jsonl", "--purpose", "batch").err
    environment.setenv("OPENAI_API_KEY", "sk-own")
    [done] = run("upload", "train.jsonl", "--purpose", "batch", "--json").records
    assert done["expires_at"] - done["created_at"] == 600
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (143, "", "")
    assert list((tmp_path / "data").iterdir())


def test_a_terminal_that_closes_leaves_nothing_behind(start: Start, tmp_path: Path) -> None:
    process = start("serve", "--port", "0", env={**os.environ, "TMPDIR": str(tmp_path)})
    address(process)
    assert list(tmp_path.glob("asyncsdk-*"))
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 129
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "key"), [([], "any-key"), (["--api-key", "sk-own"], "the-key-you-gave")], ids=["any", "own"]
)
def test_on_a_terminal_it_says_how_to_reach_it(start: Start, options: list[str], key: str) -> None:
    terminal, its_end = os.openpty()
    process = start("serve", "--port", "0", *options, stderr=its_end, env={**os.environ, "TERM": "xterm"})
    url = str(address(process)["url"])
    told = ""
    while "Ctrl-C stops it" not in told and select.select([terminal], [], [], 20)[0]:
        told += os.read(terminal, 1000).decode()
    for end in (terminal, its_end):
        os.close(end)
    assert f"OPENAI_BASE_URL={url} OPENAI_API_KEY={key};" in told
    assert "sk-own" not in told
    assert "Ctrl-C stops it" in told


async def test_its_limit_on_images_is_the_one_that_was_given(start: Start, tmp_path: Path) -> None:
    url = str(address(start("serve", "--port", "0", "--images-per-minute", "2"))["url"])
    picture = photo(tmp_path / "otter.png", (16, 16))
    async with Client("sk-test", base_url=url, max_retries=0) as client:
        editor = ImageEditor(client)
        await editor.edit(picture, "x", model="gpt-image-2", n=2)
        with pytest.raises(RateLimitError):
            await editor.edit(picture, "x", model="gpt-image-2", n=2)


def test_a_place_that_is_taken_is_said(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("serve", "--port", port)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (f"error: can't serve on 127.0.0.1:{port}: Address already in use. --port 0 takes a free port.\n")


def test_a_port_that_another_of_them_has_is_said_with_its_address(run: Run, start: Start) -> None:
    told = address(start("serve", "--port", "0"))
    ran = run("serve", "--port", told["port"])
    assert (ran.code, ran.out) == (1, "")
    assert f"already in use: an asyncsdk server runs at {told['url']}. --port 0 takes a free port." in ran.err


def test_a_host_that_is_not_known_is_said_alone(run: Run) -> None:
    ran = run("serve", "--host", "no-such-host.invalid", "--port", "0")
    assert (ran.code, ran.out) == (1, "")
    [line] = ran.err.splitlines()
    assert line.startswith("error: can't serve on no-such-host.invalid:0: ")
    assert "Unknown error" not in line


def test_that_everyone_can_reach_it_is_said_once_it_serves(start: Start) -> None:
    process = start("serve", "--port", "0", "--host", "0.0.0.0", stderr=subprocess.PIPE)
    address(process)
    process.send_signal(signal.SIGTERM)
    assert "warning: everyone who can reach 0.0.0.0 can use" in process.communicate(timeout=10)[1]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--data", "a-file"], "--data a-file is a file: give a directory. Nothing was started."),
        (["--api-key", ""], "error: --api-key must be a non-empty string without spaces around it. Nothing was"),
        (["--allow-host", "http://x"], "error: --allow-host must be a list of host names, without scheme"),
        (["--port", "x"], "'x' is not a whole number. Nothing was started."),
        (["--bogus"], "Unknown option: --bogus. Nothing was started."),
    ],
)
def test_what_is_wrong_with_an_option_is_said_as_it_was_typed(
    run: Run, tmp_path: Path, options: list[str], why: str
) -> None:
    (tmp_path / "a-file").write_text("x")
    ran = run("serve", *options)
    assert (ran.code, ran.out) == (2, "")
    assert why in ran.err
    assert "Nothing was sent" not in ran.err


def test_without_pillow_it_says_at_its_start_that_edits_need_it(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['PIL'] = None")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = start("serve", "--port", "0", stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths})
    address(process)
    process.send_signal(signal.SIGTERM)
    assert "Image edits need Pillow: pip install pillow (the extra `server`)" in process.communicate(timeout=10)[1]


def test_its_help_says_that_limits_are_even(run: Run) -> None:
    assert " ".join(run("serve", "--help").out.split()).count("above one second's share is refused") == 2


def test_a_port_that_is_none_is_said(run: Run) -> None:
    ran = run("serve", "--port", "99999")
    assert ran.code == 2
    assert "--port 99999: it must be a port from 0 to 65535. Nothing was started." in ran.err
