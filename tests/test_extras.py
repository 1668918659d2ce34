"""The words about what to install agree with what the package declares."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from asyncsdk.extras import PACKAGES, install_command

ROOT = Path(__file__).parent.parent


def test_an_extra_brings_what_the_package_declares() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, packages in PACKAGES.items():
        assert [re.split("[<>=]", requirement)[0] for requirement in declared[extra]] == list(packages)


def test_no_message_names_a_package_index_that_does_not_have_asyncsdk() -> None:
    wrong = re.compile(r"pip install '?asyncsdk")
    messages = [path for path in (ROOT / "asyncsdk").rglob("*.py") if wrong.search(path.read_text())]
    assert [path.name for path in messages] == ["__main__.py"]  # whose next line says where it is


def test_what_is_missing_can_be_installed_without_a_clone() -> None:
    assert install_command("server") == "pip install pillow"
