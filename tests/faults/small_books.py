"""What a run of many small files left, read without the product's code: the server's store, the journal, the notes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field


def journaled(journal: Path) -> dict[str, str]:
    """The File (its id) of each filename that the journal has as completed."""
    found = {}
    for path in journal.rglob("*.jsonl"):
        for record in _objects(path):
            if record.get("t") == "completed":
                found[record["file"]["filename"]] = record["file"]["id"]
    return found


@define
class Books:
    """Compares what the server holds with the files that were to be uploaded.

    Others may have put files of the same names there: only those with the bytes of ours are looked at.
    """

    data: Path
    contents: Mapping[str, bytes]
    settled: dict[str, set[str]] = field(factory=dict)  # what was there when the journal first had a name as completed

    def held(self) -> dict[str, set[str]]:
        """The ids of the files with our bytes, by name."""
        found: dict[str, set[str]] = defaultdict(set)
        for path in (self.data / "files").glob("file-*.json"):
            file = json.loads(path.read_bytes())
            pieces = (self.data / "files" / file["id"] / part_id for part_id in file["part_ids"])
            if b"".join(piece.read_bytes() for piece in pieces) == self.contents[file["filename"]]:
                found[file["filename"]].add(file["id"])
        return found

    def settle(self, journal: Path) -> list[str]:
        """Note what the journal holds by now. Returns what is wrong with it."""
        held, known = self.held(), journaled(journal)
        wrong = [f"{name} is not in the journal any more" for name in self.settled if name not in known]
        wrong += [
            f"{name} is journaled as {id_}, which is not it" for name, id_ in known.items() if id_ not in held[name]
        ]
        for name in known:
            self.settled.setdefault(name, held[name])
        return wrong

    def wrong(self, notes: Path) -> list[str]:
        """What is wrong at the end: each file is there once, and what was noted of it is true."""
        held, said = self.held(), list(_objects(notes))
        excused = {note["name"] for note in said if note.get("duplicates") or note.get("possible") or "error" in note}
        wrong = [f"{name} is not there" for name in self.contents if not held[name]]
        wrong += [f"{name} is there as {ids}" for name, ids in held.items() if len(ids) > 1 and name not in excused]
        wrong += [f"{name} was sent again: {held[name]}" for name, ids in self.settled.items() if held[name] != ids]
        done = [note for note in said if "file" in note]
        wrong += [f"{note['name']} is not {note['file']}" for note in done if note["file"] not in held[note["name"]]]
        named = {note["name"] for note in done}
        return wrong + [f"{name} was not reported as uploaded" for name in self.contents if name not in named]

    def figures(self, notes: Path) -> dict[str, str]:
        """How often what may happen happened."""
        said = list(_objects(notes))
        twice = sum(len(ids) > 1 for ids in self.held().values())
        return {
            "files": str(len(self.contents)),
            "there twice, as said": str(twice),
            "not known": str(sum("error" in note for note in said)),
            "duplicate possible": str(sum(bool(note.get("possible")) for note in said)),
        }


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects in its lines; the last line may be torn."""
    lines: Iterable[bytes] = path.read_bytes().splitlines() if path.exists() else ()
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
