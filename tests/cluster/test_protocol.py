"""docs/protocol.md, sections 3 to 6, said sentence by sentence to a real cluster over plain sockets."""

from __future__ import annotations

import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import msgpack
import pytest

from common.net.rpc import Callers, Context
from common.wire.ops import CLIENT, SERVER
from tests.cluster.cluster import Cluster, running
from tests.cluster.raw import Raw

FREE = 1_000_000
OFFLINE_AFTER = 1.0
NAMED, NAMED_AGAIN = 6, 4
MEMORY = 1_048_576
SETTINGS = {
    "cluster.sessions": 2,
    "cluster.dbservers": 1,
    "cluster.maps": {"plaza": 1},
    "gateway.packets_per_second": FREE,
    "gateway.bytes_per_second": 100 * FREE,
    "gateway.publishes_per_second": FREE,
    "gateway.request_timeout": 1.0,
    "gateway.stop_timeout": 0.5,
    "link.queue_bytes": 524_288,
    "link.batch_bytes": 16_384,
    "session.offline_after": OFFLINE_AFTER,
    "session.policies": {"one": "newest", "kinds": "per_kind", "first": "refuse"},
    "world.publishes_per_second": FREE,
    "world.memory_bytes": MEMORY,
    "world.presence_members": NAMED,
    "world.presence_return": NAMED_AGAIN,
}

Member = Callable[..., Raw]
PRODUCTS = count(1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(SETTINGS) as started:
        yield started


@pytest.fixture
def product() -> str:
    """A product of the test's own: who was online in another test is nobody here."""
    return f"p{next(PRODUCTS)}"


@pytest.fixture
def member(cluster: Cluster, product: str) -> Iterator[Member]:
    """Make clients that have logged in; what they were sent is compared with the table of section 5."""
    with ExitStack() as stack:
        made = []

        def make(
            uid: str,
            gateway: int = 0,
            device: str = "raw",
            room: str = "",
            presence: bool = False,
            **claims: Any,
        ) -> Raw:
            raw = stack.enter_context(Raw(cluster.tcp(gateway)))
            made.append(raw)
            kind = {"kind": claims.pop("kind")} if "kind" in claims else {}
            raw.hello(cluster.token(uid, **{"product": product, **claims}), device=device, **kind)
            if room:
                raw.ok("join", {"room": room, "presence": presence})
            return raw

        yield make
        for raw in made:
            check_shapes(raw)


def check_shapes(raw: Raw) -> None:
    """Everything the server said is in the table of section 5, with its fields and no others."""
    for op, _number, body in raw.seen:
        needed = {name for name in SERVER[op] if not name.endswith("?")}
        assert needed <= set(body), (op, body)
        if op not in ("ok", "error"):
            assert set(body) <= {name.rstrip("?") for name in SERVER[op]}, (op, body)


def framed(op: str, number: int, body: dict[str, Any]) -> bytes:
    packet: bytes = msgpack.packb([op, number, body])
    return struct.pack(">I", len(packet)) + packet


def replies(raw: Raw, *requests: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Send requests in one write; give the bodies of their replies in the order asked."""
    numbers = range(1_000, 1_000 + len(requests))
    packets = [framed(op, n, body) for n, (op, body) in zip(numbers, requests, strict=True)]
    raw.write(b"".join(packets))
    found: dict[int, dict[str, Any]] = {}
    while len(found) < len(requests):
        _op, number, body = raw.wait(lambda packet: packet[1] >= 1_000)
        assert number not in found, "exactly one reply"
        found[number] = body
    return [found[number] for number in numbers]


def codes(bodies: list[dict[str, Any]]) -> list[str]:
    return [body.get("code", "ok") for body in bodies]


def pushed(raw: Raw, *ops: str) -> list[dict[str, Any]]:
    """Give the bodies of what was pushed so far."""
    return [body for op, number, body in raw.seen if number == 0 and op in ops]


def heard_all(raw: Raw, room: str) -> None:
    """Read on until all that was sent to the room before this moment has come; says something in it."""
    mark = f"mark {time.monotonic_ns()}"
    raw.send("publish", {"room": room, "data": mark}, number=0)
    raw.wait(lambda packet: packet[0] == "message" and packet[2]["data"] == mark)


def numbers_heard(raw: Raw) -> list[tuple[int, Any]]:
    return [(body["offset"], body["data"]) for body in pushed(raw, "message")]


def eventually(holds: Callable[[], Any], what: str, seconds: float = 5.0) -> Any:
    """Ask until it holds; give what it gave."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


def wait_back(cluster: Cluster, old_pid: int) -> None:
    """Wait until users of both sessions can log in at the new gateway-1."""
    cluster.wait_restarted("gateway-1", old_pid)

    def can_log_in(uid: str) -> bool:
        try:
            with Raw(cluster.tcp(1)) as raw:
                body = {"v": 1, "token": cluster.token(uid), "device": "raw"}
                return raw.request("hello", body)[0] == "ok"
        except OSError:
            return False

    for uid in ("ada", "bob", "carl", "dora"):
        eventually(lambda uid=uid: can_log_in(uid), "gateway-1 is back", 15)  # type: ignore[misc]


# 3. life of a connection


def test_the_welcome_has_all_its_fields(cluster: Cluster) -> None:
    token = cluster.token("ada", ttl=600)
    with Raw(cluster.tcp(1)) as raw:
        client = {"name": "raw", "version": "0"}
        body = {"v": 1, "token": token, "device": "phone", "kind": "mobile", "client": client}
        welcome = raw.ok("hello", body)
    assert tuple(sorted(welcome)) == tuple(sorted(CLIENT["hello"].reply or ()))
    assert (welcome["v"], welcome["uid"], welcome["product"], welcome["device"]) == (
        1,
        "ada",
        "demo",
        "phone",
    )
    assert welcome["gateway"] == "gateway-1"
    assert welcome["session"] and isinstance(welcome["session"], str)
    assert 30 <= welcome["ping"] <= 300
    assert 0 < len(welcome["resume"].encode()) <= 512
    assert abs(welcome["exp"] / 1000 - (time.time() + 600)) < 3
    assert abs(welcome["time"] / 1000 - time.time()) < 3
    assert set(welcome["retry"]) == {"base", "factor", "max"}
    assert set(welcome["inbox"]) == {"seq", "bseq", "gap"}


def test_hello_join_and_publish_may_go_in_one_write(cluster: Cluster) -> None:
    room = "plaza/hasty"
    with Raw(cluster.tcp(0)) as raw:
        hello = {"v": 1, "token": cluster.token("hasty"), "device": "raw"}
        answers = replies(
            raw,
            ("hello", hello),
            ("join", {"room": room}),
            ("publish", {"room": room, "data": "now"}),
            ("ping", {}),
        )
        assert codes(answers) == ["ok"] * 4
        assert answers[2]["offset"] == answers[1]["offset"] + 1
        heard_all(raw, room)
        assert numbers_heard(raw)[0] == (answers[2]["offset"], "now")


def test_requests_behind_a_refused_hello_are_not_carried_out(cluster: Cluster, member: Member) -> None:
    room = "plaza/refused"
    witness = member("witness", room=room)
    with Raw(cluster.tcp(0)) as raw:
        packets: list[tuple[str, dict[str, Any]]] = [("hello", {"v": 1, "token": "x", "device": "raw"})]
        packets += [("join", {"room": room}), ("publish", {"room": room, "data": "never"})]
        raw.write(b"".join(framed(op, n, body) for n, (op, body) in enumerate(packets, 1)))
        raw.wait_end()
        assert [(op, number) for op, number, _body in raw.seen] == [("error", 1)]
    heard_all(witness, room)
    assert len(numbers_heard(witness)) == 1


REQUESTS: dict[str, dict[str, Any]] = {
    "join": {"room": "plaza/fields"},
    "publish": {"room": "plaza/fields", "data": 1},
    "history": {"room": "plaza/fields"},
    "presence": {"room": "plaza/fields"},
    "watch": {"users": ["ada"]},
    "profile": {},
    "send": {"to": "nobody", "data": 1},
    "leave": {"room": "plaza/fields"},
}


def test_replies_have_the_fields_of_the_table_and_come_once(
    cluster: Cluster, member: Member, product: str
) -> None:
    raw = member("ada")
    for op, body in REQUESTS.items():
        assert set(raw.ok(op, body)) == set(CLIENT[op].reply or ()), op
    assert set(raw.ok("refresh", {"token": cluster.token("ada", product)})) == {"exp", "resume"}
    assert set(raw.ok("presence", {"users": ["ada"]})) == {"count", "users", "unknown"}
    assert raw.request("ping", {})[::2] == ("pong", {})
    answered = [number for _op, number, _body in raw.seen if number]
    assert answered == list(range(1, len(REQUESTS) + 5))


def test_id_0_is_carried_out_and_not_answered(member: Member) -> None:
    room = "plaza/quiet"
    raw, witness = member("ada"), member("bob", 1, room=room)
    for op, body in REQUESTS.items():
        raw.send(op, {**body, "room": room} if "room" in body else body, number=0)
    assert raw.request("ping", {})[0] == "pong"
    witness.wait(lambda packet: packet[0] == "message" and packet[2]["uid"] == "ada")
    assert not [op for op, number, _body in raw.seen[1:] if number == 0 and op != "message"]


@pytest.mark.parametrize("room", ["plaza/ordered", "plaza/keep.ordered"], ids=["in memory", "durable"])
def test_what_touches_one_room_is_done_in_the_order_sent(member: Member, room: str) -> None:
    raw = member("ada")
    answers = replies(
        raw,
        ("publish", {"room": room, "data": "too soon"}),
        ("join", {"room": room}),
        ("publish", {"room": room, "data": 1}),
        ("history", {"room": room}),
        ("leave", {"room": room}),
        ("publish", {"room": room, "data": "too late"}),
        ("leave", {"room": room}),
        ("join", {"room": room}),
        ("publish", {"room": room, "data": 2}),
    )
    expected = ["not_joined", "ok", "ok", "ok", "ok", "not_joined", "not_joined", "ok", "ok"]
    assert codes(answers) == expected
    assert [message["data"] for message in answers[3]["messages"]] == [1]
    assert [answers[n]["offset"] for n in (1, 2, 7, 8)] == [0, 1, 1, 2]


def test_publishes_sent_together_get_their_offsets_in_that_order(member: Member) -> None:
    room = "plaza/keep.together"
    raw, other = member("ada", room=room), member("bob", 1, room=room)
    answers = replies(raw, *[("publish", {"room": room, "data": n}) for n in range(100)])
    assert [answer["offset"] for answer in answers] == list(range(1, 101))
    for listener in (raw, other):
        heard_all(listener, room)
        assert numbers_heard(listener)[:100] == [(n + 1, n) for n in range(100)]


def test_what_stands_behind_a_refused_join_is_not_joined(member: Member) -> None:
    raw = member("ada", rooms={"plaza/open": ["join", "publish"]})
    answers = replies(
        raw,
        ("join", {"room": "plaza/shut"}),
        ("publish", {"room": "plaza/shut", "data": 1}),
        ("leave", {"room": "plaza/shut"}),
        ("join", {"room": "plaza/open"}),
    )
    assert codes(answers) == ["forbidden", "not_joined", "not_joined", "ok"]


def test_a_resumed_login_is_the_same_user_with_the_same_rights_and_joins_again(
    cluster: Cluster, member: Member, product: str
) -> None:
    room = "plaza/resumed"
    first = member("ada", device="phone", kind="mobile", rooms={"plaza/*": ["join", "publish"]}, scopes=[])
    resume = first.seen[0][2]["resume"]
    place = first.ok("join", {"room": room})
    other = member("bob", 1, room=room)
    first.close()
    for number in range(3):
        other.ok("publish", {"room": room, "data": number})
    with Raw(cluster.tcp(1)) as again:
        welcome = again.ok("hello", {"v": 1, "resume": resume, "device": "phone"})
        assert (welcome["uid"], welcome["product"], welcome["device"]) == ("ada", product, "phone")
        assert welcome["session"] != first.seen[0][2]["session"]
        assert welcome["exp"] == first.seen[0][2]["exp"]
        assert again.error("publish", {"room": room, "data": 1})["code"] == "not_joined"
        reply = again.ok(
            "join", {"room": room, "since": {"epoch": place["epoch"], "offset": place["offset"]}}
        )
        assert reply["recovered"] and not reply["more"]
        assert [message["data"] for message in reply["messages"]] == [0, 1, 2]
        assert again.error("history", {"room": room})["code"] == "forbidden"
        assert again.error("send", {"to": "bob", "data": 1})["code"] == "forbidden"
        row = other.ok("presence", {"users": ["ada"]})["users"][0]
        assert row["devices"] == [{"device": "phone", "kind": "mobile"}]
        check_shapes(again)


def test_before_a_planned_stop_clients_are_told_where_to_go(cluster: Cluster, member: Member) -> None:
    room = "plaza/moving"
    moving, staying = member("ada", 1, device="phone", room=room), member("bob", 0, room=room)
    context = Context()
    callers = Callers(context, cluster.places, "tests", cluster.settings.rpc)
    try:
        assert callers.call("gateway-1", "drain") >= 1
    finally:
        callers.close()
        context.destroy(linger=0)
    goaway = moving.wait_op("goaway")
    host, port = cluster.tcp(0)
    assert goaway["to"] == [f"{host}:{port}"]
    assert goaway["after"] >= 0 and isinstance(goaway["reason"], str)
    with socket.socket() as probe:
        assert probe.connect_ex(cluster.tcp(1)) != 0, "nobody is let in any more"
    with Raw(cluster.tcp()) as shared:
        assert shared.hello(cluster.token("carl"))["gateway"] == "gateway-0"
    said = moving.ok("publish", {"room": room, "data": "still here"})
    assert staying.wait_op("message")["offset"] == said["offset"]
    new = member("ada", 0, device="phone", room=room)
    assert moving.wait_op("kick")["code"] == "replaced"
    new.ok("publish", {"room": room, "data": "moved"})
    last = member("dora", 0)
    old = cluster.pid("gateway-1")
    cluster.kill("gateway-1", signal.SIGTERM)
    wait_back(cluster, old)
    assert last.request("ping", {})[0] == "pong"


def test_a_gateway_that_stops_says_goaway_and_kicks_who_stays(cluster: Cluster, member: Member) -> None:
    stays = member("ada", 1)
    old = cluster.kill("gateway-1", signal.SIGTERM)
    assert stays.wait_op("goaway")["after"] <= 0.5
    kick = stays.wait_op("kick")
    assert (kick["code"], kick["reconnect"]) == ("drain", True)
    stays.wait_end()
    wait_back(cluster, old)


# 4 and 6. rooms


@pytest.mark.parametrize("room", ["plaza/first", "plaza/keep.first"])
def test_all_hear_the_same_messages_under_the_same_offsets_their_own_too(member: Member, room: str) -> None:
    ada, bob = member("ada", 0), member("bob", 1)
    joined = ada.ok("join", {"room": room})
    assert (joined["room"], joined["offset"], joined["count"]) == (room, 0, 1)
    assert (joined["recovered"], joined["messages"], joined["more"]) == (False, [], False)
    assert isinstance(joined["epoch"], int) and joined["epoch"] > 0
    said = ada.ok("publish", {"room": room, "data": {"a": [1]}})
    assert said == {"epoch": joined["epoch"], "offset": 1}
    late = bob.ok("join", {"room": room})
    assert (late["epoch"], late["offset"], late["count"], late["messages"]) == (joined["epoch"], 1, 2, [])
    assert bob.ok("publish", {"room": room, "data": "two"})["offset"] == 2
    first, second = ada.wait_op("message"), ada.wait_op("message")
    assert (first["room"], first["offset"], first["uid"], first["data"]) == (room, 1, "ada", {"a": [1]})
    assert (second["offset"], second["uid"], second["data"]) == (2, "bob", "two")
    assert abs(second["time"] / 1000 - time.time()) < 5
    assert bob.wait_op("message") == second
    history = bob.ok("history", {"room": room})
    assert history["messages"] == [first, second]


def test_a_room_left_is_heard_no_more_and_a_member_who_joins_again_stays_one(member: Member) -> None:
    room = "plaza/left"
    ada, bob = member("ada", room=room), member("bob", room=room)
    assert ada.ok("join", {"room": room})["count"] == 2
    bob.ok("publish", {"room": room, "data": 1})
    assert ada.wait_op("message")["data"] == 1
    assert ada.ok("leave", {"room": room}) == {}
    bob.ok("publish", {"room": room, "data": 2})
    ada.ok("join", {"room": room})
    bob.ok("publish", {"room": room, "data": 3})
    assert ada.wait_op("message")["data"] == 3
    assert [data for _offset, data in numbers_heard(ada)] == [1, 3]


@pytest.mark.parametrize("room", ["plaza/since", "plaza/keep.since"])
def test_since_gives_all_that_was_missed_or_says_that_it_does_not(member: Member, room: str) -> None:
    raw = member("ada", room=room)
    epoch = [raw.ok("publish", {"room": room, "data": n}) for n in range(1, 11)][-1]["epoch"]
    cases: list[tuple[tuple[int, int], bool, list[int]]] = [
        ((epoch, 0), True, list(range(1, 11))),
        ((epoch, 7), True, [8, 9, 10]),
        ((epoch, 10), True, []),
        ((epoch, 11), False, list(range(1, 11))),
        ((epoch, 2**53 - 1), False, list(range(1, 11))),
        ((epoch + 1, 7), False, list(range(1, 11))),
        ((0, 0), False, list(range(1, 11))),
    ]
    for (since_epoch, offset), recovered, offsets in cases:
        since = {"epoch": since_epoch, "offset": offset}
        for op in ("join", "history"):
            reply = raw.ok(op, {"room": room, "since": since})
            assert (reply["epoch"], reply["offset"]) == (epoch, 10)
            assert (reply["recovered"], reply["more"]) == (recovered, False), since
            assert [message["offset"] for message in reply["messages"]] == offsets
    cut = raw.ok("history", {"room": room, "since": {"epoch": epoch, "offset": 2}, "limit": 3})
    assert ([m["offset"] for m in cut["messages"]], cut["recovered"], cut["more"]) == ([3, 4, 5], True, True)
    newest = raw.ok("history", {"room": room, "limit": 3})
    assert [message["offset"] for message in newest["messages"]] == [8, 9, 10]
    assert (newest["first"], newest["recovered"], newest["more"]) == (1, False, False)


@pytest.mark.parametrize(("count", "size", "first_reply"), [(310, 0, 300), (20, 20_000, 13)])
def test_a_reply_ends_at_300_messages_or_256_kib_and_more_leads_on(
    member: Member, count: int, size: int, first_reply: int
) -> None:
    room = f"plaza/long.{count}"
    raw = member("ada", room=room)
    for _ in range(count):
        raw.send("publish", {"room": room, "data": bytes(size)}, number=0)
    epoch = eventually(lambda: (r := raw.ok("history", {"room": room}))["offset"] == count and r, "all")[
        "epoch"
    ]
    for op in ("join", "history"):
        got: list[int] = []
        sizes = []
        more = True
        while more:
            since = {"epoch": epoch, "offset": got[-1] if got else 0}
            reply = raw.ok(op, {"room": room, "since": since})
            assert reply["recovered"]
            got += [message["offset"] for message in reply["messages"]]
            sizes.append(len(reply["messages"]))
            more = reply["more"]
        assert got == list(range(1, count + 1))
        assert sizes[0] == first_reply
    newest = raw.ok("history", {"room": room})
    assert [m["offset"] for m in newest["messages"]] == list(range(count - first_reply + 1, count + 1))


def test_a_room_nobody_was_in_has_an_empty_history(member: Member) -> None:
    reply = member("ada").ok("history", {"room": "plaza/unborn"})
    assert (reply["offset"], reply["messages"], reply["recovered"], reply["more"]) == (0, [], False, False)


def test_a_room_whose_history_had_to_go_begins_a_new_epoch_and_says_so(member: Member) -> None:
    room = "plaza/evicted"
    raw, other = member("ada", room=room), member("bob", 1)
    before = raw.ok("publish", {"room": room, "data": bytes(60_000)})
    crowd = [f"plaza/crowding{n}" for n in range(3)]
    for name in crowd:
        other.ok("join", {"room": name})
        for _ in range(MEMORY // 60_000 // 2):
            other.ok("publish", {"room": name, "data": bytes(60_000)})
    gap = raw.wait(lambda packet: packet[0] == "gap" and packet[2]["room"] == room)[2]
    assert (gap["reason"], gap["offset"]) == ("epoch", 0)
    assert gap["epoch"] > before["epoch"]
    assert raw.ok("publish", {"room": room, "data": 1}) == {"epoch": gap["epoch"], "offset": 1}
    heard_all(raw, room)
    assert [offset for offset, _data in numbers_heard(raw)] == [1, 1, 2]
    since = {"epoch": before["epoch"], "offset": before["offset"]}
    assert not other.ok("join", {"room": room, "since": since})["recovered"]


def test_a_durable_room_that_had_to_leave_memory_goes_on_for_its_members(member: Member) -> None:
    room = "plaza/keep.evicted"
    raw, other = member("ada", room=room), member("bob", 1)
    before = raw.ok("publish", {"room": room, "data": bytes(60_000)})
    for n in range(3):
        name = f"plaza/crowding.keep{n}"
        other.ok("join", {"room": name})
        for _ in range(MEMORY // 60_000 // 2):
            other.ok("publish", {"room": name, "data": bytes(60_000)})
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert other.request("ping", {})[0] == "pong"
        time.sleep(0.05)
    other.ok("join", {"room": room})
    assert other.ok("publish", {"room": room, "data": 2}) == {"epoch": before["epoch"], "offset": 2}
    heard_all(raw, room)
    assert [offset for offset, _data in numbers_heard(raw)] == [1, 2, 3]
    assert other.ok("join", {"room": room})["count"] == 2


def test_what_a_gateways_full_queue_kept_from_it_is_announced_as_lost(
    cluster: Cluster, member: Member
) -> None:
    room = "plaza/lossy"
    raw, publisher = member("ada", 0, room=room), member("bob", 1, room=room)
    epoch = raw.seen[-1][2]["epoch"]
    cluster.kill("gateway-0", signal.SIGSTOP)
    try:
        for number in range(60):
            last = publisher.ok("publish", {"room": room, "data": bytes(50_000) + bytes((number,))})["offset"]
    finally:
        cluster.kill("gateway-0", signal.SIGCONT)
    gap = raw.wait_op("gap")
    assert (gap["room"], gap["epoch"], gap["reason"]) == (room, epoch, "lost")
    before = [offset for offset, _data in numbers_heard(raw)]
    assert before == list(range(1, len(before) + 1))
    assert len(before) < gap["offset"] <= last

    def hears_on() -> bool:
        said = raw.ok("publish", {"room": room, "data": "on"})["offset"]
        raw.request("ping", {})
        return bool(numbers_heard(raw)[-1][0] >= said)

    eventually(hears_on, "the room goes on")
    offsets = [offset for offset, _data in numbers_heard(raw)]
    assert offsets == sorted(set(offsets))


def test_there_is_no_room_on_a_map_that_does_not_exist(member: Member) -> None:
    raw = member("ada")
    for op in ("join", "history", "presence"):
        assert raw.error(op, {"room": "nowhere/x"})["code"] == "not_found", op
    for op, body in (("leave", {}), ("publish", {"data": 1})):
        assert raw.error(op, {"room": "nowhere/x", **body})["code"] in ("not_found", "not_joined"), op


# 6. rights


def test_a_token_allows_only_what_its_patterns_say(cluster: Cluster, member: Member, product: str) -> None:
    rooms = {"plaza/news.*": ["join", "history"], "plaza/*.team": ["join", "publish", "presence"]}
    raw = member("reader", rooms=rooms)
    allowed = {
        "plaza/news.one": {"join", "history"},
        "plaza/a.team": {"join", "publish", "presence"},
        "plaza/news.team": {"join", "publish", "history", "presence"},
    }
    for room, actions in allowed.items():
        raw.ok("join", {"room": room})
        for op, body in (("publish", {"data": 1}), ("history", {}), ("presence", {})):
            reply = raw.request(op, {"room": room, **body})
            assert (reply[2].get("code", "ok") == "ok") == (op in actions), (room, op)
            assert reply[2].get("code", "forbidden") == "forbidden"
    assert raw.error("join", {"room": "plaza/other"})["code"] == "forbidden"
    assert raw.error("history", {"room": "plaza/other"})["code"] == "forbidden"
    assert raw.error("publish", {"room": "plaza/other", "data": 1})["code"] == "not_joined"
    raw.ok("refresh", {"token": cluster.token("reader", product, rooms={"plaza/other": ["join"]})})
    raw.ok("join", {"room": "plaza/other"})
    assert raw.error("publish", {"room": "plaza/a.team", "data": 1})["code"] == "forbidden"


def test_history_and_presence_need_no_membership(member: Member) -> None:
    room = "plaza/outside"
    inside, outside = member("ada", room=room), member("bob", 1)
    inside.ok("publish", {"room": room, "data": 1})
    assert len(outside.ok("history", {"room": room})["messages"]) == 1
    assert [user["uid"] for user in outside.ok("presence", {"room": room})["users"]] == ["ada"]


SCOPED: dict[str, tuple[str, dict[str, Any]]] = {
    "send": ("send", {"to": "bob", "data": 1}),
    "watch": ("watch", {"users": ["bob"]}),
    "profile": ("profile", {"set": {"city": "Bern"}}),
}


def test_scopes_allow_send_watch_and_profile(member: Member) -> None:
    for scope in (*SCOPED, ""):
        raw = member("ada", device=f"d.{scope}", scopes=[scope] if scope else [])
        for needed, (op, body) in SCOPED.items():
            code = raw.request(op, body)[2].get("code", "ok")
            assert code == ("ok" if needed == scope else "forbidden"), (scope, op)


OUTSIDE: dict[str, tuple[dict[str, Any], str]] = {
    "enter": ({"map": "plaza"}, "not_found"),
    "input": ({"n": 1, "data": 1}, "not_joined"),
    "exit": ({}, "not_joined"),
    "call": ({"room": "plaza/x", "method": "m"}, "not_joined"),
}


def test_a_map_without_places_is_not_entered_and_nothing_is_done_outside_of_one(member: Member) -> None:
    raw = member("ada")
    for op, (body, code) in OUTSIDE.items():
        assert raw.error(op, body)["code"] == code, op
    assert raw.error("enter", {"map": "nowhere"})["code"] == "not_found"
    assert raw.error("call", {"map": "plaza", "method": "m"})["code"] == "not_joined"
    raw.ok("join", {"room": "plaza/x"})
    assert raw.error("call", {"room": "plaza/x", "method": "m"})["code"] == "not_found"


# 6. devices


def test_the_newest_login_of_a_device_wins_on_any_gateway(member: Member) -> None:
    room = "plaza/device"
    old, beside = member("ada", 0, "phone", room), member("ada", 0, "tablet", room)
    new = member("ada", 1, "phone", room)
    kick = old.wait_op("kick")
    assert (kick["code"], kick["reconnect"]) == ("replaced", False)
    old.wait_end()
    assert beside.request("ping", {})[0] == "pong"
    assert int(new.seen[0][2]["session"], 16) > int(old.seen[0][2]["session"], 16)
    new.ok("publish", {"room": room, "data": 1})
    assert eventually(lambda: new.ok("join", {"room": room})["count"] == 2, "the old connection is out")
    newest = member("ada", 1, "phone")
    assert new.wait_op("kick")["code"] == "replaced"
    assert newest.request("ping", {})[0] == "pong"


def test_with_policy_newest_a_login_kicks_all_other_devices(member: Member) -> None:
    phone, tablet = member("ada", 0, "phone", product="one"), member("ada", 1, "tablet", product="one")
    assert (phone.wait_op("kick")["code"], phone.seen[-1][2]["reconnect"]) == ("policy", False)
    bob = member("bob", 1, "phone", product="one")
    assert tablet.request("ping", {})[0] == bob.request("ping", {})[0] == "pong"


def test_with_policy_per_kind_a_login_kicks_those_of_its_kind(member: Member) -> None:
    devices = (("d1", "phone"), ("d2", "web"), ("d3", "phone"))
    first, web, third = (member("ada", 0, name, product="kinds", kind=kind) for name, kind in devices)
    assert first.wait_op("kick")["code"] == "policy"
    assert web.request("ping", {})[0] == third.request("ping", {})[0] == "pong"


def test_with_policy_refuse_a_second_device_is_a_conflict_while_the_first_is_there(
    cluster: Cluster, member: Member
) -> None:
    first = member("ada", 0, "phone", product="first")
    hello = {"v": 1, "token": cluster.token("ada", "first"), "device": "tablet"}

    def second() -> str:
        with Raw(cluster.tcp(1)) as raw:
            body = raw.request("hello", hello)[2]
            if "code" in body:
                raw.wait_end()
            return str(body.get("code", "ok"))

    assert second() == "conflict"
    again = member("ada", 1, "phone", product="first")
    assert first.wait_op("kick")["code"] == "replaced"
    assert second() == "conflict"
    again.send("bye", {})
    again.wait_end()
    assert eventually(lambda: second() == "ok", "the first has gone")


# 6. presence


def devices_in(raw: Raw, room: str, uid: str) -> list[str]:
    """Give the devices a room's presence names for a user."""
    users = raw.ok("presence", {"room": room})["users"]
    return sorted(device["device"] for user in users if user["uid"] == uid for device in user["devices"])


def test_joined_and_left_speak_of_users_and_count_of_connections(member: Member) -> None:
    room = "plaza/users"
    listener = member("listener", 0, room=room, presence=True)
    deaf = member("deaf", 1, room=room)

    def next_event() -> tuple[str, str, int]:
        wanted = ("joined", "left")
        op, _number, body = listener.wait(lambda p: p[0] in wanted and p[2]["uid"] != "listener")
        assert body["room"] == room
        return op, body["uid"], body["count"]

    assert next_event() == ("joined", "deaf", 2)
    phone = member("ada", 0, "phone", room)
    assert next_event() == ("joined", "ada", 3)
    tablet = member("ada", 1, "tablet", room)
    eventually(lambda: devices_in(listener, room, "ada") == ["phone", "tablet"], "both are named")
    phone.ok("leave", {"room": room})
    assert eventually(lambda: listener.ok("presence", {"room": room})["count"] == 3, "three connections")
    tablet.close()
    assert next_event() == ("left", "ada", 2)
    deaf.ok("leave", {"room": room})
    assert next_event() == ("left", "deaf", 1)
    deaf.ok("join", {"room": room})
    heard_all(deaf, room)
    heard_all(listener, room)
    ada = [body for body in pushed(listener, "joined", "left") if body["uid"] == "ada"]
    assert len(ada) == 2, "first connection in, last one out"
    assert not pushed(deaf, "joined", "left", "count")


def test_presence_of_a_room_names_users_with_their_devices(member: Member) -> None:
    room = "plaza/who"
    asker = member("asker", 1)
    assert asker.ok("presence", {"room": room}) == {"count": 0, "users": [], "unknown": []}
    member("ada", 0, "phone", room, kind="mobile")
    member("ada", 1, "tablet", room)
    member("bob", 1, "phone", room)
    reply = asker.ok("presence", {"room": room})
    assert (reply["count"], reply["unknown"]) == (3, [])
    users = {user["uid"]: user for user in reply["users"]}
    assert set(users) == {"ada", "bob"}
    devices = sorted((device["device"], device["kind"]) for device in users["ada"]["devices"])
    assert devices == [("phone", "mobile"), ("tablet", "")]
    assert all(abs(user["since"] / 1000 - time.time()) < 10 for user in users.values())


def test_who_asks_right_behind_its_own_join_is_named_too(member: Member) -> None:
    room = "plaza/me-too"
    member("listener", 1, room=room, presence=True)
    for uid in ("ada", "bob", "carl"):
        joined, who = replies(member(uid), ("join", {"room": room}), ("presence", {"room": room}))
        assert uid in [user["uid"] for user in who["users"]]
        assert who["count"] == joined["count"]


def test_a_large_room_is_only_counted_and_named_again_when_it_is_smaller(member: Member) -> None:
    room = "plaza/large"
    listener = member("listener", 0, room=room, presence=True)
    others = [member(f"m{n}", n % 2, room=room) for n in range(NAMED - 1)]
    eventually(lambda: len(listener.ok("presence", {"room": room})["users"]) == NAMED, "all are named")
    others += [member(f"n{n}", 1, room=room) for n in range(3)]
    reply = listener.ok("presence", {"room": room})
    assert (reply["count"], reply["users"]) == (NAMED + 3, [])
    listener.find(lambda packet: packet[0] == "count" and packet[2] == {"room": room, "count": NAMED + 3})
    told_at = time.monotonic()
    before = len(pushed(listener, "joined", "left"))
    for raw in others[:2]:
        raw.ok("leave", {"room": room})
    listener.wait(lambda packet: packet[0] == "count" and packet[2]["count"] == NAMED + 1)
    assert time.monotonic() - told_at > 0.5, "at most once a second"
    for raw in others[2 : 2 + NAMED + 1 - NAMED_AGAIN]:
        raw.ok("leave", {"room": room})
    named = eventually(lambda: listener.ok("presence", {"room": room})["users"], "named again")
    assert len(named) == NAMED_AGAIN
    assert len(pushed(listener, "joined", "left")) == before
    others[-1].ok("leave", {"room": room})
    left = listener.wait_op("left")
    assert (left["uid"], left["count"]) == ("n2", NAMED_AGAIN - 1)


def test_watched_users_are_told_now_and_their_changes_follow(member: Member) -> None:
    watcher = member("watcher", 1)
    bob = member("bob", 0)
    now = watcher.ok("watch", {"users": ["carol", "bob", "carol"]})["users"]
    assert sorted((row["uid"], row["online"]) for row in now) == [("bob", True), ("carol", False)]
    carol = member("carol", 0, "phone", kind="mobile")
    online = watcher.wait_op("presence")
    assert (online["uid"], online["online"]) == ("carol", True)
    assert online["devices"] == [{"device": "phone", "kind": "mobile"}]
    assert abs(online["since"] / 1000 - time.time()) < 5
    carol.close()
    bob.close()
    closed_at = time.monotonic()
    back = member("bob", 1)
    offline = watcher.wait(lambda p: p[0] == "presence" and p[2]["online"] is False)[2]
    assert (offline["uid"], offline["devices"]) == ("carol", [])
    assert time.monotonic() - closed_at > OFFLINE_AFTER - 0.2
    assert [body["uid"] for body in pushed(watcher, "presence") if not body["online"]] == ["carol"]
    watcher.ok("watch", {"users": ["carol"], "off": True})
    watcher.ok("watch", {"users": ["dave"]})
    again, dave = member("carol", 0), member("dave", 0)
    assert watcher.ok("presence", {"users": ["carol", "bob", "dave"]})["count"] == 3
    watcher.find(lambda p: p[0] == "presence" and p[2]["uid"] == "dave")
    assert [body["online"] for body in pushed(watcher, "presence") if body["uid"] == "carol"] == [True, False]
    assert {raw.request("ping", {})[0] for raw in (back, again, dave)} == {"pong"}


def test_presence_of_users_names_who_is_online_with_devices(member: Member) -> None:
    member("ada", 0, "phone", kind="mobile")
    member("ada", 1, "tablet")
    asker = member("asker", 0)
    reply = asker.ok("presence", {"users": ["ada", "nobody", "asker", "ada"]})
    assert (reply["count"], reply["unknown"]) == (2, [])
    users = {user["uid"]: user for user in reply["users"]}
    assert set(users) == {"ada", "asker"}
    assert [(d["device"], d["kind"]) for d in users["ada"]["devices"]] == [
        ("phone", "mobile"),
        ("tablet", ""),
    ]
    assert asker.ok("presence", {"users": []}) == {"count": 0, "users": [], "unknown": []}


def test_users_whose_presence_cannot_be_known_now_are_unknown_never_offline(
    cluster: Cluster, member: Member, product: str
) -> None:
    def of_session(session: str, name: str) -> str:
        owner = cluster.places.session_of
        return next(f"{name}{n}" for n in range(100) if owner(f"{product}/{name}{n}") == session)

    lost, known = of_session("session-0", "lost"), of_session("session-1", "known")
    member(known)
    asker = member(of_session("session-1", "asker"))
    cluster.kill("session-0", signal.SIGSTOP)
    try:
        reply = asker.ok("presence", {"users": [lost, known]})
        assert ([user["uid"] for user in reply["users"]], reply["unknown"]) == ([known], [lost])
        states = {row["uid"]: row["online"] for row in asker.ok("watch", {"users": [lost, known]})["users"]}
        assert states == {lost: None, known: True}
    finally:
        cluster.kill("session-0", signal.SIGCONT)
    eventually(lambda: not asker.ok("presence", {"users": [lost]})["unknown"], "known again")


# 4. send and profile


def test_a_message_without_keep_reaches_all_devices_of_its_receivers_once(member: Member) -> None:
    sender = member("sender", 0)
    phone, tablet, bob = member("ada", 0, "phone"), member("ada", 1, "tablet"), member("bob", 1)
    sent = sender.ok("send", {"to": ["ada", "bob", "nobody", "ada"], "data": {"hi": b"\0"}})
    assert sent["online"] == 2
    for raw in (phone, tablet, bob):
        inbox = raw.wait_op("inbox")
        assert (inbox["mid"], inbox["uid"], inbox["data"]) == (sent["mid"], "sender", {"hi": b"\0"})
        assert abs(inbox["time"] / 1000 - time.time()) < 5
        assert set(inbox) == {"mid", "uid", "data", "time"}
    second = sender.ok("send", {"to": "ada", "data": 2})
    assert (second["online"], second["mid"] != sent["mid"]) == (1, True)
    assert phone.wait_op("inbox")["data"] == 2
    assert len(pushed(phone, "inbox")) == 2
    assert sender.ok("send", {"to": "nobody", "data": 1})["online"] == 0
    sender.send("send", {"to": "sender", "data": "me"})
    assert sender.wait_op("inbox")["data"] == "me"


def test_profiles_are_set_read_and_their_names_unique(member: Member) -> None:
    ada, bob = member("ada", 0), member("bob", 1)
    own = ada.ok("profile", {"set": {"name": "Zoë 🦉", "city": "Bern", "age": 7}})["users"]
    assert own[0]["name"] == "Zoë 🦉"
    assert own[0]["profile"] | {"city": "Bern", "age": 7} == own[0]["profile"]
    assert bob.error("profile", {"set": {"name": "Zoë 🦉", "city": "Rome"}})["code"] == "conflict"
    rows = bob.ok("profile", {"users": ["nobody", "ada", "bob"]})["users"]
    assert [row["uid"] for row in rows] == ["nobody", "ada", "bob"]
    assert rows[0] == {"uid": "nobody", "name": None, "profile": {}}
    assert (rows[1], rows[2]["name"]) == (own[0], None)
    assert ada.ok("profile", {})["users"] == own
    assert ada.ok("profile", {"users": []})["users"] == []
    ada.ok("profile", {"set": {"name": "Ada"}})
    assert bob.ok("profile", {"set": {"name": "Zoë 🦉"}})["users"][0]["name"] == "Zoë 🦉"
    assert ada.error("profile", {"set": {"name": "Zoë 🦉"}})["code"] == "conflict"
    assert ada.ok("profile", {})["users"][0]["name"] == "Ada"
