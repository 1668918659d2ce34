"""A shared ledger in databases as administrators set them up, and with pictures in a bucket."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from asyncsdk import EditOutcome, ImageEdit, ImageEditor, LedgerError, LedgerRewoundError, PostgresLedger
from asyncsdk.images.bucket import BucketDelivery
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.server import LocalServer
from tests.buckets import Bucket
from tests.postgres.server import PostgresServer
from tests.postgres.test_pooler import pooled_url as pooled_url  # noqa: PLC0414 - a fixture
from tests.stories.pictures import png
from tests.stories.test_edit_shared import as_another, run

PICTURE = png()
EDITS = [ImageEdit(image=PICTURE, prompt=f"p{number}", model="gpt-image-2", id=f"e{number}") for number in range(40)]


async def copies_of(
    editor: ImageEditor, url: str, out: Path | str, **options: Any
) -> list[BaseException | dict[str, EditOutcome]]:
    return await asyncio.gather(
        *(run(editor, EDITS, out=out, ledger=as_another(url, number), **options) for number in range(3)),
        return_exceptions=True,
    )


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_whatever_the_isolation_each_is_sent_once_and_exactly_as_many_as_allowed(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, postgres_server: PostgresServer, isolation: str
) -> None:
    database = postgres_server.new_database()
    postgres_server.sql(f"alter database {database} set default_transaction_isolation = '{isolation}'")
    url = postgres_server.url(database)
    await copies_of(editor, url, tmp_path / "out", max_edits=25)
    assert server.edits.edits == 25
    found = await copies_of(editor, url, tmp_path / "out")
    assert [isinstance(each, dict) for each in found] == [True] * 3
    assert server.edits.by_prompt == {f"p{number}": 1 for number in range(40)}


async def test_a_pooler_that_lends_a_session_for_a_statement_will_do(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, pooled_url: str
) -> None:
    await copies_of(editor, pooled_url, tmp_path / "out", max_edits=25)
    assert server.edits.edits == 25
    assert [isinstance(each, dict) for each in await copies_of(editor, pooled_url, tmp_path / "out")] == [True] * 3
    assert server.edits.by_prompt == {f"p{number}": 1 for number in range(40)}


async def test_a_role_with_no_more_rights_than_the_schema_grants_will_do(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    database, role = postgres_server.new_database(), f"r_{uuid4().hex[:8]}"
    postgres_server.sql(f"create role {role} login password 'x'")
    url = postgres_server.url(database, user=role, password="x")
    with pytest.raises(LedgerError, match="asyncsdk uploads schema"):
        await run(editor, EDITS[:2], out=tmp_path / "out", ledger=url)
    await run(editor, EDITS[:1], out=tmp_path / "out", ledger=postgres_server.url(database))
    postgres_server.sql(
        f"grant usage on schema asyncsdk to {role}",
        f"grant select, insert, update, delete on all tables in schema asyncsdk to {role}",
        database=database,
    )
    assert [each.status for each in (await run(editor, EDITS[:2], out=tmp_path / "out", ledger=url)).values()] == [
        "skipped", "done",
    ]  # fmt: skip
    assert server.edits.edits == 2


async def test_pictures_of_a_shared_ledger_go_to_a_bucket_each_under_a_name_of_its_own(
    editor: ImageEditor, server: LocalServer, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    bucket = Bucket(f"memory://{uuid4().hex}", RemoteStores())
    bucket.put("out/e0.png", b"another's")
    found = await copies_of(editor, database_url, f"{bucket.url}/out/")
    assert [isinstance(each, dict) for each in found] == [True] * 3
    assert server.edits.by_prompt == {f"p{number}": 1 for number in range(40)}
    names = {name for name in bucket.names() if ".asyncsdk" not in name}
    assert names == {"out/e0.png", "out/e0~1.png", *(f"out/e{number}.png" for number in range(1, 40))}
    assert bucket.get("out/e0.png") == b"another's"
    again = await run(editor, EDITS, out=f"{bucket.url}/out/", ledger=database_url)
    assert again["e0"].objects == (f"{bucket.url}/out/e0~1.png",)
    assert list((tmp_path / "state").rglob("*.png")) == []


async def test_a_copy_that_begins_leaves_a_picture_on_its_way_to_the_copy_that_made_it(
    editor: ImageEditor, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    bucket, put, seen = Bucket(f"memory://{uuid4().hex}", RemoteStores()), BucketDelivery.run, list[str]()

    async def run_after_another_began(delivery: BucketDelivery) -> Exception | None:
        if not seen:
            seen.append("first")
            found = await run(editor, EDITS[1:2], out=f"{bucket.url}/out/", ledger=database_url)
            seen.extend(outcome.status for outcome in found.values())
        return await put(delivery)

    monkeypatch.setattr(BucketDelivery, "run", run_after_another_began)
    found = await run(editor, EDITS[:1], out=f"{bucket.url}/out/", ledger=database_url)
    assert ([outcome.status for outcome in found.values()], seen) == (["done"], ["first", "done"])
    assert {name for name in bucket.names() if ".asyncsdk" not in name} == {"out/e0.png", "out/e1.png"}


async def test_a_standby_that_is_promoted_stops_the_run_until_a_person_accepts_it(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, postgres_server: PostgresServer, database: str
) -> None:
    first = postgres_server.url(database)
    await run(editor, EDITS[:2], out=tmp_path / "out", ledger=first)
    standby = PostgresServer(Path(tempfile.mkdtemp(dir=postgres_server.directory)), password=postgres_server.password)
    shutil.chown(standby.directory, **_owner(postgres_server))
    await asyncio.to_thread(_copy_of, postgres_server, standby)
    try:
        await run(editor, EDITS[2:3], out=tmp_path / "out", ledger=first)  # a commit that the copy does not have
        second = standby.url(database)
        with pytest.raises(LedgerRewoundError, match="has lost what it had acknowledged"):
            await run(editor, EDITS[:4], out=tmp_path / "out", ledger=second)
        assert server.edits.edits == 3
        await PostgresLedger(second).accept()
        found = await run(editor, EDITS[:4], out=tmp_path / "out", ledger=second)
        assert [found[f"e{number}"].status for number in range(4)] == ["skipped", "skipped", "done", "done"]
        assert server.edits.edits == 5  # the one whose commit was lost is paid again: a person took that
    finally:
        await asyncio.to_thread(standby.close)


def _owner(server: PostgresServer) -> dict[str, int]:
    found = server.data.stat()
    return {"user": found.st_uid, "group": found.st_gid}


def _copy_of(primary: PostgresServer, standby: PostgresServer) -> None:
    """Make a standby of a server as it is now, cut it off, and promote it."""
    where = primary.url("").rstrip("/")
    standby.run("pg_basebackup", "-D", str(standby.data), "-d", where, "-X", "fetch", "-c", "fast")
    (standby.data / "standby.signal").touch()
    standby.start()
    standby.run("pg_ctl", "promote", "-D", str(standby.data), "-w")
