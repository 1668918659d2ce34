"""A server in another process reports its requests over HTTP, and takes faults."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from asyncsdk.server import Fault, LocalServer
from tests.server.support import calling, running

# fmt: off
BY_PROXIES = [
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "Forwarded", "Via",
    "X-Real-IP", "X-Client-IP", "X-Original-URL", "X-Original-Forwarded-For", "X-Rewrite-URL",
    "X-Cluster-Client-IP", "X-Remote-Addr", "X-ProxyUser-Ip", "X-Host", "X-Scheme", "CF-Connecting-IP",
    "CF-Ray", "CDN-Loop", "True-Client-IP", "Fastly-Client-IP", "Fly-Client-IP", "X-Envoy-External-Address",
    "X-Amzn-Trace-Id", "X-Azure-ClientIP", "X-ARR-LOG-ID", "X-AppEngine-User-IP", "Tailscale-User-Login",
    "Proxy-Connection",
]
# fmt: on
FAULT = {"route": "create", "kind": "answer", "status": 503}


async def test_its_counts_can_be_asked_for() -> None:
    async with running(faults=[Fault("part", "reset", nth=9)]) as (server, call):
        await call.uploaded(b"0123456789")
        stats = (await call("GET", "/_control/stats")).json
        assert stats["requests"] == {"create": 1, "part": 1, "complete": 1}
        assert stats["bytes_received"] == server.bytes_received > 10
        assert stats["max_in_flight"]["part"] == 1
        assert stats["in_flight"] == {}
        assert [fault["nth"] for fault in stats["unmet_faults"]] == [9]


async def test_its_records_can_be_asked_for_and_hold_no_key() -> None:
    async with running(faults=[Fault("create", "answer", status=503)]) as (_, call):
        await call.create()
        upload_id = await call.created(1)
        failed, created = (await call("GET", "/_control/requests")).json["requests"]
        assert (failed["status"], failed["fault"]["kind"]) == (503, "answer")
        assert (created["status"], created["upload_id"], created["fault"]) == (200, upload_id, None)
        assert "a key" not in json.dumps([failed, created])


async def test_faults_can_be_added_and_forgotten() -> None:
    async with running() as (server, call):
        answer = await call("POST", "/_control/faults", json={"faults": [FAULT, FAULT]})
        assert len(answer.json["unmet_faults"]) == 2
        assert (await call.create()).status == 503
        assert (await call("DELETE", "/_control/faults")).json["unmet_faults"] == []
        assert (await call.create()).status == 200
        server.assert_all_met()


@pytest.mark.parametrize(
    "body", [{"faults": ["reset"]}, {"faults": [{**FAULT, "kind": "explode"}]}, "reset", [FAULT, 1]]
)
async def test_a_wrong_fault_is_refused(body: Any) -> None:
    async with running() as (server, call):
        assert (await call("POST", "/_control/faults", json=body)).status == 400
        assert server.unmet_faults() == []


async def test_faults_can_be_added_as_a_list_or_one_alone() -> None:
    async with running() as (_, call):
        await call("POST", "/_control/faults", json=[FAULT, FAULT])
        answer = await call("POST", "/_control/faults", json=FAULT)
        assert len(answer.json["unmet_faults"]) == 3


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("route=nope", "route: 'nope' is not one of create, part, "),
        ("route=parts", "(did you mean 'part'?)"),
        ("rout=part", "'rout' is not one of route, status, after (did you mean 'route'?)"),
        ("status=x", "status"),
    ],
)
async def test_a_wrong_question_for_requests_is_refused(query: str, why: str) -> None:
    async with running() as (_, call):
        answer = await call("GET", f"/_control/requests?{query}")
        assert answer.status == 400
        assert why in answer.error["message"]


async def test_the_requests_to_wrong_addresses_can_be_asked_for() -> None:
    async with running() as (_, call):
        await call("GET", "nowhere")
        [record] = (await call("GET", "/_control/requests?route=unknown")).json["requests"]
        assert (record["path"], record["query"]) == ("/v1/nowhere", {})


async def test_a_page_in_a_browser_can_not_add_faults() -> None:
    async with running() as (server, call):
        for simple, status in (
            ({"Content-Type": "text/plain", "Origin": "http://example.com"}, 403),
            ({"Content-Type": "text/plain"}, 400),
        ):
            answer = await call("POST", "/_control/faults", data=json.dumps({"faults": [FAULT]}), headers=simple)
            assert answer.status == status
        assert server.unmet_faults() == []


async def test_control_needs_a_key_only_where_one_is_set() -> None:
    async with LocalServer(api_key="k") as server, calling(server, headers={}) as call:
        assert (await call("GET", "/_control/stats")).status == 401
        assert (await call("DELETE", "/_control/faults", headers={"api-key": "no"})).status == 401
        assert (await call("GET", "/_control/stats", headers={"api-key": "k"})).status == 200
    async with LocalServer() as server, calling(server, headers={}) as call:
        assert (await call("GET", "/_control/stats")).status == 200


async def test_control_is_not_recorded_and_meets_no_fault() -> None:
    async with running(faults=[Fault("*", "reset", every=1)]) as (server, call):
        assert (await call("GET", "/_control/stats")).status == 200
        assert server.requests == []


@pytest.mark.parametrize("name", BY_PROXIES)
async def test_what_a_proxy_on_this_machine_hands_on_comes_from_elsewhere(name: str) -> None:
    async with running() as (_, call):
        assert (await call("GET", "/_control/stats", headers={name: "192.0.2.1"})).status == 403
        assert (await call("GET", "/_control/stats", headers={name.lower(): ""})).status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("LocalHost:{port}", 200),
        ("app.localhost.:{port}", 200),
        ("[::1]:{port}", 200),
        ("127.0.0.1", 403),
        ("127.0.0.1:1", 403),
        ("localhost:8080", 403),
        ("192.0.2.1:{port}", 403),
        ("box.test:{port}", 403),
        ("box.test", 403),
        ("127.0.0.1:x", 403),
    ],
)
async def test_who_asks_for_another_address_than_its_own_came_by_a_proxy(host: str, status: int) -> None:
    async with LocalServer(hosts=["box.test"]) as server, calling(server) as call:
        answer = await call("GET", "/_control/stats", headers={"Host": host.format(port=server.port)})
        assert answer.status == status
        page = await call("GET", "/", headers={"Host": host.format(port=server.port)})
        assert page.status == status


@pytest.mark.parametrize(
    "head",
    [b"DELETE /_control/faults HTTP/1.1\r\nHost: box.test\r\nConnection: close", b"GET /_control/stats HTTP/1.0"],
)
async def test_a_request_with_the_host_of_a_proxy_or_with_none_controls_nothing(head: bytes) -> None:
    async with LocalServer(hosts=["box.test"]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head + b"\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert b" 403 " in answer.partition(b"\r\n")[0]


async def test_by_the_name_that_it_listens_on_it_can_be_asked() -> None:
    async with LocalServer(host="localhost") as server, calling(server) as call:
        assert (await call("GET", "/_control/stats")).status == 200
    async with LocalServer(host="0.0.0.0") as server, calling(server) as call:
        assert (await call("GET", "/_control/stats")).status == 200


@pytest.mark.parametrize(
    "name", ["User-Agent", "X-Request-Id", "X-Client-Request-Id", "X-Stainless-Lang", "Authorization", "Traceparent"]
)
async def test_what_programs_send_themselves_is_no_sign_of_a_proxy(name: str) -> None:
    async with running() as (_, call):
        assert (await call("GET", "/_control/stats", headers={name: "x"})).status == 200


async def test_with_the_key_it_matters_not_by_which_way() -> None:
    async with LocalServer(api_key="k", hosts=["box.test"]) as server, calling(server) as call:
        headers = {"Host": "box.test", "X-Real-IP": "192.0.2.1", "Authorization": "Bearer k"}
        assert (await call("GET", "/_control/stats", headers=headers)).status == 200
        assert (await call("GET", "/_control/stats", headers={**headers, "Authorization": "Bearer x"})).status == 401


@pytest.mark.parametrize("path", ["stats", "requests", "faults", "edits"])
async def test_other_machines_can_not_ask(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(aiohttp.web.Request, "remote", "192.0.2.1")
    async with running() as (_, call):
        for method in ("GET", "POST", "DELETE"):
            assert (await call(method, f"/_control/{path}", json={})).status in (403, 405)


async def test_a_fault_comes_alone_or_with_others_and_nothing_is_no_fault() -> None:
    async with running() as (server, call):
        assert (await call("POST", "/_control/faults", json=FAULT)).status == 200
        assert (await call("POST", "/_control/faults", json={"faults": [FAULT]})).status == 200
        assert len(server.unmet_faults()) == 2
        for nothing in ({}, {"fault": [FAULT]}, {"faults": [FAULT], "more": 1}):
            assert (await call("POST", "/_control/faults", json=nothing)).status == 400
        assert len(server.unmet_faults()) == 2


@pytest.mark.parametrize(("key", "status"), [("k", 200), ("no", 401)])
async def test_another_machine_can_ask_with_the_key_of_a_server_that_has_one(
    monkeypatch: pytest.MonkeyPatch, key: str, status: int
) -> None:
    monkeypatch.setattr(aiohttp.web.Request, "remote", "192.0.2.1")
    async with LocalServer(api_key="k") as server, calling(server, headers={"api-key": key}) as call:
        assert (await call("POST", "/_control/faults", json={"faults": [FAULT]})).status == status
        assert (await call("GET", "/_control/requests")).status == status
        assert len(server.unmet_faults()) == (status == 200)


async def test_its_faults_can_be_asked_for_with_what_became_of_them() -> None:
    async with running(faults=[Fault("create", "answer", times=2), Fault("part", "reset")]) as (server, call):
        await call.create()
        told = (await call("GET", "/_control/faults")).json
        assert [(fault["calls"], fault["met"], fault["due"]) for fault in told["faults"]] == [(1, 1, 2), (0, 0, 1)]
        assert told["all_met"] is False
        server.clear_faults()
        assert (await call("GET", "/_control/faults")).json == {"faults": [], "all_met": True}


async def test_records_can_be_chosen_and_forgotten() -> None:
    async with running(faults=[Fault("create", "answer", status=503)]) as (server, call):
        await call.create()
        await call.uploaded(b"x")

        async def found(**query: Any) -> list[int]:
            told = (await call("GET", "/_control/requests", params=query)).json["requests"]
            return [record["number"] for record in told]

        assert await found() == [1, 2, 3, 4]
        assert await found(route="create") == [1, 2]
        assert await found(route="create", status=200) == [2]
        assert await found(after=2) == [3, 4]
        assert (await call("GET", "/_control/requests", params={"after": "x"})).error["param"] == "after"
        assert (await call("DELETE", "/_control/requests")).json["requests"] == {}
        assert (server.requests, server.calls, server.bytes_received) == ([], {}, 0)
        await call.create()
        assert await found() == [5]
