"""Turns the options of `edit-many` into arguments of the library, and reads the files that they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import fields

from asyncsdk.cli.edits.options import BatchRunOptions, EditOptions, RunOptions
from asyncsdk.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncsdk.images.bulk.outcomes import Outcomes
    from asyncsdk.images.editor import ImageEditor


_RATE = "edits in batches have a rate of their own, which the server keeps"
_DIRECT = {  # of a run in batches there is no such thing, and why
    "images_per_minute": _RATE,
    "rate_pool": _RATE,
    "verify": "what is done is not compared again by edits in batches",
    "idempotency_header": "a batch has no such header",
    "dask": "a batch needs no workers: the server makes its edits",
}


def defaults_of(run: RunOptions, options: EditOptions) -> dict[str, Any]:
    """The default fields of all rows. Raises ConfigurationError if the prompt can't be read."""
    prompt = _prompt(run)
    return options.given | ({} if prompt is None else {"prompt": prompt})


def request_of(run: RunOptions) -> dict[str, Any]:
    """The arguments that `ImageEditor.edit_many` and `ImageEditor.plan` share."""
    if run.only == "redo" and run.redo is None:
        raise ConfigurationError("--only redo sends the ids in a file: add --redo FILE. Nothing was sent.")
    redo, before = read_redo(run.redo)
    return {
        "images_per_minute": run.images_per_minute,
        "on_uncertain": run.on_uncertain,
        "only": None if run.only is None else [run.only],
        "redo": redo,
        "redo_before": before,
        "verify": run.verify,
    }


def read_redo(name: str | None) -> tuple[list[str], float | None]:
    """The ids in a file, one a line, plain or as JSON, and when it was written: edits done since then are kept."""
    if name is None:
        return [], None
    try:
        path = Path(name)
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
        return [_id_in(line) for line in lines], path.stat().st_mtime
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).removesuffix(".")
        raise ConfigurationError(f"--redo {name}: {reason}. Nothing was sent.") from error


def check_grace(seconds: float) -> None:
    """Raise ConfigurationError unless Ctrl-C can wait that long."""
    if not seconds >= 0:  # so that what is not a number is refused too
        raise ConfigurationError(f"--grace {seconds:g} is not a number of seconds, 0 or more. Nothing was sent.")


def limits_of(run: RunOptions) -> dict[str, Any]:
    """The arguments of `ImageEditor.edit_many` that `ImageEditor.plan` has no need of."""
    names = ("max_edits", "max_tokens", "max_cost", "concurrency", "rate_pool", "accept_damage")
    return {name: getattr(run, name) for name in names}


def batch_arguments(batch: BatchRunOptions, run: RunOptions) -> dict[str, Any] | None:
    """The arguments of `ImageEditor.edit_batch` alone; None where edits go directly. Raises ConfigurationError."""
    given = [a.name for a in fields(BatchRunOptions) if getattr(batch, a.name) not in {None, False}]
    if not batch.batch:
        if given:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ConfigurationError(f"{named}: for edits in batches. Add --batch, or leave it out. Nothing was sent.")
        return None
    for name, why in _DIRECT.items():
        if getattr(run, name) not in {None, False}:
            raise ConfigurationError(
                f"--{name.replace('_', '-')}: {why}. Leave it out, or leave --batch out. Nothing was sent."
            )
    if batch.poll is not None and batch.poll < 1:
        raise ConfigurationError("--poll takes whole seconds, and 1s is the shortest. Nothing was sent.")
    return {
        "batch_size": batch.batch_size,
        "poll": None if batch.poll is None else float(batch.poll),
        "detach": batch.detach,
        "keep_files": batch.keep_files,
    }


def begin(
    editor: ImageEditor, edits: Any, in_batches: Mapping[str, Any] | None, **arguments: Any
) -> AbstractAsyncContextManager[Outcomes]:
    """The run that the arguments are for, not entered: a direct one, or in batches where these have arguments."""
    if in_batches is None:
        return editor.edit_many(edits, **arguments)
    rest = {name: value for name, value in arguments.items() if name not in {"concurrency", *_DIRECT}}
    return editor.edit_batch(edits, **rest, **in_batches)


def _prompt(run: RunOptions) -> str | None:
    if run.prompt_file is None:
        return run.prompt
    if run.prompt is not None:
        raise ConfigurationError("--prompt and --prompt-file exclude each other; choose one. Nothing was sent.")
    try:
        return Path(run.prompt_file).read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"--prompt-file {run.prompt_file}: {reason}. Nothing was sent.") from error


def _id_in(line: str) -> str:
    if not line.startswith("{"):
        return line
    edit_id = json.loads(line).get("id")
    if not isinstance(edit_id, str):
        raise ValueError(f"{line[:80]} has no id")  # noqa: TRY004 - the file is bad, not the caller
    return edit_id
