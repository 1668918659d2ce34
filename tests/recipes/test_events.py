"""The recipes for what is measured and logged: each gets the attempts of an upload whose first one is turned away."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from asyncsdk import AsyncUploader
from asyncsdk.server import Fault, LocalServer
from tests.recipes.frameworks import needs, recipe
from tests.test_pytest_plugin import pytest_run

BUSY = pytest.mark.asyncsdk_server(faults=[Fault("create", "answer", status=503, retry_after=0.01, times=1)])
PARTS = "/uploads/{upload_id}/parts"


async def upload(client: object) -> None:
    async with client:  # type: ignore[attr-defined]
        await AsyncUploader(client, journal="memory").upload(b"{}", purpose="user_data", filename="a.txt")  # type: ignore[arg-type]


@BUSY
async def test_prometheus_counts_attempts_by_route_and_outcome(asyncsdk_environment: LocalServer) -> None:
    needs("prometheus_client")
    from prometheus_client import REGISTRY

    await upload(recipe("Prometheus").client)
    sample = REGISTRY.get_sample_value
    for outcome in ("503", "200"):
        labels = {"method": "POST", "route": "/uploads", "outcome": outcome}
        assert sample("openai_attempt_seconds_count", labels) == 1.0
        assert sample("openai_attempt_seconds_bucket", labels | {"le": "300.0"}) == 1.0  # minutes are told apart
    assert (sample("openai_sent_bytes_total", {"route": PARTS}) or 0) > 2


@BUSY
async def test_opentelemetry_gets_a_span_for_each_attempt_below_the_callers(asyncsdk_environment: LocalServer) -> None:
    needs("opentelemetry.sdk")
    from opentelemetry import metrics
    from opentelemetry import trace as api
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    api.set_tracer_provider(provider)
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    with api.get_tracer("mine").start_as_current_span("nightly"):
        await upload(recipe("OpenTelemetry").client)
    *attempts, mine = (json.loads(span.to_json()) for span in spans.get_finished_spans())
    assert [(span["name"], span["attributes"]["http.response.status_code"]) for span in attempts] == [
        ("POST /uploads", 503),
        ("POST /uploads", 200),
        (f"POST {PARTS}", 200),
        ("POST /uploads/{upload_id}/complete", 200),
    ]
    assert {span["parent_id"] for span in attempts} == {mine["context"]["span_id"]}
    assert attempts[0]["attributes"]["error.type"] == "InternalServerError"
    assert attempts[0]["status"]["status_code"] == "ERROR"
    assert all(span["start_time"] < span["end_time"] for span in attempts)
    measured = reader.get_metrics_data()
    assert measured is not None
    [of_resource] = json.loads(measured.to_json())["resource_metrics"]
    points = of_resource["scope_metrics"][0]["metrics"][0]["data"]["data_points"]
    assert sum(point["count"] for point in points) == len(attempts)
    assert all(point["explicit_bounds"][0] < 1 for point in points)  # seconds, not milliseconds


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@BUSY
async def test_structlog_writes_attempts_and_our_own_lines_as_json(
    asyncsdk_environment: LocalServer, restored_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("structlog")
    import structlog

    client = recipe("structlog").client
    with structlog.contextvars.bound_contextvars(job="nightly"):
        await upload(client)
        logging.getLogger("asyncsdk.uploads").info("a line of ours")
    structlog.reset_defaults()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    attempts = [line for line in lines if line["event"] == "attempt"]
    assert [(line["route"], line["status"], line["level"]) for line in attempts[:2]] == [
        ("/uploads", 503, "warning"),
        ("/uploads", 200, "info"),
    ]
    assert {"event": "a line of ours", "job": "nightly", "level": "info"}.items() <= lines[-1].items()
    assert {line["job"] for line in lines} == {"nightly"}
    assert "sk-test" not in str(lines)


def test_pytest_meets_a_429(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.recipes.frameworks import RECIPES

    ran = pytest_run(tmp_path_factory.mktemp("pytest"), RECIPES["pytest"][0])
    assert "1 passed" in ran.stdout, ran.stdout
