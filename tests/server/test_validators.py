"""Options that make no sense are refused when a server is made; the error names them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from asyncsdk.server import Fault, LocalServer, ServerProcess
from tests.server.support import running


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"upload_ttl": "5m"}, "^upload_ttl must be an integer from 1, not '5m'$"),
        ({"upload_ttl": 0}, "^upload_ttl must be .*, not 0$"),
        ({"images_per_minute": 0}, "^images_per_minute must be .*, not 0$"),
        ({"files_per_minute": 0}, "^files_per_minute must be .*, not 0$"),
        ({"batch_seconds": -1}, "^batch_seconds must be .*, not -1$"),
        ({"batch_window": 0}, "^batch_window must be .*, not 0$"),
        ({"batch_tokens": 0}, "^batch_tokens must be .*, not 0$"),
        ({"listing_delay": "long"}, "^listing_delay must be .*, not 'long'$"),
        ({"connections": 0}, "^connections must be .*, not 0$"),
        ({"edit_seconds": -1}, "^edit_seconds must be .*, not -1$"),
        ({"api_key": ""}, "^api_key must be a non-empty string without spaces around it$"),
        ({"api_key": "sk-own "}, "^api_key must be .* without spaces around it$"),
        ({"repeated_complete": 302}, "^repeated_complete must be .*, not 302$"),
        ({"host": ""}, "^host must be .*, not ''$"),
        ({"api_key": 3}, "^api_key must be a non-empty string without spaces around it$"),
        (
            {"hosts": ["api:8787"]},
            "hosts must be a list of host names, without scheme, port or wildcard, not ",
        ),
        ({"hosts": ["http://api"]}, "without scheme"),
        ({"hosts": ["*"]}, "or wildcard"),
        ({"hosts": "api"}, "a list of host names"),
    ],
    ids=repr,
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LocalServer(**options)


def test_a_process_says_it_too() -> None:
    with pytest.raises(ValueError, match=r"hosts must be a list of host names, .*, not 'api'"):
        ServerProcess(hosts="api")
    with pytest.raises(ValueError, match=r"upload_ttl must be .*, not 0"):
        ServerProcess(upload_ttl=0)
    with pytest.raises(ValueError, match=r"files_per_minute must be .*, not 0"):
        ServerProcess(files_per_minute=0)


@pytest.mark.parametrize("wrong", [{"route": "part", "kind": "reset"}, "part", [Fault("part", "reset")]], ids=repr)
async def test_what_is_no_fault_is_refused_with_what_to_write(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"is not a Fault; write Fault\('part', 'reset'\)"):
        LocalServer(faults=[wrong])
    async with running() as (server, _):
        with pytest.raises(TypeError, match="is not a Fault"):
            server.inject(Fault("part", "reset"), wrong)
        assert server.unmet_faults() == []
    with pytest.raises(TypeError, match="is not a Fault"):
        ServerProcess(faults=[wrong]).__enter__()


def test_one_fault_alone_is_no_list() -> None:
    with pytest.raises(TypeError, match="faults takes a list"):
        LocalServer(faults=Fault("part", "reset"))  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("route", ["files.get", "edit", "create"])
def test_only_an_upload_expires(route: Any) -> None:
    with pytest.raises(ValueError, match="an upload expires in a part, complete or cancel, or once its create is done"):
        Fault(route, "expire")


async def test_an_upload_expires_once_its_create_is_done_and_with_any_route_only_where_there_is_one() -> None:
    async with running(faults=[Fault("create", "expire", "done")]) as (server, call):
        upload_id = await call.created(1)
        assert (await call.add_part(upload_id, b"x")).status == 400
        server.assert_all_met()
    async with running(faults=[Fault("*", "expire", every=1, times=1)]) as (server, call):
        assert (await call("GET", "files")).status == 200
        assert len(server.unmet_faults()) == 1
        await call.add_part(await call.created(1), b"x")
        server.assert_all_met()


async def test_a_fault_and_a_server_say_what_matters() -> None:
    fault = Fault("part", "answer", status=503, headers={"a": "b"})
    assert repr(fault) == "Fault(route='part', kind='answer', status=503, headers={'a': 'b'})"
    assert repr(LocalServer(api_key="sk-own")) == "LocalServer(not running)"
    async with running() as (server, _):
        assert repr(server) == f"LocalServer('{server.url}')"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--api-key", ""],
            "--api-key must be a non-empty string without spaces around it. Nothing was started.",
        ),
        (["--allow-host", "api:8787"], "without scheme, port or wildcard, not ('api:8787',). Nothing was started."),
        (["--images-per-minute", "0"], "--images-per-minute 0: it must be an integer from 1."),
    ],
    ids=repr,
)
def test_the_command_refuses_them_before_it_serves(options: list[str], said: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "asyncsdk", "serve", "--port", "0", *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        (["--host", "0.0.0.0"], True),
        (["--host", "0.0.0.0", "--api-key", "k"], False),
        ([], False),
        (["--host", "localhost"], False),
    ],
    ids=repr,
)
def test_the_command_warns_where_the_network_can_use_it(options: list[str], *, warned: bool) -> None:
    command = [sys.executable, "-m", "asyncsdk", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.terminate()
        _, complained = process.communicate(timeout=30)
    assert ("set --api-key" in complained) is warned
