"""The recipe for Airflow, with stand-ins for its decorators: Airflow itself has more than a hundred packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asyncsdk import InternalServerError
from asyncsdk.server import Fault, LocalServer
from tests.recipes.frameworks import recipe

Call = Callable[..., Any]


class AirflowFailException(Exception):  # noqa: N818 - Airflow's name
    pass


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `expand` was called with, by the function that is the task; a DAG is run when it is made."""
    expanded: list[Any] = []

    def task(**options: Any) -> Callable[[Call], Call]:
        def decorate(call: Call) -> Call:
            call.expand = lambda **mapped: expanded.append((call, options, mapped))  # type: ignore[attr-defined]
            return call

        return decorate

    sdk, exceptions = ModuleType("airflow.sdk"), ModuleType("airflow.sdk.exceptions")
    sdk.dag, sdk.task = (lambda **_: lambda call: call), task  # type: ignore[attr-defined]
    exceptions.AirflowFailException = AirflowFailException  # type: ignore[attr-defined]
    for module in (ModuleType("airflow"), sdk, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return expanded


@pytest.fixture
def airflow(tasks: list[Any], asyncsdk_environment: LocalServer) -> Any:
    recipe("Airflow").__dict__["JOURNAL"] = "memory"
    [expanded] = tasks
    return expanded


def test_each_source_is_a_task_that_is_tried_again(airflow: Any) -> None:
    _, options, mapped = airflow
    assert options["retries"] == 5
    assert len(mapped["source"]) == 2


def test_a_task_gives_the_id_of_the_file(airflow: Any, asyncsdk_environment: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "one.mp4").write_bytes(b"one")
    assert airflow[0](str(tmp_path / "one.mp4")) == asyncsdk_environment.files[0].id


@pytest.mark.asyncsdk_server(faults=[Fault("create", "answer", status=503, retry_after=0.01, times=9)])
def test_what_may_pass_later_is_left_to_airflow(
    airflow: Any, asyncsdk_environment: LocalServer, tmp_path: Path
) -> None:
    (tmp_path / "one.mp4").write_bytes(b"one")
    with pytest.raises(InternalServerError):
        airflow[0](str(tmp_path / "one.mp4"))
    asyncsdk_environment.clear_faults()


def test_what_can_not_pass_later_fails_at_once(airflow: Any, tmp_path: Path) -> None:
    with pytest.raises(AirflowFailException, match=r"gone\.mp4"):
        airflow[0](str(tmp_path / "gone.mp4"))
