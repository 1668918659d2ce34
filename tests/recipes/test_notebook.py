"""The recipes for Jupyter, as cells of a notebook that a kernel executes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from asyncsdk.server import LocalServer
from tests.recipes.frameworks import RECIPES, needs
from tests.stories.pictures import photo

needs("IPython", "ipykernel", "nbclient", "pandas")

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(code) for code in sys.argv[1:]]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(nbformat.writes(notebook))
"""


def executed(folder: Path, *cells: str) -> list[list[dict[str, Any]]]:
    """The outputs of each cell."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "JUPYTER_PLATFORM_DIRS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", EXECUTE, *cells],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return [cell["outputs"] for cell in json.loads(ran.stdout)["cells"]]


def test_a_bar_moves_and_a_column_of_pictures_is_paid_once(asyncsdk_environment: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"messages": []}\n' * 1000)
    for name in ("one.jpg", "two.jpg"):
        photo(tmp_path / name)
    (tmp_path / "photos.csv").write_text("photo,prompt\none.jpg,a beret\ntwo.jpg,a <b>hat</b>\n")
    bar, column = RECIPES["Jupyter and pandas"]
    (shown, file_id), *pictures = executed(tmp_path, bar, column, column)
    assert "<progress max=17000 value=17000></progress> completed" in "".join(shown["data"]["text/html"])
    assert "".join(file_id["data"]["text/plain"]) == repr(asyncsdk_environment.files[0].id)
    for [table], status in zip(pictures, ("done", "skipped"), strict=True):
        html = "".join(table["data"]["text/html"])
        assert html.count(f"<td>{status}</td>") == 2
        assert "<td>a &lt;b&gt;hat&lt;/b&gt;</td>" in html
        assert [html.count(f'<img src="{name}" ') for name in ("one.jpg", "out/0.png", "out/1.png")] == [1, 1, 1]
    assert asyncsdk_environment.calls["edit"] == 2
