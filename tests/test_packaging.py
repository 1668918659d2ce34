"""What is built and shipped, and that the files which say how agree with each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def run(*command: str) -> str:
    ran = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for needed in ("build", "hatchling", "twine"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: pip install '.[package]'")
    dist = tmp_path_factory.mktemp("dist")
    run("build", "--no-isolation", "--outdir", str(dist))
    return dist


def test_the_wheel_has_the_package_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"asyncsdk", f"asyncsdk-{wheel.name.split('-')[1]}.dist-info"}
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "asyncsdk").rglob("*") if path.is_file()}
    shipped = {name for name in names if name.startswith("asyncsdk/")}
    assert shipped == {name for name in here if "__pycache__" not in name}
    assert {"asyncsdk/py.typed", "asyncsdk/server/page/page.html", "asyncsdk/cli/gallery/gallery.css"} <= shipped


def test_the_sdist_has_what_runs_its_tests(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/test_packaging.py", "tests/data/formats", "docs/recipes.md", ".ci/run", "noxfile.py"} <= {
        *names, *(str(Path(name).parent) for name in names if name.startswith("tests/data/formats/")),
    }  # fmt: skip
    assert [name for name in names if "node_modules" in name or "__pycache__" in name or name.startswith(".venv")] == []


def test_an_index_can_show_what_is_said_of_it(built: Path) -> None:
    assert run("twine", "check", "--strict", *map(str, built.iterdir())).count("PASSED") == 2


def test_every_python_of_the_classifiers_is_tested_and_no_other() -> None:
    [ci] = [yaml.safe_load(path.read_text()) for path in WORKFLOWS if path.stem == "ci"]
    assert ci["jobs"]["pythons"]["strategy"]["matrix"]["python"] == PYTHONS
    assert f"PYTHONS = {json.dumps(PYTHONS)}" in (ROOT / "noxfile.py").read_text()
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


def test_the_forge_runs_the_gate() -> None:
    [ci] = [yaml.safe_load(path.read_text()) for path in WORKFLOWS if path.stem == "ci"]
    assert any("bash .ci/run" in step.get("run", "") for step in ci["jobs"]["gate"]["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_named_by_their_whole_commit(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "uses: " in line and "uses: ./" not in line]
    assert lines
    for line in lines:
        assert re.fullmatch(r" +- uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_only_the_job_that_publishes_may_ask_for_a_token() -> None:
    [release] = [yaml.safe_load(path.read_text()) for path in WORKFLOWS if path.stem == "release"]
    may: dict[str, Any] = {
        name: job.get("permissions", release["permissions"]) for name, job in release["jobs"].items()
    }
    assert [name for name, permissions in may.items() if "id-token" in permissions] == ["publish"]
    assert set(release["jobs"]["publish"]["needs"]) == {"build", "ci"}
