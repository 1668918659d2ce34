"""What a ledger knows of batches: replays its facts into which are open, and what of ours is on the server (pure).

The facts, in the order in which they are written; each before what it is about is done, or at once after it::

    batches    the ledger has batches: the token that the names of our files on the server begin with
    uploaded   a picture is on the server
    needs      lines of the batch that is created next refer to these pictures
    creating   its input file is on the server, its rows are written down; it is created now
    created    the server's id of it
    results    its output and error file
    closed     every row of it is recorded
    withdrawn  surely nothing of it was done: its rows are as they were before it
    spare      no batch needs these pictures, and none that comes refers to them: they are deleted next
    removed    a file of ours is not on the server any more
    swept      no other file of ours is there
    tried      an edit failed in a batch, where its row does not count that
    afresh     all before it is replaced by what follows, as in `LedgerIndex`; of a ledger in a database
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from asyncsdk.images.batch.stock import PictureStock, UploadedPicture

KINDS = frozenset({
    "batches", "uploaded", "needs", "creating", "created", "results", "closed", "withdrawn", "removed", "swept",
    "tried", "spare",
})  # fmt: skip
CHUNK = 500  # files in a fact

Fields = Mapping[str, Any]


@frozen(kw_only=True)
class BatchRecord:
    """A batch that is not closed.

    `key` is ours, another for each create; `intended_at` is when it was about to be created, in the server's time;
    `rounds` is how often its edits were cut again before; `results` are the files with its lines.
    """

    key: str
    number: int
    model: str
    edits: int
    input_file: str
    intended_at: float
    rounds: int = 0
    batch_id: str | None = None
    results: tuple[str, ...] = ()


@define(eq=False)
class BatchBook:
    """The batches of one ledger.

    `token` sets our files on the server apart from those of others; `files` are requests and results of batches that
    are closed, and pictures that are spare; `is_swept`: nothing was sent since other files of ours were looked for.
    """

    token: str | None = field(default=None, init=False)
    open: dict[str, BatchRecord] = field(factory=dict, init=False)
    stock: PictureStock = field(factory=PictureStock, init=False)
    files: dict[str, None] = field(factory=dict, init=False)
    last: int = field(default=0, init=False)  # number of a batch
    is_swept: bool = field(default=True, init=False)
    tries: Counter[str] = field(factory=Counter, init=False)  # by item

    def apply(self, fact: Fields) -> None:
        """Apply one fact of `KINDS`. Raises KeyError, TypeError or ValueError where it is not in its form."""
        kind = fact["t"]
        if kind == "batches":
            self.token, self.last = self.token or str(fact["token"]), max(self.last, int(fact.get("last", 0)))
            self.is_swept = self.is_swept and bool(fact.get("swept", True))
        elif kind == "uploaded":
            expires = fact.get("expires")
            picture = UploadedPicture(str(fact["digest"]), str(fact["file"]), None if expires is None else int(expires))
            self.stock.add(picture)
            self.is_swept = False
        elif kind == "needs":
            for file_id in fact["files"]:
                self.stock.need(str(file_id), str(fact["batch"]))
        elif kind == "creating":
            self._create(fact)
        elif kind == "spare":
            self._set_aside(map(str, fact["files"]))
        elif kind == "removed":
            self._set_aside([str(fact["file"])])
            del self.files[str(fact["file"])]
        elif kind == "swept":
            self.is_swept = True
        elif kind == "tried":
            self.tries[str(fact["item"])] += int(fact.get("times", 1))
        else:
            self._change(kind, str(fact["batch"]), fact)

    def facts(self) -> Iterator[dict[str, Any]]:
        """The same book in as few facts as possible, but for `needs` and `creating`, which come after the rows."""
        if self.token is not None:
            yield {"t": "batches", "token": self.token, "last": self.last, "swept": self.is_swept}
        for picture in self.stock.pictures():
            yield {"t": "uploaded", "digest": picture.digest, "file": picture.file_id, "expires": picture.expires_at}

    def facts_of_batches(self) -> Iterator[dict[str, Any]]:
        """The rest of the facts."""
        for record in self.open.values():
            yield from needs_of(record.key, self.stock.needs(record.key))
            yield creating_of(record)
            if record.batch_id is not None:
                yield {"t": "created", "batch": record.key, "id": record.batch_id}
            if record.results:
                yield {"t": "results", "batch": record.key, "files": list(record.results)}
        for item, times in self.tries.items():
            yield {"t": "tried", "item": item, "times": times}
        if self.files:
            yield {"t": "closed", "batch": "", "files": list(self.files)}
        if self.is_swept and self.token is not None:
            yield {"t": "swept"}

    def _set_aside(self, files: Iterable[str]) -> None:
        for file_id in files:
            self.stock.lost(file_id)
            self.files[file_id] = None

    def _create(self, fact: Fields) -> None:
        record = BatchRecord(
            key=str(fact["batch"]),
            number=int(fact["number"]),
            model=str(fact["model"]),
            edits=int(fact["edits"]),
            input_file=str(fact["input"]),
            intended_at=float(fact["since"]),
            rounds=int(fact.get("rounds", 0)),
        )
        self.open[record.key] = record
        self.last, self.is_swept = max(self.last, record.number), False

    def _change(self, kind: str, key: str, fact: Fields) -> None:
        record = self.open.get(key)
        if kind == "created" and record is not None:
            self.open[key] = evolve(record, batch_id=str(fact["id"]))
        elif kind == "results" and record is not None:
            self.open[key] = evolve(record, results=tuple(map(str, fact["files"])))
        elif kind in {"closed", "withdrawn"}:
            self.files.update(dict.fromkeys(map(str, fact.get("files", ()))))
            if record is not None:
                del self.open[key]
                self.files.update(dict.fromkeys((record.input_file, *record.results)))
            self.stock.end(key)


def spare_of(files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The facts that no batch needs these pictures."""
    for start in range(0, len(files), CHUNK):
        yield {"t": "spare", "files": list(files[start : start + CHUNK])}


def creating_of(record: BatchRecord) -> dict[str, Any]:
    """The fact that a batch is about to be created."""
    fact: dict[str, Any] = {"t": "creating", "batch": record.key, "number": record.number, "model": record.model}
    fact |= {"edits": record.edits, "input": record.input_file, "since": record.intended_at}
    return fact | ({"rounds": record.rounds} if record.rounds else {})


def needs_of(batch: str, files: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The facts of which pictures a batch needs, each of which several of its lines may refer to."""
    needed = list(dict.fromkeys(files))
    for start in range(0, len(needed), CHUNK):
        yield {"t": "needs", "batch": batch, "files": needed[start : start + CHUNK]}
