"""`python -m asyncsdk`, and the command `asyncsdk`."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from asyncsdk.extras import where_from
from asyncsdk.version import __version__

NEEDS = f"needs: pip install 'asyncsdk[cli]'\n  {where_from('cli')}"
FILES = 1024
NEW_OBJECTS = 5000  # that may be made until garbage is looked for
_EXTRA = {"cyclopts", "rich"}


def main() -> int:
    """Run the command line in `sys.argv` and return its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"], ["version"]):  # needs nothing but this file, so it is fast
        print(__version__)  # noqa: T201 - it was asked for
        return 0
    try:
        with _ended_by_ctrl_c():
            from asyncsdk.cli.app import run
            from asyncsdk.cli.signals import Stop

            stop = Stop()
            stop.listen()
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(NEEDS, file=sys.stderr)  # noqa: T201 - there is no display to show it
        return 2
    except KeyboardInterrupt:
        return 130
    _let_open_files()
    _collect_seldom()
    return run(sys.argv[1:], stop)


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Let the system end the program at Ctrl-C: an exception that is raised while modules load may be lost there."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is not signal.default_int_handler:  # another one is wanted, or none in the background of a shell
        yield
        return
    with _held_back():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, usual)


@contextmanager
def _held_back() -> Iterator[None]:
    """Let Ctrl-C wait: one that comes in the moment in which its handler is changed would be lost."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _let_open_files() -> None:
    """Raise the soft limit of open files to what edits may need (macOS gives 256), if the hard limit allows it."""
    with suppress(ImportError, OSError, ValueError):  # not on Windows; or it is denied
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        target = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < target:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def _collect_seldom() -> None:
    """Look for garbage less often: there is little, and looking for it takes 6 % of the time that a long list takes."""
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])


if __name__ == "__main__":
    sys.exit(main())
