"""A journal's life on a disk whose power may fail, and what is lost or invented then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import define, field

from asyncsdk.uploads.journal import Completed, Completing, Opened, Record
from asyncsdk.uploads.journal.codec import encode
from asyncsdk.uploads.journal.file import FileJournal
from tests.faults.power import Moment, Recorder, records_in
from tests.journal.support import KEY, NOW, completed, opened, part

ASKED = Completing(upload="upload_1", part_ids=("part_0", "part_1"), md5="0" * 32, at=NOW + 30)
RECORDS: tuple[Record, ...] = (opened(), part(0), part(1), ASKED, completed())


async def live(recorder: Recorder, journal: Path) -> None:
    """Two processes, one after the other: the first is killed in the middle, the second settles."""
    with recorder():
        async with FileJournal(journal).claim(KEY) as log:
            for record in RECORDS[:2]:
                await log.append(record)
                recorder.promise()
        async with FileJournal(journal).claim(KEY) as log:
            for record in RECORDS[2:4]:
                await log.append(record)
                recorder.promise()
            await log.append_final(RECORDS[4])
            recorder.promise()


@define
class Findings:
    """How many contents a disk may have had, what promised was lost then, what never written was believed."""

    contents: int = 0
    lost: list[Record] = field(factory=list)
    invented: list[Record] = field(factory=list)

    @classmethod
    def of(cls, moments: Iterable[Moment], every: int = 1) -> Findings:
        findings = cls()
        for moment in moments:
            written = {line + b"\n" for content in moment.written.values() for line in content.split(b"\n")}
            for tree in moment.trees(every):
                findings.look(moment, written, records_in(tree))
        return findings

    def look(self, moment: Moment, written: set[bytes], found: Sequence[Record]) -> None:
        self.contents += 1
        settled = any(isinstance(record, Completed) for record in found)
        promised = [record for record in RECORDS[: moment.promised] if not settled or isinstance(record, Opened)]
        self.lost += [record for record in promised if record not in found]
        self.invented += [record for record in found if encode(record) not in written]
