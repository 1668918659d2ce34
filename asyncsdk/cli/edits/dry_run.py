"""`edit-many --dry-run`: checks every row, and reports what would be sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import asdict

from asyncsdk.cli.edits.messages import plan_lines
from asyncsdk.cli.edits.report import Report
from asyncsdk.cli.edits.sources import Rows
from asyncsdk.cli.exits import Exit
from asyncsdk.cli.output import Out, complain
from asyncsdk.client import Client
from asyncsdk.images.bulk.preview import EditPlan
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.editor import ImageEditor

NOWHERE = "http://nothing.is.sent"


async def show_plan(rows: Rows, out: Path, request: Mapping[str, Any], written: Out) -> Exit:
    """Print what a run would do. Needs no key."""
    report = Report(written)
    report.add_bad(rows)
    plan = await _plan(rows.edits(), out, request)
    for damage in plan.damage:
        complain(f"warning: {damage}: a run stops at it without --accept-damage")
    for outcome in plan.problems:
        report.add(outcome)
    bad_rows = len(rows.bad) + len(rows.left_out)
    table = plan_lines(plan, bad_rows=bad_rows, images_per_minute=request["images_per_minute"])
    written.result(table, record=_record(plan, bad_rows), name=None)
    return Exit.SOME_FAILED if bad_rows or plan.problems else Exit.DONE


async def _plan(edits: Iterator[ImageEdit], out: Path, request: Mapping[str, Any]) -> EditPlan:
    async with Client("none", base_url=NOWHERE) as client:
        return await ImageEditor(client).plan(edits, out=out, **request)


def _record(plan: EditPlan, bad_rows: int) -> dict[str, Any]:
    fields = asdict(plan, filter=lambda attribute, _: attribute.name not in {"problems", "damage"})
    return {**fields, "problems": len(plan.problems) + bad_rows, "damage": list(map(str, plan.damage))}
