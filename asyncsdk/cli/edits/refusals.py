"""What `edit` refuses before it reads a picture, each with the command to type instead (pure)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

from asyncsdk.cli.edits.job_file import JOB_FILES, foreign_file
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.check import family_of
from asyncsdk.images.names import format_of

SHOWN = 3
FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg")
# pictures, or taken for some, that no edit is made as; any other suffix is part of a directory's name
_NOT_MADE = frozenset(
    {".heic", ".heif", ".avif", ".bmp", ".tif", ".tiff", ".jfif", ".jxl", ".jp2", ".ico", ".psd", ".pdf", ".bin"}
)
_NEAR = 0.75  # `.pgn` for `.png`


def format_for(out: str, given: Mapping[str, Any], *, is_directory: bool) -> str | None:
    """The `output_format` that the suffix of `--out` asks for besides the fields that are `given`; None for none.

    Raises ConfigurationError where they disagree, or where the model does not make that format.
    """
    path = PurePath(out)
    if not out.strip():
        raise ConfigurationError("--out is empty: give a directory, or a file name. Nothing was sent.")
    kind, wanted, model = format_of(path.suffix), given.get("output_format"), given.get("model")
    if is_directory or not path.suffix:
        return None
    if kind is None:
        _refuse_near(path)
        return None
    if "output_format" in family_of(model).not_taken:
        if kind == "png":
            return None
        raise ConfigurationError(
            f"--out {out}: {model} makes PNG only. Name it {path.with_suffix('.png')}, or choose another --model. "
            "Nothing was sent."
        )
    if wanted not in {None, kind}:
        raise ConfigurationError(
            f"--out {out} and --output-format {wanted} disagree: leave --output-format out, or change the suffix. "
            "Nothing was sent."
        )
    if kind == "gif" and wanted is None:
        raise ConfigurationError(
            f"--out {out}: as a GIF an edit is an animation of several frames. If you want that, add "
            f"--output-format gif; if not, name it {path.with_suffix('.png')}. Nothing was sent."
        )
    return None if kind == "png" and model is None else kind  # every model makes PNG by default


def _refuse_near(path: PurePath) -> None:
    """Raise ConfigurationError for a suffix of a picture that no edit is made as, and for a misspelt one."""
    suffix = path.suffix.lower()
    near = get_close_matches(suffix, FORMATS, 1, _NEAR)
    if suffix in _NOT_MADE:
        instead = " or ".join(str(path.with_suffix(other)) for other in (".png", ".jpg", ".webp"))
        raise ConfigurationError(
            f"--out {path}: no model makes that format. Name it {instead}, and convert it then. Nothing was sent."
        )
    if near:
        raise ConfigurationError(
            f"--out {path}: did you mean {path.with_suffix(near[0])}? For a directory of that name: {path}/. "
            "Nothing was sent."
        )


def instead_of(image: str, prompt: str, out: str, given: Mapping[str, Any], *, is_directory: bool) -> str | None:
    """What `image` is where it is a directory or a job file, and the command for it; None for what may be a picture."""
    suffix = PurePath(image).suffix.lower()
    if is_directory:
        what = f"{image} is a directory, and `edit` edits one picture. To edit each picture in it"
    elif suffix in JOB_FILES:
        what = f"{image} is a job file, and `edit` edits one picture. To run its jobs"
    elif foreign := foreign_file(suffix):
        return f"{image} is not a picture: {foreign}, to edit-many. Nothing was sent, nothing was paid."
    else:
        return None
    return f"{what}:\n  {edit_many_command(image, prompt, out, given)}\n  Nothing was sent, nothing was paid."


def edit_many_command(source: str, prompt: str, out: str, given: Mapping[str, Any]) -> str:
    """The whole command with the same prompt and fields; its --out is a directory."""
    kind = format_of(PurePath(out).suffix)
    wanted = given if kind is None else {"output_format": kind, **given}
    fields = [part for name, value in wanted.items() for part in _typed(name, value)]
    return shlex.join(["asyncsdk", "edit-many", source, "--prompt", prompt, *fields, "--out", "out/" if kind else out])


def _typed(name: str, value: object) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [option] if value else []
    return [option, json.dumps(value) if isinstance(value, Mapping) else str(value)]


def too_many(images: Sequence[str], out: str) -> str:
    """The message for a command line with several pictures."""
    one, other = shlex.quote(images[0]), shlex.quote(images[1])
    return (
        f"{len(images):,} pictures given, but `edit` edits one. To edit each on its own: "
        f'asyncsdk edit-many {named(images)} --prompt "…" --out {shlex.quote(out)}\n'
        f"  To combine them: asyncsdk edit {one} --reference {other} …\n  Nothing was sent, nothing was paid."
    )


def named(images: Sequence[str]) -> str:
    """The pictures as the user probably typed them: `photos/*.jpg`, or the first of them."""
    patterns = {(Path(image).parent, Path(image).suffix) for image in images}
    if len(images) > SHOWN and len(patterns) == 1:
        [(folder, suffix)] = patterns
        return f"{'' if folder == Path() else shlex.quote(f'{folder}/')}*{suffix}"
    return " ".join(map(shlex.quote, images[:SHOWN])) + (" …" if len(images) > SHOWN else "")
