"""What --json writes of an edit, and what a person reads of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict

from asyncsdk.cli import units
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.models import Usage, to_json

_WORDS = {
    "done": "done", "skipped": "done before", "failed": "failed", "refused": "refused", "uncertain": "maybe charged",
}  # fmt: skip


def record_of(outcome: EditOutcome) -> dict[str, Any]:
    """One JSON line for one edit."""
    return record(
        outcome.id,
        outcome.status,
        files=[str(path) for path in outcome.files],
        usage=outcome.usage,
        problem=outcome.problem,
    )


def record(
    edit_id: str, status: str, *, files: list[str], usage: Usage | None = None, problem: Problem | None = None
) -> dict[str, Any]:
    return {
        "id": edit_id,
        "status": status,
        "files": files,
        "usage": None if usage is None else to_json(usage),
        "error": None if problem is None else asdict(problem),
    }


def line_of(outcome: EditOutcome) -> str:
    """How an edit ended, on a line: `beach: out/beach.png, 1,205 tokens`."""
    files = ", ".join(map(str, outcome.files))
    if outcome.status in {"done", "skipped"}:
        told = "done before; nothing was sent" if outcome.status == "skipped" else _tokens(outcome.usage)
        return f"{outcome.id}: {', '.join(part for part in (files, told) if part)}"
    why = outcome.problem.message if outcome.problem else ""
    return f"{outcome.id}: {_WORDS[outcome.status]}: {why}"


def summary(counts: Mapping[str, int], *, images: int, tokens: int, seconds: float, failed: str | None) -> list[str]:
    """What a run came to, and how to go on."""
    parts = [f"{counts.get(status, 0):,} {word}" for status, word in _WORDS.items() if counts.get(status)]
    pace = f"; {images:,} images, {tokens:,} tokens, in {units.elapsed(seconds)}" if images else ""
    rate = f" ({images * 60 / seconds:.0f} a minute)" if images and seconds > 1 else ""
    lines = [f"{', '.join(parts) or 'nothing was sent'}{pace}{rate}."]
    if failed:
        lines[0] += f" Details: {failed}"
    uncertain = counts.get("uncertain", 0)
    if uncertain:
        lines.append(f"  Send the {uncertain} again (may pay twice): add --only uncertain --on-uncertain retry")
    return lines


def moving(counts: Mapping[str, int], *, total: int, in_flight: int, holding: float, rate: float | None) -> str:
    """How a run goes, on a line."""
    ended = sum(counts.values())
    parts = [f"{ended:,} of {total:,}", *(f"{counts[s]:,} {w}" for s, w in _WORDS.items() if counts.get(s))]
    parts.append(f"{in_flight} in flight")
    if rate is not None:
        parts.append(f"{rate:.0f} images a minute")
    if holding > 1:
        parts.append(f"waiting {units.duration(holding)} for the rate limit")
    return ", ".join(parts)


def _tokens(usage: Usage | None) -> str:
    return f"{usage.total_tokens:,} tokens" if usage is not None and usage.total_tokens else ""
