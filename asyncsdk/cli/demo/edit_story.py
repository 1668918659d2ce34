"""The second part of the demo: edits a picture with a mask, and checks that only the masked region changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asyncsdk.cli.demo.children import ChildError, child
from asyncsdk.extras import install_command

SIZE, HOLE = (256, 256), (64, 32, 192, 96)
NEEDS = f"\nAn edit would follow; it needs Pillow: {install_command('server')}"


async def play_edit(folder: Path, url: str, say: Callable[[str], None]) -> None:
    """Edit a picture on the server at `url`. Raises ChildError if the result is wrong."""
    if find_spec("PIL") is None:
        say(NEEDS)
        return
    picture, mask = draw(folder)
    say('\n[bold]$ asyncsdk edit picture.png --mask mask.png --prompt "a beret" --model gpt-image-2 --out edited/[/]')
    record = await _edit(picture, mask, folder / "edited", url)
    [edited] = record["files"]
    if changed(picture, Path(edited)) != HOLE:
        raise ChildError("the edit changed something outside the masked region.")
    tokens = f"{record['usage']['total_tokens']:,} tokens" if record["usage"] else "no tokens"
    say(f"  [green]✓[/] saved, for {tokens}: the masked region changed, and not one pixel outside it")


async def _edit(picture: Path, mask: Path, out: Path, url: str) -> dict[str, Any]:
    where = ("--base-url", url, "--model", "gpt-image-2", "--out", str(out), "--json")
    async with child("edit", str(picture), "--mask", str(mask), "--prompt", "a beret", *where) as process:
        output, errors = await process.communicate()
    if process.returncode != 0:
        raise ChildError(f"the edit failed. {errors.decode(errors='replace').strip()}")
    return dict(json.loads(output))


def draw(folder: Path) -> tuple[Path, Path]:
    """Create a picture, and a mask that is transparent in the middle."""
    from PIL import Image

    picture, mask = folder / "picture.png", folder / "mask.png"
    Image.radial_gradient("L").convert("RGB").resize(SIZE).save(picture)
    holed = Image.new("RGBA", SIZE, (0, 0, 0, 255))
    holed.paste((0, 0, 0, 0), HOLE)
    holed.save(mask)
    return picture, mask


def changed(before: Path, after: Path) -> tuple[int, int, int, int] | None:
    """The smallest box that holds every pixel which differs."""
    from PIL import Image, ImageChops

    with Image.open(before) as old, Image.open(after) as new:
        return ImageChops.difference(old.convert("RGB"), new.convert("RGB")).getbbox()
