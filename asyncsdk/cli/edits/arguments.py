"""What the options of `edit-many` ask of the library; the files that they name are read here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from asyncsdk.cli.edits.options import EditOptions, RunOptions
from asyncsdk.errors import ConfigurationError


def defaults_of(run: RunOptions, options: EditOptions) -> dict[str, Any]:
    """The fields of rows that leave them open. Raises ConfigurationError where the prompt can't be read."""
    prompt = _prompt(run)
    return options.given | ({} if prompt is None else {"prompt": prompt})


def wanted_of(run: RunOptions) -> dict[str, Any]:
    """What is to be sent, and how fast: what plans and runs have in common."""
    redo, before = read_redo(run.redo)
    return {
        "images_per_minute": run.images_per_minute,
        "on_uncertain": run.on_uncertain,
        "only": None if run.only is None else [run.only],
        "redo": redo,
        "redo_before": before,
    }


def read_redo(name: str | None) -> tuple[list[str], float | None]:
    """The ids of a file, a line each, plain or as JSON; and when it was written: what was done since then stands."""
    if name is None:
        return [], None
    try:
        path = Path(name)
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
        return [_id_in(line) for line in lines], path.stat().st_mtime
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).removesuffix(".")
        raise ConfigurationError(f"--redo {name}: {reason}. Nothing was sent.") from error


def check_page(name: str | None) -> None:
    """Raise ConfigurationError where no gallery could be written: better before anything is paid."""
    if name is None:
        return
    page = Path(name)
    if page.is_dir():
        raise ConfigurationError(
            f"--gallery {name} is a directory; name a file, such as gallery.html. Nothing was sent."
        )
    above = next(folder for folder in page.absolute().parents if os.path.lexists(folder))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--gallery {name}: no file can be made in {above}. Nothing was sent.")


def _prompt(run: RunOptions) -> str | None:
    if run.prompt_file is None:
        return run.prompt
    if run.prompt is not None:
        raise ConfigurationError("--prompt and --prompt-file are two prompts; choose one. Nothing was sent.")
    try:
        return Path(run.prompt_file).read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"--prompt-file {run.prompt_file}: {reason}. Nothing was sent.") from error


def _id_in(line: str) -> str:
    if not line.startswith("{"):
        return line
    named = json.loads(line).get("id")
    if not isinstance(named, str):
        raise ValueError(f"{line[:80]} names no id")  # noqa: TRY004 - the file is bad, not the caller
    return named
