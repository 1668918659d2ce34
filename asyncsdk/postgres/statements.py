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
    if name.startswith(("pool_", "batch_")):
        return 3 if name.startswith("pool_") else 4
    return 2 if name.startswith(("edit_", "ledger_")) else 1


def schema_steps(made: int | None, wanted: int) -> list[str]:
    """The statements that make version `wanted` of the schema out of version `made`, None where there is none."""
    return [statement(f"schema_{version}") for version in range((made or 0) + 1, wanted + 1)]


def schema_script(wanted: int) -> str:
    """What makes version `wanted` of the schema where there is none, and says what to grant."""
    return "\n".join([*schema_steps(None, wanted), statement("grants")])
