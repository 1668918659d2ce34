"""Is the source still what was read of it, now that all was sent?"""

from __future__ import annotations

import logging

from asyncsdk.errors import SourceChangedError
from asyncsdk.threads import Threads
from asyncsdk.uploads.digest import Digest, check_same
from asyncsdk.uploads.source import Source

log = logging.getLogger(__name__)


async def check_unchanged(source: Source, digest: Digest, readers: Threads, hashers: Threads) -> None:
    """Look at the source once more, and into it where it was touched and read only once.

    Raises SourceChangedError where it has another size, or other content than was sent.
    """
    was, name = source.identity, source.name
    now = await readers.run(source.look_again)
    if now is not None and now.size != was.size:
        raise SourceChangedError(f"{name} had {was.size:,} bytes and now has {now.size:,}. Nothing was completed.")
    if now == was:
        return
    if not digest.reads_all:
        again = Digest(digest.size, with_md5=False)
        await again.read(source, hashers, lambda _: None)
        check_same(again.xxh3, digest.xxh3, name)
    log.warning("%s was touched, replaced or removed while it was sent; what was read of it is whole", name)
