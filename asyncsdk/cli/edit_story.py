"""The demo's second part: a picture with a mask is edited, and what must not change is compared."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from asyncsdk.client import Client
from asyncsdk.errors import AsyncSDKError
from asyncsdk.images.editor import ImageEditor

SIZE, HOLE = (256, 256), (64, 32, 192, 96)


async def tell_edit(folder: Path, url: str, say: Callable[[str], None]) -> None:
    """Edit a picture on the server at `url`. Raises AsyncSDKError where it is not as it should be."""
    if find_spec("PIL") is None:
        say("An edit would follow; it needs Pillow: pip install 'asyncsdk[server]'")
        return
    picture, mask = _draw(folder)
    say(f"A picture of {SIZE[0]}x{SIZE[1]} and a mask, transparent where it is to be edited.")
    async with Client("sk-demo", base_url=url) as client:
        result = await ImageEditor(client).edit(picture, "a beret", mask=mask, model="gpt-image-2")
        [edited] = await result.save(folder / "edited")
    if _changed(picture, edited) != HOLE:
        raise AsyncSDKError("the edit changed something else than the masked region. This is a bug in asyncsdk.")
    tokens = result.usage.total_tokens if result.usage else 0
    say(f"Edited and saved: the masked region changed, and not one pixel beside it; {tokens} tokens.")


def _draw(folder: Path) -> tuple[Path, Path]:
    from PIL import Image

    picture, mask = folder / "picture.png", folder / "mask.png"
    Image.radial_gradient("L").convert("RGB").resize(SIZE).save(picture)
    holed = Image.new("RGBA", SIZE, (0, 0, 0, 255))
    holed.paste((0, 0, 0, 0), HOLE)
    holed.save(mask)
    return picture, mask


def _changed(before: Path, after: Path) -> tuple[int, int, int, int] | None:
    from PIL import Image, ImageChops

    with Image.open(before) as old, Image.open(after) as new:
        return ImageChops.difference(old.convert("RGB"), new.convert("RGB")).getbbox()
