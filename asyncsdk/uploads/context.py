"""`UploadContext`: what all uploads of one uploader share."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field

from asyncsdk.client import Client
from asyncsdk.limiter import RateLimiter
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.body import Buffers
from asyncsdk.uploads.listing.seen import SeenFiles
from asyncsdk.uploads.pacing.admission import AdmissionQueue
from asyncsdk.uploads.pacing.connections import Connections
from asyncsdk.uploads.pacing.throttle import Throttle
from asyncsdk.uploads.response_checks import Ids
from asyncsdk.uploads.resuming.search import MovedFiles
from asyncsdk.uploads.sources.stream_source import PartMemory
from asyncsdk.uploads.whole.lost import LostFiles


@define(eq=False, kw_only=True)
class UploadContext:
    """What all uploads of one uploader share.

    `connections`, `queue`, `moved_files`, `seen`, `lost_files`, `limiter`, `stream_memory` and `stores` are of one
    event loop; the rest is for any. `spool` is the directory for streams of unknown size, where there is one.
    `unrecorded` are ids of Files that were made here, by the key whose journal did not take that any more.
    """

    client: Client
    connections: Connections
    queue: AdmissionQueue
    moved_files: MovedFiles
    seen: SeenFiles
    lost_files: LostFiles
    limiter: RateLimiter
    stream_memory: PartMemory
    stores: RemoteStores
    readers: DaemonThreadPool
    stream_readers: DaemonThreadPool
    hashers: DaemonThreadPool
    buffers: Buffers
    spool: Path | None
    throttle: Throttle
    ids: Ids
    part_size: int | None
    md5_form: str
    md5_is_asked: bool
    single_request_up_to: int
    stall: float
    max_retries: int
    unrecorded: dict[str, list[str]] = field(factory=dict)
