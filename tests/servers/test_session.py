from __future__ import annotations

import io
import time
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

from common.errors import BadField, DeadlineExceeded, Unavailable
from common.net import log as logs
from common.net.metrics import Metrics
from common.net.register.calls import CALLS, now_ms
from common.places import Places
from common.settings import Cluster, Settings
from common.settings import Session as SessionSettings
from servers.session import LINK, Session

ANN, BOB = "demo/ann", "demo/bob"
LATER = 2**52


class FakeLinks:
    """Remembers what was sent to whom; `down` and `full` refuse."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[Any]]] = []
        self.down: set[str] = set()
        self.full: set[str] = set()

    def up(self, name: str) -> bool:
        return name not in self.down

    def send(self, name: str, item: bytes) -> bool:
        if name in self.down | self.full:
            return False
        self.sent.append((name, msgpack.unpackb(item)))
        return True

    def take(self) -> list[tuple[str, list[Any]]]:
        sent, self.sent = self.sent, []
        return sent


class FakeCallers:
    """Remembers the rows written; answers or raises as told. Nothing else is stored."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.answers: list[Exception] = []
        self.bans: dict[str, int] | Exception = {}
        self.ended: dict[tuple[str, str], int] = {}

    def call(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        if method == "bans":
            if isinstance(self.bans, Exception):
                raise self.bans
            return self.bans
        if method == "logins_ended":
            return [self.ended.get((user, device), 0) for user, device in args[0]]
        if method == "device_mark":
            self.ended.update({(user, device): epoch for user, device, _, epoch in args[0]})
            return None
        assert method == "users_seen"
        self.calls.append(list(args[0]))
        if self.answers:
            raise self.answers.pop(0)


class Scene:
    """A session process with both gateways announced, driven by link items."""

    def __init__(self, announced: bool = True, read: bool = True, **session: Any) -> None:
        settings = Settings(cluster=Cluster(sessions=1), session=SessionSettings(**session))
        self.log = io.StringIO()
        logs.setup("info", "session-0", self.log)
        self.links, self.callers = FakeLinks(), FakeCallers()
        self.timers: dict[str, float] = {}
        self.clock = 0.0
        self.process = SimpleNamespace(
            name="session-0",
            settings=settings,
            places=Places(settings),
            links=self.links,
            callers=self.callers,
            metrics=Metrics("session-0"),
            log=logs.get(),
            index=0,
            directory={},
            thaw=lambda: None,
            tasks=SimpleNamespace(
                every=lambda name, seconds, function: self.timers.update({name: seconds}),
                spawn=lambda name, function, core=False: self.timers.update({name: 0.0}),
            ),
        )
        self.service = Session(self.process)  # type: ignore[arg-type]
        if read:
            self.service.register.banbook.meet("demo")
            self.read_bans()
        if announced:
            for index in (0, 1):
                self.item(index, "announce", [], True, True)

    def item(self, index: int, kind: str, *rest: Any, incarnation: str = "a") -> list[tuple[str, list[Any]]]:
        """Have a gateway send one item; give what is sent for it."""
        handler = LINK.get(kind)
        assert handler is not None
        handler(
            self.service, SimpleNamespace(name=f"gateway-{index}", incarnation=incarnation, term=1), *rest
        )
        return self.links.take()

    def open(self, index: int, conn: int, user: str = ANN, device: str = "p", **more: Any) -> list[Any]:
        deadline, ticket = more.pop("deadline", LATER), more.pop("ticket", [])
        rest: tuple[Any, ...] = (user, device, "phone", 0, deadline, [], ticket)
        return self.item(index, "open", 50 + conn, conn, *rest, **more)

    def call(self, method: str, *args: Any) -> Any:
        """Call the process as center does."""
        handler = CALLS.get(method)
        assert handler is not None
        return handler(self.service.register, *args)

    def read_bans(self) -> list[tuple[str, list[Any]]]:
        """Have the bans that are due read; give what is sent then."""
        self.clock += 3_600
        self.service.register.banbook.step(self.clock)
        return self.links.take()

    def turns(self, count: int) -> list[tuple[str, list[Any]]]:
        for _ in range(count):
            self.service.turn()
        return self.links.take()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_login_is_answered_with_its_epoch_and_since(scene: Scene) -> None:
    before = now_ms()
    ((name, (kind, rid, (epoch, since))),) = scene.open(0, 1)
    assert (name, kind, rid) == ("gateway-0", "ok", 51)
    assert before <= since <= now_ms() and epoch >= before * 1000


def test_the_replaced_connection_is_kicked_before_the_answer(scene: Scene) -> None:
    ((_, (_, _, (epoch, _))),) = scene.open(0, 1)
    kick, answer = scene.open(1, 2)
    assert kick == ("gateway-0", ["kick", 1, epoch, "replaced", "this device logged in again"])
    assert answer[0] == "gateway-1" and answer[1][:2] == ["ok", 52]


def fresh_ticket(nonce: str = "n") -> list[Any]:
    return [nonce, int(time.time()) + 40]


def test_a_ticket_opens_one_login_and_a_second_one_disturbs_nobody(scene: Scene) -> None:
    ticket = fresh_ticket()
    assert scene.open(0, 1, ticket=ticket)[0][1][0] == "ok"
    ((_, answer),) = scene.open(1, 2, ticket=ticket)
    assert answer[:3] == ["err", 52, "unauthorized"]
    assert [login.conn for login in scene.service.presence.logins(ANN)] == [1]
    assert scene.open(1, 3, ticket=fresh_ticket("m"))[-1][1][0] == "ok"


def test_a_login_that_is_refused_leaves_its_ticket_unused() -> None:
    scene = Scene(policies={"demo": "refuse"})
    scene.open(0, 1, device="other")
    ticket = fresh_ticket()
    assert scene.open(0, 2, ticket=ticket)[0][1][2] == "conflict"
    scene.item(0, "close", 1, ANN, "other", 0, False)
    assert scene.open(0, 3, ticket=ticket)[-1][1][0] == "ok"


def test_a_ticket_from_before_this_process_may_have_been_used(scene: Scene) -> None:
    ((_, answer),) = scene.open(0, 1, ticket=["n", int(time.time()) + 25])
    assert answer[:3] == ["err", 51, "unauthorized"]


def test_a_refused_login_is_answered_with_the_error() -> None:
    scene = Scene(policies={"demo": "refuse"})
    scene.open(0, 1, device="p")
    assert scene.open(1, 2, device="w") == [
        ("gateway-1", ["err", 52, "conflict", "another device is connected", {}])
    ]


def test_a_login_past_its_deadline_is_dropped(scene: Scene) -> None:
    assert scene.open(0, 1, deadline=now_ms() - 1) == []
    assert ANN not in scene.service.presence.users
    assert scene.process.metrics.counters.late_opens == 1


def test_words_of_an_older_life_of_a_gateway_are_void(scene: Scene) -> None:
    scene.item(0, "announce", [], True, True, incarnation="b")
    assert scene.open(0, 1, incarnation="a") == []
    for item in (
        ("announce", [[1, ANN, "p", "phone", 5, 5, []]], True, True),
        ("watch", [ANN], False),
        ("watches", [ANN], True, True),
        ("where", 3, [ANN]),
        ("close", 1, ANN, "p", 5, True),
    ):
        assert scene.item(0, *item, incarnation="a") == []
    assert not scene.service.presence.users and not scene.service.presence.watches


def test_where_answers_devices_and_since(scene: Scene) -> None:
    ((_, (_, _, (_, since))),) = scene.open(0, 1)
    assert scene.item(1, "where", 9, [ANN, BOB]) == [
        ("gateway-1", ["ok", 9, [[ANN, True, [["p", "phone"]], since], [BOB, False, [], 0]]])
    ]


def test_where_answers_unknown_until_all_gateways_have_announced() -> None:
    scene = Scene(announced=False)
    scene.item(0, "announce", [], True, True)
    assert scene.item(0, "where", 9, [BOB]) == [("gateway-0", ["ok", 9, [[BOB, None, [], 0]]])]
    assert scene.service.missing() == ["gateway-1 has not announced its connections"]


def test_a_message_goes_once_to_each_gateway_with_all_its_connections(scene: Scene) -> None:
    scene.open(0, 1, ANN, "p")
    scene.open(0, 2, ANN, "w")
    scene.open(1, 3, BOB)
    assert scene.item(0, "send", 9, [ANN, BOB, "demo/nobody"], 77, "eve", b"x", 123) == [
        ("gateway-0", ["inbox", [2, 1], 77, "eve", b"x", 123]),
        ("gateway-1", ["inbox", [3], 77, "eve", b"x", 123]),
        ("gateway-0", ["ok", 9, 2]),
    ]


def test_a_receiver_whose_gateway_takes_nothing_does_not_count_as_reached(scene: Scene) -> None:
    scene.open(0, 1, ANN)
    scene.open(1, 2, BOB)
    scene.links.full.add("gateway-1")
    assert scene.item(0, "send", 9, [ANN, BOB], 77, "eve", b"x", 123)[-1] == ("gateway-0", ["ok", 9, 1])


def test_announced_connections_that_are_superseded_are_named_stale(scene: Scene) -> None:
    scene.open(0, 1)
    assert scene.item(1, "announce", [[9, ANN, "p", "phone", 5, 5, []]], True, True) == [
        ("gateway-1", ["stale", [9]])
    ]


def test_changes_are_told_once_a_turn_to_who_watches(scene: Scene) -> None:
    scene.item(0, "watch", [ANN, BOB], False)
    ((_, (_, _, (_, since))),) = scene.open(1, 1)
    assert scene.turns(1) == [("gateway-0", ["presence", [[ANN, True, [["p", "phone"]], since]]])]
    assert scene.turns(1) == []


def test_a_user_is_told_offline_after_the_delay() -> None:
    scene = Scene(offline_after=2.0)
    scene.turns(4)
    scene.item(0, "watch", [ANN], False)
    ((_, (_, _, (epoch, _))),) = scene.open(1, 1)
    scene.turns(1)
    scene.item(1, "close", 1, ANN, "p", epoch, False)
    assert scene.turns(2) == []
    assert scene.turns(1) == [("gateway-0", ["presence", [[ANN, False, [], 0]]])]


def test_what_a_full_link_did_not_take_is_told_at_a_later_turn(scene: Scene) -> None:
    scene.item(0, "watch", [ANN], False)
    scene.open(1, 1)
    scene.links.full.add("gateway-0")
    assert scene.turns(2) == []
    scene.links.full.clear()
    ((name, item),) = scene.turns(1)
    assert name == "gateway-0" and item[0] == "presence" and item[1][0][:2] == [ANN, True]


def test_a_kick_that_a_full_link_did_not_take_is_repeated_while_the_link_lasts(scene: Scene) -> None:
    scene.open(0, 1)
    scene.links.full.add("gateway-0")
    scene.open(1, 2)
    assert scene.turns(1) == []
    scene.links.full.clear()
    ((name, item),) = scene.turns(1)
    assert (name, item[:2]) == ("gateway-0", ["kick", 1])
    assert scene.turns(1) == []


def test_a_new_link_voids_the_kicks_that_waited(scene: Scene) -> None:
    scene.open(0, 1)
    scene.links.full.add("gateway-0")
    scene.open(1, 2)
    scene.links.full.clear()
    scene.service.link_up("gateway-0")
    assert scene.turns(1) == []


def test_all_watches_after_a_link_up_are_told_in_bounded_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servers.session.TOLD_PER_ITEM", 2)
    scene = Scene()
    for conn in range(3):
        scene.open(1, conn, f"demo/{conn}")
    scene.item(0, "watches", [f"demo/{conn}" for conn in range(3)], True, True)
    items = scene.turns(1)
    assert [len(item[1]) for _, item in items] == [2, 1]


SIGNS = {
    "link down, nothing in the directory": ({}, False),
    "link down, but the directory knows it ready": ({"gateway-1": ["a", 1, "ready", 100]}, True),
    "link down, suspect": ({"gateway-1": ["a", 1, "suspect", 7_000]}, False),
}


@pytest.mark.parametrize("directory, stays", SIGNS.values(), ids=SIGNS)
def test_a_gateway_not_heard_of_is_gone_after_a_while(directory: dict[str, Any], stays: bool) -> None:
    scene = Scene()
    scene.open(1, 1)
    scene.links.down.add("gateway-1")
    for _ in range(13):
        scene.process.directory = dict(directory)
        scene.turns(1)
    assert bool(scene.service.presence.targets([ANN])) is stays
    assert ("gateway is gone" in scene.log.getvalue()) is not stays


def test_an_old_directory_is_no_sign_of_life(scene: Scene) -> None:
    scene.links.down.add("gateway-1")
    scene.process.directory = {"gateway-1": ["a", 1, "ready", 100]}
    scene.turns(14)
    assert "gateway is gone" in scene.log.getvalue()


def test_the_directory_calls_a_gateway_gone_at_once_unless_its_link_is_up(scene: Scene) -> None:
    scene.open(1, 1)
    scene.process.directory = {"gateway-1": ["a", 1, "gone", 12_000]}
    scene.turns(1)
    assert scene.service.presence.targets([ANN])
    scene.links.down.add("gateway-1")
    scene.process.directory = dict(scene.process.directory)
    scene.turns(1)
    assert not scene.service.presence.targets([ANN])


def test_after_a_freeze_presence_is_unknown_until_all_announce(scene: Scene) -> None:
    scene.service.fenced()
    assert scene.item(0, "where", 9, [BOB]) == [("gateway-0", ["ok", 9, [[BOB, None, [], 0]]])]


def test_what_is_seen_is_written_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servers.session.SEEN_BATCH", 2)
    scene = Scene()
    for conn in range(3):
        scene.open(0, conn, f"demo/{conn}")
    scene.service.flush_seen()
    assert [[row[0] for row in rows] for rows in scene.callers.calls] == [["demo/0", "demo/1"], ["demo/2"]]
    scene.service.flush_seen()
    assert len(scene.callers.calls) == 2


def test_rows_storage_did_not_take_are_repeated_unchanged(scene: Scene) -> None:
    scene.open(0, 1)
    scene.callers.answers = [DeadlineExceeded("late"), DeadlineExceeded("late")]
    scene.service.flush_seen()
    scene.open(0, 2, ANN, "w")
    scene.service.flush_seen()
    first, other_dbserver, repeated, rest = scene.callers.calls
    assert first == other_dbserver == repeated
    assert [row[0] for row in rest] == [ANN]
    assert "users_seen failed" in scene.log.getvalue()


def test_rows_storage_refuses_for_good_are_given_up_loudly(scene: Scene) -> None:
    scene.open(0, 1)
    scene.callers.answers = [BadField("no such user")]
    scene.service.flush_seen()
    assert len(scene.service.presence.seen) == 0
    assert "level=error" in scene.log.getvalue()


def test_a_stop_writes_the_online_time_of_everybody(scene: Scene) -> None:
    scene.open(0, 1)
    scene.service.flush_seen()
    scene.service.presence.users[ANN].counted -= 7_000
    scene.service.stop()
    assert scene.callers.calls[-1][0][2] == 7


def test_timers_follow_the_settings() -> None:
    scene = Scene(seen_every=0.25)
    scene.service.start()
    assert scene.timers == {"presence": 1.0, "seen": 0.25, "bans": 0.0, "tags": 0.0, "endings": 0.0}
    assert scene.service.peers() == ("gateway-0", "gateway-1")


# bans


def test_a_banned_user_is_not_let_in_and_hears_until_when(scene: Scene) -> None:
    until = 4_102_444_800_000
    assert scene.call("ban", ANN, until) == 0
    assert scene.open(0, 1) == [
        ("gateway-0", ["err", 51, "unauthorized", "banned until 2100-01-01T00:00:00Z", {"until": until}])
    ]
    assert scene.open(0, 2, BOB)[0][1][0] == "ok"
    scene.call("unban", ANN)
    assert scene.open(0, 3)[0][1][0] == "ok"


def test_a_ban_ends_all_connections_and_what_could_be_resumed(scene: Scene) -> None:
    ((_, (_, _, (epoch, _))),) = scene.open(0, 1, device="p")
    scene.open(1, 2, device="w")
    assert scene.call("ban", ANN, 0) == 2
    assert sorted((name, item[1], item[3]) for name, item in scene.links.take()) == [
        ("gateway-0", 1, "banned"),
        ("gateway-1", 2, "banned"),
    ]
    scene.call("unban", ANN)
    resumed = scene.item(0, "open", 60, 3, ANN, "p", "phone", epoch, LATER, [])
    assert resumed[0][1][:3] == ["err", 60, "unauthorized"]
    assert scene.open(0, 4)[-1][1][0] == "ok"


def test_a_login_ended_by_bye_is_not_resumed_after_a_restart_either(scene: Scene) -> None:
    ((_, (_, _, (epoch, _))),) = scene.open(0, 1, device="p")
    scene.item(0, "close", 1, ANN, "p", epoch, True)
    scene.service.register.endings.write()
    time.sleep(0.002)
    later = Scene()
    later.callers.ended = scene.callers.ended
    assert later.item(0, "open", 60, 3, ANN, "p", "phone", epoch, LATER, []) == []
    later.service.register.endings.read()
    assert later.links.take()[0][1][:3] == ["err", 60, "unauthorized"]
    later.item(0, "open", 61, 4, ANN, "p", "phone", epoch + 1, LATER, [])
    later.service.register.endings.read()
    assert later.links.take()[0][1][:2] == ["ok", 61]


def test_a_ban_whose_time_is_over_ends_nothing(scene: Scene) -> None:
    scene.open(0, 1)
    assert scene.call("ban", ANN, now_ms() - 1) == 0
    assert scene.links.take() == []
    assert scene.open(0, 2, device="w")[-1][1][0] == "ok"


def test_the_first_login_of_a_product_waits_until_its_bans_are_read() -> None:
    scene = Scene(read=False)
    scene.callers.bans = {"ann": 0}
    assert scene.open(0, 1, ANN) == [] == scene.open(1, 2, BOB)
    sent = scene.read_bans()
    assert [(name, item[:3]) for name, item in sent] == [
        ("gateway-0", ["err", 51, "unauthorized"]),
        ("gateway-1", ["ok", 52, sent[1][1][2]]),
    ]


def test_while_storage_is_away_logins_go_on_and_the_banned_are_kicked_later() -> None:
    scene = Scene(read=False)
    scene.callers.bans = Unavailable("away")
    scene.open(0, 1, ANN)
    assert [item[0] for _, item in scene.read_bans()] == ["ok"]
    assert [item[0] for _, item in scene.open(0, 2, BOB)] == ["ok"]
    scene.callers.bans = {"ann": 0}
    assert [(name, item[1], item[3]) for name, item in scene.read_bans()] == [("gateway-0", 1, "banned")]
    assert scene.open(0, 3)[0][1][2] == "unauthorized"


def test_a_login_that_waited_is_void_when_the_stream_of_its_gateway_began_anew() -> None:
    scene = Scene(read=False)
    scene.open(0, 1)
    scene.service.link_up("gateway-0")
    assert scene.read_bans() == []
    assert ANN not in scene.service.presence.users


def test_a_login_that_was_closed_while_it_waited_is_not_opened() -> None:
    scene = Scene(read=False)
    scene.open(0, 1)
    scene.item(0, "close", 1, ANN, "p", 0, False)
    assert [item[:3] for _, item in scene.read_bans()] == [["err", 51, "conflict"]]
    assert ANN not in scene.service.presence.users


def test_an_announced_connection_of_a_banned_user_is_kicked(scene: Scene) -> None:
    scene.call("ban", ANN, 0)
    rows = [[1, ANN, "p", "phone", 5, 5, []], [2, BOB, "p", "phone", 6, 6, []]]
    assert scene.item(0, "announce", rows, True, True) == [
        ("gateway-0", ["kick", 1, 5, "banned", "this user is banned"])
    ]
    assert list(scene.service.presence.users) == [BOB]


def test_an_announcement_has_the_bans_of_its_products_read() -> None:
    scene = Scene(read=False)
    scene.callers.bans = {"ann": 0}
    scene.item(0, "announce", [[1, ANN, "p", "phone", 5, 5, []]], True, True)
    assert [item[:4] for _, item in scene.read_bans()] == [["kick", 1, 5, "banned"]]


# kept messages, receipts, tags


def test_a_kept_message_is_passed_on_and_its_sender_told_how_many_it_reached(scene: Scene) -> None:
    scene.open(0, 1, ANN)
    scene.open(1, 2, BOB)
    rows = [[ANN, 5, 4], [BOB, 9, 7], ["demo/nobody", 1, 0]]
    assert scene.item(1, "keep", 7, rows, 77, b"body") == [
        ("gateway-0", ["kept", [[1, 5, 4]], 77, b"body"]),
        ("gateway-1", ["kept", [[2, 9, 7]], 77, b"body"]),
        ("gateway-1", ["ok", 7, 2]),
    ]
    assert [item[0] for _, item in scene.item(1, "keep", 0, rows, 77, b"body")] == ["kept", "kept"]


def test_a_receipt_goes_to_all_connections_of_the_sender(scene: Scene) -> None:
    scene.open(0, 1, ANN)
    scene.open(1, 2, ANN, "w")
    sent = scene.item(1, "receipt", ANN, 77, "bob", "p", 123)
    assert sorted(sent) == [
        ("gateway-0", ["receipt", [1], 77, "bob", "p", 123]),
        ("gateway-1", ["receipt", [2], 77, "bob", "p", 123]),
    ]


def test_what_waits_to_be_told_is_told_in_a_later_turn(scene: Scene) -> None:
    scene.open(0, 1)
    scene.links.full.add("gateway-0")
    scene.item(1, "keep", 0, [[ANN, 5, 4]], 77, b"body")
    assert scene.service.queues()["late"] == 1
    assert scene.turns(1) == []
    scene.links.full.clear()
    assert scene.turns(1) == [("gateway-0", ["kept", [[1, 5, 5]], 0, b""])]
    assert scene.turns(1) == []


def test_tags_of_the_token_come_with_the_login_and_with_the_announcement(scene: Scene) -> None:
    scene.item(0, "open", 50, 1, ANN, "p", "phone", 0, LATER, ["ios", "de"])
    scene.item(1, "announce", [[2, BOB, "p", "phone", 6, 6, ["ios"]]], True, True)
    assert scene.call("tagged", "demo", ["ios"]) == [ANN, BOB]
    assert scene.call("tagged", "demo", ["ios", "de"]) == [ANN]


# others


def test_operators_see_the_devices_of_a_user(scene: Scene) -> None:
    ((_, (_, _, (epoch, since))),) = scene.open(0, 1)
    device = {"device": "p", "kind": "phone", "epoch": epoch, "gateway": "gateway-0", "conn": 1, "tags": []}
    assert scene.call("user", ANN) == {"online": True, "since": since, "devices": [device]}
    scene.item(0, "close", 1, ANN, "p", epoch, False)
    assert scene.call("user", ANN)["devices"] == [{**device, "gateway": None}]
    assert scene.call("user", BOB) == {"online": False, "since": 0, "devices": []}


def test_metrics_and_queues_tell_how_much_there_is(scene: Scene) -> None:
    scene.open(0, 1)
    scene.item(0, "watch", [ANN, BOB], False)
    values = {family[0]: family[3] for family in scene.process.metrics.families()}
    assert [values[f"roost_session_{name}"][0][2] for name in ("users", "watched", "seen")] == [1, 2, 1]
    assert scene.service.queues() == {"seen": 1, "late": 0, "tags": 1, "ended": 0}


def test_times_are_unix_milliseconds() -> None:
    assert abs(now_ms() / 1000 - time.time()) < 1
