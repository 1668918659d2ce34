"""`files.create` of openai-python against POST /files: whole files, what is refused, and responses that are lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from asyncsdk.server import Fault, LocalServer

DATA = random.Random(3).randbytes(1_300_001)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


def client_of(server: LocalServer, retries: int = 2) -> OpenAI:
    return OpenAI(base_url=server.url, api_key="sk-any", max_retries=retries)


def test_a_whole_file_arrives_with_its_name_its_purpose_and_its_policy(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "träin.jsonl"
    path.write_bytes(DATA)
    with client_of(server) as client:
        week = {"anchor": "created_at", "seconds": 604_800}
        file = client.files.create(file=path, purpose="user_data", expires_after=week)  # type: ignore[arg-type] # as JSON
        assert (file.filename, file.bytes, file.purpose) == ("träin.jsonl", len(DATA), "user_data")
        assert file.expires_at == file.created_at + 604_800
    assert server.stored(file.id).read_bytes() == DATA


def test_what_the_rules_refuse_comes_with_its_field(server: LocalServer) -> None:
    with client_of(server) as client:
        with pytest.raises(openai.BadRequestError, match="File is empty") as caught:
            client.files.create(file=("a.jsonl", b""), purpose="batch")
        assert caught.value.param == "file"
        with pytest.raises(openai.BadRequestError, match="it is not between 3600 and 2592000"):
            client.files.create(
                file=("a.jsonl", b"{}"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 60}
            )
    assert server.files == []


def test_a_client_that_waits_for_its_turn_gets_all_its_files_through() -> None:
    with LocalServer(files_per_minute=240) as server, client_of(server, 10) as client:
        made = [client.files.create(file=(f"{number}.txt", b"x"), purpose="user_data").id for number in range(8)]
        assert [file.id for file in server.files] == made
        refused = [record for record in server.requests if record.status == 429]
        assert refused
        assert server.calls["files.create"] == 8 + len(refused)


def test_above_the_limit_it_is_a_rate_limit_error() -> None:
    with LocalServer(files_per_minute=1) as server, client_of(server, 0) as client:
        client.files.create(file=("a.txt", b"x"), purpose="user_data")
        with pytest.raises(openai.RateLimitError, match="Limit 1, Used 1, Requested 1") as caught:
            client.files.create(file=("b.txt", b"x"), purpose="user_data")
        assert caught.value.code == "rate_limit_exceeded"


@pytest.mark.parametrize(
    ("fault", "made"),
    [
        (Fault("files.create", "answer", status=503, retry_after=0.01), 1),
        (Fault("files.create", "answer", status=429, retry_after=0.01), 1),
        (Fault("files.create", "reset", "before"), 1),
        (Fault("files.create", "reset", "in"), 1),
        (Fault("files.create", "close", "after"), 1),
        (Fault("files.create", "stall", "before", seconds=0.1), 1),
        (Fault("files.create", "slow", rate=10_000_000), 1),
        (Fault("files.create", "reset", "done"), 2),
        (Fault("files.create", "close", "answering"), 2),
    ],
    ids=repr,
)
def test_a_lost_response_and_no_other_failure_makes_the_file_twice(
    server: LocalServer, fault: Fault, made: int
) -> None:
    server.inject(fault)
    with client_of(server) as client:
        file = client.files.create(file=("a.jsonl", DATA), purpose="batch")
    server.assert_all_met()
    assert file.id in {each.id for each in server.files}
    assert [server.stored(each.id).read_bytes() == DATA for each in server.files] == [True] * made
