"""A ledger is copied into a database and sealed: the copy has what it had, and runs send from one of the two only."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from asyncsdk import (
    EditOutcome,
    ImageEdit,
    ImageEditor,
    LedgerBusyError,
    LedgerError,
    PostgresLedger,
)
from asyncsdk.images.costs.money import NANOS
from asyncsdk.images.ledger import ClaimLostError, copying
from asyncsdk.images.ledger.claims import Wanted
from asyncsdk.images.ledger.copying import CopiedLedger, copy_ledger
from asyncsdk.images.ledger.file import FileLedger, open_ledger
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.postgres.database import Database
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.server import Fault, LocalServer
from tests.formats import put
from tests.postgres.server import PostgresServer
from tests.stories.pictures import png

PICTURE = png()
SHORT = LeaseTerms(lease=0.6, renew_every=0.15)
FIXTURES = Path(__file__).parents[1] / "data" / "formats"


def job(number: int, prompt: str = "p") -> ImageEdit:
    return ImageEdit(image=PICTURE, model="gpt-image-2", prompt=f"{prompt}{number}", id=f"Row {number}")


@pytest.fixture
def other_url(postgres_server: PostgresServer, own_database: str) -> str:
    return postgres_server.url(own_database)


async def run(editor: ImageEditor, edits: Sequence[ImageEdit], **options: Any) -> dict[str, EditOutcome]:
    async with editor.edit_many(edits, **options) as outcomes:
        return {outcome.id: outcome async for outcome in outcomes}


def statuses(found: dict[str, EditOutcome]) -> dict[str, str]:
    return {name: outcome.status for name, outcome in found.items()}


async def entries(url: str) -> list[dict[str, Any]]:
    return [entry async for entry in PostgresLedger(url).entries()]


async def test_a_ledger_in_a_directory_goes_on_in_a_database(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, database_url: str
) -> None:
    out, edits = tmp_path / "out", [job(number) for number in range(6)]
    server.inject(Fault("edit", "answer", at="done", nth=2, status=504))
    server.inject(Fault("edit", "answer", nth=4, status=400))
    first = await run(editor, edits[:5], out=out, concurrency=1)
    copied = await copy_ledger(out / ".asyncsdk", PostgresLedger(database_url))
    assert copied == CopiedLedger(edits=5)
    again = await run(editor, edits, out=out, ledger=database_url)
    assert statuses(again) == {
        "Row 0": "skipped", "Row 1": "uncertain", "Row 2": "skipped", "Row 3": "refused", "Row 4": "skipped",
        "Row 5": "done",
    }  # fmt: skip
    assert again["Row 0"].files == first["Row 0"].files
    assert max(server.edits.by_prompt.values()) == 1
    shown = await PostgresLedger(database_url).show()
    assert shown is not None
    assert (shown["edits"], shown["states"]) == (5, {"done": 4, "refused": 1, "uncertain": 1})
    with pytest.raises(LedgerError, match=r"(?s)was moved to postgresql://.*--ledger postgresql://") as caught:
        await run(editor, edits, out=out)
    assert caught.value.moved_to == PostgresLedger(database_url).url.place
    with pytest.raises(LedgerError, match="was moved to"):
        await editor.plan(edits, out=out)


async def test_an_edit_with_the_id_of_another_is_left_out_and_what_is_paid_stays(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, database_url: str
) -> None:
    out = tmp_path / "out"
    await run(editor, [job(1)], out=out)
    server.inject(Fault("edit", "answer", status=400))
    await run(editor, [job(1, "other")], out=out)
    numbered = ImageEdit(image=PICTURE, model="gpt-image-2", prompt="n", id="17")
    await run(editor, [numbered], out=out)
    copied = await copy_ledger(out / ".asyncsdk", PostgresLedger(database_url))
    assert copied == CopiedLedger(edits=2, others=1, numbered=1)
    again = await run(editor, [job(1), numbered], out=out, ledger=database_url)
    assert set(statuses(again).values()) == {"skipped"}


async def test_what_a_database_had_is_in_the_other_one(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, database_url: str, other_url: str
) -> None:
    out, edits = tmp_path / "out", [job(number) for number in range(5)]
    server.inject(Fault("edit", "answer", at="done", nth=2, status=504))
    await run(editor, edits, out=out, ledger=database_url, concurrency=1)
    before = await entries(database_url)
    assert await copy_ledger(PostgresLedger(database_url), PostgresLedger(other_url)) == CopiedLedger(edits=5)
    assert await entries(other_url) == before
    again = await run(editor, edits, out=out, ledger=other_url)
    assert sorted(statuses(again).values()) == ["skipped"] * 4 + ["uncertain"]
    assert server.edits.edits == 5
    for call in (run(editor, edits, out=out, ledger=database_url), editor.plan(edits, out=out, ledger=database_url)):
        with pytest.raises(LedgerError, match="was moved to"):
            await call
    with pytest.raises(LedgerError, match="was moved to"):
        await PostgresLedger(database_url).accept()
    with pytest.raises(LedgerError, match="was moved to"):
        await PostgresLedger(database_url).release(None, force=True)


@pytest.fixture(params=["directory", "database"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many steps of a copy are made yet; each is a statement, or the seal of a directory. Negative: all."""
    left = [-1]
    run_statement, seal = Database.run, FileLedger.seal

    def step() -> None:
        if left[0] == 0:
            raise Killed
        left[0] -= 1

    async def statement(self: Database, name: str, *arguments: Any, **options: Any) -> Any:
        step()
        return await run_statement(self, name, *arguments, **options)

    async def sealed(self: FileLedger, to: str, by: str) -> None:
        step()
        await seal(self, to, by)

    monkeypatch.setattr(Database, "run", statement)
    monkeypatch.setattr(FileLedger, "seal", sealed)
    monkeypatch.setattr(copying, "PAGE", 2)
    monkeypatch.setattr(copying, "FORGOTTEN", 2)
    yield left
    left[0] = -1


async def may_send(ledger: Path | PostgresLedger, tmp_path: Path) -> bool:
    """Whether a run could begin there now."""
    opened: Any = open_ledger(ledger) if isinstance(ledger, Path) else ledger.open(tmp_path, {})
    try:
        async with opened:
            return True
    except LedgerError:
        return False


@frozen
class Servers:
    """A server, and its two databases."""

    postgres: PostgresServer
    names: tuple[str, str]

    def urls(self) -> tuple[str, str]:
        """Their URLs, once nothing is in them."""
        for name in self.names:
            self.postgres.sql("drop schema if exists asyncsdk cascade", database=name)
        return self.postgres.url(self.names[0]), self.postgres.url(self.names[1])

    def wait(self) -> None:
        """Until the leases have lapsed."""
        for name in self.names:
            if self.postgres.sql("select to_regclass('asyncsdk.holder')", database=name):
                self.postgres.sql("update asyncsdk.holder set until = clock_timestamp()", database=name)


@pytest.fixture
def servers(postgres_server: PostgresServer, database: str, own_database: str) -> Servers:
    return Servers(postgres_server, (database, own_database))


async def test_killed_at_any_step_the_same_command_goes_on_and_never_may_both_send(
    editor: ImageEditor, tmp_path: Path, kind: str, killing: list[int], servers: Servers
) -> None:
    edits, most, first = [job(number) for number in range(5)], 1000, 0
    steps = most
    for step in chain([most], range(most)):
        if step < first or (step % 3 and step < steps - 4):
            continue
        source_url, target_url = servers.urls()
        kept, target = tmp_path / str(step) / ".asyncsdk", PostgresLedger(target_url)
        place = kept if kind == "directory" else PostgresLedger(source_url)
        await run(editor, edits, out=tmp_path / str(step), ledger=place)
        if step == most:
            killing[0] = most
            await copy_ledger(place, target)
            steps, killing[0] = most - killing[0], -1
            first = steps - 7 if kind == "database" else 0  # those before it are as in a directory, or a run's begin
            continue
        for killed in (step, step // 2) if step % 2 else (step,):
            killing[0] = killed
            with suppress(Killed, BaseExceptionGroup):
                await copy_ledger(place, target)
            killing[0] = -1
            servers.wait()
            has_edits = [entry async for entry in target.entries()] != []
            assert not (await may_send(place, tmp_path) and has_edits and await may_send(target, tmp_path))
            servers.wait()
        await copy_ledger(place, target)
        assert not await may_send(place, tmp_path)
        assert await may_send(target, tmp_path)
        assert [entry["status"] async for entry in target.entries()] == ["done"] * 5
        if step == steps:
            return


async def test_a_copy_that_is_not_whole_is_not_sent_from_and_only_the_same_command_goes_on(
    editor: ImageEditor, tmp_path: Path, database_url: str, killing: list[int]
) -> None:
    out, edits = tmp_path / "out", [job(number) for number in range(5)]
    await run(editor, edits, out=out)
    await run(editor, edits, out=tmp_path / "other")
    target = PostgresLedger(database_url)
    killing[0] = 6
    with pytest.raises(Killed):
        await copy_ledger(out / ".asyncsdk", target)
    killing[0] = -1
    for call in (run(editor, edits, out=out, ledger=database_url), editor.plan(edits, out=out, ledger=database_url)):
        with pytest.raises(LedgerError, match="is not finished"):
            await call
    with pytest.raises(LedgerError, match="is not finished"):
        await target.accept()
    with pytest.raises(LedgerError, match=r"a copy of .*/out/.asyncsdk on .* was begun there"):
        await copy_ledger(tmp_path / "other" / ".asyncsdk", target)
    assert set(statuses(await run(editor, edits, out=out)).values()) == {"skipped"}  # the source is as before
    await copy_ledger(out / ".asyncsdk", target)
    assert await copy_ledger(out / ".asyncsdk", target) == CopiedLedger(is_new=False)
    assert set(statuses(await run(editor, edits, out=out, ledger=database_url)).values()) == {"skipped"}
    with pytest.raises(LedgerError, match="has a ledger of its own already"):
        await copy_ledger(tmp_path / "other" / ".asyncsdk", target)


async def test_a_copy_that_is_lost_is_not_taken_for_one_that_is_there(
    editor: ImageEditor, tmp_path: Path, servers: Servers
) -> None:
    target = PostgresLedger(servers.urls()[0])
    await run(editor, [job(1)], out=tmp_path)
    await copy_ledger(tmp_path / ".asyncsdk", target)
    servers.urls()  # nothing is in them
    with pytest.raises(LedgerError, match="that database has no edit now"):
        await copy_ledger(tmp_path / ".asyncsdk", target)


async def kill_before_it_opens(patch: pytest.MonkeyPatch, source: Path | PostgresLedger, target_url: str) -> None:
    """Copy a ledger up to its seal."""
    run_statement = Database.run

    async def statement(self: Database, name: str, *arguments: Any, **options: Any) -> Any:
        if name == "ledger_open":
            raise Killed
        return await run_statement(self, name, *arguments, **options)

    with patch.context() as patched:
        patched.setattr(Database, "run", statement)
        with pytest.raises(Killed):
            await copy_ledger(source, PostgresLedger(target_url))


async def test_a_copy_that_was_sealed_is_opened_from_another_host_and_path(
    editor: ImageEditor, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(editor, [job(1)], out=tmp_path / "out")
    await kill_before_it_opens(monkeypatch, tmp_path / "out" / ".asyncsdk", database_url)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    monkeypatch.setattr(copying, "this_host", lambda: "pod-2")
    moved_on = await copy_ledger(tmp_path / "elsewhere" / ".asyncsdk", PostgresLedger(database_url))
    assert moved_on == CopiedLedger(is_new=False)
    assert await may_send(PostgresLedger(database_url), tmp_path)


async def test_a_sealed_ledger_does_not_open_the_copy_of_another_one_in_the_same_place(
    editor: ImageEditor, tmp_path: Path, servers: Servers, killing: list[int]
) -> None:
    url, (out, kept) = servers.urls()[0], (tmp_path / "out", tmp_path / "out" / ".asyncsdk")
    await run(editor, [job(1)], out=out)
    await copy_ledger(kept, PostgresLedger(url))
    out.rename(tmp_path / "before")
    servers.urls()  # nothing is in them
    await run(editor, [job(2), job(3), job(4)], out=out)
    killing[0] = 5  # in the midst of its rows
    with pytest.raises(Killed):
        await copy_ledger(kept, PostgresLedger(url))
    killing[0] = -1
    out.rename(tmp_path / "other")
    (tmp_path / "before").rename(out)
    with pytest.raises(LedgerError, match="that database has a copy of another one now"):
        await copy_ledger(kept, PostgresLedger(url))
    assert not await may_send(PostgresLedger(url), tmp_path)


async def test_it_is_refused_while_a_process_has_the_ledger(
    editor: ImageEditor, tmp_path: Path, database_url: str, other_url: str
) -> None:
    await run(editor, [job(1)], out=tmp_path / "out")
    async with open_ledger(tmp_path / "out" / ".asyncsdk"):
        with pytest.raises(LedgerBusyError, match="is editing into"):
            await copy_ledger(tmp_path / "out" / ".asyncsdk", PostgresLedger(other_url))
    async with PostgresLedger(database_url).open(tmp_path, {}):
        with pytest.raises(LedgerBusyError, match="works with the ledger in"):
            await copy_ledger(PostgresLedger(database_url), PostgresLedger(other_url))
        with pytest.raises(LedgerBusyError, match="a run works with the ledger in"):
            await copy_ledger(tmp_path / "out" / ".asyncsdk", PostgresLedger(database_url))
    assert await may_send(tmp_path / "out" / ".asyncsdk", tmp_path)


@pytest.mark.parametrize("is_shared", [False, True])
async def test_it_is_refused_while_edits_are_in_batches_and_nothing_is_changed(
    editor: ImageEditor, tmp_path: Path, database_url: str, other_url: str, *, is_shared: bool
) -> None:
    ledger = PostgresLedger(other_url, terms=SHORT) if is_shared else None
    async with editor.edit_batch([job(1), job(2)], out=tmp_path / "out", ledger=ledger, detach=True) as outcomes:
        assert {outcome.status async for outcome in outcomes} == {"batched"}
    source = PostgresLedger(other_url, terms=SHORT) if is_shared else tmp_path / "out" / ".asyncsdk"
    with pytest.raises(LedgerBusyError, match=r"has edits in batches that have not ended\. Nothing was changed\."):
        await copy_ledger(source, PostgresLedger(database_url))
    async with editor.edit_batch([job(1), job(2)], out=tmp_path / "out", ledger=ledger, poll=0.05) as outcomes:
        assert {outcome.status async for outcome in outcomes} == {"done"}
    copied = await copy_ledger(source, PostgresLedger(database_url))
    assert copied.edits == 2


async def test_into_itself_it_is_refused(editor: ImageEditor, tmp_path: Path, database_url: str) -> None:
    await run(editor, [job(1)], out=tmp_path, ledger=database_url)
    same = PostgresLedger(database_url.replace("127.0.0.1", "localhost"))
    with pytest.raises(Exception, match="is the same database"):
        await copy_ledger(PostgresLedger(database_url), same)


async def hold(url: str, tmp_path: Path, *, started: bool) -> SharedLedger:
    """A process that claims an edit, perhaps starts it, and is then paused for longer than its lease."""
    async with PostgresLedger(url, terms=SHORT).open(tmp_path, {}) as ledger:
        await ledger.claim([Wanted("row 1", "Row 1", None, 70)], max_edits=None, max_tokens=None)
        if started:
            await ledger.intend("row 1", id="Row 1", n=1)
        ledger.claims, claims = {}, ledger.claims  # it gives nothing back
    ledger.claims = claims
    return ledger


@pytest.mark.parametrize("started", [False, True])
async def test_what_a_paused_process_has_is_settled_first_and_it_sends_nothing_more(
    tmp_path: Path, servers: Servers, *, started: bool
) -> None:
    (database_url, other_url), sql = servers.urls(), partial(servers.postgres.sql, database=servers.names[0])
    paused = await hold(database_url, tmp_path, started=started)
    source = PostgresLedger(database_url, terms=SHORT)
    sql("update asyncsdk.holder set until = clock_timestamp() + interval '1 hour'")
    with pytest.raises(LedgerBusyError, match="works with the ledger in"):
        await copy_ledger(source, PostgresLedger(other_url))
    servers.wait()
    await copy_ledger(source, PostgresLedger(other_url))
    shown = await PostgresLedger(other_url).show()
    assert shown is not None
    assert (shown["states"], shown["edits"]) == (({"uncertain": 1}, 1) if started else ({"new": 1}, 0))
    [entry] = await entries(other_url)
    assert (shown["cost"], entry.get("cost")) == ((70, 70 / NANOS) if started else (0, None))
    async with source.session():
        if started:  # its answer comes late, and is kept where it was asked for
            await paused.end("row 1", "done", id="Row 1", files=("Row 1.png",))
            assert sql("select status from asyncsdk.edit") == "done"
        else:
            with pytest.raises((LedgerError, ClaimLostError)):
                await paused.intend("row 1", id="Row 1", n=1)


async def test_a_change_that_comes_while_it_is_copied_keeps_the_seal_away(
    editor: ImageEditor, tmp_path: Path, database_url: str, other_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(editor, [job(1)], out=tmp_path, ledger=database_url)
    compare = copying._Copy.compare  # noqa: SLF001 - between the copy and the seal

    async def compared(self: Any, *arguments: Any) -> None:
        await compare(self, *arguments)
        async with PostgresLedger(database_url).session() as database:
            await database.run("edit_abandon", uuid.uuid4(), 1, uuid.uuid4())

    with monkeypatch.context() as patch:
        patch.setattr(copying._Copy, "compare", compared)  # noqa: SLF001 - as above
        with pytest.raises(LedgerBusyError, match="another process changed it while it was copied"):
            await copy_ledger(PostgresLedger(database_url), PostgresLedger(other_url))
    assert await may_send(PostgresLedger(database_url), tmp_path)
    await copy_ledger(PostgresLedger(database_url), PostgresLedger(other_url))


async def test_a_former_version_does_not_send_from_a_sealed_database_even_once_it_has_accepted_it(
    editor: ImageEditor, tmp_path: Path, servers: Servers
) -> None:
    (database_url, other_url), sql = servers.urls(), partial(servers.postgres.sql, database=servers.names[0])
    await run(editor, [job(1)], out=tmp_path, ledger=database_url)
    await copy_ledger(PostgresLedger(database_url), PostgresLedger(other_url))
    accepted = "update asyncsdk.ledger set is_rewound = false"  # as `ledger accept` of the version before did
    begun = "update asyncsdk.ledger set run = run + 1, options = '{}', is_rewound = false"
    assert sql("select is_rewound from asyncsdk.ledger") == "t"
    sql(accepted)
    with pytest.raises(AssertionError, match="bigint out of range"):
        sql(begun)
    with pytest.raises(LedgerError, match="bigint out of range"):
        await run(editor, [job(1)], out=tmp_path, ledger=database_url)


@pytest.mark.parametrize("version", ["8c3fccb", "8d22ea7"])
async def test_the_ledger_of_a_former_version_is_copied_and_the_seal_is_one_that_each_version_refuses(
    version: str, tmp_path: Path, database_url: str
) -> None:
    put(FIXTURES / version / "whole", tmp_path)
    kept = tmp_path / "out" / ".asyncsdk"
    async with open_ledger(kept) as ledger:
        known = len({state.id.lower() for _, state in ledger.index.states.items()})
    assert (await copy_ledger(kept, PostgresLedger(database_url))).edits == known
    [seal] = [text for path in (kept / "ledger").iterdir() if '"t":"moved-to"' in (text := path.read_text())]
    first, *_, last = seal.splitlines()
    assert '"v":1' in first
    assert last.startswith('{"t":"segment","v":2')  # which versions before this one say is of a newer one
