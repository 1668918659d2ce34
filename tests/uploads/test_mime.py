"""A file's type comes from its last suffix and from our own table, the same on every system."""

from __future__ import annotations

import mimetypes

import pytest

from asyncsdk.mime import mime_type_of


@pytest.mark.parametrize(
    ("filename", "mime_type"),
    [
        ("train.jsonl", "application/jsonl"),
        ("README.md", "text/markdown"),
        ("photo.webp", "image/webp"),
        ("report.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("config.yaml", "application/yaml"),
        ("config.yml", "application/yaml"),
        ("main.ts", "application/typescript"),
        ("notes.txt", "text/plain"),
        ("TRAIN.JSONL", "application/jsonl"),
        ("backup.2026-11-22.tar.gz", "application/gzip"),
        ("folder.md/train.jsonl", "application/jsonl"),
    ],
)
def test_types_are_told_by_the_last_suffix_in_either_case(filename: str, mime_type: str) -> None:
    assert mime_type_of(filename) == mime_type


@pytest.mark.parametrize("filename", ["", "train", ".jsonl", "train.", "train.jsonl.part", "jsonl"])
def test_a_name_that_tells_nothing_is_a_stream_of_octets(filename: str) -> None:
    assert mime_type_of(filename) == "application/octet-stream"


def test_the_systems_own_table_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mimetypes.types_map, ".jsonl", "text/x-elsewhere")
    monkeypatch.setitem(mimetypes.types_map, ".xyz", "text/x-elsewhere")
    assert mime_type_of("a.jsonl") == "application/jsonl"
    assert mime_type_of("a.xyz") == "application/octet-stream"
