"""docs/fleets.md and its manifests tell the truth: they are well formed, and what they start runs here."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from asyncsdk.server import LocalServer
from tests.fleet.dask_cluster import DaskCluster
from tests.postgres.server import PostgresServer
from tests.stories.pictures import png

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "fleets.md").read_text()
JOBS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "docs" / "manifests").glob("*.yaml")}
EDITS = 12
needs_distributed = pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed")


def an_object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """An object that has no other properties than these."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def a_list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 1}


TEXT, WHOLE, TRUTH = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
NAMES = {"type": "object", "additionalProperties": TEXT}
SECRET = an_object(("secretKeyRef",), secretKeyRef=an_object(("name", "key"), name=TEXT, key=TEXT))
CONTAINER = an_object(
    ("name", "image", "command", "args"),
    name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
    image=TEXT,
    command=a_list(TEXT),
    args=a_list(TEXT),
    env=a_list(
        {
            "oneOf": [
                an_object(("name", "value"), name=TEXT, value=TEXT),
                an_object(("name", "valueFrom"), name=TEXT, valueFrom=SECRET),
            ]
        }
    ),
    envFrom=a_list(an_object(("secretRef",), secretRef=an_object(("name",), name=TEXT))),
    resources=an_object(requests=NAMES, limits=NAMES),
    volumeMounts=a_list(an_object(("name", "mountPath"), name=TEXT, mountPath=TEXT, readOnly=TRUTH)),
)
RULE = an_object(
    ("action",),
    action={"enum": ["FailJob", "Ignore", "Count"]},
    onExitCodes=an_object(
        ("operator", "values"), containerName=TEXT, operator={"enum": ["In", "NotIn"]}, values=a_list(WHOLE)
    ),
    onPodConditions=a_list(an_object(("type",), type=TEXT, status={"enum": ["True", "False", "Unknown"]})),
)
CLAIM = an_object(("claimName",), claimName=TEXT, readOnly=TRUTH)
POD = an_object(
    ("restartPolicy", "containers"),
    restartPolicy={"const": "Never"},  # as podFailurePolicy needs it
    terminationGracePeriodSeconds=WHOLE,
    securityContext=an_object(runAsNonRoot=TRUTH, runAsUser=WHOLE, fsGroup=WHOLE),
    containers=a_list(CONTAINER),
    volumes=a_list(an_object(("name",), name=TEXT, emptyDir=an_object(), persistentVolumeClaim=CLAIM)),
)
SCHEMA = an_object(  # of batch/v1, what is used here
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "batch/v1"},
    kind={"const": "Job"},
    metadata=an_object(("name",), name=TEXT),
    spec=an_object(
        ("template",),
        parallelism=WHOLE,
        backoffLimit=WHOLE,
        podFailurePolicy=an_object(("rules",), rules=a_list(RULE)),
        template=an_object(("spec",), spec=POD),
    ),
)


def container(name: str) -> dict[str, Any]:
    (one,) = JOBS[name]["spec"]["template"]["spec"]["containers"]
    return dict(one)


def block(section: str, language: str) -> str:
    (text,) = re.findall(rf"\n## {section}\n.*?```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(text)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(EDITS):
        (folder / f"{number}.png").write_bytes(png(number))
    rows = [{"id": f"e{each}", "prompt": f"e{each}", "image": f"in/{each}.png"} for each in range(EDITS)]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def environment(server: PostgresServer, database: str, url: str) -> dict[str, str]:
    place = f"postgresql://asyncsdk_tests@127.0.0.1:{server.port}/{database}"
    names = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": url, "PGPASSWORD": server.password}
    names |= {"ASYNCSDK_LEDGER": place, "ASYNCSDK_JOURNAL": place, "PYTHONPATH": str(ROOT)}
    return {**os.environ, **names}


@pytest.mark.parametrize("name", JOBS)
def test_a_manifest_has_the_structure_of_a_job(name: str) -> None:
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(JOBS[name])] == []
    pod = JOBS[name]["spec"]["template"]["spec"]
    mounted = {mount["name"] for each in pod["containers"] for mount in each["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    codes = [rule["onExitCodes"] for rule in JOBS[name]["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert all(each["containerName"] == container(name)["name"] and 75 not in each["values"] for each in codes)


@pytest.mark.parametrize("name", JOBS)
def test_the_secrets_of_a_manifest_are_in_secrets(name: str) -> None:
    secret = {each["name"] for each in container(name)["env"] if "valueFrom" in each}
    assert secret == {"OPENAI_API_KEY", "PGPASSWORD"}
    assert (
        ":"
        not in next(each["value"] for each in container(name)["env"] if each["name"].startswith("ASYNCSDK")).partition(
            "://"
        )[2]
    )


def test_a_pod_has_more_time_to_end_than_the_command_takes() -> None:
    (grace,) = [float(each.partition("=")[2]) for each in container("edit-job")["args"] if each.startswith("--grace=")]
    assert JOBS["edit-job"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= grace + 30


async def test_the_copies_of_the_edit_job_make_each_edit_once_though_a_pod_is_ended(
    postgres_server: PostgresServer, database: str, pictures: Path, tmp_path: Path
) -> None:
    async with LocalServer(tmp_path / "server", edit_seconds=0.3) as server:
        given = environment(postgres_server, database, server.url)
        changes = {"s3://shop/jobs.jsonl": "jobs.jsonl", "--out=s3://shop/out/": "--out=out", "--concurrency=32": "-c2"}
        pods = pods_of("edit-job", 3, changes, tmp_path, given)
        read = f"select count(*) from asyncsdk.edit join asyncsdk.holder h on h.id = holder where h.pid = {pods[0].pid}"
        while not server.edits.edits and pods[0].poll() is None:
            await asyncio.sleep(0.02)
        while pods[0].poll() is None and postgres_server.sql(read, database=database) == "0":  # one that begins late
            await asyncio.sleep(0.02)
        pods[0].send_signal(signal.SIGTERM)  # as Kubernetes does
        first, *others = [await asyncio.to_thread(pod.communicate, timeout=60) for pod in pods]
        assert pods[0].returncode in {0, 143}, first
        assert [pod.returncode for pod in pods[1:]] == [0, 0], others
        assert server.edits.by_prompt == {f"e{each}": 1 for each in range(EDITS)}
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == sorted(f"e{n}.png" for n in range(EDITS))


async def test_the_copies_of_the_upload_job_upload_each_file_once(
    postgres_server: PostgresServer, database: str, pictures: Path, tmp_path: Path
) -> None:
    async with LocalServer(tmp_path / "server") as server:
        given = environment(postgres_server, database, server.url)
        pods = pods_of("upload-job", 2, {"/talks": str(pictures)}, tmp_path, given)
        ended = [await asyncio.to_thread(pod.communicate, timeout=60) for pod in pods]
        assert [pod.returncode for pod in pods] == [0, 0], ended
        assert sorted(file.filename for file in server.files) == sorted(path.name for path in pictures.iterdir())


@needs_distributed
async def test_the_programs_for_dask_run(
    postgres_server: PostgresServer, database: str, pictures: Path, tmp_path: Path
) -> None:
    async with LocalServer(tmp_path / "server") as server:
        given = environment(postgres_server, database, server.url)
        cluster = DaskCluster(tmp_path / "dask", given)
        here = {"s3://shop/in": str(pictures), "s3://shop/out/": str(tmp_path / "out"), "10_000": str(EDITS)}
        here |= {
            "s3://shop/jobs.jsonl": "jobs.jsonl",
            "postgresql://asyncsdk@db.example/asyncsdk": given["ASYNCSDK_LEDGER"],
        }
        try:
            cluster.start(1)
            program, command = block("Dask", "python"), block("Dask", "sh")
            for there, place in (here | {"tcp://scheduler.example:8786": cluster.address}).items():
                program, command = program.replace(there, place), command.replace(there, place)
            words = shlex.split(command)
            for arguments in (["-c", program], ["-m", *words]):
                started = subprocess.Popen(
                    [sys.executable, *arguments],
                    cwd=tmp_path,
                    env=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                output, errors = await asyncio.to_thread(started.communicate, timeout=60)
                assert started.returncode == 0, errors.decode()
        finally:
            cluster.stop()
        assert server.edits.edits == 2 * EDITS  # of the program, and of the job file
    assert b"e11" in output


def pods_of(
    name: str, number: int, changes: dict[str, str], folder: Path, given: dict[str, str]
) -> list[subprocess.Popen[bytes]]:
    """The command of a manifest, as often as that, with what is here in the place of buckets and mounts."""
    about = container(name)
    command = [sys.executable, "-m", *about["command"], *(changes.get(word, word) for word in about["args"])]
    assert not changes.keys() - set(about["args"])
    return [
        subprocess.Popen(command, cwd=folder, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(number)
    ]
