"""`--gallery FILE`: a file that is not a gallery of ours is never overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asyncsdk.cli.gallery.page import MARK
from asyncsdk.server import LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

COMMAND = ("edit-many", "otter.png", "--prompt", "x", "--model", "gpt-image-2", "--out", "out")
PAGE = "<!doctype html>\n<html><body>mine</body></html>\n"

pytestmark = pytest.mark.usefixtures("otter")


def test_pictures_that_the_shell_put_after_it_are_not_overwritten(run: Run, server: LocalServer) -> None:
    for name in ("a.jpg", "b.jpg"):
        photo(Path(name), (16, 16))
    before = Path("a.jpg").read_bytes()
    ran = run("edit-many", *COMMAND[2:], "--gallery", "a.jpg", "b.jpg")
    assert (ran.code, server.edits.edits) == (2, 0)
    assert (
        ran.err == "error: --gallery a.jpg: a gallery is an HTML page; name it a.html or the like. Nothing was sent.\n"
    )
    assert Path("a.jpg").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content"),
    [("page.html", PAGE), ("page.HTM", PAGE), ("empty.html", ""), ("jobs.jsonl", '{"id": "a"}'), ("new.txt", None)],
)
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_no_other_file_is_overwritten_and_nothing_is_sent(
    run: Run, server: LocalServer, name: str, content: str | None, options: tuple[str, ...]
) -> None:
    if content is not None:
        Path(name).write_text(content)
    ran = run(*COMMAND, "--gallery", name, *options)
    assert (ran.code, server.edits.edits) == (2, 0)
    assert ran.err.endswith("Nothing was sent.\n")
    assert (Path(name).read_text() if Path(name).exists() else None) == content


def test_neither_a_link_to_a_photo_nor_a_pipe_is_taken_for_a_gallery(run: Run, server: LocalServer) -> None:
    Path("link.html").symlink_to("otter.png")
    Path("nowhere.html").symlink_to("missing")
    os.mkfifo("pipe.html")
    for name in ("link.html", "nowhere.html", "pipe.html"):
        ran = run(*COMMAND, "--gallery", name)
        assert (ran.code, server.edits.edits) == (2, 0)
        assert f"--gallery {name} is there already and is not a gallery: it is not overwritten." in ran.err


def test_an_earlier_gallery_is_replaced(run: Run, server: LocalServer) -> None:
    assert run(*COMMAND, "--gallery", "page.html").code == 0
    first = Path("page.html").read_text()
    assert first.startswith(MARK)
    photo(Path("b.png"), (16, 16), seed=2)
    assert run("edit-many", "b.png", *COMMAND[1:], "--gallery", "page.html").code == 0
    assert Path("page.html").read_text().count("<article") == 2
    assert server.edits.edits == 2


def test_a_gallery_of_a_former_version_is_known() -> None:
    assert MARK == '<!doctype html>\n<html lang="en" data-run="'  # as each version so far began it
