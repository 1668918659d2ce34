"""A value that is nearly one that we know is sent, and warned of once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from asyncsdk import AsyncUploader, BadRequestError, Client, ImageEdit, ImageEditor
from asyncsdk.server import LocalServer
from asyncsdk.suggestions import KNOWN, _warn, near_miss
from tests.stories.pictures import png


@pytest.fixture(autouse=True)
def nothing_was_warned_of() -> Iterator[None]:
    _warn.cache_clear()
    yield
    _warn.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("purpose", "finetune", "fine-tune"),
        ("purpose", "fine_tune", "fine-tune"),
        ("purpose", "Batch", "batch"),
        ("purpose", "assistant", "assistants"),
        ("purpose", "user-data", "user_data"),
        ("quality", "hihg", "high"),
        ("output_format", "jpg", "jpeg"),
        ("output_format", "PNG", "png"),
        ("background", "transparant", "transparent"),
        ("size", "1024X1536", "1024x1536"),
        ("size", "1024 x 1536", "1024x1536"),
        ("size", "1024*1536", "1024x1536"),
    ],
)
def test_a_near_miss_has_a_suggestion(name: str, value: str, meant: str) -> None:
    assert near_miss(name, value) == meant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name, values in KNOWN.items() for value in values),
        ("purpose", "assistants_output"),
        ("purpose", "batch_output"),
        ("purpose", "fine-tune-results"),
        ("purpose", "something-new"),
        ("quality", "hd"),
        ("size", "1000x1000"),
        ("size", "2K"),
        ("size", "auto"),
        ("model", "gpt-imge-1"),
        ("purpose", None),
    ],
)
def test_what_is_known_or_unlike_any_has_none(name: str, value: str | None) -> None:
    assert near_miss(name, value) is None


async def test_it_is_sent_as_it_is_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async with LocalServer() as server, Client("sk-test", base_url=server.url) as client:
        uploader = AsyncUploader(client, journal="memory")
        for _ in range(3):
            with pytest.raises(BadRequestError, match="visoin"):  # this server knows no others
                await uploader.upload(b"{}", purpose="visoin")
        edits = [ImageEdit(image=png(), prompt="p", moderation="Low", id=str(number)) for number in range(3)]
        async with ImageEditor(client).edit_many(edits) as outcomes:
            assert len([outcome async for outcome in outcomes]) == 3
        assert server.calls["create"] == 3
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [
        "purpose 'visoin' is not one that we know; did you mean 'vision'?",
        "moderation 'Low' is not one that we know; did you mean 'low'?",
    ]
