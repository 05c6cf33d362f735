"""Center's API on a real cluster: keys from ./roost, messages to real clients, the ledger, the commands."""

from __future__ import annotations

import json
import signal
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

import gevent
import pytest
import schemathesis
from gevent.pool import Group
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from common.wire.apikeys import SCOPES
from tests.center.scene import CALLS
from tests.cluster.cluster import Cluster
from tests.cluster.raw import Raw
from tests.cluster.terminal import roost
from tools import apikeys

CHECKS: Any = [not_a_server_error, content_type_conformance, response_schema_conformance]


class Api:
    """An application server with one key."""

    def __init__(self, cluster: Cluster, key: str) -> None:
        self.url = cluster.center_url()
        self.key = key

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Give (status, JSON)."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        """Give the JSON of a 200; fails on anything else."""
        status, told = self.call(method, path, body)
        assert status == 200, told
        return told


def make_key(cluster: Cluster, scopes: str = "admin", product: str = "demo") -> str:
    """Make a key as ./roost does."""
    return apikeys.create(cluster.settings, product, scopes.split(","), "test")


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Api]:
    yield Api(cluster, make_key(cluster))


def enter(cluster: Cluster, uid: str, device: str = "raw", gateway: int = 0, **claims: Any) -> Raw:
    raw = Raw(cluster.tcp(gateway))
    raw.hello(cluster.token(uid, **claims), device=device)
    return raw


def wait_until(holds: Any, what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_live_unicast_reaches_every_device_now(cluster: Cluster, api: Api) -> None:
    with enter(cluster, "u1", "phone") as phone, enter(cluster, "u1", "desk", 1) as desk:
        sent = api.ok("POST", "/v1/push/unicast", {"to": "u1", "data": {"bin": {"$bin": "AP8="}}})
        assert sent["online"] == 1
        for device in (phone, desk):
            body = device.wait_op("inbox")
            assert (body["mid"], body["uid"], body["data"]) == (sent["mid"], "", {"bin": b"\x00\xff"})
            assert "seq" not in body


def test_a_kept_unicast_waits_for_a_user_made_without_a_login(cluster: Cluster, api: Api) -> None:
    assert api.call("POST", "/v1/push/unicast", {"to": "u2", "data": 1, "keep": True})[1]["users"] == ["u2"]
    assert api.ok("PUT", "/v1/users/u2")["online"] is False
    body = {"to": "u2", "data": "hello", "keep": True, "key": "k"}
    sent = api.ok("POST", "/v1/push/unicast", body)
    assert api.ok("POST", "/v1/push/unicast", body) == sent
    [row] = api.ok("GET", f"/v1/messages/{sent['mid']}")["receivers"]
    assert (row["uid"], row["state"], row["devices"]) == ("u2", "stored", [])
    with enter(cluster, "u2") as raw:
        inbox = raw.wait_op("inbox")
        assert (inbox["mid"], inbox["data"]) == (sent["mid"], "hello")
        raw.ok("ack", {"seq": inbox["seq"]})
        raw.request("ping", {})
        assert [op for op, *_ in raw.seen].count("inbox") == 1

    def is_acked() -> bool:
        [row] = api.ok("GET", f"/v1/messages/{sent['mid']}")["receivers"]
        return [device["state"] for device in row["devices"]] == ["acked"]

    wait_until(is_acked, "the ledger never said acked")


def test_a_kept_multicast_is_heard_live_by_who_is_here(cluster: Cluster, api: Api) -> None:
    uids = [f"m{n}" for n in range(20)]
    for uid in uids:
        api.ok("PUT", f"/v1/users/{uid}")
    with enter(cluster, "m3") as first, enter(cluster, "m4", gateway=1) as second:
        sent = api.ok("POST", "/v1/push/multicast", {"to": uids, "data": 1, "keep": True})
        assert sent["online"] == 2
        assert first.wait_op("inbox")["mid"] == second.wait_op("inbox")["mid"] == sent["mid"]

        def is_written() -> bool:
            [row] = api.ok("GET", f"/v1/messages/{sent['mid']}?uid=m3")["receivers"]
            return [device["state"] for device in row["devices"]] == ["written"]

        wait_until(is_written, "the ledger never said written")
    ledger = api.ok("GET", f"/v1/messages/{sent['mid']}?limit=15")
    assert len(ledger["receivers"]) == 15
    rest = api.ok("GET", f"/v1/messages/{sent['mid']}?limit=15&after={ledger['after']}")
    assert len(rest["receivers"]) == 5 and rest["after"] is None


def test_tags_of_token_and_api_choose_who_hears(cluster: Cluster, api: Api) -> None:
    with enter(cluster, "t1", tags=["vip", "eu"]) as vip, enter(cluster, "t2", gateway=1) as plain:
        assert api.ok("POST", "/v1/push/multicast", {"tags": ["vip", "eu"], "data": 1})["online"] == 1
        assert vip.wait_op("inbox")["data"] == 1
        assert api.ok("PUT", "/v1/users/t2/tags", {"tags": ["late"]})["connections"] == 1
        sent = api.ok("POST", "/v1/push/multicast", {"tags": ["late"], "data": 2})
        assert (sent["online"], plain.wait_op("inbox")["data"]) == (1, 2)
        vip.request("ping", {})
        assert [body["data"] for op, _, body in vip.seen if op == "inbox"] == [1]


def test_a_broadcast_reaches_all_and_a_kept_one_those_who_come_back(cluster: Cluster, api: Api) -> None:
    with enter(cluster, "b1") as one, enter(cluster, "b2", gateway=1) as two:
        with enter(cluster, "b3"):
            pass
        sent = api.ok("POST", "/v1/push/broadcast", {"data": "all", "keep": True})
        assert sent["online"] >= 2
        for raw in (one, two):
            body = raw.wait_op("inbox")
            assert (body["mid"], body["data"]) == (sent["mid"], "all")
            assert body["bseq"] > 0
        live = api.ok("POST", "/v1/push/broadcast", {"data": "now"})
        assert one.wait_op("inbox")["mid"] == two.wait_op("inbox")["mid"] == live["mid"]
    with enter(cluster, "b3") as late:
        assert late.wait_op("inbox")["data"] == "all"
    told = api.ok("GET", f"/v1/messages/{sent['mid']}?uid=b1")
    assert told["bseq"] and told["written"] == sent["online"]
    assert [row["uid"] for row in told["receivers"]] == ["b1"]


def test_a_room_hears_the_server_and_the_api_sees_the_room(cluster: Cluster, api: Api) -> None:
    with enter(cluster, "r1") as raw:
        assert api.ok("POST", "/v1/users/r1/join", {"room": "plaza/api"})["connections"] == 1
        assert raw.wait_op("subscribed")["room"] == "plaza/api"
        at = api.ok("POST", "/v1/push/room", {"room": "plaza/api", "data": "hi", "key": "k"})
        assert api.ok("POST", "/v1/push/room", {"room": "plaza/api", "data": "hi", "key": "k"}) == at
        body = raw.wait_op("message")
        assert (body["uid"], body["data"], body["offset"]) == ("", "hi", at["offset"])
        room = api.ok("GET", "/v1/rooms/plaza/api")
        assert [member["uid"] for member in room["users"]] == ["r1"]
        assert [message["data"] for message in room["messages"]] == ["hi"]
        assert "plaza/api" in [row["room"] for row in api.ok("GET", "/v1/rooms")["rooms"]]
        api.ok("POST", "/v1/users/r1/leave", {"room": "plaza/api"})
        assert raw.wait_op("unsubscribed")["room"] == "plaza/api"


def test_a_banned_user_leaves_and_stays_out_until_let_in(cluster: Cluster, api: Api) -> None:
    with enter(cluster, "x1") as raw:
        api.ok("POST", "/v1/users/x1/kick", {"reconnect": True, "reason": "moved"})
        assert raw.wait_op("kick") | {"code": "restart", "reason": "moved"} == raw.seen[-1][2]
    with enter(cluster, "x1") as raw:
        assert api.ok("POST", "/v1/users/x1/ban", {"seconds": 600})["banned"] > time.time() * 1000
        assert raw.wait_op("kick")["code"] == "banned"
    with Raw(cluster.tcp(1)) as raw:
        raw.send("hello", {"v": 1, "token": cluster.token("x1"), "device": "raw"})
        raw.wait(lambda packet: packet[0] in ("error", "kick"))
    assert api.ok("GET", "/v1/users/x1")["banned"] > 0
    assert api.ok("POST", "/v1/users/x1/unban") == {"banned": None}
    enter(cluster, "x1").close()


def test_a_key_reaches_its_own_product_only_and_only_what_its_scopes_say(cluster: Cluster, api: Api) -> None:
    other = Api(cluster, make_key(cluster, "push,read", "other"))
    api.ok("PUT", "/v1/users/p1")
    sent = api.ok("POST", "/v1/push/unicast", {"to": "p1", "data": 1, "keep": True})
    assert other.call("GET", f"/v1/messages/{sent['mid']}")[0] == 404
    assert other.call("GET", "/v1/users/p1")[0] == 404
    assert other.call("POST", "/v1/users/p1/ban", {})[1]["scope"] == "users"
    with enter(cluster, "p1") as raw:
        assert other.ok("POST", "/v1/push/unicast", {"to": "p1", "data": "not yours"})["online"] == 0
        assert other.ok("POST", "/v1/push/broadcast", {"data": "not yours"})["online"] == 0
        raw.request("ping", {})
        assert "not yours" not in [body.get("data") for _, _, body in raw.seen]


def test_a_command_prints_a_key_alone_and_a_revoked_one_ends_within_seconds(cluster: Cluster) -> None:
    made = roost("apikey", "--product", "demo", "--scopes", "read", environment=cluster.environment)
    assert (made.returncode, made.stderr, made.stdout.count("\n")) == (0, "", 1)
    ending = Api(cluster, made.stdout.strip())
    ending.ok("GET", "/v1/stats")
    told = roost("apikey", "revoke", ending.key, "--product", "demo", environment=cluster.environment)
    assert (told.returncode, told.stdout) == (0, "revoked\n")
    wait_until(lambda: ending.call("GET", "/v1/stats")[0] == 401, "the key still works")
    listed = roost("apikey", "list", "--product", "demo", environment=cluster.environment).stdout
    assert ending.key.split("_")[1] in listed and ending.key not in listed


def test_a_poorer_key_or_another_products_disturbs_nobody(cluster: Cluster, api: Api) -> None:
    poorer = {
        scope: Api(cluster, make_key(cluster, ",".join(set(SCOPES) - {scope, "admin"})))
        for scope in ("push", "read", "users", "rooms")
    }
    other = Api(cluster, make_key(cluster, product="other"))
    with enter(cluster, "alice") as real:
        real.ok("join", {"room": "plaza/a"})
        for method, path, body, scope in CALLS.values():
            status, told = poorer[scope].call(method, path, body)
            assert (status, told["code"], told["scope"]) == (403, "forbidden", scope)
            assert other.call(method, path, body)[0] in (200, 404), path
        assert real.request("ping", {})[0] == "pong"
        assert [op for op, *_ in real.seen] == ["ok", "ok", "pong"]
    assert api.ok("GET", "/v1/users/alice")["banned"] is None


def test_what_another_user_acks_takes_nothing_away(cluster: Cluster, api: Api) -> None:
    for uid in ("mine", "yours"):
        api.ok("PUT", f"/v1/users/{uid}")
    api.ok("POST", "/v1/push/unicast", {"to": "yours", "data": "an older one", "keep": True})
    sent = api.ok("POST", "/v1/push/unicast", {"to": "mine", "data": "still here", "keep": True})
    with enter(cluster, "mine") as mine, enter(cluster, "yours", gateway=1) as yours:
        seq, own = mine.wait_op("inbox")["seq"], yours.wait_op("inbox")["seq"]
        assert yours.error("ack", {"seq": seq})["field"] == "seq", "it was given to another"
        yours.ok("ack", {"seq": own})
    [row] = api.ok("GET", f"/v1/messages/{sent['mid']}")["receivers"]
    assert [device["state"] for device in row["devices"]] == ["written"]
    assert api.ok("GET", "/v1/users/mine")["mailbox"]["depth"] == 1
    with enter(cluster, "mine") as again:
        assert again.wait_op("inbox")["data"] == "still here"


def test_a_ticket_opens_one_login_and_who_is_in_hears_nothing_of_a_second(cluster: Cluster, api: Api) -> None:
    token = cluster.token("ticketed")
    choices = api.ok("GET", "/v1/dispatch?uid=ticketed")["gateways"]
    tickets = {choice["gateway"]: choice["ticket"] for choice in choices}

    def refused(gateway: int, ticket: str, uid: str = "ticketed", device: str = "raw") -> str:
        with Raw(cluster.tcp(gateway)) as raw:
            body = {"v": 1, "token": cluster.token(uid), "device": device, "ticket": ticket}
            error = raw.error("hello", body)
            raw.wait_end(2)
            return str(error["code"])

    with Raw(cluster.tcp(0)) as real:
        real.hello(token, ticket=tickets["gateway-0"])
        codes = [
            refused(0, tickets["gateway-0"]),
            refused(0, tickets["gateway-0"], device="another"),
            refused(0, tickets["gateway-1"]),
            refused(1, tickets["gateway-1"], uid="thief"),
            refused(1, "no ticket"),
        ]
        assert codes == ["unauthorized"] * 5
        assert real.request("ping", {})[0] == "pong"
        assert [op for op, *_ in real.seen] == ["ok", "pong"]
        with Raw(cluster.tcp(1)) as moved:
            moved.hello(token, ticket=tickets["gateway-1"])
            assert real.wait_op("kick")["code"] == "replaced"


def test_no_request_made_from_the_document_meets_a_defect_of_the_cluster(cluster: Cluster, api: Api) -> None:
    schema: Any = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    headers = {"Authorization": f"Bearer {make_key(cluster, product='schema')}"}

    def ask(operation: Any) -> None:
        @given(case=operation.as_strategy())
        @settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def run(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        run()

    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 18
    for operation in operations:
        ask(operation)


def test_dispatch_names_gateways_that_take_the_user(cluster: Cluster, api: Api) -> None:
    token = cluster.token("d1")
    choices = Api(cluster, token).ok("GET", "/v1/dispatch")["gateways"]
    assert sorted(choice["gateway"] for choice in choices) == ["gateway-0", "gateway-1"]
    host, port = choices[0]["address"].split(":")
    with Raw((host, int(port))) as raw:
        number = raw.send("hello", {"v": 1, "token": token, "device": "raw", "ticket": choices[0]["ticket"]})
        op, _, welcome = raw.wait(lambda packet: packet[1] == number)
        assert (op, welcome["gateway"]) == ("ok", choices[0]["gateway"])


def test_the_commands_do_the_same_with_a_key_of_their_own(cluster: Cluster, api: Api) -> None:
    api.ok("PUT", "/v1/users/c1")
    told = roost("push", "unicast", "c1", '{"a": 1}', "--keep", environment=cluster.environment)
    assert told.returncode == 0, told.stderr
    mid = json.loads(told.stdout)["mid"]
    key = cluster.run_dir / "operator" / "demo.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with enter(cluster, "c1") as raw:
        assert raw.wait_op("inbox")["data"] == {"a": 1}
        shown = json.loads(roost("user", "c1", environment=cluster.environment).stdout)
        assert (shown["online"], shown["mailbox"]["depth"]) == (True, 1)
    head, row = roost("message", str(mid), environment=cluster.environment).stdout.splitlines()
    assert (json.loads(head)["mid"], json.loads(row)["uid"]) == (mid, "c1")
    refused = roost("push", "unicast", "nobody-here", "x", "--keep", environment=cluster.environment)
    assert refused.returncode == 1
    assert "not_found" in refused.stderr
    assert "nobody-here" in refused.stderr
    first = key.read_text()
    key.write_text("rk_0000000000000000_" + "0" * 64)
    assert roost("user", "c1", environment=cluster.environment).returncode == 0
    assert key.read_text() not in ("", first)


def test_requests_under_way_when_center_is_killed_are_completed_by_their_repeats(
    cluster: Cluster, api: Api
) -> None:
    uids = [f"z{n}" for n in range(8)]
    for uid in uids:
        api.ok("PUT", f"/v1/users/{uid}")
    mids: dict[tuple[str, int], int] = {}

    def send(uid: str) -> None:
        for number in range(20):
            body = {"to": uid, "data": number, "keep": True, "key": f"{uid}.{number}"}
            while True:
                try:
                    status, told = api.call("POST", "/v1/push/unicast", body)
                except (OSError, HTTPException):
                    gevent.sleep(0.05)
                    continue
                assert status in (200, 503), told
                if status == 200:
                    mids[uid, number] = told["mid"]
                    break

    sending = Group()
    for uid in uids:
        sending.spawn(send, uid)
    wait_until(lambda: len(mids) > 20, "nothing was sent")
    killed = {"center-0": cluster.kill("center-0", signal.SIGKILL)}
    assert len(mids) < len(uids) * 20, "all was over before"
    assert sending.join(timeout=30)
    cluster.wait_healed(killed)
    assert len(set(mids.values())) == len(uids) * 20
    for uid in uids:
        with enter(cluster, uid) as raw:
            heard = [raw.wait_op("inbox")["data"] for _ in range(20)]
            raw.request("ping", {})
            assert [op for op, *_ in raw.seen].count("inbox") == 20
            assert heard == list(range(20))


def test_a_session_killed_and_a_dbserver_killed_cost_a_retry_and_nothing_else(
    cluster: Cluster, api: Api
) -> None:
    uids = [f"k{n}" for n in range(10)]
    for uid in uids:
        api.ok("PUT", f"/v1/users/{uid}")
    killed = {name: cluster.kill(name, signal.SIGKILL) for name in ("session-0", "dbserver-0")}
    body = {"to": uids, "data": "through it all", "keep": True, "key": "kill"}
    deadline = time.monotonic() + 20
    while True:
        status, told = api.call("POST", "/v1/push/multicast", body)
        if status == 200:
            break
        assert status == 503, told
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
    cluster.wait_healed(killed)
    assert api.ok("POST", "/v1/push/multicast", body)["mid"] == told["mid"]
    for uid in uids:
        with enter(cluster, uid) as raw:
            assert raw.wait_op("inbox")["data"] == "through it all"
            raw.request("ping", {})
            assert [op for op, *_ in raw.seen].count("inbox") == 1
