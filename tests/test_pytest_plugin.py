"""The pytest plugin as its users meet it: in a pytest run of its own, over tests that they might write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAVY = ["asyncsdk.server", "asyncsdk.client", "aiohttp", "attrs", "cattrs", "PIL"]
if sys.version_info < (3, 14):  # from then on pdb imports it, and pytest imports pdb
    HEAVY.append("asyncio")

# other plugins load what they like, and one has a warning of its own: they stay out of these runs
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # whatever else is installed beside it

GOOD = """
import os

import pytest
from openai import APIStatusError, OpenAI

from asyncsdk.server import Fault

LOST = Fault("files.list", "answer", status=503)
pytestmark = pytest.mark.asyncsdk_server(api_key="sk-module")


@pytest.mark.parametrize("turn", [1, 2])
def test_each_has_a_server_of_its_own(asyncsdk_environment, turn):
    with OpenAI(max_retries=0) as client:
        assert client.files.list().data == []
        client.files.create(file=("a", b"x"), purpose="batch")
        assert len(client.files.list().data) == 1


def test_the_environment_leads_there(asyncsdk_environment):
    assert os.environ["OPENAI_API_KEY"] == "sk-module"
    assert "OPENAI_ORG_ID" not in os.environ
    with OpenAI(max_retries=0) as client:
        client.files.list()
    assert asyncsdk_environment.calls == {"files.list": 1}


@pytest.mark.asyncsdk_server(faults=[LOST], api_key=None)
def test_the_nearest_options_win(asyncsdk_environment):
    assert os.environ["OPENAI_API_KEY"] == "sk-test"
    with OpenAI(max_retries=0) as client, pytest.raises(APIStatusError, match="503"):
        client.files.list()


@pytest.mark.asyncsdk_server(faults=[LOST])
def test_faults_can_be_taken_back(asyncsdk_server):
    asyncsdk_server.clear_faults()
"""

BAD = """
import pytest

from asyncsdk.server import Fault


@pytest.mark.asyncsdk_server(faults=[Fault("part", "reset")])
def test_a_fault_that_is_not_met(asyncsdk_server):
    pass


@pytest.mark.asyncsdk_server("sk-key")
def test_an_option_without_a_name(asyncsdk_server):
    pass


@pytest.mark.asyncsdk_server(colour="red")
def test_an_option_that_is_none(asyncsdk_server):
    pass
"""

ENDED_OTHERWISE = """
import pytest

from asyncsdk.server import Fault

pytestmark = pytest.mark.asyncsdk_server(faults=[Fault("part", "reset")])


def test_one_that_fails(asyncsdk_server):
    assert asyncsdk_server.files


def test_one_that_is_skipped_half_way(asyncsdk_server):
    pytest.skip("not here")
"""

WITHOUT_FIXTURE = """
import pytest


@pytest.mark.asyncsdk_server(api_key="sk-mine")
def test_without_the_fixture():
    pass


@pytest.mark.asyncsdk_server(api_key="sk-mine")
class TestMarkedTogether:
    def test_one_needs_none(self):
        pass

    @pytest.fixture
    def address(self, asyncsdk_server):
        return asyncsdk_server.url

    @pytest.mark.asyncsdk_server(api_key="sk-other")
    def test_one_has_it_through_another_fixture(self, address):
        pass

    @pytest.mark.asyncsdk_server(api_key="sk-other")
    def test_one_asks_later(self, request):
        assert request.getfixturevalue("asyncsdk_server").url
"""

UNUSED = f"""
import sys

LOADED = [name for name in {HEAVY!r} if name in sys.modules]


def test_nothing_was_loaded():
    assert LOADED == []
"""


def pytest_run(folder: Path, tests: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers -p no:cacheprovider\nfilterwarnings = error\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "asyncsdk.pytest_plugin", *options]
    return subprocess.run(
        command, cwd=folder, env=os.environ | ALONE | environment, capture_output=True, text=True, check=False
    )


def test_servers_are_fresh_configured_and_found_through_the_environment(tmp_path: Path) -> None:
    mine = {"OPENAI_ORG_ID": "mine", "OPENAI_API_KEY": "mine", "HTTP_PROXY": "http://127.0.0.1:9"}
    ran = pytest_run(tmp_path, GOOD, **mine)
    assert "5 passed" in ran.stdout, ran.stdout
    assert ran.returncode == 0


def test_what_is_wrong_with_a_test_is_said(tmp_path: Path) -> None:
    ran = pytest_run(tmp_path, BAD, "-rE")
    assert "1 passed, 3 errors" in ran.stdout, ran.stdout
    assert "These faults were planned and not met: Fault(route='part'" in ran.stdout
    assert "takes options by name alone" in ran.stdout
    assert "colour" in ran.stdout


def test_a_marker_without_the_fixture_is_an_error_that_names_the_fixture(tmp_path: Path) -> None:
    ran = pytest_run(tmp_path, WITHOUT_FIXTURE)
    assert "3 passed, 1 error" in ran.stdout, ran.stdout
    assert "Ask for the fixture asyncsdk_server, or asyncsdk_environment for" in ran.stdout


def test_what_failed_or_was_skipped_is_not_told_of_its_faults_as_well(tmp_path: Path) -> None:
    ran = pytest_run(tmp_path, ENDED_OTHERWISE)
    assert "1 failed, 1 skipped" in ran.stdout, ran.stdout
    assert "error" not in ran.stdout.splitlines()[-1]


def test_it_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    ran = pytest_run(tmp_path, UNUSED)
    assert ran.returncode == 0, ran.stdout


def test_it_tells_of_itself() -> None:
    for option, words in (("--fixtures", "An empty server for this test"), ("--markers", "asyncsdk_server(**options)")):
        command = [sys.executable, "-m", "pytest", option, "-p", "no:cacheprovider", "tests/test_public.py"]
        told = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
        assert words in told.stdout
