"""The session over a connection of packets: rooms, inbox, watches, rejoining."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_peer import WELCOME, message

from roost_client.codec import Decoder, Packet
from roost_client.connection import Connection, open_connection
from roost_client.errors import ConnectionLost, ProtocolError
from roost_client.events import (
    Count,
    Event,
    Gap,
    Goaway,
    Inbox,
    Joined,
    JoinReply,
    Kicked,
    Left,
    Message,
    Missed,
    Other,
    Position,
    Presence,
    Receipt,
    Rejoined,
    ServerError,
    State,
    Subscribed,
    Unsubscribed,
)
from roost_client.retry import RetryPlan, Timings
from roost_client.session import TRIES_MOST, Session

ROOM = "plaza/lobby"


class Harness:
    """A session whose other side is the test. The clock is `now`; random() is always 1."""

    def __init__(self) -> None:
        self.now = 0.0
        self.session = Session({"device": "laptop"}, RetryPlan(), lambda: 1.0)
        self.connection = self.connect()

    def connect(self, **changes: Any) -> Connection:
        self.connection = Connection(self.now, Timings())
        self.connection.request("hello", {}, self.now)
        open_connection(self.connection, [("ok", 1, {**WELCOME, **changes})])
        self.connection.outgoing.clear()
        self.session.attach(self.connection, self.now)
        return self.connection

    def lose(self) -> None:
        self.session.detach(self.connection, "gone")

    def sent(self, connection: Connection | None = None) -> list[Packet]:
        """What the client has sent since the last look."""
        outgoing = (connection or self.connection).outgoing
        packets = Decoder().receive_data(bytes(outgoing))
        outgoing.clear()
        return packets

    def asked(self, op: str) -> tuple[int, dict[str, Any]]:
        """The only request sent since the last look, which has to be this op."""
        ((got, number, body),) = self.sent()
        assert got == op
        return number, body

    def get(self, *packets: Packet, connection: Connection | None = None) -> list[Event]:
        """Let the client hear packets; give the events."""
        self.session.receive(connection or self.connection, list(packets), self.now)
        return self.session.take_events()

    def hear(self, op: str, connection: Connection | None = None, **body: Any) -> list[Event]:
        return self.get((op, 0, body), connection=connection)

    def messages(self, *offsets: int, connection: Connection | None = None) -> list[Event]:
        return self.get(*(("message", 0, message(each)) for each in offsets), connection=connection)

    def join(self, epoch: int = 1, offset: int = 0, presence: bool = False) -> JoinReply:
        request = self.session.join(ROOM, None, presence, self.now, lambda: None)
        number, _body = self.asked("join")
        self.get(("ok", number, history(offset, epoch=epoch, recovered=False)))
        reply = request.result()
        assert isinstance(reply, JoinReply)
        return reply

    def step(self, seconds: float) -> list[Event]:
        self.now += seconds
        self.session.step(self.now)
        return self.session.take_events()


def history(
    offset: int, *offsets: int, epoch: int = 1, recovered: bool = True, more: bool = False
) -> dict[str, Any]:
    found = [message(each) for each in offsets]
    return {
        "room": ROOM,
        "epoch": epoch,
        "offset": offset,
        "first": 1,
        "recovered": recovered,
        "messages": found,
        "more": more,
        "count": 3,
    }


def offsets(events: list[Event]) -> list[int]:
    return [event.offset for event in events if isinstance(event, Message)]


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_the_first_hello_shows_the_token_and_later_ones_resume(harness: Harness) -> None:
    assert harness.session.hello("T") == {"v": 1, "token": "T", "device": "laptop"}
    assert harness.session.hello(None) == {"v": 1, "resume": "resume-1", "device": "laptop"}


def test_join_gives_a_reply_and_messages_follow_as_events(harness: Harness) -> None:
    assert harness.join(7, 40) == JoinReply(ROOM, 7, 40, False, [], False, 3)
    assert harness.messages(41) == [Message(ROOM, 7, 41, "bob", 41, 1)]


def test_join_with_since_keeps_its_messages_to_the_reply_and_fetches_more(harness: Harness) -> None:
    request = harness.session.join(ROOM, Position(1, 3), False, 0.0, lambda: None)
    number, body = harness.asked("join")
    assert body["since"] == {"epoch": 1, "offset": 3}
    assert harness.get(("ok", number, history(7, 4, 5, more=True))) == []
    assert [each.offset for each in request.result().messages] == [4, 5]
    number, body = harness.asked("history")
    assert body == {"room": ROOM, "since": {"epoch": 1, "offset": 5}}
    assert offsets(harness.get(("ok", number, history(7, 6, 7)))) == [6, 7]


def test_pushes_right_behind_the_join_reply_are_not_lost(harness: Harness) -> None:
    harness.session.join(ROOM, None, False, 0.0, lambda: None)
    number, _body = harness.asked("join")
    events = harness.get(("ok", number, history(4)), ("message", 0, message(5)))
    assert offsets(events) == [5]


def test_messages_of_a_room_not_joined_are_dropped(harness: Harness) -> None:
    assert harness.messages(1) == []


def test_a_jump_is_fetched_once_and_delivered_in_order(harness: Harness) -> None:
    harness.join()
    assert offsets(harness.messages(1, 4, 5)) == [1]
    number, body = harness.asked("history")
    assert body["since"] == {"epoch": 1, "offset": 1}
    assert harness.messages(6) == [] and harness.sent() == []
    assert offsets(harness.get(("ok", number, history(5, 2, 3, 4, 5)))) == [2, 3, 4, 5, 6]
    assert harness.sent() == []


def test_history_is_asked_on_until_there_is_no_more(harness: Harness) -> None:
    harness.join()
    harness.messages(5)
    number, _body = harness.asked("history")
    harness.get(("ok", number, history(5, 1, 2, more=True)))
    number, body = harness.asked("history")
    assert body["since"]["offset"] == 2
    assert offsets(harness.get(("ok", number, history(5, 3, 4, 5)))) == [3, 4, 5]


def test_a_failed_history_is_asked_again_later(harness: Harness) -> None:
    harness.join()
    harness.messages(3)
    number, _body = harness.asked("history")
    assert harness.get(("error", number, {"code": "unavailable", "retry": True})) == []
    assert harness.sent() == []
    assert harness.session.wake_at() > harness.now
    harness.step(0.6)
    number, _body = harness.asked("history")
    assert offsets(harness.get(("ok", number, history(3, 1, 2, 3)))) == [1, 2, 3]


def test_a_rate_limit_is_waited_for_as_long_as_it_says(harness: Harness) -> None:
    harness.join()
    harness.messages(3)
    number, _body = harness.asked("history")
    harness.get(("error", number, {"code": "rate_limited", "retry": True, "after": 4000}))
    harness.step(3.9)
    assert harness.sent() == []
    harness.step(0.1)
    harness.asked("history")


def test_a_forbidden_history_announces_the_loss_at_once(harness: Harness) -> None:
    harness.join()
    harness.messages(3)
    number, _body = harness.asked("history")
    events = harness.get(("error", number, {"code": "forbidden", "retry": False}))
    assert events == [Missed(ROOM, 1, 1, 2), Message(ROOM, 1, 3, "bob", 3, 1)]


def test_a_history_that_never_comes_is_given_up_and_announced(harness: Harness) -> None:
    harness.join()
    harness.messages(3)
    for _ in range(TRIES_MOST - 1):
        number, _body = harness.asked("history")
        assert harness.get(("error", number, {"code": "unavailable", "retry": True})) == []
        harness.step(20.0)
    number, _body = harness.asked("history")
    events = harness.get(("error", number, {"code": "unavailable", "retry": True}))
    assert events[0] == Missed(ROOM, 1, 1, 2) and offsets(events) == [3]


def test_a_loss_is_no_reason_to_give_messages_up(harness: Harness) -> None:
    harness.join()
    harness.messages(3)
    for _ in range(TRIES_MOST - 1):
        number, _body = harness.asked("history")
        harness.get(("error", number, {"code": "unavailable", "retry": True}))
        harness.step(20.0)
    harness.lose()
    assert harness.session.take_events() == []
    harness.connect()
    number, body = harness.asked("join")
    assert body["since"]["offset"] == 0


def test_a_history_without_progress_does_not_go_on_for_ever(harness: Harness) -> None:
    harness.join()
    harness.messages(9)
    events: list[Event] = []
    for _ in range(TRIES_MOST):
        number, _body = harness.asked("history")
        events += harness.get(("ok", number, history(0)))
        harness.step(20.0)
    assert Missed(ROOM, 1, 1, 8) in events and offsets(events) == [9] and harness.sent() == []


def test_an_own_request_without_an_answer_is_repeated(harness: Harness) -> None:
    harness.join()
    harness.messages(3)
    harness.asked("history")
    harness.step(15.0)
    harness.step(1.0)
    harness.asked("history")


def test_a_gap_is_shown_and_filled(harness: Harness) -> None:
    harness.join()
    assert harness.hear("gap", room=ROOM, epoch=1, offset=2, reason="slow") == [Gap(ROOM, 1, 2, "slow")]
    number, _body = harness.asked("history")
    assert offsets(harness.get(("ok", number, history(2, 1, 2)))) == [1, 2]


def test_a_history_answer_from_before_an_epoch_change_is_stale(harness: Harness) -> None:
    harness.join(1, 5)
    harness.messages(8)
    number, _body = harness.asked("history")
    events = harness.hear("gap", room=ROOM, epoch=2, offset=0, reason="epoch")
    assert events[-1] == Gap(ROOM, 2, 0, "epoch")
    assert harness.get(("ok", number, history(8, 6, 7, 8))) == []
    harness.hear("gap", room=ROOM, epoch=3, offset=2, reason="epoch")
    stale, _body = harness.asked("history")
    harness.hear("gap", room=ROOM, epoch=4, offset=2, reason="epoch")
    number, body = harness.asked("history")
    assert body["since"] == {"epoch": 4, "offset": 0}
    assert harness.get(("ok", stale, history(2, 1, 2, epoch=3))) == []
    assert offsets(harness.get(("ok", number, history(2, 1, 2, epoch=4)))) == [1, 2]
    harness.hear("gap", room=ROOM, epoch=2, offset=0, reason="epoch")
    assert harness.messages(1) == [Message(ROOM, 2, 1, "bob", 1, 1)]


def test_after_a_loss_each_room_is_joined_again_where_it_was(harness: Harness) -> None:
    harness.join(presence=True)
    harness.messages(1, 2)
    harness.lose()
    harness.connect()
    number, body = harness.asked("join")
    assert body == {"room": ROOM, "since": {"epoch": 1, "offset": 2}, "presence": True}
    events = harness.get(("ok", number, history(4, 3, 4)))
    assert events[0] == Rejoined(ROOM, 1, 4, True, 0, 3)
    assert offsets(events) == [3, 4]
    assert offsets(harness.messages(5)) == [5]


def test_a_rejoin_that_is_not_recovered_is_shown(harness: Harness) -> None:
    harness.join(1, 5)
    harness.lose()
    harness.connect()
    number, _body = harness.asked("join")
    events = harness.get(("ok", number, history(2, 1, 2, epoch=9, recovered=False)))
    assert events[0] == Rejoined(ROOM, 9, 2, False, None, 3)
    assert [event.epoch for event in events if isinstance(event, Message)] == [9, 9]


def test_a_rejoin_to_an_absent_world_is_repeated_as_often_as_it_takes(harness: Harness) -> None:
    harness.join()
    harness.lose()
    harness.connect()
    for _ in range(3 * TRIES_MOST):
        number, _body = harness.asked("join")
        harness.get(("error", number, {"code": "unavailable", "retry": True}))
        harness.step(20.0)
        harness.connection._last_asked = harness.now
    assert harness.asked("join")


def test_a_rejoin_that_is_refused_ends_the_membership_visibly(harness: Harness) -> None:
    harness.join()
    harness.lose()
    harness.connect()
    number, _body = harness.asked("join")
    assert harness.get(("error", number, {"code": "forbidden"})) == [Unsubscribed(ROOM, "forbidden")]
    assert not harness.session.streams


def test_a_room_left_is_not_joined_again_and_not_heard(harness: Harness) -> None:
    harness.join()
    harness.session.leave(ROOM, 0.0, lambda: None)
    harness.asked("leave")
    assert harness.messages(1) == []
    harness.lose()
    harness.connect()
    assert harness.sent() == []


def test_a_join_answered_only_when_the_room_was_left_again_leaves_no_membership(harness: Harness) -> None:
    joining = harness.session.join(ROOM, None, False, 0.0, lambda: None)
    leaving = harness.session.leave(ROOM, 0.0, lambda: None)
    harness.get(("ok", joining.number, history(3)), ("ok", leaving.number, {}))
    assert not harness.session.streams
    harness.lose()
    harness.connect()
    assert harness.sent() == []


def test_a_join_sent_after_a_leave_stands(harness: Harness) -> None:
    harness.join()
    leaving = harness.session.leave(ROOM, 0.0, lambda: None)
    joining = harness.session.join(ROOM, None, False, 0.0, lambda: None)
    harness.get(("ok", leaving.number, {}), ("ok", joining.number, history(3)))
    assert list(harness.session.streams) == [ROOM]


def test_a_request_without_a_connection_fails_at_once(harness: Harness) -> None:
    harness.lose()
    with pytest.raises(ConnectionLost):
        harness.session.join(ROOM, None, False, 0.0, lambda: None)


def test_a_subscription_stands_for_a_join(harness: Harness) -> None:
    events = harness.hear("subscribed", room=ROOM, epoch=3, offset=7, count=2)
    assert events == [Subscribed(ROOM, 3, 7, 2)]
    assert offsets(harness.messages(8)) == [8]
    harness.lose()
    harness.connect()
    assert harness.asked("join")[1]["since"] == {"epoch": 3, "offset": 8}


def test_a_subscription_to_a_room_already_joined_fetches_what_is_missing(harness: Harness) -> None:
    harness.join(3, 5)
    harness.hear("subscribed", room=ROOM, epoch=3, offset=7, count=2)
    assert harness.asked("history")[1]["since"] == {"epoch": 3, "offset": 5}


def test_unsubscribed_ends_the_room(harness: Harness) -> None:
    harness.join()
    assert harness.hear("unsubscribed", room=ROOM, reason="kicked") == [Unsubscribed(ROOM, "kicked")]
    assert harness.messages(1) == []


def test_each_inbox_stream_gives_each_number_once(harness: Harness) -> None:
    def numbers(**body: Any) -> list[tuple[int | None, int | None]]:
        found = harness.hear("inbox", mid=1, uid="bob", data=None, time=1, **body)
        return [(event.seq, event.bseq) for event in found if isinstance(event, Inbox)]

    assert numbers(seq=5) == [(5, None)]
    assert numbers(seq=5) == [] and numbers(seq=4) == []
    assert numbers(bseq=2) == [(None, 2)] and numbers(bseq=2) == []
    assert numbers(seq=9) == [(9, None)]
    assert numbers() == [(None, None)] and numbers() == [(None, None)]


def test_inbox_numbers_outlive_the_connection_and_begin_at_what_is_acked(harness: Harness) -> None:
    harness.hear("inbox", seq=5, mid=1, uid="bob", data=None, time=1)
    harness.lose()
    harness.connect(inbox={"seq": 3, "bseq": 8, "gap": False})
    assert harness.hear("inbox", seq=5, mid=1, uid="bob", data=None, time=1) == []
    assert harness.hear("inbox", bseq=8, mid=1, uid="bob", data=None, time=1) == []


def test_a_welcome_without_an_inbox_changes_nothing(harness: Harness) -> None:
    harness.hear("inbox", seq=5, mid=1, uid="bob", data=None, time=1)
    harness.lose()
    harness.connect(inbox=None)
    assert harness.session.seq == 5


def test_watched_users_are_watched_again_in_portions(harness: Harness) -> None:
    users = [f"u{number}" for number in range(150)]
    for portion in (users[:100], users[100:]):
        request = harness.session.watch(portion, False, 0.0, lambda: None)
        number, _body = harness.asked("watch")
        harness.get(("ok", number, {"users": []}))
        assert request.done
    harness.session.watch(["u0"], True, 0.0, lambda: None)
    number, _body = harness.asked("watch")
    harness.get(("ok", number, {"users": []}))
    harness.lose()
    harness.connect()
    again = harness.sent()
    assert [len(body["users"]) for _op, _number, body in again] == [100, 49]
    events = harness.get(("ok", again[0][1], {"users": [{"uid": "u1", "online": None}]}))
    assert events == [Presence("u1", None, [], None)]
    assert harness.get(("error", again[1][1], {"code": "busy", "retry": True})) == []
    harness.step(1.0)
    assert len(harness.asked("watch")[1]["users"]) == 49


PUSHED: dict[str, tuple[dict[str, Any], Event]] = {
    "joined": ({"room": ROOM, "uid": "bob", "count": 2}, Joined(ROOM, "bob", 2)),
    "left": ({"room": ROOM, "uid": "bob", "count": 1}, Left(ROOM, "bob", 1)),
    "count": ({"room": ROOM, "count": 9}, Count(ROOM, 9)),
    "presence": (
        {"uid": "bob", "online": True, "devices": [{"device": "d"}], "since": 5},
        Presence("bob", True, [{"device": "d"}], 5),
    ),
    "receipt": ({"mid": 1, "uid": "bob", "device": "d", "time": 2}, Receipt(1, "bob", "d", 2)),
    "state": ({"map": "m", "tick": 1}, State({"map": "m", "tick": 1})),
    "goaway": ({"reason": "drain", "after": 5, "to": ["h:1"]}, Goaway("drain", 5.0, ["h:1"])),
    "error": ({"code": "bad_packet", "message": "no"}, ServerError("bad_packet", "no")),
    "kick": ({"code": "slow", "reason": "r", "reconnect": True}, Kicked("slow", "r", True)),
    "novelty": ({"a": 1}, Other("novelty", {"a": 1})),
}


@pytest.mark.parametrize("op", PUSHED)
def test_a_push_becomes_its_event(harness: Harness, op: str) -> None:
    body, event = PUSHED[op]
    assert harness.get((op, 0, body)) == [event]


def test_a_body_the_client_cannot_read_is_a_protocol_error_and_what_came_before_counts(
    harness: Harness,
) -> None:
    harness.join()
    with pytest.raises(ProtocolError):
        harness.get(("message", 0, message(1)), ("message", 0, {"room": ROOM, "offset": "x"}))
    assert offsets(harness.session.take_events()) == [1]


def test_while_moving_the_old_connection_counts_until_the_new_join_is_answered(harness: Harness) -> None:
    harness.join()
    old = harness.connection
    old.left = True
    harness.connect()
    number, body = harness.asked("join")
    assert body["since"]["offset"] == 0
    assert offsets(harness.messages(1, connection=old)) == [1]
    events = harness.get(("ok", number, history(2, 1, 2)))
    assert isinstance(events[0], Rejoined) and offsets(events) == [2]
    assert harness.messages(3, connection=old) == []
    assert offsets(harness.messages(3)) == [3]


def test_a_kick_on_the_connection_being_left_means_nothing(harness: Harness) -> None:
    old = harness.connection
    old.left = True
    assert harness.hear("kick", code="replaced", reason="", reconnect=False) == []
    harness.connect()
    assert harness.hear("kick", old, code="replaced", reason="", reconnect=False) == []


def test_a_join_answered_on_the_old_connection_is_repeated_on_the_new_one(harness: Harness) -> None:
    request = harness.session.join(ROOM, None, False, 0.0, lambda: None)
    number, _body = harness.asked("join")
    old = harness.connection
    harness.connect()
    harness.get(("ok", number, history(4)), connection=old)
    assert request.result().offset == 4
    assert harness.asked("join")[1]["since"] == {"epoch": 1, "offset": 4}


def test_goaway_plans_the_move_within_its_time(harness: Harness) -> None:
    harness.hear("goaway", reason="drain", after=8, to=["a:1", "b:2"])
    assert harness.connection.leave_at == 8.0 and harness.connection.leave_for == ["a:1", "b:2"]


def test_a_slow_application_leaves_messages_to_be_fetched_when_it_has_caught_up(harness: Harness) -> None:
    harness.join()
    harness.session.paused = True
    assert harness.messages(1, 2, 3) == [] and harness.sent() == []
    assert harness.session.wake_at() == float("inf")
    harness.session.resume_reading(1.0)
    number, body = harness.asked("history")
    assert body["since"]["offset"] == 0
    assert offsets(harness.get(("ok", number, history(3, 1, 2, 3)))) == [1, 2, 3]


def test_refresh_takes_over_the_new_resume(harness: Harness) -> None:
    harness.session.refresh("T2", 0.0, lambda: None)
    number, body = harness.asked("refresh")
    assert body == {"token": "T2"}
    harness.get(("ok", number, {"exp": 1, "resume": "resume-2"}))
    assert harness.session.resume == "resume-2"


INBOX = {"mid": 1, "uid": "bob", "data": 1, "time": 0}


def test_what_the_server_repeats_after_its_ack_was_lost_is_dropped_counted_and_acked_again() -> None:
    harness = Harness()
    assert len(harness.get(("inbox", 0, INBOX | {"seq": 5}), ("inbox", 0, INBOX | {"seq": 6}))) == 2
    harness.session.acknowledge(5, None)
    harness.lose()
    harness.connect(inbox={"seq": 3, "bseq": 0, "gap": False})
    assert not harness.sent(), "nothing is said before the server shows that it has lost it"
    repeats = [("inbox", 0, INBOX | {"seq": seq}) for seq in (4, 5, 6, 7)]
    assert [event.seq for event in harness.get(*repeats)] == [7]  # type: ignore[attr-defined]
    assert harness.session.repeats == 3
    assert harness.sent() == [("ack", 0, {"seq": 5})]


def test_a_device_with_its_numbers_on_disk_goes_on_above_them() -> None:
    session = Session({"device": "laptop"}, RetryPlan(), lambda: 1.0, seq=5, bseq=2)
    harness = Harness()
    harness.session = session
    harness.connect()
    found = harness.get(("inbox", 0, INBOX | {"seq": 5}), ("inbox", 0, INBOX | {"bseq": 2}))
    assert (found, session.repeats) == ([], 2)
    assert harness.sent() == [("ack", 0, {"seq": 5, "bseq": 2})]
    assert len(harness.get(("inbox", 0, INBOX | {"seq": 6}), ("inbox", 0, INBOX | {"bseq": 3}))) == 2
