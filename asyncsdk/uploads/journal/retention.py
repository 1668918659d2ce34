"""Retention: how long the journal keeps which records, and what a compaction leaves (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncsdk.uploads.journal import Completed, Opened, Record, unanswered, unanswered_posting

HOUR = 3600.0
DAY = 24 * HOUR
COMPLETED_SECONDS = 30 * DAY
AFTER_EXPIRY_SECONDS = DAY
UPLOAD_SECONDS = HOUR  # how long an upload lives on the server, where its `Opened` is lost
PURGE_EVERY_SECONDS = DAY


def keep_until(records: Sequence[Record], *, touched: float | None) -> float:
    """Return the unix time after which a key's `records` are of no use any more.

    `touched` is when a file of the key was written last, None where there is no file: it decides alone
    where no record can be read, so that a segment just made is not taken for an old one.
    """
    times = list(uploads_until(records).values())
    if not times and touched is not None:
        times.append(touched + UPLOAD_SECONDS + AFTER_EXPIRY_SECONDS)
    return max(times, default=0.0)


def uploads_until(records: Iterable[Record]) -> dict[str, float]:
    """Return the unix time after which the records of each upload are of no use any more."""
    by_upload: dict[str, list[Record]] = {}
    for record in records:
        by_upload.setdefault(record.upload, []).append(record)
    return {upload: _keep_upload_until(own) for upload, own in by_upload.items()}


def compacted(records: Iterable[Record], last: Record) -> tuple[Record, ...]:
    """Return what stays of `records` once an upload is settled by `last`: its `Opened`, and `last`.

    So does which files other uploads became, and how these began: they look like the File of the next one whose answer
    is lost, and are found again after the files were renamed and their paths used again.
    """
    records = list(records)
    since = sure_time(records, last, local=last.at) - COMPLETED_SECONDS
    completed = [record for record in records if isinstance(record, Completed) and record.upload != last.upload]
    kept = {record.upload for record in completed if _made_at(record) > since}
    opened = [record for record in records if isinstance(record, Opened)]
    return (
        *(record for record in opened if record.upload in kept),
        *(record for record in completed if record.upload in kept),
        *(record for record in opened if record.upload == last.upload),
        last,
    )


def sure_time(records: Iterable[Record], last: Record, *, local: float) -> float:
    """Return a unix time that is surely not in the future when an upload is settled by `last`.

    A local clock that is ahead would make the records of today look a year old; the server's own time for the end of
    that upload is at most its lifetime away.
    """
    ends = [record.expires_at for record in records if isinstance(record, Opened) and record.upload == last.upload]
    return min([local, *ends])


def purge_is_due(purged_at: float | None, now: float) -> bool:
    """Return whether a day went by since the last purge. A time in the future is a clock set back: due."""
    return purged_at is None or not 0 <= now - purged_at < PURGE_EVERY_SECONDS


def _keep_upload_until(records: Sequence[Record]) -> float:
    completed = [_made_at(record) for record in records if isinstance(record, Completed)]
    if completed:
        return max(completed) + COMPLETED_SECONDS
    created = [record.created_at for record in records if isinstance(record, Opened)]
    asked = unanswered(records) or unanswered_posting(records)
    if asked is not None:  # it may have become a file: forgetting that would make another
        return max([asked.at, *created]) + COMPLETED_SECONDS
    expires_at = [record.expires_at for record in records if isinstance(record, Opened)]
    if expires_at:
        return max(expires_at) + AFTER_EXPIRY_SECONDS
    return max(record.at for record in records) + UPLOAD_SECONDS + AFTER_EXPIRY_SECONDS


def _made_at(record: Completed) -> float:
    """When a File was made: by the server's time too, since the local clock may have been slow."""
    created_at = record.file.get("created_at")
    return max(record.at, created_at) if type(created_at) is int else record.at
