"""`edit --out FILE`: the suffix is the format that is asked for, or nothing is sent."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from PIL import Image

from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run
from tests.stories.pictures import png

USUAL = ["--prompt", "x", "--model", "gpt-image-2"]
PNG_COMES = {"created": 1, "data": [{"b64_json": base64.b64encode(png()).decode()}]}


@pytest.fixture(autouse=True)
def picture(otter: Path) -> Path:
    return otter


@pytest.mark.parametrize(
    ("out", "made"),
    [("b.jpg", "JPEG"), ("b.jpeg", "JPEG"), ("b.JPG", "JPEG"), ("b.webp", "WEBP"), ("b.png", "PNG"), ("b.PNG", "PNG")],
)
def test_a_suffix_sets_the_format_and_stays_as_it_was_written(run: Run, out: str, made: str) -> None:
    ran = run("edit", "otter.png", *USUAL, "--out", out, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, f"{out}\n", "")
    with Image.open(out) as picture:
        assert picture.format == made


def test_several_pictures_get_that_suffix_too(run: Run) -> None:
    [record] = run("edit", "otter.png", *USUAL, "--out", "new/b.jpeg", "--n", 2, "--json").records
    assert record["files"] == ["new/b.jpeg", "new/b.1.jpeg"]


def test_a_gif_and_an_svg_are_made_where_they_are_asked_for(run: Run) -> None:
    assert run("edit", "otter.png", *USUAL, "--out", "b.svg", "--quiet").out == "b.svg\n"
    assert run("edit", "otter.png", *USUAL, "--out", "b.gif", "--output-format", "gif", "--quiet").out == "b.gif\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "b.jpg", "--output-format", "png"], "--out b.jpg and --output-format png disagree"),
        (["--out", "b.png", "--output-format", "jpeg"], "--out b.png and --output-format jpeg disagree"),
        (["--out", "b.jpg", "--output-format", "jpg"], "leave --output-format out, or change the suffix"),
        (["--out", "b.gif"], "as a GIF an edit is an animation of several frames. If you want that, add --output-f"),
        (["--out", "b.heic"], "no model makes that format. Name it b.png or b.jpg or b.webp, and convert it then"),
        (["--out", "b.TIFF"], "no model makes that format"),
        (["--out", "b.pgn"], "did you mean b.png? For a directory of that name: b.pgn/"),
        (["--out", "b.jpge"], "did you mean b.jpg?"),
        (
            ["--out", "b.jpg", "--model", "dall-e-2"],
            "dall-e-2 makes PNG only. Name it b.png, or choose another --model",
        ),
        (["--out", ""], "--out is empty: give a directory, or a file name"),
        (["--out", "b.jpg", "--background", "transparent"], "needs output_format png or webp, not jpeg"),
        (["--out", "b.png", "--output-compression", "50"], "output_compression is for webp and jpeg, not png"),
    ],
)
def test_a_suffix_that_can_not_be_is_refused_before_anything_is_sent(
    run: Run, server: LocalServer, tmp_path: Path, arguments: list[str], said: str
) -> None:
    usual = USUAL[:2] if "--model" in arguments else USUAL
    ran = run("edit", "otter.png", *usual, *arguments, "--json")
    assert (ran.code, server.calls.get("edit", 0)) == (2, 0)
    assert said in ran.err
    assert ran.err.endswith("Nothing was sent.\n")
    assert ran.records[0]["error"]["retryable"] is False
    assert {path.name for path in tmp_path.iterdir()} == {"otter.png"}


def test_an_older_model_that_has_no_formats_makes_a_png(run: Run) -> None:
    fields = ["--prompt", "x", "--model", "dall-e-2", "--size", "256x256"]
    assert run("edit", "otter.png", *fields, "--out", "b.png", "--quiet").out == "b.png\n"


@pytest.mark.parametrize("out", ["out", "out.v2", "b.pgn/", "b.jpg/"])
def test_a_directory_is_one_whatever_its_name(run: Run, out: str) -> None:
    assert run("edit", "otter.png", *USUAL, "--out", out, "--quiet").out == f"{out.rstrip('/')}/otter.png\n"
    again = run("edit", "otter.png", *USUAL, "--out", out.rstrip("/"), "--overwrite", "--quiet")
    assert again.out == f"{out.rstrip('/')}/otter.png\n"


def test_a_picture_of_the_same_name_and_another_format_is_not_in_the_way(run: Run, tmp_path: Path) -> None:
    before = (tmp_path / "otter.png").read_bytes()
    assert run("edit", "otter.png", *USUAL, "--out", "otter.jpg", "--quiet").out == "otter.jpg\n"
    assert (tmp_path / "otter.png").read_bytes() == before
    assert run("edit", "otter.png", *USUAL, "--out", "otter.jpg").err.startswith("error: otter.jpg already exists.")


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_another_format_than_was_asked_for_is_kept_and_said_and_replaces_nothing(
    run: Run, server: LocalServer, tmp_path: Path, overwrite: list[str]
) -> None:
    before = (tmp_path / "otter.png").read_bytes()
    server.inject(Fault("edit", "answer", status=200, body=PNG_COMES))
    ran = run("edit", "otter.png", *USUAL, "--out", "otter.jpg", *overwrite, "--json")
    assert (ran.code, ran.records[0]["status"], ran.records[0]["files"]) == (0, "done", ["otter-2.png"])
    assert ran.err == (
        "warning: the server sent another format than was requested: saved as otter-2.png (not otter.jpg)\n"
    )
    assert (tmp_path / "otter-2.png").read_bytes() == png()
    assert (tmp_path / "otter.png").read_bytes() == before
