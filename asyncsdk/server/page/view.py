"""The data of the page as JSON: the newest uploads, files, batches, edits and calls, all faults, and totals (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any

from asyncsdk.server.batches.objects import StoredBatch
from asyncsdk.server.edits.history import RecentEdit
from asyncsdk.server.fault_plan import PlannedFault
from asyncsdk.server.log import ActiveRequest, RequestLog, RequestRecord
from asyncsdk.server.objects import StoredFile
from asyncsdk.server.repository import UploadEntry
from asyncsdk.server.rules import as_of

NEWEST = 40
PARTS_SHOWN = 200

Json = dict[str, Any]


def summary(log: RequestLog, now: float) -> Json:
    """The figures at the top of the page; `received` grows while bodies arrive."""
    received = log.bytes_received + sum(call.received for call in log.active)
    return {"now": int(now), "calls": log.calls.total(), "received": received, "under_way": len(log.active)}


def uploads(entries: Collection[UploadEntry], active: Iterable[ActiveRequest], now: float) -> Json:
    """The newest uploads, each with the sizes of its parts and of those that are arriving."""
    arriving = [call for call in active if call.route == "part"]
    newest = list(islice(reversed(list(entries)), NEWEST))
    return {"total": len(entries), "items": [_upload(one, arriving, now) for one in newest]}


def _upload(entry: UploadEntry, arriving: Sequence[ActiveRequest], now: float) -> Json:
    upload = as_of(entry.upload, now)
    sizes = list(entry.parts.values())
    coming = [one for one in arriving if one.upload_id == upload.id]
    return {
        "id": upload.id,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "bytes": upload.bytes,
        "expires_at": upload.expires_at,
        "file_id": None if upload.file is None else upload.file.id,
        "part_count": len(upload.part_ids or sizes),
        "parts": sizes if len(sizes) <= PARTS_SHOWN else [sum(sizes)],
        "arriving": [[one.received, one.request.content_length or one.received] for one in coming],
    }


def files(stored: Sequence[StoredFile]) -> Json:
    """The newest files."""
    return {"total": len(stored), "items": [file.to_json() for file in islice(reversed(stored), NEWEST)]}


def batches(all_batches: Collection[StoredBatch]) -> Json:
    """The newest batches, each with how many of its requests ended."""
    newest = islice(reversed(list(all_batches)), NEWEST)
    return {"total": len(all_batches), "items": [batch.to_json() for batch in newest]}


def edits(recent: Sequence[RecentEdit], total: int) -> Json:
    """The newest edits; their thumbnails are below `/_page/edits`."""
    items = [{"name": one.name, "prompt": one.prompt, "images": one.images, "model": one.model} for one in recent]
    return {"total": total, "items": items[::-1]}


def faults(planned: Sequence[PlannedFault]) -> Json:
    """All planned faults, and how often each was met."""
    items = [{**one.to_json(), "is_met": one.is_met} for one in planned]
    return {"total": len(items), "items": items}


def requests(records: Sequence[RequestRecord]) -> Json:
    """The last calls, the newest first."""
    newest = [_request(record) for record in records[: -NEWEST - 1 : -1]]
    return {"total": len(records), "items": newest}


def _request(record: RequestRecord) -> Json:
    return {
        "number": record.number,
        "method": record.method,
        "path": record.path,
        "query": dict(record.query),
        "route": record.route,
        "status": record.status,
        "bytes": record.bytes,
        "bytes_sent": record.bytes_sent,
        "seconds": record.seconds,
        "fault": None if record.fault is None else record.fault.kind,
    }
