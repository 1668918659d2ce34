"""The optional dependencies: the packages that an extra brings, and how to get them where one is missing (pure)."""

from __future__ import annotations

PACKAGES = {  # as in pyproject.toml
    "cli": ("cyclopts", "rich"),
    "server": ("pillow",),
    "heic": ("pillow-heif",),
    "remote": ("obstore",),
    "postgres": ("asyncpg",),
    "dask": ("distributed",),
}


def install_command(extra: str) -> str:
    """The command that installs what `extra` brings, wherever asyncsdk itself came from."""
    return f"pip install {' '.join(PACKAGES[extra])}"


def where_from(extra: str) -> str:
    """Where asyncsdk is to be had with `extra`, or what `extra` brings alone."""
    return (
        f"It is not on a package index yet. From a clone: pip install '/path/to/the/clone[{extra}]'. "
        f"Or what is missing alone: {install_command(extra)}"
    )
