"""All programs of README and pages are strictly typed: one run of mypy for all, since each reads the whole package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.recipes.frameworks import RECIPES
from tests.test_pages import PYTHON

ROOT = Path(__file__).parents[1]
# a cell of a notebook awaits where mypy allows no await
FRAMEWORKS = [code for heading, codes in RECIPES.items() if "Jupyter" not in heading for code in codes]
PROGRAMS = {"pages": [block.code for block in PYTHON], "frameworks": FRAMEWORKS}
# openai's own types, and some others', take long to read; what is called there is run by the tests of each document.
# A class or a decorator of a framework is then of any type, and may not be installed
SETTINGS = """
[mypy]
strict = true
incremental = false
[mypy-openai.*]
follow_imports = skip
[mypy-airflow.*,asyncpg.*,celery.*,django.*,fastapi.*,IPython.*,pandas.*]
follow_imports = skip
ignore_missing_imports = true
[mypy-opentelemetry.*,prometheus_client.*,structlog.*]
ignore_missing_imports = true
[mypy-frameworks.*]
disallow_untyped_decorators = false
"""


def test_all_programs_are_strictly_typed(tmp_path: Path) -> None:
    assert len(FRAMEWORKS) == 8
    for document, programs in PROGRAMS.items():
        assert programs
        (tmp_path / document).mkdir()
        (tmp_path / document / "__init__.py").touch()
        for number, program in enumerate(programs):
            (tmp_path / document / f"program_{number}.py").write_text(program)
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    command = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.ini"), str(tmp_path)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
