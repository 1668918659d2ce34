"""The statements in `sql/`, by name."""

from __future__ import annotations

from functools import cache
from pkgutil import get_data


@cache
def statement(name: str) -> str:
    """Return the statement `sql/<name>.sql`, with what is said of it."""
    text = get_data(__package__, f"sql/{name}.sql")
    assert text is not None  # noqa: S101 - part of the package
    return text.decode()


def first_version(name: str) -> int:
    """The version of the schema from which on a statement can run."""
    return {"edit": 2, "ledger": 2, "pool": 3, "batch": 5}.get(name.partition("_")[0], 1)


def schema_steps(made: int | None, wanted: int) -> list[str]:
    """The statements that make version `wanted` of the schema out of version `made`, None where there is none."""
    return [statement(f"schema_{version}") for version in range((made or 0) + 1, wanted + 1)]


def schema_script(wanted: int) -> str:
    """What makes version `wanted` of the schema, or brings an older one there, and says what to grant.

    Each step is one statement, which does nothing where it was run before.
    """
    once = "\n".join(line for line in statement("schema_once").splitlines() if not line.startswith("--"))
    steps = enumerate(schema_steps(None, wanted), 1)
    printed = [once.replace("$VERSION", str(version)).replace("$STEP", step) for version, step in steps]
    return "\n\n".join([*printed, statement("grants")])
