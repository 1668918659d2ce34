"""`--key-command CMD`: the key is what a command of the user prints; neither the key nor the command is shown."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from functools import partial

import anyio
from attrs import define, field

from asyncsdk.errors import ConfigurationError, CredentialError
from asyncsdk.keys import CachedKey
from asyncsdk.settings import Secret, checked_key

SECONDS = 45.0  # for one run of it, which may ask a server
_UNKNOWN = 127  # of a shell
_LONGEST = 64 << 10  # bytes of its output: a token has a few thousand at most


def key_from(command: str) -> CachedKey:
    """A key that is fetched by running `command`, at first and whenever the server refuses the one before.

    Raises ConfigurationError for an empty one.
    """
    if not command.strip():
        raise ConfigurationError("--key-command is empty: give a command that prints the key. Nothing was sent.")
    return CachedKey(partial(_printed_by, Secret(command)), timeout=SECONDS + 5)


async def _printed_by(command: str) -> str:
    """What a shell's `command` prints. Its errors are not shown: a program that fails may print what it was given.

    Raises CredentialError, and ConfigurationError for what no key is.
    """
    process = await asyncio.create_subprocess_shell(
        command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True
    )
    output = _Output()
    try:
        with anyio.fail_after(SECONDS):
            await output.read(process)
            code = await process.wait()
    except TimeoutError:
        raise _failed(f"did not end, or left its output open, within {SECONDS:g} s") from None
    finally:
        if process.returncode is None or not output.is_whole:
            await _end(process)
    if code != 0:
        raise _failed(_how(code))
    if not output.content.strip():
        raise _failed("printed nothing")
    key = Secret(output.content.decode(errors="replace").strip())
    with suppress(ConfigurationError):
        return checked_key(key)
    raise ConfigurationError(_words("printed what no key contains, such as a space or a second line"))


def _how(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code}"
    return f"ended with exit code {code}{': the shell knows no such command' if code == _UNKNOWN else ''}"


@define
class _Output:
    """What a command printed. No repr shows it, such as in a traceback with variables."""

    content: bytes = field(default=b"", repr=False)
    is_whole: bool = field(default=False, init=False)

    async def read(self, process: Process) -> None:
        """Read all. Raises CredentialError where it is too long for a key."""
        while await self._read_on(process):
            if len(self.content) > _LONGEST:
                raise _failed("printed more than any key has")
        self.is_whole = True

    async def _read_on(self, process: Process) -> bool:
        more: bytes = await process.stdout.read(_LONGEST)  # type: ignore[union-attr]  # it is a pipe
        self.content += more
        return bool(more)


def _failed(what: str) -> CredentialError:
    return CredentialError(_words(what), sent=False)


def _words(what: str) -> str:
    return (
        f"the command of --key-command {what}. Nothing was sent. Run it by itself to see why: it must print the key "
        "and nothing else, and it can't ask anything. What it prints is not shown here."
    )


async def _end(process: Process) -> None:
    """Kill the command with all that it started; the shell may have ended, and what it started have its output open."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with anyio.move_on_after(1, shield=True):
        await process.communicate()  # to the end of its output: an open pipe would outlive the loop
