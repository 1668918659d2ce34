"""What must hold of edits in bulk once they have ended: counts, pictures, what is left, the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tests.browser import CHROMIUM, chromium, tab
from tests.faults.table import Row

Records = Mapping[str, Mapping[str, Any]]

ENDS = {"done", "skipped", "failed", "refused", "uncertain"}


def check_outcomes(
    row: Row, jobs: Sequence[Mapping[str, Any]], records: Records, counts: Mapping[str, int], *, may_pay_twice: bool
) -> None:
    """Each edit ended as the policy says, and the server's count of it agrees."""
    row.must(set(records) == {job["id"] for job in jobs}, f"{len(records)} of {len(jobs)} edits were told of")
    for job in jobs:
        status, paid = records.get(job["id"], {}).get("status"), counts.get(job["prompt"], 0)
        row.must(status in ENDS, f"{job['id']} ended as {status}")
        row.must(
            _agrees(str(status), paid, may_pay_twice=may_pay_twice), f"{job['id']} is {status}, edited {paid} times"
        )
        # a refusal that breaks off may be anybody's: it is failed, and sent again
        fits = status in ({"refused", "failed", "uncertain"} if is_forbidden(job) else ENDS - {"refused"})
        row.must(fits, f"{job['id']} is {status}: {job['prompt']}")


def is_forbidden(job: Mapping[str, Any]) -> bool:
    """Whether the server's safety system refuses it."""
    return "forbidden" in job["prompt"]


def _agrees(status: str, paid: int, *, may_pay_twice: bool) -> bool:
    if status in {"done", "skipped"}:
        return paid >= 1 if may_pay_twice else paid == 1
    if status == "uncertain":
        return may_pay_twice or paid <= 1
    return paid == 0


def check_pictures(row: Row, out: Path, records: Records) -> None:
    """Every picture is whole, and is there because of an edit; nothing half written lies about."""
    files = {file for record in records.values() for file in record["files"]}
    uncertain = {name for name, record in records.items() if record["status"] == "uncertain"}
    done = {file for name, record in records.items() if name not in uncertain for file in record["files"]}
    there = {str(path) for path in out.glob("*.png")}
    row.must(done <= there, f"{len(done - there)} pictures of edits that are done are not there")
    lost = [file for file in files - there if not is_whole(Path(file))]  # those of an uncertain one may be elsewhere
    row.must(not lost, f"{len(lost)} pictures are not where they are said to be")
    strays = {path for path in there - files if Path(path).name.split(".")[0] not in uncertain}
    row.must(not strays, f"pictures that belong to no edit: {sorted(strays)[:5]}")
    for path in out.rglob("*.png"):
        row.must(is_whole(path), f"{path} can't be opened")
    drafts = [path for path in out.rglob(".asyncsdk-*") if path.is_file()]
    row.must(not drafts, f"drafts are left: {drafts[:5]}")


def is_whole(path: Path) -> bool:
    """Tell whether Pillow decodes all of it."""
    try:
        with Image.open(path) as picture:
            picture.load()
    except OSError:
        return False
    return True


def check_failed_file(row: Row, out: Path, records: Records) -> None:
    """What did not go well, and nothing else, is left as a job file."""
    path, wanted = (
        out / "failed.jsonl",
        {n for n, record in records.items() if record["status"] not in {"done", "skipped"}},
    )
    left = {json.loads(line)["id"] for line in path.read_text().splitlines()} if path.exists() else set()
    row.must(left == wanted, f"failed.jsonl holds {len(left)} edits where {len(wanted)} did not go well")


async def check_gallery(row: Row, path: Path, edits: int, profile: Path | None) -> None:
    """The page shows every edit; in a browser where there is one and a `profile` for it, which finds nothing wrong."""
    if CHROMIUM is None or profile is None:
        shown = path.read_text(encoding="utf-8").count("<article")
        row.must(shown == edits, f"the gallery holds {shown} of {edits} edits")
        return
    with chromium(profile) as address:
        async with tab(address) as page:
            await page.open(path.as_uri())
            shown = await page.evaluate("document.querySelectorAll('main > article').length")
            row.must(shown == edits, f"the gallery shows {shown} of {edits} edits")
            row.must(not page.problems, f"the gallery: {page.problems[:3]}")
