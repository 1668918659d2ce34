"""What the library says of its arguments is said of options on the command line."""

from __future__ import annotations

import pytest

from asyncsdk.cli.edits.typed import as_typed


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("max_edits=5 is reached.", "--max-edits 5 is reached."),
        ("size='1x1' is none; n=20 is not whole.", "--size 1x1 is none; --n 20 is not whole."),
        ("in a stream only, which stream=True asks for.", "in a stream only, which --stream asks for."),
        ("images_per_minute=0.5.", "--images-per-minute 0.5."),
        ("with a higher limit the same call goes on.", "with a higher limit the same command goes on."),
        (
            "extra={'a': 1} and purpose=x and https://host/?n=5&x=1",
            "extra={'a': 1} and purpose=x and https://host/?n=5&x=1",
        ),
    ],
)
def test_arguments_are_told_as_options(said: str, typed: str) -> None:
    assert as_typed(said) == typed
