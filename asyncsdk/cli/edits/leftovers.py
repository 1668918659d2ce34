"""`failed.jsonl`: edits that did not succeed as job lines, and which of them a later run knows (pure).

A run replaces the lines of the edits that it reports, and leaves the others: it may be a run over other pictures, or
one that was stopped. A line is of an edit of the run if

1. both have one id, and the same pictures; the id is enough where the line could not be sent again as it is: its
   pictures are gone, or it was refused and a person, who wrote the id, has corrected it. Of a line that may be paid
   all fields are the same: with another prompt it is another edit in the ledger;
2. or both are the same in all fields, and the edit only has a name that the program made, such as the number of a line;
3. or both are the same in all fields, and no edit can have the id of the line, such as `../beach`: a person has
   corrected it.

A line that stays is given another id where an edit of the run has its own: an id in the file is of one edit.

A line names the files with the pictures of an edit that is paid. The ledger does not know those that are outside the
directory, where a full disk took none: a run that does not send the edit again keeps them in its line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from attrs import asdict, define, evolve, field, frozen

from asyncsdk.cli.edits.job_fields import IGNORED
from asyncsdk.cli.edits.job_file import row_of
from asyncsdk.cli.edits.messages import SAVED_ELSEWHERE, paid_before
from asyncsdk.given import shown_as_url
from asyncsdk.images.destination import NOT_DELIVERED
from asyncsdk.images.ledger.states import problem_from
from asyncsdk.images.names import casefolded, safe_name, stem_problem
from asyncsdk.images.outcome import EditOutcome, Problem

_DIGITS = 8  # of the digest that sets an id apart from another


@frozen
class JobLine:
    """A line of the file, or an edit as it would be one. `job` is {} for a line that is not a job."""

    job: Mapping[str, Any]
    text: str = ""
    is_named: bool = True

    @classmethod
    def read(cls, text: str) -> JobLine:
        """A line of the file."""
        try:
            job = json.loads(text)
        except (ValueError, RecursionError):
            job = None
        return cls(job if isinstance(job, dict) and isinstance(job.get("id"), str) else {}, text)

    @property
    def name(self) -> str:
        """Its id, as file systems may take it: equal for `a` and `A`."""
        return casefolded(self.job.get("id", ""))

    @property
    def has_impossible_id(self) -> bool:
        """Whether no edit can have its id: it was never sent."""
        return bool(self.job) and stem_problem(safe_name(self.job["id"])) is not None

    @property
    def pictures(self) -> str:
        """What its pictures are."""
        return json.dumps(self.job.get("image"), sort_keys=True)

    @property
    def fields(self) -> str:
        """All but its id and how it ended."""
        fields = {name: value for name, value in self.job.items() if name != "id" and name not in IGNORED}
        return json.dumps(fields, sort_keys=True)

    @property
    def key(self) -> tuple[str, str]:
        """By which an edit is known whose line is about that very edit."""
        return self.name, self.fields

    @property
    def saved(self) -> tuple[Path, ...]:
        """The files of an edit that is paid, or may be, and is not recorded as done."""
        files = self.job.get("files")
        if self.job.get("status") != "uncertain" or not isinstance(files, list):
            return ()
        return tuple(Path(file) for file in files if isinstance(file, str))

    @property
    def problem(self) -> Problem | None:
        """What went wrong with it."""
        try:
            return problem_from(self.job.get("error"))
        except TypeError:  # a person has changed it
            return None

    def apart(self) -> JobLine:
        """The same with an id that no other edit has."""
        digest = blake2b(self.fields.encode(), digest_size=_DIGITS // 2).hexdigest()
        job = {**self.job, "id": f"{self.job['id']}-{digest}"}
        return evolve(self, job=job, text=json.dumps(job))

    def may_be_sent(self, is_there: Callable[[Path], bool]) -> bool:
        """Whether its pictures are there. References to files of the server, and URLs, are, as far as this can tell."""
        images = self.job.get("image")
        paths = [image for image in (images if isinstance(images, list) else [images]) if isinstance(image, str)]
        return all(is_there(Path(path)) for path in paths if shown_as_url(path) is None)


@define
class Leftovers:
    """What earlier runs left, and the edits of this run that it may be about."""

    names: Collection[str] = frozenset()
    pictures: Collection[str] = frozenset()
    saved: Mapping[tuple[str, str], JobLine] = field(factory=dict)
    _edits: list[JobLine] = field(factory=list, init=False)

    @classmethod
    def of(cls, text: str, *others: str) -> Leftovers:
        """Of the text of the file when the run begins; `others` are such files of other directories."""
        lines = [line for line in _lines(text) if line.job]
        saved = {line.key: line for other in (*others, text) for line in _lines(other) if line.saved}
        return cls(frozenset(line.name for line in lines), frozenset(line.pictures for line in lines), saved)

    def recalled(self, outcome: EditOutcome, *, is_there: Callable[[Path], bool]) -> EditOutcome:
        """`outcome`; of an edit that is paid and that this run did not send, with its pictures of an earlier run."""
        if outcome.status != "uncertain" or not self.saved:
            return outcome
        if outcome.problem is not None and outcome.problem.code == NOT_DELIVERED:  # the ledger knows where they wait
            return outcome
        line = self.saved.get(JobLine(row_of(outcome.edit, outcome.id)).key)
        if line is None or {path.absolute() for path in outcome.files} >= set(line.saved):  # the ledger knows them
            return outcome
        if outcome.error is not None:  # sent again, and lost again
            return outcome if outcome.files else evolve(outcome, files=line.saved)
        if len(line.saved) < (outcome.edit.n or 1):
            return evolve(outcome, files=line.saved, problem=line.problem or outcome.problem)
        gone = [path for path in line.saved if not is_there(path)]
        problem = Problem(type="SaveError", message=paid_before(line.saved, gone), code=SAVED_ELSEWHERE)
        return evolve(outcome, files=line.saved, problem=problem)

    def note(self, outcome: EditOutcome) -> None:
        """Remember an edit of this run if a line may be about it."""
        if not self.names:
            return
        edit = JobLine(row_of(outcome.edit, outcome.id), is_named=bool(outcome.edit.id))
        if edit.name in self.names or edit.pictures in self.pictures:
            self._edits.append(edit)

    def still_left(
        self, text: str, left: Sequence[Mapping[str, Any]], *, is_there: Callable[[Path], bool]
    ) -> list[str]:
        """The lines of `text`, the file at the end of the run, that stay beside those of what is `left`."""
        lines = list(_lines(text))
        known = {edit.name: edit for edit in self._edits}
        others = [line for line in lines if not _is_known(line, known.get(line.name), is_there)]
        lines_by_name = {line.name: line for line in lines if line.job}
        renamed = {
            edit.fields
            for edit in self._edits
            if not edit.is_named and not _is_known(lines_by_name.get(edit.name, _NO_LINE), edit, is_there)
        }
        taken = {*known, *(JobLine(job).name for job in left)}
        corrected = {edit.fields for edit in self._edits}
        staying = (
            line
            for line in others
            if not line.job or line.fields not in (corrected if line.has_impossible_id else renamed)
        )
        return [(line.apart() if line.job and line.name in taken else line).text for line in staying]


def left_of(outcome: EditOutcome) -> dict[str, Any]:
    """The job line of an edit that did not succeed."""
    problem = None if outcome.problem is None else asdict(outcome.problem)
    files = {"files": [str(path.absolute()) for path in outcome.files]} if outcome.files else {}
    return {**row_of(outcome.edit, outcome.id), "status": outcome.status, "error": problem, **files}


_NO_LINE = JobLine({})


def _lines(text: str) -> Iterator[JobLine]:
    return (JobLine.read(line) for line in text.split("\n") if line.strip())


def _is_known(line: JobLine, edit: JobLine | None, is_there: Callable[[Path], bool]) -> bool:
    """Whether the line is of this edit, which has its name."""
    if edit is None or not line.job:
        return False
    if line.job.get("status") == "uncertain":
        return edit.fields == line.fields
    if edit.pictures == line.pictures or not line.may_be_sent(is_there):
        return True
    return edit.is_named and line.job.get("status") == "refused"
