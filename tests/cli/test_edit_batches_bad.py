"""`asyncsdk edit-many --batch` where something is wrong: what happened is said, what is safe, and how to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import Client, api
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Ran, Run
from tests.stories.batches import changed, ended
from tests.stories.pictures import photo

MANY = ("edit-many", "photos", "-o", "out", "-p", "a hat", "-m", "gpt-image-2", "--batch", "--poll", "1s")
MAYBE_PAID = """\
  Whether {1} paid: look at the account's usage page.
  The same command does not send the {0} uncertain. To send the {0} again (may be paid twice): add --only uncertain \
--on-uncertain retry
"""
Spoil = Callable[[LocalServer, Client], Awaitable[None]]


@pytest.fixture(autouse=True)
def photos(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        photo(tmp_path / "photos" / f"p{seed}.png", (64, 64), seed=seed)


def collected(run: Run, server: LocalServer, spoil: Spoil) -> Ran:
    """What the command says that collects a batch whose results are spoiled by then."""

    async def spoiled() -> None:
        await ended(server)
        async with Client("sk-test", base_url=server.url) as client:
            await spoil(server, client)

    assert run(*MANY, "--detach").code == 75
    asyncio.run(spoiled())
    return run(*MANY)


async def removed(server: LocalServer, client: Client) -> None:
    await client.send(api.delete_file(server.batches[-1].output_file_id or ""))


async def not_json(server: LocalServer, client: Client) -> None:
    await changed(server, client, lambda content: b"{not JSON" + content[content.index(b"\n") :])


async def cut(server: LocalServer, client: Client) -> None:
    await changed(server, client, lambda content: content[:-5000])


@pytest.mark.parametrize(
    ("spoil", "lost", "said"),
    [
        (removed, 3, "the batch is completed, and has no line for it: a file with its results can't be read\n"),
        (not_json, 1, "the batch is completed, and has no line for it: a line can't be read to its end\n"),
        (cut, 1, "the response has no picture that can be used (it is cut off), and is the last one, perhaps cut off"),
    ],
)
def test_results_that_are_not_whole_leave_their_edits_uncertain_and_are_never_paid_again(
    run: Run, server: LocalServer, spoil: Spoil, lost: int, said: str
) -> None:
    ran = collected(run, server, spoil)
    assert ran.code == 3
    assert ran.err.count(f"uncertain: {said}") == lost
    assert ran.err.endswith(MAYBE_PAID.format(lost, "it was" if lost == 1 else "they were"))
    assert len(list(Path("out").glob("*.png"))) == 3 - lost
    again = run(*MANY)
    assert (again.code, len(server.batches)) == (3, 1)
    assert again.err.endswith(MAYBE_PAID.format(lost, "it was" if lost == 1 else "they were"))


def error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code}}


def test_where_the_server_has_no_room_for_pictures_nothing_is_paid_and_the_same_command_goes_on(
    run: Run, server: LocalServer
) -> None:
    full = error("storage_quota_exceeded", "You have exceeded your file storage quota.")
    server.inject(Fault("files.create", "answer", status=400, body=full, every=1))
    ran = run(*MANY)
    assert (ran.code, len(server.batches)) == (1, 0)
    assert "storage_quota_exceeded: You have exceeded your file storage quota." in ran.err.splitlines()[-1]
    assert "once the error below is fixed, the same command" in ran.err


def test_a_batch_that_is_refused_as_a_whole_costs_nothing_and_the_same_command_sends_it(
    run: Run, server: LocalServer
) -> None:
    refused = error("model_not_supported", "The model `gpt-image-2` is not supported by the Batch API.")
    server.inject(Fault("batches.create", "answer", status=400, body=refused))
    ran = run(*MANY)
    assert ran.code == 3
    assert ran.err.count("failed: POST /batches: 400 model_not_supported: The model `gpt-image-2` is not") == 3
    assert ran.err.endswith("Nothing was paid for the 3 that failed: the same command sends them again.\n")
    assert run(*MANY).code == 0


def test_a_picture_that_is_gone_before_its_batch_began_is_sent_again_by_the_same_command(
    run: Run, server: LocalServer
) -> None:
    async def gone() -> None:
        async with Client("sk-test", base_url=server.url) as client:
            picture = next(file for file in server.files if file.purpose == "vision")
            await client.send(api.delete_file(picture.id))

    server._batches.seconds = 0.5  # noqa: SLF001
    assert run(*MANY, "--detach").code == 75
    asyncio.run(gone())
    ran = run(*MANY)
    assert ran.code == 3
    assert "failed: POST /images/edits in a batch: 404: No such File object" in ran.err
    assert "Nothing was paid for the 1 that failed: the same command sends" in ran.err
    again = run(*MANY)
    assert (again.code, again.err.splitlines()[0]) == (0, "1 done, 2 done before.")


def test_what_failed_in_three_batches_is_left_to_a_direct_run(run: Run, server: LocalServer) -> None:
    server.inject(Fault("batches.line", "answer", status=500, times=100))
    for _ in range(3):
        assert run(*MANY).code == 3
    left = run(*MANY)
    assert left.code == 3
    assert left.err.count("Nothing was sent. The same command without --batch sends it.") == 3
    assert len(server.batches) == 3
    assert run(*(word for word in MANY if word not in {"--batch", "--poll", "1s"})).code == 0
