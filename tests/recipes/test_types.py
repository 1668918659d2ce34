"""The recipes of docs/frameworks.md are strictly typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.recipes.frameworks import RECIPES, needs

ROOT = Path(__file__).parents[2]
# what has no types, or whose own take long to read: a class or a decorator of it is then of any type
UNREAD = "[mypy-airflow.*,asyncpg.*,celery.*,django.*,fastapi.*,IPython.*,pandas.*]\n"
SETTINGS = (
    "[mypy]\nstrict = true\nincremental = false\ndisable_error_code = untyped-decorator, misc\n"
    f"{UNREAD}ignore_missing_imports = true\nfollow_imports = skip\n"
)


def test_every_recipe_is_strictly_typed(tmp_path: Path) -> None:
    needs("fastapi", "opentelemetry.sdk", "prometheus_client", "structlog")
    # a cell of a notebook awaits where mypy allows no await
    codes = [code for heading, recipes in RECIPES.items() if "Jupyter" not in heading for code in recipes]
    assert len(codes) == 8
    paths = [tmp_path / f"recipe_{number}.py" for number in range(len(codes))]
    for path, code in zip(paths, codes, strict=True):
        path.write_text(code)
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    command = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.ini"), *map(str, paths)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
