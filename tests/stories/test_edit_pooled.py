"""One rate for all copies of a run: `rate_pool=`, with a ledger in a database."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import ConfigurationError, ImageEdit, ImageEditor
from asyncsdk.server import Fault, LocalServer
from tests.postgres.server import PostgresServer
from tests.stories.pictures import png
from tests.stories.test_edit_shared import as_another, job, run

SAID_ONCE = "each copy has its own limit of the rate"


@pytest.fixture
def row(postgres_server: PostgresServer, database: str) -> Callable[[], str]:
    """The pool, as the database has it."""
    return partial(postgres_server.sql, "select to_json(p) from asyncsdk.rate_pool p", database=database)


async def copies(editor: ImageEditor, url: str, out: Path, edits: list[ImageEdit], number: int, **options: Any) -> None:
    await asyncio.gather(
        *(run(editor, edits, out=out, ledger=as_another(url, each), **options) for each in range(number))
    )


async def test_copies_with_a_pool_send_no_more_together_than_one_may(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    edits = [job(number) for number in range(40)]
    await copies(editor, database_url, tmp_path / "out", edits, 3, rate_pool="shop", images_per_minute=900)
    assert loop.time() - began >= 40 / 15 - 1.0
    assert server.edits.edits == 40
    assert SAID_ONCE not in caplog.text


async def test_pictures_times_n_are_counted(
    editor: ImageEditor, tmp_path: Path, row: Callable[[], str], database_url: str
) -> None:
    edits = [ImageEdit(image=[png(), png()], prompt="x", model="gpt-image-2", n=3, id="a")]
    await run(editor, edits, out=tmp_path / "out", ledger=database_url, rate_pool="shop", images_per_minute=900)
    assert json.loads(row())["sent"][1] == 6


async def test_a_pool_learns_its_limit_and_has_no_key(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, row: Callable[[], str], database_url: str
) -> None:
    body = {"error": {"message": "Rate limit reached on input-images per min: Limit 900. Key sk-canary7f3a9c.",
                      "code": "rate_limit_exceeded"}}  # fmt: skip
    server.inject(Fault("edit", "answer", status=429, nth=5, headers={"retry-after-ms": "20"}, body=body))
    edits = [job(number) for number in range(12)]
    async with editor.edit_many(edits, out=tmp_path / "out", ledger=database_url, rate_pool="shop") as outcomes:
        assert outcomes.rate is None
        assert {outcome.status async for outcome in outcomes} == {"done"}
        assert outcomes.rate == pytest.approx(900 * 0.98)
    assert '"reported":900' in row()
    assert "sk-" not in row()


@pytest.mark.parametrize("name", ["sk-canary7f3a9c", "", "a b", "x" * 65, 7, "über"])
async def test_a_name_that_may_be_a_key_is_refused_and_not_repeated(
    editor: ImageEditor, tmp_path: Path, name: Any
) -> None:
    with pytest.raises(ConfigurationError, match=r"the name of a rate pool is .* Nothing was sent\.") as raised:
        editor.edit_many([], out=tmp_path / "out", ledger="postgresql://h/d", rate_pool=name)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("given", [{"out": "out"}, {"out": "out", "ledger": "here"}, {}])
async def test_without_a_ledger_in_a_database_there_is_no_pool(editor: ImageEditor, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"rate_pool=shop needs a ledger in a database .* Nothing was sent\."):
        editor.edit_many([], **given, rate_pool="shop")


async def test_a_copy_without_a_pool_says_so_once_where_others_are_at_work(
    editor: ImageEditor, tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    async with editor.edit_many([job(1)], out=out, ledger=as_another(database_url, 1)):
        assert SAID_ONCE not in caplog.text
        await run(editor, [job(2), job(3)], out=out, ledger=as_another(database_url, 2))
    [said] = [record for record in caplog.records if SAID_ONCE in record.getMessage()]
    assert said.levelno == logging.WARNING
    assert "--rate-pool NAME" in said.getMessage()


async def test_another_limit_for_one_pool_is_refused_before_anything_is_sent(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, database_url: str
) -> None:
    options: dict[str, Any] = {"out": tmp_path / "out", "rate_pool": "shop"}
    async with editor.edit_many([job(1)], ledger=as_another(database_url, 1), images_per_minute=900, **options):
        with pytest.raises(ConfigurationError, match="has a limit of 900 a minute in this run, and this call gives 60"):
            await run(editor, [job(2)], ledger=as_another(database_url, 2), images_per_minute=60, **options)
        await run(editor, [job(3)], ledger=as_another(database_url, 3), **options)  # takes that of the pool
    assert server.edits.by_prompt["p2"] == 0
