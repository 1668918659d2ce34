"""What lies on disk is for its user alone, and nothing leads out of it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.server.edits import edit_form, picture
from tests.server.support import running


async def test_everything_on_disk_is_for_this_user_alone(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as (_, call):
        await call.uploaded(b"x")
        await call.add_part(await call.created(10), b"0123456789")
        form = edit_form(picture(), model="dall-e-2", size="256x256", response_format="url")
        await call("POST", "images/edits", data=form)
        found = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
        assert {path.parent.name for path in found} >= {"uploads", "files", "data"}
        modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in found}
        assert modes == {(True, 0o700), (False, 0o600)}


@pytest.mark.parametrize("name", ["uploads", "files", "pictures", "incoming"])
async def test_a_link_in_the_place_of_a_directory_is_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        async with LocalServer(tmp_path / "data"):
            pass
