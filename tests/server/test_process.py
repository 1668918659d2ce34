"""ServerProcess: controlled over HTTP, and ended with the process that started it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from asyncsdk.server import Fault, LocalServer, ServerProcess
from asyncsdk.server.edits.history import EditLog
from tests.server.edits import picture

BUSY = Fault("files.list", "answer", status=503)
PARENT = """
import sys, time
from asyncsdk.server import ServerProcess
with ServerProcess(sys.argv[1]) as server:
    print(server._process.pid, flush=True)
    time.sleep(60)
"""


def lives(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def until_gone(pid: int) -> None:
    end = time.monotonic() + 20
    while lives(pid):
        assert time.monotonic() < end, "it is still there"
        time.sleep(0.02)


def child_of(server: ServerProcess) -> subprocess.Popen[bytes]:
    child = server._process  # noqa: SLF001 - to end it from outside, as an operator would by its pid
    assert child is not None
    return child


def pid_of(server: ServerProcess) -> int:
    return child_of(server).pid


def test_it_serves_is_asked_and_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, api_key="sk-own", faults=[BUSY]) as server:
        pid = pid_of(server)
        with OpenAI(base_url=server.url, api_key="sk-own", max_retries=0) as client:
            assert server.unmet_faults() == [BUSY]
            with pytest.raises(openai.InternalServerError):
                client.files.list()
            server.assert_all_met()
            server.inject(BUSY)
            with pytest.raises(
                AssertionError, match=r"not met: Fault\(route='files.list'.*met 0 of 1 times, in 0 calls"
            ):
                server.assert_all_met()
            server.clear_faults()
            assert client.files.list().data == []
        assert server.calls["files.list"] == 2
        assert [(record.status, record.fault) for record in server.requests] == [(503, BUSY), (200, None)]
        server.clear_requests()
        assert (server.requests, server.calls["files.list"]) == ([], 0)
    assert not lives(pid)
    with ServerProcess(tmp_path) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/v1"
        assert server.calls["files.list"] == 0


def test_it_is_known_by_the_names_and_takes_as_many_connections_as_it_is_told() -> None:
    with ServerProcess(hosts=["box.test"], connections=1) as server:
        first, second = (HTTPConnection("127.0.0.1", server.port) for _ in range(2))
        with closing(first), closing(second):
            first.request("GET", "/v1/files", headers={"Host": "box.test", "api-key": "k"})
            assert first.getresponse().status == 200
            second.request("GET", "/v1/files", headers={"api-key": "k"})
            assert second.getresponse().status == 503


def test_its_key_is_in_no_list_of_processes_and_not_in_its_words() -> None:
    server = ServerProcess(api_key="sk-own-secret")
    with server:
        assert b"secret" not in Path(f"/proc/{pid_of(server)}/cmdline").read_bytes()
        assert "secret" not in repr(server)


def test_what_keeps_it_from_starting_is_said(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        with pytest.raises(RuntimeError, match=r"did not start: .*in use by another server"), ServerProcess(tmp_path):
            pass
        with pytest.raises(OSError, match="address already in use") as caught:
            ServerProcess(port=server.port).__enter__()
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(RuntimeError, match="running already"):
            server.__enter__()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url


def test_its_batches_are_as_those_of_a_local_server() -> None:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/images/edits", "body": {"model": "m", "prompt": "x"}}
    with ServerProcess(batch_window=60) as server, OpenAI(base_url=server.url, api_key="k") as client:
        file = client.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
        made = client.batches.create(
            input_file_id=file.id, endpoint="/v1/images/edits", completion_window="24h", metadata={"a": "b"}
        )
        end = time.monotonic() + 20
        while not server.batches[0].is_ended:
            assert time.monotonic() < end
        [batch] = server.batches
    assert (batch.id, batch.metadata, batch.failed, made.expires_at) == (made.id, {"a": "b"}, 1, made.created_at + 60)


@pytest.mark.parametrize(
    "options",
    [
        {"port": -1},
        {"upload_ttl": 0},
        {"api_key": " "},
        {"hosts": "api"},
        {"files_per_minute": 0},
        {"repeated_complete": 300},
        {"faults": "faults.json"},
        {"faults": Path("faults.json")},
        {"faults": Fault("part", "reset")},
        {"faults": [{"route": "part", "kind": "reset"}]},
    ],
    ids=repr,
)
def test_what_makes_no_sense_is_refused_at_once_as_a_local_server_does(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as local:
        LocalServer(**options)
    with pytest.raises((TypeError, ValueError)) as process:
        ServerProcess(**options)
    assert (type(process.value), str(process.value)) == (type(local.value), str(local.value))


def test_faults_in_the_place_of_a_file_are_answered_with_how_to_read_one() -> None:
    for server in (LocalServer, ServerProcess):
        with pytest.raises(TypeError, match=r"faults_from_json\(Path\('faults.json'\).read_text\(\)\)"):
            server(faults="faults.json")  # type: ignore[arg-type]


def test_faults_may_come_from_a_generator() -> None:
    with ServerProcess(faults=(fault for fault in [BUSY])) as server:
        assert server.unmet_faults() == [BUSY]


def test_it_shows_itself_as_a_local_server_does() -> None:
    server = ServerProcess(api_key="sk-own-secret")
    assert repr(server) == "ServerProcess(not running)"
    with server:
        assert repr(server) == f"ServerProcess('{server.url}')"


def test_sigterm_ends_it_in_good_order() -> None:
    with ServerProcess() as server:
        process = child_of(server)
        process.send_signal(signal.SIGINT)  # a Ctrl-C is the parent's
        assert server.calls == {}
        process.terminate()
        assert process.wait(20) == 0


def test_it_tells_of_the_edits_that_were_done() -> None:
    with ServerProcess() as server, OpenAI(base_url=server.url, api_key="k") as client:
        client.images.edit(image=("a.png", picture(), "image/png"), prompt="a beret", model="gpt-image-2", n=2)
        assert server.edits == EditLog(1, 2, Counter({"a beret": 1}))


def test_it_can_be_asked_all_that_a_local_server_can() -> None:
    public = {name for name in dir(LocalServer) if not name.startswith("_")}
    assert public <= {name for name in dir(ServerProcess) if not name.startswith("_")}


def test_it_tells_of_its_files_and_uploads_and_where_their_bytes_are(tmp_path: Path) -> None:
    content = b"0123456789" * 30_000
    with ServerProcess(tmp_path, api_key="k") as server, OpenAI(base_url=server.url, api_key="k") as client:
        assert (server.files, server.uploads, server.bytes_received) == ([], [], 0)
        single = client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
        upload = client.uploads.upload_file_chunked(
            file=content,
            filename="b.bin",
            bytes=len(content),
            mime_type="text/plain",
            purpose="user_data",
            part_size=100_000,
        )
        assert upload.file is not None
        client.uploads.create(bytes=1, filename="c", mime_type="text/plain", purpose="batch")
        assert [(file.id, file.filename, file.bytes) for file in server.files] == [
            (single.id, "a.jsonl", 2),
            (upload.file.id, "b.bin", len(content)),
        ]
        assert [each.status for each in server.uploads] == ["completed", "pending"]
        assert server.uploads[0].file == server.files[1]
        assert len(server.uploads[0].part_ids) == 3
        assert server.stored(single.id).read_bytes() == b"{}"
        assert server.stored(upload.file.id).read_bytes() == content
        with pytest.raises(KeyError, match="file-none"):
            server.stored("file-none/../x?y")
        assert server.directory_in_use == tmp_path
        assert server.bytes_received > len(content)
        assert (server.parts_in_flight, server.max_parts_in_flight) == (0, 1)
    with LocalServer(tmp_path) as local:
        assert [file.id for file in local.files] == [single.id, upload.file.id]


def test_one_that_was_killed_says_so_when_it_is_asked() -> None:
    with ServerProcess() as server:
        child_of(server).kill()
        child_of(server).wait(20)
        with pytest.raises(RuntimeError, match="process ended with -9"):
            _ = server.calls


def test_it_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert lives(pid)
        os.kill(parent.pid, signal.SIGKILL)
    until_gone(pid)
