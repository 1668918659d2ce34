"""What travels to Dask workers and what is refused, without a cluster."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk import (
    Client,
    ConfigurationError,
    ImageEdit,
    ImageEditor,
    ImageRef,
    LimitReachedError,
    PostgresLedger,
    PriceTable,
)
from asyncsdk.cli.connect import open_client
from asyncsdk.cli.options import Connection
from asyncsdk.errors import AuthenticationError
from asyncsdk.images.bulk.identity import source_digest
from asyncsdk.images.costs.table import packaged
from asyncsdk.images.costs.travelling import fields_of, table_of
from asyncsdk.images.dask import driver
from asyncsdk.images.dask.copy import key_of, ledger_of, run
from asyncsdk.images.dask.lines import edits_of, page_of
from asyncsdk.images.dask.task import CopyEnd, CopyTask
from asyncsdk.postgres.url import database_url, without_password

# found, and not imported: it changes how errors are pickled
needs_distributed = pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed")
PLACES = st.sampled_from(["/a/b.png", "s3://bucket/ä.png", "https://h/p.png?sig=1"])
PICTURES = st.one_of(
    PLACES, st.builds(ImageRef, file_id=st.just("file-1")), st.just(("n.png", Path("/a/c.png"), "image/png"))
)
EDITS = st.builds(
    ImageEdit,
    image=st.lists(PICTURES, min_size=1, max_size=3),
    prompt=st.text(),
    mask=st.none() | PLACES,
    n=st.none() | st.integers(1, 10),
    extra=st.none() | st.just({"seed": [1, None]}),
    id=st.none() | st.text(min_size=1),
    name=st.none() | st.text(min_size=1),
    line=st.none() | st.integers(1),
    maybe_paid=st.none() | st.booleans(),
)
BASE: dict[str, Any] = {"base_url": "https://api.openai.com/v1", "auth": "bearer"}


def task(**changes: Any) -> CopyTask:
    fields: dict[str, Any] = {"out": "s3://b/out", "pages": ("a", "b"), "ledger": "postgresql://u@h/d", "run": (3, 1.5)}
    fields |= {
        "terms": (60.0, 20.0),
        "options": {},
        "key": "OPENAI_API_KEY",
        "client": BASE,
        "editor": {"idempotency_header": None},
        "request": {},
        "asyncsdk": "1",
    }
    return CopyTask(**fields | changes)


@given(st.lists(EDITS, max_size=4))
def test_a_worker_reads_the_edits_that_the_driver_wrote(edits: list[ImageEdit]) -> None:
    came = edits_of(page_of(edits, "/"))
    assert [source_digest(edit) for edit in came] == [source_digest(edit) for edit in edits]
    names = ("prompt", "n", "extra", "id", "name", "line", "maybe_paid", "input_images")
    assert [[getattr(edit, name) for name in names] for edit in came] == [
        [getattr(edit, name) for name in names] for edit in edits
    ]


def test_a_path_of_the_driver_is_absolute_for_workers() -> None:
    [edit] = edits_of(page_of([ImageEdit(image=Path("a.png"), prompt="p", id="a")], "/work"))
    assert edit.image == ("/work/a.png",)


@pytest.mark.parametrize("picture", [b"bytes", open(os.devnull, "rb")])  # noqa: PTH123, SIM115 - it is not read
def test_a_picture_in_memory_is_refused_by_the_name_of_its_edit(picture: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"edit 'a' is in memory.*Nothing was sent"):
        page_of([ImageEdit(image=picture, prompt="p", id="a")], "/")


def test_a_field_that_is_not_json_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"edit 'a' has a field that is not JSON"):
        page_of([ImageEdit(image="/a.png", prompt="p", id="a", extra={"x": object()})], "/")


def test_a_task_is_the_same_after_its_journey() -> None:
    assert CopyTask.of_text(task().as_text()) == task()


@pytest.mark.parametrize("table", [packaged(), PriceTable({"mine": next(iter(packaged().models.values()))}, "code")])
def test_a_table_of_prices_is_the_same_after_its_journey(table: PriceTable) -> None:
    came = CopyTask.of_text(task(prices=fields_of(table)).as_text())
    assert came.prices is not None
    assert table_of(came.prices) == table


def test_a_worker_with_another_version_sends_nothing_and_says_which_both_are() -> None:
    end = CopyEnd.of_text(run(task(asyncsdk="0.0.1").as_text()))
    assert end.kind == "ConfigurationError"
    assert "the driver has 0.0.1. Nothing was sent from it. Install the same version on both." in end.message


@pytest.mark.parametrize(
    ("error", "message", "resumable"),
    [
        (LimitReachedError("max_edits is reached."), "max_edits is reached.", False),
        (ConfigurationError("no key."), "w1: no key.", False),
        (AuthenticationError("401", status_code=401), "w1: 401", False),
        (KeyError("sk-secret"), "w1: an error that was not expected: KeyError", False),
    ],
)
def test_what_ended_a_copy_reaches_the_driver_in_words(error: Exception, message: str, resumable: object) -> None:
    came = CopyEnd.of_text(CopyEnd.of_error(error).as_text()).error("w1")
    assert (str(came), came.resumable) == (message, resumable)
    assert isinstance(came, LimitReachedError) == isinstance(error, LimitReachedError)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cret@h:5/d?sslmode=require", "postgresql://u@h:5/d?sslmode=require"),
        ("postgresql://u@h/d?password=s3cret&sslmode=allow", "postgresql://u@h/d?sslmode=allow"),
        ("postgresql://u:s3cret@a,b/d?connect=1&sslpassword=s3cret", "postgresql://u@a,b/d?connect=1"),
        ("postgresql:///d?password=s3cret", "postgresql:///d"),
        ("postgresql://u@h/d?password=s3cret@s3cret", "postgresql://u@h/d"),
        ("postgresql://u@h/d?pass%77ord=s3cret&sslmode=allow", "postgresql://u@h/d?sslmode=allow"),
        ("postgresql://u:s3cret@h/d?application_name=a@b", "postgresql://u@h/d?application_name=a@b"),
    ],
)
def test_the_url_of_a_database_travels_without_its_password(url: str, shown: str) -> None:
    parsed = database_url(url.replace("connect=1", "user=1"))
    assert without_password(parsed) == shown.replace("connect=1", "user=1")


def test_a_worker_takes_its_own_database() -> None:
    assert ledger_of(task(), {}) == "postgresql://u@h/d"
    assert ledger_of(task(), {"ASYNCSDK_LEDGER": "postgresql://x@y/z"}) == "postgresql://x@y/z"
    assert ledger_of(task(), {"ASYNCSDK_LEDGER": "/a/directory"}) == "postgresql://u@h/d"


@pytest.mark.parametrize(
    ("client", "variable"),
    [
        (Client("k", base_url="https://gateway.example/openai/v1"), "OPENAI_API_KEY"),
        (Client("k", base_url="https://gateway.example/openai/v1", auth="api-key"), "OPENAI_API_KEY"),
        (Client.azure("https://r.openai.azure.com", api_key="k"), "AZURE_OPENAI_API_KEY"),
        (Client.azure("https://own.example", token="t"), "AZURE_OPENAI_AD_TOKEN"),
    ],
)
def test_a_worker_takes_the_kind_of_key_that_the_driver_has_and_no_other(client: Client, variable: str) -> None:
    keys = {"OPENAI_API_KEY": "k", "AZURE_OPENAI_API_KEY": "a", "AZURE_OPENAI_AD_TOKEN": "t"}
    assert client.settings.variable == variable
    assert key_of(task(key=variable), keys) == keys.pop(variable)
    with pytest.raises(ConfigurationError, match=f"set {variable} in its environment"):
        key_of(task(key=variable), keys)


def test_with_workers_azure_needs_no_key_where_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com")
    client = open_client(Connection(), on_workers=True)
    assert (client.settings.auth, client.settings.variable) == ("api-key", "AZURE_OPENAI_API_KEY")


@pytest.mark.parametrize("option", [{"proxy": "http://p:1"}, {"ssl": ssl.create_default_context()}])
async def test_what_a_client_has_for_its_connections_is_not_left_out_in_silence(option: dict[str, Any]) -> None:
    client = Client("sk-test", base_url="https://127.0.0.1:1/v1", **option)
    ledger = PostgresLedger("postgresql://u@h/d")
    with pytest.raises(ConfigurationError, match=f"{next(iter(option))}= of this client would not be used by workers"):
        async with ImageEditor(client).edit_many([], out="out", ledger=ledger, dask="tcp://127.0.0.1:1"):
            pass


class FakeDask:
    """A cluster whose workers, and the ends of their tasks, a test sets."""

    def __init__(self) -> None:
        self.ends: dict[str, CopyEnd | None] = {}
        self.scheduler = self
        self.looks = 0

    async def ncores(self) -> dict[str, int]:
        self.looks += 1
        return dict.fromkeys(self.ends, 1)

    async def looked(self, copies: driver.CopiesOnWorkers) -> None:
        """Return once the driver has looked at the workers as they are now, or looks no more."""
        before = self.looks
        while self.looks < before + 2 and not copies.are_over:
            await asyncio.sleep(0.001)

    def submit(self, *_: Any, workers: list[str], **__: Any) -> FakeFuture:
        return FakeFuture(self, workers[0])


class FakeFuture:
    def __init__(self, dask: FakeDask, worker: str) -> None:
        self.dask, self.worker = dask, worker

    def done(self) -> bool:
        return self.dask.ends[self.worker] is not None

    def release(self) -> None:
        pass

    @property
    def status(self) -> str:
        return "finished" if self.done() else "pending"

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        end = self.dask.ends[self.worker]
        assert end is not None
        return end.as_text()


LIMIT, NO_KEY = CopyEnd(kind="LimitReachedError", message="max"), CopyEnd(kind="ConfigurationError", message="no key")
LEAVING = CopyEnd(is_leaving=True)


@pytest.mark.parametrize(
    ("ends", "stops", "expected"),
    [
        ([None, NO_KEY], False, (False, False, None)),
        ([CopyEnd(), None], False, (True, True, None)),  # the other one may be stopped for long
        ([NO_KEY, LIMIT], False, (True, False, LimitReachedError)),
        ([NO_KEY, NO_KEY], False, (True, False, ConfigurationError)),
        ([LEAVING, LEAVING], False, (False, False, None)),  # others may come
        ([LEAVING, NO_KEY], False, (True, False, ConfigurationError)),
        ([None, NO_KEY], True, (False, False, None)),  # what is in flight is awaited
        ([NO_KEY, LEAVING], True, (True, False, None)),
    ],
)
async def test_when_copies_are_over_and_why(
    ends: list[CopyEnd | None], stops: object, expected: tuple[bool, bool, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "LOOK_EVERY", 0.001)
    dask: Any = FakeDask()
    dask.ends = {"w0": None, "w1": None}
    async with driver.copies_on(dask, "tcp://s:1", task()) as copies:
        await dask.looked(copies)  # they have begun
        if stops:
            copies.stop()
        dask.ends = dict(zip(("w0", "w1"), ends, strict=True))
        await dask.looked(copies)
        failure = None if copies.failure is None else type(copies.failure)
        assert (copies.are_over, copies.saw_all_end, failure) == expected


async def test_a_worker_that_was_retired_and_comes_back_at_its_address_gets_a_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "LOOK_EVERY", 0.001)
    dask: Any = FakeDask()
    dask.ends = {"w0": LEAVING}
    async with driver.copies_on(dask, "tcp://s:1", task()) as copies:
        for ends in ({"w0": LEAVING}, {}, {"w0": None}, {"w0": CopyEnd()}):
            dask.ends = ends
            await dask.looked(copies)
            await dask.looked(copies)
        assert (copies.are_over, copies.saw_all_end) == (True, True)


async def test_a_cluster_that_has_no_worker_for_long_ends_the_driver_which_may_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(driver, "PATIENCE", 0.01)
    dask: Any = FakeDask()
    async with driver.copies_on(dask, "tcp://s:1", task()) as copies:
        while not copies.are_over:
            await asyncio.sleep(0.005)
    assert copies.failure is not None
    assert copies.failure.resumable
    assert "has no worker" in str(copies.failure)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"out": "out", "ledger": "out/ledger"}, "the ledger has to be in a database"),
        ({"out": "out"}, "the ledger has to be in a database"),
        ({"ledger": PostgresLedger("postgresql://u@h/d"), "save": print}, "save= is a function of this process"),
        ({}, r"workers need out="),
        ({"out": "out", "ledger": PostgresLedger("postgresql://u@h/d")}, "no Dask scheduler answers there"),
    ],
)
@needs_distributed
async def test_what_a_run_on_workers_can_not_have_is_refused_before_anything_is_sent(
    options: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "ANSWER_SECONDS", 0.5)
    editor = ImageEditor(Client("sk-test", base_url="http://127.0.0.1:1/v1"))
    with pytest.raises(ConfigurationError, match=why) as raised:
        async with editor.edit_many([], dask="tcp://127.0.0.1:1", **options):
            pass
    assert "Nothing was sent." in str(raised.value)


async def test_headers_that_were_passed_in_code_do_not_travel_and_are_not_left_out_in_silence() -> None:
    client = Client("sk-test", base_url="http://127.0.0.1:1/v1", default_headers={"X-Gateway": "s3cret"})
    ledger = PostgresLedger("postgresql://u@h/d")
    with pytest.raises(ConfigurationError, match="the header X-Gateway of this client would not be sent") as raised:
        async with ImageEditor(client).edit_many([], out="out", ledger=ledger, dask="tcp://127.0.0.1:1"):
            pass
    assert "s3cret" not in str(raised.value)


def test_without_distributed_the_message_names_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ImportError('not installed')")
    (tmp_path / "jobs.jsonl").write_text(json.dumps({"image": "a.png", "prompt": "p", "id": "a"}))
    command = [sys.executable, "-m", "asyncsdk", "edit-many", "jobs.jsonl", "--out", "out"]
    command += ["--ledger", "postgresql://u@127.0.0.1:1/d", "--dask", "tcp://127.0.0.1:1"]
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: a run on Dask needs the extra dask. Nothing was sent.")
    assert done.stderr.endswith("Or what is missing alone: pip install distributed\n")


@pytest.mark.parametrize("option", ["--ca-file", "--proxy", "--key-command"])
def test_an_option_of_this_machine_alone_is_refused_with_workers(option: str, tmp_path: Path) -> None:
    chosen: dict[str, Any] = {option[2:].replace("-", "_"): "x"}
    with pytest.raises(ConfigurationError, match=f"{option} is for this machine"):
        open_client(Connection(**chosen), on_workers=True)


@needs_distributed
def test_errors_are_pickled_as_ever_though_distributed_has_another_way_for_all(tmp_path: Path) -> None:
    program = """
import asyncio, pickle, threading
from asyncsdk import Client, ConfigurationError, ImageEditor, SaveError
from asyncsdk.images.dask import driver


async def main() -> None:
    driver.ANSWER_SECONDS = 0.1
    try:
        async with driver.connected("tcp://127.0.0.1:1"):
            pass
    except ConfigurationError as error:
        error.__cause__ = OSError(threading.Lock())
        print(type(pickle.loads(pickle.dumps(error))).__name__)


asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.stdout == "ConfigurationError\n", ran.stderr
