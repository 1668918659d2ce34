"""`asyncsdk demo`: runs the stories in a temporary directory against its own server, and deletes everything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from asyncsdk.cli.exits import Exit
from asyncsdk.cli.signals import Stop
from asyncsdk.counts import counted
from asyncsdk.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncsdk.cli.demo.upload_story import DemoPlan

MIB = 1 << 20
USUAL_SIZE, SMALLEST_SIZE = 256 * MIB, 4 * MIB
NEXT = """
Everything was in a temporary directory and is deleted now. Next, with your own key in OPENAI_API_KEY:
  asyncsdk upload train.jsonl --purpose fine-tune
  asyncsdk edit otter.png --mask mask.png --prompt "a beret" --model gpt-image-2 --out out/"""
CLEANUP_SECONDS = 30.0  # deleting almost a gigabyte may take longer than the second that other commands get
COPIES = 3  # on this disk: the file, its parts, and the file that the server makes of them


async def demo(
    file: Annotated[
        str | None, Parameter(name="FILE", help="A file to upload, 4 MiB or more; else random bytes.")
    ] = None,
    /,
    *,
    stop: Annotated[Stop, Parameter(parse=False)],
) -> int:
    """Run the demo in a temporary directory."""
    from tempfile import TemporaryDirectory

    from asyncsdk.cli.demo.children import ChildError
    from asyncsdk.cli.output import complain

    stop.patience = CLEANUP_SECONDS
    with TemporaryDirectory(prefix="asyncsdk-demo-") as folder:
        stop.at_the_end(lambda: complain(stopped(Path(folder))))
        try:
            await _play(Path(folder), None if file is None else Path(file))
        except ChildError as error:
            complain(f"error: {error}")
            return Exit.FAILED
    return Exit.DONE


def stopped(folder: Path) -> str:
    """The message if a signal ended the demo."""
    if folder.exists():  # a disk that hangs
        return f"Stopped. Not everything could be deleted in time: {folder}"
    return "Stopped. Everything was in a temporary directory and is deleted."


async def _play(folder: Path, file: Path | None) -> None:
    from rich.console import Console

    from asyncsdk.cli.demo.children import address_of, child
    from asyncsdk.cli.demo.edit_story import play_edit
    from asyncsdk.cli.demo.evidence import Evidence
    from asyncsdk.cli.demo.upload_story import Story
    from asyncsdk.cli.units import size

    say = Console(highlight=False, soft_wrap=True).print
    plan = plan_for(folder) if file is None else plan_of(file)
    say(f"A file of {size(plan.size)}{', random bytes' if file is None else ''}; its own server on this machine.")
    async with child("serve", "--port", "0", "--data", str(folder / "server")) as server:
        if file is None:
            await _make_noise(plan)
        address = await address_of(server)
        await Story(plan, folder, Evidence(address), say).play()
        await play_edit(folder, address, say)
    say(NEXT)


def plan_of(file: Path) -> DemoPlan:
    """The plan for the user's file. Raises ConfigurationError if it can't be used."""
    from asyncsdk.cli.demo.upload_story import DemoPlan

    if not file.is_file():
        raise ConfigurationError(f"{file} is not a file that can be sent.")
    size = file.stat().st_size
    if size < SMALLEST_SIZE:
        raise ConfigurationError(
            f"{file} has {counted(size, 'byte')}: too small to be stopped half-way; give one of 4 MiB or more."
        )
    return DemoPlan(file, size)


def plan_for(folder: Path) -> DemoPlan:
    """The plan for a file of random bytes, of at most half the free disk space with its copies."""
    from shutil import disk_usage

    from asyncsdk.cli.demo.upload_story import DemoPlan

    size = min(USUAL_SIZE, disk_usage(folder).free // (2 * COPIES))
    if size < SMALLEST_SIZE:
        raise ConfigurationError(f"{folder.parent} has no room for a demo; set TMPDIR to another directory.")
    return DemoPlan(folder / "random.bin", size)


async def _make_noise(plan: DemoPlan) -> None:
    from functools import partial

    from asyncsdk.threads import DaemonThreadPool

    await DaemonThreadPool("asyncsdk-demo", limit=1).run(partial(_fill_with_noise, plan.path, plan.size))


def _fill_with_noise(path: Path, size: int) -> None:
    import secrets

    with path.open("wb") as file:
        for offset in range(0, size, MIB):
            file.write(secrets.token_bytes(min(MIB, size - offset)))
