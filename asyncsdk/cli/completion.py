"""`asyncsdk completion bash|zsh|fish`: what a shell needs to complete commands, options and their values."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from cyclopts import Parameter

from asyncsdk.cli.exits import Exit
from asyncsdk.cli.output import show_text

Shell = Literal["bash", "zsh", "fish"]
# where the program knows no value, the names of files are completed
_FOR_BASH = "complete -o bashdefault -o default -F {function} asyncsdk"
# as a file of $fpath it is the function itself; sourced, it is registered
_FOR_ZSH = """
if [[ $funcstack[1] == _asyncsdk ]]; then {function} "$@"; else compdef {function} asyncsdk; fi"""
_NO_VALUES = re.compile(r"^( +'(?:(?:\*|\d+):(?:[^'\\:\n]|\\.|'\\'')+|\*?--?[^\n]*\]:[\w-]+))'", re.MULTILINE)
_FUNCTION = re.compile(r"^(_\w*asyncsdk)\(\) \{", re.MULTILINE)


async def completion(
    shell: Annotated[Shell, Parameter(name="SHELL", help="The shell that reads it.")],
    /,
) -> int:
    """Print the completion of `shell`."""
    show_text(script_for(shell))
    return Exit.DONE


def script_for(shell: Shell) -> str:
    """The completion of `shell`, made from the commands as they are."""
    from asyncsdk.cli.app import make_app

    script = make_app().generate_completion(shell=shell).rstrip()
    function = _FUNCTION.search(script)
    if function is None:  # fish has no function of ours, and completes names of files by itself
        return script
    if shell == "zsh":
        return _NO_VALUES.sub(r"\1:_files'", script) + "\n" + _FOR_ZSH.format(function=function[1])
    return script + "\n" + _FOR_BASH.format(function=function[1])
