"""The recipes of docs/frameworks.md, by their headings."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text()
RECIPES = {
    heading: re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for heading, section in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}


def recipe(heading: str) -> ModuleType:
    """The one recipe below this heading, as a module that has been run."""
    [code] = RECIPES[heading]
    module = ModuleType(heading)
    exec(compile(code, f"docs/frameworks.md, {heading}", "exec"), module.__dict__)
    return module


def needs(*packages: str) -> None:
    """Skip the test, or the module, that needs one which is not here."""
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[recipes]'")
