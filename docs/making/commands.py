"""The page of the commands, from the commands themselves: what `--help` shows of each, and its examples."""

from __future__ import annotations

import re

from asyncsdk.cli.app import make_app
from asyncsdk.cli.help import EXAMPLES, TOPICS

_HEADING = re.compile(r"^#{2,3} asyncsdk (.*)$", re.MULTILINE)
# where it is run by `python -m`, cyclopts takes that for part of the name
_HOW_THIS_RUNS = re.compile(r"(?<=\n)(asyncsdk [^\n]*?) -m [\w.]+")
_NOT_TAKEN = re.compile(r", --(?:no|empty)-[\w-]+(?=[ ,`][^:]*`?:)| \*\[default: (?:False|\(\))\]\*")


def commands_page() -> str:
    """All commands with their options."""
    text = make_app().generate_docs(output_format="markdown")
    _, *parts = _HEADING.split(text)
    return "\n\n".join(_section(name, body) for name, body in zip(parts[::2], parts[1::2], strict=True))


def topics() -> list[str]:
    """The pages of `asyncsdk help`, without their headings: these are written, so that links to them lead there."""
    bodies = (page.partition("\n\n")[2] for page in TOPICS.values())
    return [f"```text\n{body}\n```" for body in bodies]


def _section(name: str, body: str) -> str:
    level = "##" if " " not in name else "###"
    plain = (
        _NOT_TAKEN.sub("", body).replace("console\n", "text\n").replace(f"asyncsdk {name} {name} ", f"asyncsdk {name} ")
    )
    plain = _HOW_THIS_RUNS.sub(r"\1", plain, count=1)
    plain = re.sub(r"^\*\*(.+)\*\*:$", r"**\1**", plain, flags=re.MULTILINE).replace("\n* ", "\n- ").strip()
    examples = "\n".join(EXAMPLES.get(name, ()))
    return f"{level} asyncsdk {name}\n\n{plain}\n\n```text\n{examples}\n```"
