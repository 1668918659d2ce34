"""Errors, results and events travel: through worker pools, queues and copies, with all that they carry."""

from __future__ import annotations

import asyncio
import base64
import copy
import multiprocessing
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from multidict import CIMultiDict

import asyncsdk
from asyncsdk import (
    APIConnectionError,
    Client,
    EditOutcome,
    EditResult,
    FileFilter,
    ImageEdit,
    ImageEditor,
    ImageRef,
    UploadJob,
    UploadOutcome,
    api,
    errors,
    models,
)
from asyncsdk.errors import APIStatusError, AsyncSDKError, NotFoundError, SaveError
from asyncsdk.http.decode import STATUS_ERRORS, status_error
from asyncsdk.server import LocalServer
from tests.raw_server import answering, client_of, reply
from tests.stories.pictures import png


def pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda value: pickle.loads(pickle.dumps(value, protocol))


WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {protocol}": pickled(protocol) for protocol in range(2, 6)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
travels = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def kinds(root: type[AsyncSDKError] = AsyncSDKError) -> Iterator[type[AsyncSDKError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def made(kind: type[AsyncSDKError]) -> AsyncSDKError:
    """One of the kind, with every field set."""
    if issubclass(kind, APIStatusError):
        error: AsyncSDKError = kind(
            "no",
            status_code=429,
            request="POST /uploads",
            type="t",
            code="c",
            param="p",
            request_id="req_1",
            body={"message": "no"},
            headers=CIMultiDict({"Retry-After": "7"}),
        )
    else:
        error = kind("no")
    for name in ("resumable", "upload_id", "bytes_done", "expires_in", "advice", "pid", "host", "stage", "raw", "sent"):
        setattr(error, name, f"the {name}")
    error.add_note("a note")
    error.__cause__ = OSError(28, "No space left on device", "a.png")
    return error


@travels
@pytest.mark.parametrize("kind", sorted(set(kinds()), key=str))
def test_each_error_travels_with_its_fields(kind: type[AsyncSDKError], way: Callable[[Any], Any]) -> None:
    error = made(kind)
    twin = way(error)
    assert type(twin) is kind
    assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))
    assert repr(twin.__cause__) == repr(error.__cause__)
    assert twin.__suppress_context__
    assert repr(way(twin)) == repr(error)


@travels
@pytest.mark.parametrize("status", [*STATUS_ERRORS, 418, 500])
def test_what_a_server_refused_travels(status: int, way: Callable[[Any], Any]) -> None:
    body = b'{"error": {"message": "no", "code": "moderation_blocked", "moderation_details": {"categories": ["x"]}}}'
    error = status_error(status, CIMultiDict({"X-Request-ID": "req_1"}), body, request="POST /uploads")
    twin = way(error)
    assert vars(twin) == vars(error)
    assert twin.headers["x-request-id"] == "req_1"


def test_what_can_not_be_pickled_is_left_behind_and_the_error_arrives() -> None:
    error = SaveError("paid and not saved")
    error.files, error.__cause__ = (Path("a.png"),), OSError(threading.Lock())
    error.add_note("a note")
    error.result = threading.Lock()  # type: ignore[assignment]  # such as an edit of an open file
    twin = pickle.loads(pickle.dumps(error))
    assert (str(twin), twin.files, twin.result, twin.__cause__) == (str(error), error.files, None, None)
    assert twin.__notes__ == ["a note"]
    kept = copy.copy(error)
    assert kept.result is error.result
    assert kept.__cause__ is error.__cause__


def test_a_chain_of_our_errors_travels_whole() -> None:
    outer, middle, inner = errors.UploadError("c", upload_id="upload_1"), made(NotFoundError), made(errors.JournalError)
    outer.__cause__, middle.__cause__ = middle, inner
    twin = pickle.loads(pickle.dumps(outer))
    assert vars(twin.__cause__) == vars(middle)
    assert vars(twin.__cause__.__cause__) == vars(inner)


@attrs.define
class Counted:
    """Counts how often it is pickled."""

    times: int = 0

    def __reduce__(self) -> tuple[type[Counted], tuple[()]]:
        self.times += 1
        return Counted, ()


def test_a_long_chain_of_our_errors_is_pickled_link_by_link() -> None:
    counted = Counted()
    error: AsyncSDKError = SaveError("the innermost")
    error.result = counted  # type: ignore[attr-defined]  # any field
    for number in range(14):
        outer = errors.UploadError(f"{number}")
        outer.__cause__ = error
        error = outer
    twin = pickle.loads(pickle.dumps(error))
    assert counted.times == 2  # tried, and pickled
    for _ in range(14):
        twin = twin.__cause__
    assert (str(twin), twin.result) == ("the innermost", Counted())


def test_a_field_that_is_left_behind_can_still_be_read() -> None:
    error = NotFoundError("no", status_code=404, body={"lock": threading.Lock()}, request_id="req_1")
    error.__cause__ = Unfindable("made in a function")
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.body, twin.request_id, twin.__cause__) == (None, "req_1", None)
    saved = SaveError("paid and not saved")
    saved.raw = (threading.Lock(),)  # type: ignore[assignment]  # wrong on purpose
    assert pickle.loads(pickle.dumps(saved)).raw == ()


def local_error() -> type[AsyncSDKError]:
    class LocalError(AsyncSDKError):
        """Of a class that no other process finds."""

    return LocalError


Unfindable = local_error()


def ask_for_what_is_not_there(url: str) -> None:
    async def ask() -> None:
        async with Client("sk-key", base_url=url, max_retries=0) as client:
            await client.send(api.retrieve_file("file-that-is-not-there"))

    asyncio.run(ask())


def test_a_worker_process_hands_its_error_on() -> None:
    context = multiprocessing.get_context("spawn")
    with LocalServer() as server, ProcessPoolExecutor(1, context) as pool:
        with pytest.raises(NotFoundError) as caught:
            pool.submit(ask_for_what_is_not_there, server.url).result(60)
        assert caught.value.status_code == 404
        assert pool.submit(int).result(60) == 0  # the pool goes on


# Results and other values


def is_value(kind: object) -> bool:
    return isinstance(kind, type) and attrs.has(kind) and kind.__setattr__.__name__ == "_frozen_setattrs"


PUBLIC = [*vars(models).values(), *(getattr(asyncsdk, name) for name in asyncsdk.__all__)]
VALUES: list[type[Any]] = list(dict.fromkeys(filter(is_value, PUBLIC)))


@travels
@pytest.mark.parametrize("kind", VALUES)
def test_each_value_travels_with_its_fields(kind: type[Any], way: Callable[[Any], Any]) -> None:
    names = [field.alias for field in attrs.fields(kind) if field.init]
    some = {ImageRef: names[:1], FileFilter: names[2:]}.get(kind, names)  # which check what they are given
    value = kind(**{name: (kind.__name__, name) for name in some})
    twin = way(value)
    assert type(twin) is kind
    assert twin == value


@travels
def test_outcomes_travel_with_their_results_and_errors(way: Callable[[Any], Any]) -> None:
    error = made(NotFoundError)
    for value in (
        UploadOutcome(job=UploadJob(Path("a.jsonl"), "batch"), error=error),
        EditOutcome(edit=ImageEdit(image="a.png", prompt="p"), id="a", status="failed", error=error),
    ):
        twin = way(value)
        assert attrs.evolve(twin, error=None) == attrs.evolve(value, error=None)
        assert vars(twin.error) == vars(error)


@travels
async def test_the_result_of_an_edit_travels_and_is_saved_elsewhere(way: Callable[[Any], Any], tmp_path: Path) -> None:
    result = await result_of({"b64_json": base64.b64encode(png()).decode()})
    error = SaveError("paid")
    error.result = result
    for twin in (way(result), way(error).result):
        assert (twin.edit, twin.response) == (result.edit, result.response)
        [saved] = await twin.save(tmp_path)
        assert saved.read_bytes() == png()


async def test_a_result_out_of_a_pickle_says_that_it_can_not_fetch() -> None:
    result = await result_of({"url": "http://127.0.0.1:9/a.png"})
    with pytest.raises(APIConnectionError, match=r"has no client.*Client\.download_url") as caught:
        await pickle.loads(pickle.dumps(result)).contents()
    assert not caught.value.sent


async def test_the_copy_of_a_result_fetches_as_it_does() -> None:
    async with answering(reply(200, png())) as pictures, edited({"url": pictures.url}) as result:
        for way in (copy.copy, copy.deepcopy):
            assert await way(result).contents() == [png()]


async def result_of(image: dict[str, str]) -> EditResult:
    async with edited(image) as result:
        return result


@asynccontextmanager
async def edited(image: dict[str, str]) -> AsyncIterator[EditResult]:
    async with answering(reply(200, {"data": [image]})) as server, client_of(server, max_retries=0) as client:
        yield await ImageEditor(client).edit(ImageEdit(image=png(), prompt="p"))
