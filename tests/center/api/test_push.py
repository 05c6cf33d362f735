from __future__ import annotations

from typing import Any

import msgpack
import pytest

from center.sending import Push, digest_of
from common.errors import BadField, DeadlineExceeded, NotFound, Unavailable
from common.places import Places
from common.wire.jsondata import to_json
from tests.center.scene import FIRST_ID, NOW_MS, Api, Processes, problem, settings_of

PLACES = Places(settings_of())
RATE = settings_of().gateway.broadcast_per_second
LOAD = {"connections": 10, "limit": 100, "address": "h:1", "state": "ready"}


def store_of(processes: Processes) -> dict[int, list[Any]]:
    """Have `mail_send` and `bcast_send` keep by key, as the saver does; give mid -> [body, users]."""
    kept: dict[int, list[Any]] = {}
    keys: dict[str, int] = {}

    def mail_send(peer: str, product: str, sender: str, key: str, mid: int, body: bytes, users: Any, *_: Any):
        mid = keys.setdefault(key, mid) if key else mid
        kept.setdefault(mid, [body, users])
        return [mid, {user: 11 for user in users}, {user: 9 for user in users}]

    def bcast_send(peer: str, product: str, sender: str, key: str, mid: int, body: bytes, *_: Any):
        mid = keys.setdefault(key, mid) if key else mid
        kept.setdefault(mid, [body, None])
        return [mid, 21, 20]

    processes.answers["mail_send"] = mail_send
    processes.answers["bcast_send"] = bcast_send
    processes.answers["mail_body"] = lambda peer, mid: kept[mid][0]
    return kept


@pytest.fixture
def processes() -> Processes:
    return Processes(
        deliver=lambda peer, users, *_: len(users), tell=lambda peer, rows, *_: len(rows), load=LOAD
    )


@pytest.fixture
def api(processes: Processes) -> Api:
    return Api(processes)


def test_a_live_message_goes_to_the_session_of_its_receiver_and_nowhere_else(api: Api, processes: Processes):
    answer = api.post("/v1/push/unicast", {"to": "alice", "data": {"a": 1}})
    assert (answer.status_code, answer.json) == (200, {"mid": FIRST_ID, "online": 1})
    assert processes.methods() == ["deliver"]
    [call] = processes.of("deliver")
    assert call.peer == PLACES.session_of("p/alice")
    assert call.args == [["p/alice"], FIRST_ID, "", msgpack.packb({"a": 1}), NOW_MS]
    assert call.timeout == 5.0


def test_a_kept_message_is_stored_before_anybody_is_told(api: Api, processes: Processes):
    kept = store_of(processes)
    body = {"to": "alice", "data": [1], "keep": True, "ttl": 60, "receipt": True}
    answer = api.post("/v1/push/unicast", body)
    assert answer.json == {"mid": FIRST_ID, "online": 1}
    assert processes.methods() == ["mail_send", "tell"]
    [stored] = processes.of("mail_send")
    assert stored.args[:4] == ["p", "", "", FIRST_ID]
    assert stored.args[5:7] == [["p/alice"], 60]
    assert msgpack.unpackb(stored.args[4]) == ["", msgpack.packb([1]), NOW_MS, True]
    [told] = processes.of("tell")
    assert told.args == [[["p/alice", 11, 9]], FIRST_ID, kept[FIRST_ID][0]]


def test_bin_in_data_becomes_bin(api: Api, processes: Processes):
    data = {"icon": b"\x00\xff", "odd": {"$bin": 1}}
    api.post("/v1/push/unicast", {"to": "alice", "data": to_json(data)})
    assert msgpack.unpackb(processes.of("deliver")[0].args[3]) == data


def test_null_is_data(api: Api, processes: Processes):
    assert api.post("/v1/push/unicast", {"to": "alice", "data": None}).status_code == 200
    assert processes.of("deliver")[0].args[3] == msgpack.packb(None)


@pytest.mark.parametrize("keep", [False, True], ids=["live", "kept"])
def test_a_multicast_asks_each_session_once_for_its_own_users(api: Api, processes: Processes, keep: bool):
    store_of(processes)
    uids = [f"u{n}" for n in range(2_000)]
    answer = api.post("/v1/push/multicast", {"to": [*uids, *uids], "data": 1, "keep": keep})
    assert answer.json == {"mid": FIRST_ID, "online": 2_000}
    assert [call.timeout for call in processes.of("mail_send")] == [6.0] * keep
    calls = processes.of("tell" if keep else "deliver")
    assert sorted(call.peer for call in calls) == list(PLACES.sessions)
    told = [row[0] if keep else row for call in calls for row in call.args[0]]
    assert sorted(told) == sorted(f"p/{uid}" for uid in uids)
    for call in calls:
        users = [row[0] if keep else row for row in call.args[0]]
        assert {PLACES.session_of(user) for user in users} == {call.peer}


def test_the_same_key_is_the_same_message_and_the_body_first_stored_stands(api: Api, processes: Processes):
    kept = store_of(processes)
    first = api.post("/v1/push/unicast", {"to": "alice", "data": "first", "keep": True, "key": "k1"})
    again = api.post("/v1/push/unicast", {"to": "alice", "data": "other", "keep": True, "key": "k1"})
    assert again.json == first.json
    assert [call.args[1:] for call in processes.of("tell")] == [[FIRST_ID, kept[FIRST_ID][0]]] * 2


def test_a_repeat_of_what_everybody_has_tells_nobody(api: Api, processes: Processes):
    store_of(processes)
    processes.answers["mail_body"] = None
    for _ in range(2):
        answer = api.post("/v1/push/unicast", {"to": "alice", "data": 1, "keep": True, "key": "k1"})
    assert answer.json == {"mid": FIRST_ID, "online": 0}
    assert len(processes.of("tell")) == 1


@pytest.mark.parametrize("header", ["k1", '"k1"'], ids=["bare", "quoted"])
def test_the_header_is_the_key(api: Api, processes: Processes, header: str):
    store_of(processes)
    body = {"to": "alice", "data": 1, "keep": True}
    api.post("/v1/push/unicast", body, headers={"Idempotency-Key": header})
    assert processes.of("mail_send")[0].args[2] == "k1"


def test_a_session_that_is_away_makes_it_unavailable_and_the_retry_completes_it(
    api: Api, processes: Processes
):
    kept = store_of(processes)
    processes.answers["session-1 tell"] = Unavailable("away")
    uids = [f"u{n}" for n in range(50)]
    body = {"to": uids, "data": 1, "keep": True, "key": "k1"}
    failed = problem(api.post("/v1/push/multicast", body))
    assert (failed["status"], failed["code"], failed["mid"]) == (503, "unavailable", FIRST_ID)
    assert "session-1" in failed["detail"]
    del processes.answers["session-1 tell"]
    assert api.post("/v1/push/multicast", body).json == {"mid": FIRST_ID, "online": 50}
    assert len(kept) == 1


FAILURES = {
    "storage away": (Unavailable("Redis is away"), 503, "unavailable", {}),
    "no answer": (DeadlineExceeded("slow"), 503, "timeout", {}),
    "unknown users": (
        NotFound("some users do not exist", users=["bob"]),
        404,
        "not_found",
        {"users": ["bob"]},
    ),
    "ttl too long": (
        BadField("ttl is …", field="ttl", limit=9),
        400,
        "bad_field",
        {"field": "ttl", "limit": 9},
    ),
}


@pytest.mark.parametrize("error, status, code, facts", FAILURES.values(), ids=FAILURES)
def test_what_is_not_stored_is_told_to_nobody(
    api: Api, processes: Processes, error: Exception, status: int, code: str, facts: dict[str, Any]
):
    processes.answers["mail_send"] = error
    answer = api.post("/v1/push/unicast", {"to": "bob", "data": 1, "keep": True})
    body = problem(answer)
    assert (body["status"], body["code"]) == (status, code)
    assert {name: body[name] for name in facts} == facts
    assert ("Retry-After" in answer.headers) == (status >= 500)
    assert processes.of("tell") == []


def test_tags_address_who_has_them_on_any_session_page_by_page(api: Api, processes: Processes):
    pages = {"": [f"p/a{n:04}" for n in range(5_000)], "p/a4999": ["p/last"]}

    def tagged(peer: str, product: str, tags: list[str], after: str, limit: int) -> list[str]:
        assert (product, tags, limit) == ("p", ["vip", "eu"], 5_000)
        return pages[after] if peer == "session-0" else ["p/other"]

    processes.answers["tagged"] = tagged
    answer = api.post("/v1/push/multicast", {"tags": ["vip", "eu"], "data": 1})
    assert answer.json == {"mid": FIRST_ID, "online": 5_002}


@pytest.mark.parametrize("keep", [False, True], ids=["live", "kept"])
def test_tags_nobody_has_reach_nobody(api: Api, processes: Processes, keep: bool):
    processes.answers["tagged"] = []
    answer = api.post("/v1/push/multicast", {"tags": ["vip"], "data": 1, "keep": keep})
    assert answer.json == {"mid": FIRST_ID, "online": 0}
    assert set(processes.methods()) == {"tagged"}


def test_tags_too_many_have_are_a_bad_field(api: Api, processes: Processes):
    processes.answers["tagged"] = lambda peer, product, tags, after, limit: [
        f"{after or 'p/'}a{n}" for n in range(limit)
    ]
    body = problem(api.post("/v1/push/multicast", {"tags": ["vip"], "data": 1}))
    assert (body["field"], body["limit"]) == ("tags", 10_000)


def test_a_broadcast_goes_to_a_few_gateways_at_a_time_which_share_its_rate(api: Api, processes: Processes):
    processes.answers["broadcast"] = 10
    answer = api.post("/v1/push/broadcast", {"data": 1, "rate": 5, "tags": ["vip"]})
    assert answer.json == {"mid": FIRST_ID, "online": 20}
    calls = processes.of("broadcast")
    assert [call.peer for call in calls] == list(PLACES.gateways)
    product, mid, body, bseq, prev, tags, rate = calls[0].args
    assert (product, mid, bseq, prev, tags, rate) == ("p", FIRST_ID, 0, 0, ["vip"], 2.5)
    assert msgpack.unpackb(body) == ["", msgpack.packb(1), NOW_MS, False]
    assert calls[0].timeout is not None and calls[0].timeout > 10 / 2.5
    assert processes.of("bcast_send") == processes.of("bcast_written") == []


def test_a_kept_broadcast_is_stored_first_and_counted_in_the_ledger(api: Api, processes: Processes):
    store_of(processes)
    processes.answers["broadcast"] = 10
    answer = api.post("/v1/push/broadcast", {"data": 1, "keep": True, "key": "k"})
    assert answer.json == {"mid": FIRST_ID, "online": 20}
    assert [call.args[3:7] for call in processes.of("broadcast")] == [[21, 20, [], RATE / 2]] * 2
    assert processes.methods() == ["bcast_send", "load", "load", "broadcast", "broadcast", "bcast_written"]
    assert processes.of("bcast_written")[0].args == [FIRST_ID, 20]


def test_a_repeated_broadcast_counts_in_the_ledger_what_was_not_counted_before(
    api: Api, processes: Processes
):
    store_of(processes)
    processes.answers.update({"broadcast": 10, "gateway-0 broadcast": Unavailable("away")})
    processes.answers["ledger"] = [{"written": 10}, [], None]
    body = {"data": 1, "keep": True, "key": "k"}
    assert problem(api.post("/v1/push/broadcast", body))["mid"] == FIRST_ID
    del processes.answers["gateway-0 broadcast"]
    for _ in range(2):
        assert api.post("/v1/push/broadcast", body).json == {"mid": FIRST_ID, "online": 20}
        processes.answers["ledger"] = [{"written": 20}, [], None]
    assert [call.args for call in processes.of("bcast_written")] == [[FIRST_ID, 10]] * 2


def test_a_broadcast_that_cannot_be_counted_was_still_sent(api: Api, processes: Processes):
    store_of(processes)
    processes.answers.update(broadcast=10, bcast_written=Unavailable("away"))
    assert api.post("/v1/push/broadcast", {"data": 1, "keep": True}).json == {"mid": FIRST_ID, "online": 20}


def test_a_gateway_that_is_away_makes_a_broadcast_unavailable_but_the_others_have_it(
    api: Api, processes: Processes
):
    processes.answers["broadcast"] = 10
    processes.answers["gateway-0 load"] = Unavailable("away")
    body = problem(api.post("/v1/push/broadcast", {"data": 1}))
    assert (body["status"], body["mid"], body["online"]) == (503, FIRST_ID, 10)
    assert "gateway-0" in body["detail"]
    assert [call.peer for call in processes.of("broadcast")] == ["gateway-1"]


def test_a_room_message_goes_to_the_rooms_world_as_the_servers(api: Api, processes: Processes):
    processes.answers["publish"] = [5, 6]
    answer = api.post("/v1/push/room", {"room": "plaza/lobby", "data": "hi", "key": "k"})
    assert answer.json == {"epoch": 5, "offset": 6}
    [call] = processes.of("publish")
    assert call.peer == PLACES.world_of("p/plaza/lobby")
    assert call.args == ["p/plaza/lobby", "", "k", msgpack.packb("hi")]


def test_a_room_of_no_map_is_not_found(api: Api, processes: Processes):
    body = problem(api.post("/v1/push/room", {"room": "nowhere/lobby", "data": 1}))
    assert (body["status"], body["field"]) == (404, "room")


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


UNI, MULTI, ALL, ROOM = (f"/v1/push/{kind}" for kind in ("unicast", "multicast", "broadcast", "room"))
GOOD: dict[str, Any] = {"to": "alice", "data": 1}
WRONG: dict[str, tuple[str, Any, str]] = {
    "no receiver": (UNI, {"data": 1}, "to"),
    "no data": (UNI, {"to": "alice"}, "data"),
    "receiver of another kind": (UNI, {"to": ["alice"], "data": 1}, "to"),
    "receiver with a slash": (UNI, {"to": "q/alice", "data": 1}, "to"),
    "receiver with a line end": (UNI, {"to": "alice\n", "data": 1}, "to"),
    "empty receiver": (UNI, {"to": "", "data": 1}, "to"),
    "null receiver": (UNI, {"to": None, "data": 1}, "to"),
    "unknown field": (UNI, {**GOOD, "Keep": True}, "Keep"),
    "keep as text": (UNI, {**GOOD, "keep": "yes"}, "keep"),
    "keep as number": (UNI, {**GOOD, "keep": 1}, "keep"),
    "ttl as text": (UNI, {**GOOD, "keep": True, "ttl": "60"}, "ttl"),
    "ttl as bool": (UNI, {**GOOD, "keep": True, "ttl": True}, "ttl"),
    "ttl of nothing": (UNI, {**GOOD, "keep": True, "ttl": 0}, "ttl"),
    "ttl without keep": (UNI, {**GOOD, "ttl": 60}, "ttl"),
    "receipt without keep": (UNI, {**GOOD, "receipt": True}, "receipt"),
    "key that is no name": (UNI, {**GOOD, "key": "a b"}, "key"),
    "key too long": (UNI, {**GOOD, "key": "k" * 65}, "key"),
    "an integer too large": (UNI, {"to": "alice", "data": 2**53}, "data"),
    "a mark of nothing": (UNI, {"to": "alice", "data": {"$bin": "?"}}, "data"),
    "data too deep": (UNI, {"to": "alice", "data": nested(33)}, "data"),
    "data too large": (UNI, {"to": "alice", "data": "x" * 70_000}, "data"),
    "nobody": (MULTI, {"to": [], "data": 1}, "to"),
    "one of many wrong": (MULTI, {"to": ["a", "b", "c d"], "data": 1}, "to.2"),
    "one of many no text": (MULTI, {"to": ["a", 5], "data": 1}, "to.1"),
    "too many": (MULTI, {"to": [f"u{n}" for n in range(10_001)], "data": 1}, "to"),
    "a list that is none": (MULTI, {"to": "alice", "data": 1}, "to"),
    "to and tags": (MULTI, {"to": ["alice"], "tags": ["vip"], "data": 1}, "to"),
    "neither": (MULTI, {"data": 1}, "to"),
    "too many tags": (MULTI, {"tags": [f"t{n}" for n in range(17)], "data": 1}, "tags"),
    "rate of nothing": (ALL, {"data": 1, "rate": 0}, "rate"),
    "rate as fraction": (ALL, {"data": 1, "rate": 0.5}, "rate"),
    "kept for tags": (ALL, {"data": 1, "keep": True, "tags": ["vip"]}, "tags"),
    "room without map": (ROOM, {"room": "lobby", "data": 1}, "room"),
    "room of three parts": (ROOM, {"room": "a/b/c", "data": 1}, "room"),
    "keep into a room": (ROOM, {"room": "plaza/a", "data": 1, "keep": True}, "keep"),
}


@pytest.mark.parametrize("path, body, field", WRONG.values(), ids=WRONG)
def test_a_wrong_field_is_named_and_nothing_is_sent(
    api: Api, processes: Processes, path: str, body: Any, field: str
):
    told = problem(api.post(path, body))
    assert (told["status"], told["code"], told["field"]) == (400, "bad_field", field)
    assert processes.methods() == []


@pytest.mark.parametrize(
    "header, field", [("a b", "Idempotency-Key"), ("k2", "key")], ids=["no name", "another key"]
)
def test_a_header_that_does_not_fit_is_a_bad_field(api: Api, header: str, field: str):
    answer = api.post(UNI, {**GOOD, "keep": True, "key": "k1"}, headers={"Idempotency-Key": header})
    assert problem(answer)["field"] == field


def test_every_push_stands_in_the_audit_log_with_who_what_and_to_whom(api: Api, processes: Processes):
    store_of(processes)
    processes.answers.update(audit_add=None, publish=[5, 6], broadcast=3)
    api.post(UNI, {"to": "alice", "data": "secret", "keep": True})
    api.post(MULTI, {"to": [f"u{n}" for n in range(30)], "data": 1})
    api.post(ALL, {"data": 1})
    api.post(ROOM, {"room": "plaza/a", "data": 1})
    api.post(UNI, {"to": "a b", "data": 1})
    api.door.audit.flush()
    [call] = processes.of("audit_add")
    rows = call.args[0]
    assert [(product, entry["kind"]) for product, entry in rows] == [
        ("p", "unicast"),
        ("p", "multicast"),
        ("p", "broadcast"),
        ("p", "room"),
    ]
    assert all(entry["key"] == api.key.split("_")[1] and entry["time"] == NOW_MS for _, entry in rows)
    one, many = rows[0][1], rows[1][1]
    assert (one["mid"], one["to"], one["count"], one["keep"]) == (FIRST_ID, ["alice"], 1, True)
    assert (many["count"], len(many["to"])) == (30, 20)
    assert "secret" not in repr(rows)


def test_what_may_have_been_done_although_it_failed_stands_in_the_audit_log_too(
    api: Api, processes: Processes
):
    store_of(processes)
    processes.answers.update(audit_add=None, publish=DeadlineExceeded("slow"), tell=Unavailable("away"))
    api.post(UNI, {"to": "alice", "data": 1, "keep": True})
    api.post(ROOM, {"room": "plaza/a", "data": 1})
    processes.answers["mail_send"] = NotFound("some users do not exist", users=["bob"])
    api.post(UNI, {"to": "bob", "data": 1, "keep": True})
    api.door.audit.flush()
    one, two = (entry for _, entry in processes.of("audit_add")[0].args[0])
    assert (one["kind"], one["to"], one["mid"], one["failed"]) == (
        "unicast",
        ["alice"],
        FIRST_ID,
        "unavailable",
    )
    assert (two["kind"], two["room"], two["failed"]) == ("room", "plaza/a", "timeout")


def test_requests_of_different_content_have_different_digests():
    pushes = [
        Push("p", b"1"),
        Push("q", b"1"),
        Push("p", b"2"),
        Push("p", b"1", True, 5.0),
        Push("p", b"1", receipt=True),
    ]
    marks = [digest_of(push, ["p/a"]) for push in pushes] + [digest_of(pushes[0], ["p/b"])]
    assert len(set(marks)) == len(marks)
    assert digest_of(pushes[0], ["p/a"]) == marks[0]
