"""A ledger that was damaged between two runs: no edit is paid twice without the caller's consent."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk import Client, ImageEditor, LedgerDamagedError
from asyncsdk.server import LocalServer
from tests.stories.edits import all_of, jobs


async def test_an_edit_whose_record_is_damaged_is_paid_again_only_with_consent(
    server: LocalServer, client: Client, tmp_path: Path
) -> None:
    out, editor = tmp_path / "out", ImageEditor(client)
    async with editor.edit_many(jobs(3), out=out, concurrency=1) as outcomes:
        await all_of(outcomes)
    [path] = (out / ".asyncsdk" / "ledger").iterdir()
    head, *lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([head, *(line.replace(b'"item":"', b'"item":"0') for line in lines[:2]), *lines[2:]]))
    for picture in out.glob("1*.png"):
        picture.unlink()
    with pytest.raises(LedgerDamagedError):
        async with editor.edit_many(jobs(3), out=out):
            pass
    plan = await editor.plan(jobs(3), out=out)
    assert [damage.lines for damage in plan.damage] == [(2, 3)]
    assert server.edits.edits == 3
    async with editor.edit_many(jobs(3), out=out, accept_damage=True) as outcomes:
        assert outcomes.damage == plan.damage
        await all_of(outcomes)
        assert outcomes.counts == {"skipped": 2, "done": 1}
    async with editor.edit_many(jobs(3), out=out) as outcomes:
        assert outcomes.damage == ()
        await all_of(outcomes)
        assert outcomes.counts == {"skipped": 3}
    assert server.edits.edits == 4


async def test_a_run_without_a_ledger_has_no_damage(client: Client) -> None:
    async with ImageEditor(client).edit_many(jobs(1)) as outcomes:
        await all_of(outcomes)
        assert outcomes.damage == ()
