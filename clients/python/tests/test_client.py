"""The client against a scripted server on a real socket.

`test_other_threading.py` runs this file again with gevent's threads (or without).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scripted_peer import PATIENCE, WELCOME, Background, Conversation, Peer, frame, message

from roost_client import (
    BadField,
    Busy,
    Client,
    ClientClosed,
    Conflict,
    ConnectionLost,
    Event,
    Gap,
    Goaway,
    HistoryReply,
    Inbox,
    InboxReply,
    Joined,
    Kicked,
    Message,
    NotJoined,
    Overflow,
    PacketTooLarge,
    Position,
    Rejoined,
    RetryPlan,
    StateChanged,
    Timeout,
    Timings,
    Unauthorized,
)

ROOM = "plaza/lobby"
FAST = RetryPlan(0.01, 1.0, 0.01)


@pytest.fixture
def make(peer: Peer) -> Iterator[Callable[..., Client]]:
    """Gives clients of the peer; they are closed in the end."""
    made: list[Client] = []

    def make_client(address: Any = None, token: Any = "token-1", **options: Any) -> Client:
        options = {"retry": FAST, "device": "laptop", **options}
        client = Client(address or peer.address, token, **options)
        made.append(client)
        return client

    yield make_client
    for client in made:
        client.close(linger=0)


def connect(client: Client, peer: Peer, **welcome: Any) -> Conversation:
    """Connect the client; give the server's end."""
    connecting = Background(client.connect)
    conversation = peer.accept()
    conversation.welcome(**welcome)
    connecting.result()
    return conversation


def join(client: Client, conversation: Conversation, offset: int = 0) -> None:
    joining = Background(lambda: client.join(ROOM))
    conversation.answer("join", history(offset, recovered=False))
    joining.result()


def history(offset: int, *offsets: int, epoch: int = 1, recovered: bool = True) -> dict[str, Any]:
    found = [message(each) for each in offsets]
    reply = {"room": ROOM, "epoch": epoch, "offset": offset, "first": 1, "count": 1}
    return {**reply, "recovered": recovered, "messages": found, "more": False}


def until(client: Client, wanted: type[Event], **facts: Any) -> list[Event]:
    """Read events up to one of this kind with these facts; give all that were read."""
    found: list[Event] = []
    for event in client.events(timeout=PATIENCE):
        found.append(event)
        if isinstance(event, wanted) and all(getattr(event, name) == facts[name] for name in facts):
            return found
    raise AssertionError(f"no {wanted.__name__} {facts} among {found}")


def offsets(events: list[Event]) -> list[int]:
    return [event.offset for event in events if isinstance(event, Message)]


def states(events: list[Event]) -> list[str]:
    return [event.state for event in events if isinstance(event, StateChanged)]


# --- connecting ------------------------------------------------------------------------------


def test_connect_comes_back_with_the_welcome(peer: Peer, make: Callable[..., Client]) -> None:
    client = make(kind="web", client_info={"name": "test", "version": "1"})
    assert client.state == "offline"
    connecting = Background(client.connect)
    hello = peer.accept().welcome()
    connecting.result()
    assert hello == {
        "v": 1,
        "token": "token-1",
        "device": "laptop",
        "kind": "web",
        "client": {"name": "test", "version": "1"},
    }
    assert client.state == "live" and client.welcome["uid"] == "alice"
    assert states(until(client, StateChanged, state="live")) == ["connecting", "live"]


def test_nobody_listening_is_a_connection_refused(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    peer.stop_listening()
    with pytest.raises(ConnectionRefusedError):
        client.connect()
    assert client.state == "offline"


def test_a_refused_token_raises_and_connect_may_be_called_again(
    peer: Peer, make: Callable[..., Client]
) -> None:
    tokens = iter(["old", "new"])
    client = make(peer.address, lambda: next(tokens))
    connecting = Background(client.connect)
    assert peer.accept().refuse("hello", "unauthorized")["token"] == "old"
    with pytest.raises(Unauthorized):
        connecting.result()
    assert connect(client, peer) and client.state == "live"


def test_a_ticket_goes_with_the_token_to_its_gateway_and_never_with_resume(
    peer: Peer, make: Callable[..., Client]
) -> None:
    asked: list[str] = []

    def ticket(address: str) -> str:
        asked.append(address)
        return f"ticket {len(asked)}"

    client = make(peer.address, "t", ticket=ticket)
    connecting = Background(client.connect)
    conversation = peer.accept()
    assert conversation.welcome()["ticket"] == "ticket 1"
    connecting.result()
    assert asked == ["{}:{}".format(*peer.address)]
    conversation.close()
    again = peer.accept().welcome()
    assert "resume" in again and "ticket" not in again


def test_where_the_dispatcher_gave_no_ticket_none_is_shown(peer: Peer, make: Callable[..., Client]) -> None:
    connecting = Background(make(peer.address, "t", ticket=lambda address: None).connect)
    assert "ticket" not in peer.accept().welcome()
    connecting.result()


def test_no_answer_of_the_dispatcher_is_no_connection(peer: Peer, make: Callable[..., Client]) -> None:
    def ticket(address: str) -> str:
        raise RuntimeError("away")

    with pytest.raises(ConnectionLost, match="no ticket: .*away"):
        make(peer.address, "t", ticket=ticket).connect(timeout=0.2)


def test_the_next_address_is_tried_when_one_is_busy_or_away(peer: Peer, make: Callable[..., Client]) -> None:
    with Peer() as busy, Peer() as away:
        client = make([busy.address, away.address, peer.address], "t")
        away.stop_listening()
        client._dialer._next = 0
        connecting = Background(client.connect)
        busy.accept().refuse("hello", "busy", retry=True)
        peer.accept().welcome()
        connecting.result()


def test_no_welcome_in_time_is_a_timeout(peer: Peer, make: Callable[..., Client]) -> None:
    with pytest.raises(Timeout):
        make(timings=Timings(welcome=0.05)).connect()


def test_a_connect_of_its_own_short_time_ends_in_time(peer: Peer, make: Callable[..., Client]) -> None:
    with pytest.raises(Timeout):
        make().connect(timeout=0.05)


def test_a_kick_while_logging_in_is_raised(peer: Peer, make: Callable[..., Client]) -> None:
    connecting = Background(make().connect)
    conversation = peer.accept()
    conversation.expect("hello")
    conversation.kick("banned", reconnect=False)
    with pytest.raises(ClientClosed) as caught:
        connecting.result()
    assert caught.value.code == "banned"


def test_connecting_twice_is_refused(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    connect(client, peer)
    with pytest.raises(RuntimeError):
        client.connect()


def test_packets_right_behind_the_welcome_are_heard(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    connecting = Background(client.connect)
    conversation = peer.accept()
    number, _hello = conversation.expect("hello")
    behind = frame("inbox", 0, {"seq": 4, "mid": 1, "uid": "bob", "data": "hi"})
    conversation.sock.sendall(frame("ok", number, WELCOME) + behind)
    connecting.result()
    event = until(client, Inbox)[-1]
    assert isinstance(event, Inbox) and (event.seq, event.data) == (4, "hi")


# --- requests --------------------------------------------------------------------------------


def test_publish_gives_the_place(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    publishing = Background(lambda: client.publish(ROOM, {"text": "hi"}, key="k1"))
    asked = conversation.answer("publish", {"epoch": 3, "offset": 8})
    assert asked == {"room": ROOM, "data": {"text": "hi"}, "key": "k1"}
    assert publishing.result() == Position(3, 8)


def test_an_error_is_raised_by_its_code(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    asking = Background(lambda: client.publish(ROOM, 1))
    conversation.refuse("publish", "bad_field", field="room")
    with pytest.raises(BadField) as caught:
        asking.result()
    assert caught.value.facts == {"field": "room"}


def test_answers_find_their_requests_in_any_order(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)

    def ask(data: int) -> Background[Any]:
        return Background(lambda: client.call("echo", data, room=ROOM))

    asking = {data: ask(data) for data in (1, 2, 3)}
    heard = [conversation.expect("call") for _ in asking]
    for number, body in reversed(heard):
        conversation.push("ok", {"result": body["args"] * 10}, number)
    assert {data: call.result() for data, call in asking.items()} == {1: 10, 2: 20, 3: 30}


def test_no_answer_in_time_is_a_timeout_and_a_late_one_does_no_harm(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make()
    conversation = connect(client, peer)
    with pytest.raises(Timeout):
        client.publish(ROOM, 1, timeout=0.02)
    number, _body = conversation.expect("publish")
    conversation.push("ok", {"epoch": 1, "offset": 1}, number)
    pinging = Background(client.ping)
    number, _body = conversation.expect("ping")
    conversation.push("pong", {}, number)
    assert 0 <= pinging.result() < PATIENCE


def test_a_request_that_is_too_large_never_leaves(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    connect(client, peer)
    with pytest.raises(PacketTooLarge):
        client.publish(ROOM, "x" * 70_000)


REQUESTS: dict[str, tuple[Callable[[Client], Any], str, dict[str, Any], dict[str, Any], Any]] = {
    "history": (
        lambda client: client.history(ROOM, since=(1, 2), limit=5),
        "history",
        {"room": ROOM, "since": {"epoch": 1, "offset": 2}, "limit": 5},
        history(3, 3),
        HistoryReply(ROOM, 1, 3, 1, True, [Message(ROOM, 1, 3, "bob", 3, 1)], False),
    ),
    "presence_room": (
        lambda client: client.presence_room(ROOM),
        "presence",
        {"room": ROOM},
        {"count": 1, "users": [], "unknown": []},
        {"count": 1, "users": [], "unknown": []},
    ),
    "presence_users": (
        lambda client: client.presence_users(["bob"]),
        "presence",
        {"users": ["bob"]},
        {"count": 0, "users": [], "unknown": ["bob"]},
        {"count": 0, "users": [], "unknown": ["bob"]},
    ),
    "watch": (
        lambda client: client.watch(["bob"]),
        "watch",
        {"users": ["bob"], "off": False},
        {"users": [{"uid": "bob", "online": None}]},
        {"bob": None},
    ),
    "profile": (
        lambda client: client.profile(["bob"]),
        "profile",
        {"users": ["bob"]},
        {"users": [{"uid": "bob", "name": None, "profile": {}}]},
        [{"uid": "bob", "name": None, "profile": {}}],
    ),
    "set_profile": (
        lambda client: client.set_profile({"name": "Al"}),
        "profile",
        {"set": {"name": "Al"}},
        {"users": [{"uid": "alice", "name": "Al", "profile": {}}]},
        {"uid": "alice", "name": "Al", "profile": {}},
    ),
    "send_live": (
        lambda client: client.send("bob", 1),
        "send",
        {"to": "bob", "data": 1},
        {"mid": 5, "online": 1},
        {"mid": 5, "online": 1},
    ),
    "send_kept": (
        lambda client: client.send(["bob"], 1, keep=True, ttl=60, key="k", receipt=True),
        "send",
        {"to": ["bob"], "data": 1, "keep": True, "ttl": 60, "key": "k", "receipt": True},
        {"mid": 5, "online": 0},
        {"mid": 5, "online": 0},
    ),
    "ack": (lambda client: client.ack(seq=4), "ack", {"seq": 4}, {}, None),
    "inbox": (
        lambda client: client.inbox(4, limit=9),
        "inbox",
        {"after": 4, "limit": 9},
        {"messages": [{"seq": 5, "mid": 1, "uid": "b", "data": 0, "time": 2}], "gap": False}
        | {"more": True, "seq": 5, "bseq": 0},
        InboxReply([Inbox(5, None, 1, "b", 0, 2, False)], False, True, 5, 0),
    ),
    "call": (
        lambda client: client.call("spin", [1], map="arena"),
        "call",
        {"method": "spin", "args": [1], "map": "arena"},
        {"result": "ok"},
        "ok",
    ),
    "enter": (lambda client: client.enter("arena"), "enter", {"map": "arena"}, {"line": 1}, {"line": 1}),
    "exit": (lambda client: client.exit(), "exit", {}, {}, None),
    "leave": (lambda client: client.leave(ROOM), "leave", {"room": ROOM}, {}, None),
    "refresh": (
        lambda client: client.refresh(),
        "refresh",
        {"token": "token-1"},
        {"exp": 1, "resume": "r"},
        {"exp": 1, "resume": "r"},
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_says_what_the_protocol_wants_and_gives_what_it_says(
    peer: Peer, make: Callable[..., Client], name: str
) -> None:
    call, op, body, reply, result = REQUESTS[name]
    client = make()
    conversation = connect(client, peer)
    asking = Background(lambda: call(client))
    assert conversation.answer(op, reply) == body
    assert asking.result() == result


def test_input_wants_no_answer(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    client.input(3, {"dx": 1})
    assert conversation.read() == ("input", 0, {"n": 3, "data": {"dx": 1}})


def test_publish_surely_repeats_with_the_same_key(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    publishing = Background(lambda: client.publish_surely(ROOM, 1))
    keys = [conversation.refuse("publish", "unavailable", retry=True)["key"]]
    keys.append(conversation.expect("publish")[1]["key"])
    conversation.close()
    conversation = peer.accept()
    conversation.welcome()
    keys.append(conversation.answer("publish", {"epoch": 1, "offset": 9})["key"])
    assert publishing.result() == (1, 9)
    assert len(set(keys)) == 1 and 1 <= len(keys[0]) <= 64


def test_publish_surely_waits_for_the_room_to_be_joined_again(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make()
    conversation = connect(client, peer)
    join(client, conversation)
    publishing = Background(lambda: client.publish_surely(ROOM, 1))
    conversation.refuse("publish", "not_joined")
    conversation.answer("publish", {"epoch": 1, "offset": 9})
    assert publishing.result() == (1, 9)
    never_joined = Background(lambda: client.publish_surely("plaza/other", 1))
    conversation.refuse("publish", "not_joined")
    with pytest.raises(NotJoined):
        never_joined.result()


def test_publish_surely_ends_with_the_last_failure(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer, retry={"base": 9.0, "factor": 1.0, "max": 9.0})
    publishing = Background(lambda: client.publish_surely(ROOM, 1, timeout=0.05))
    conversation.refuse("publish", "busy", retry=True, after=1000)
    with pytest.raises(Busy):
        publishing.result()


# --- rooms and events ------------------------------------------------------------------------


def test_messages_come_through_the_iterator(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    join(client, conversation)
    for offset in (1, 2, 3):
        conversation.message(offset)
    assert offsets(until(client, Message, offset=3)) == [1, 2, 3]
    assert client.rooms == [ROOM] and client.position(ROOM) == (1, 3)
    assert list(client.events(timeout=0.01)) == []


def test_a_jump_is_filled_through_history(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    join(client, conversation)
    conversation.message(1)
    conversation.message(4)
    asked = conversation.answer("history", history(4, 2, 3, 4))
    assert asked == {"room": ROOM, "since": {"epoch": 1, "offset": 1}}
    assert offsets(until(client, Message, offset=4)) == [1, 2, 3, 4]


def test_a_gap_is_shown_and_filled(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    join(client, conversation)
    conversation.push("gap", {"room": ROOM, "epoch": 1, "offset": 2, "reason": "slow"})
    conversation.answer("history", history(2, 1, 2))
    events = until(client, Message, offset=2)
    assert offsets(events) == [1, 2] and any(isinstance(event, Gap) for event in events)


def test_callbacks_hear_events_in_order_and_survive_their_own_errors(
    peer: Peer, make: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    client = make()
    heard: list[int] = []
    done = threading.Event()

    def on_message(event: Message) -> None:
        heard.append(event.offset)
        if event.offset == 2:
            raise ValueError("a defect of the application")
        if event.offset == 3:
            done.set()

    client.on("message", on_message)
    conversation = connect(client, peer)
    join(client, conversation)
    for offset in (1, 2, 3):
        conversation.message(offset)
    assert done.wait(PATIENCE) and heard == [1, 2, 3]
    assert "a callback failed" in caplog.text


def test_a_callback_may_post_but_not_wait(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    refused: list[BaseException] = []

    def on_message(event: Message) -> None:
        try:
            client.publish(ROOM, 1)
        except RuntimeError as error:
            refused.append(error)
        client.post("publish", {"room": ROOM, "data": "pong"})

    client.on("*", lambda event: on_message(event) if isinstance(event, Message) else None)
    conversation = connect(client, peer)
    join(client, conversation)
    conversation.message(1)
    assert conversation.read() == ("publish", 0, {"room": ROOM, "data": "pong"})
    assert len(refused) == 1


def test_a_slow_application_holds_up_nobody_and_loses_nothing_that_is_kept(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make(event_limit=8)
    conversation = connect(client, peer)
    join(client, conversation)

    def burst(first: int, last: int) -> None:
        for offset in range(first, last + 1):
            conversation.message(offset)
            conversation.push("joined", {"room": ROOM, "uid": "bob", "count": 1})
        pinging = Background(client.ping)  # answered although nobody reads events
        number, _body = conversation.expect("ping")
        conversation.push("pong", {}, number)
        pinging.result()

    burst(1, 10)
    burst(11, 30)
    reading = Background(lambda: until(client, Message, offset=30))
    asked = conversation.answer("history", history(30, *range(11, 31)))
    assert asked["since"] == {"epoch": 1, "offset": 10}
    events = reading.result()
    assert offsets(events) == list(range(1, 31))
    dropped = sum(event.dropped for event in events if isinstance(event, Overflow))
    assert dropped >= 20 and dropped + sum(isinstance(event, Joined) for event in events) == 30


# --- coming back -----------------------------------------------------------------------------


def test_after_a_loss_it_resumes_and_joins_again(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    join(client, conversation)
    conversation.message(1)
    conversation.close()
    conversation = peer.accept()
    hello = conversation.welcome(resume="resume-2")
    assert hello["resume"] == "resume-1" and "token" not in hello
    asked = conversation.answer("join", history(3, 2, 3))
    assert asked["since"] == {"epoch": 1, "offset": 1}
    events = until(client, Message, offset=3)
    assert offsets(events) == [1, 2, 3]
    assert any(isinstance(event, Rejoined) and event.recovered for event in events)
    assert states(events) == ["connecting", "live", "recovering", "live"]


def test_a_refused_resume_falls_back_to_the_token(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    connect(client, peer).close()
    conversation = peer.accept()
    assert "resume" in conversation.refuse("hello", "unauthorized")
    assert peer.accept().welcome()["token"] == "token-1"


def test_a_refused_token_after_a_loss_ends_the_client(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    connect(client, peer).close()
    peer.accept().refuse("hello", "unauthorized")
    peer.accept().refuse("hello", "unauthorized")
    events = list(client.events(timeout=PATIENCE))
    assert states(events)[-1] == "closed" and client.state == "closed"
    with pytest.raises(ClientClosed) as caught:
        client.publish(ROOM, 1)
    assert caught.value.code == "unauthorized"


def test_a_conflict_after_a_loss_ends_the_client(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    connect(client, peer).close()
    peer.accept().refuse("hello", "conflict")
    assert states(list(client.events(timeout=PATIENCE)))[-1] == "closed"
    assert issubclass(Conflict, Exception)


def test_a_busy_server_is_tried_again(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    connect(client, peer).close()
    for _ in range(3):
        peer.accept().refuse("hello", "busy", retry=True)
    peer.accept().welcome()
    assert "offline" in states(until(client, StateChanged, state="offline"))
    until(client, StateChanged, state="live")


def test_waiting_requests_end_with_the_connection(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    asking = Background(lambda: client.publish(ROOM, 1))
    conversation.expect("publish")
    conversation.close()
    with pytest.raises(ConnectionLost):
        asking.result()


def test_a_request_while_there_is_no_connection_fails_at_once(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make()
    conversation = connect(client, peer, retry={"base": 60, "factor": 1, "max": 60})
    conversation.close()
    until(client, StateChanged, state="recovering")
    with pytest.raises(ConnectionLost):
        client.publish(ROOM, 1)


def test_garbage_ends_the_connection_not_the_client(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    conversation.sock.sendall(b"\xff\xff\xff\xff garbage")
    assert conversation.ended()
    peer.accept().welcome()
    until(client, StateChanged, state="live")


def test_a_kick_not_to_come_back_ends_the_client(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    asking = Background(lambda: client.publish(ROOM, 1))
    conversation.expect("publish")
    conversation.kick("replaced", reconnect=False)
    with pytest.raises((ConnectionLost, ClientClosed)):
        asking.result()
    events = list(client.events(timeout=PATIENCE))
    assert Kicked("replaced", "because", False) in events
    assert states(events) == ["connecting", "live", "closed"]
    with pytest.raises(ClientClosed) as caught:
        client.join(ROOM)
    assert caught.value.code == "replaced"
    assert list(client.events()) == []


def test_a_kick_to_come_back_makes_it_come_back(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    connect(client, peer).kick("restart", reconnect=True)
    peer.accept().welcome()
    events = until(client, StateChanged, state="recovering")
    assert Kicked("restart", "because", True) in events
    until(client, StateChanged, state="live")


# --- moving ----------------------------------------------------------------------------------


def test_a_room_left_without_a_connection_is_not_joined_again(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make(retry=RetryPlan(0.05, 1.0, 0.05))
    conversation = connect(client, peer, retry=None)
    join(client, conversation)
    conversation.close()
    until(client, StateChanged, state="recovering")
    client.leave(ROOM)
    new = peer.accept()
    new.welcome()
    until(client, StateChanged, state="live")
    asking = Background(client.ping)
    new.answer("ping", {})
    asking.result()
    assert client.rooms == []


def test_goaway_makes_the_new_connection_first(peer: Peer, make: Callable[..., Client]) -> None:
    with Peer() as other:
        client = make()
        old = connect(client, peer)
        join(client, old)
        old.message(1)
        asking = Background(lambda: client.publish(ROOM, 1))
        number, _body = old.expect("publish")
        host, port = other.address
        old.push("goaway", {"reason": "drain", "after": 0, "to": [f"{host}:{port}"]})
        new = other.accept()
        assert new.welcome(gateway="gateway-1")["resume"] == "resume-1"
        asked = new.answer("join", history(2, 2))
        assert asked["since"] == {"epoch": 1, "offset": 1}
        old.push("ok", {"epoch": 1, "offset": 2}, number)
        assert asking.result() == (1, 2)
        new.message(3)
        events = until(client, Message, offset=3)
        assert offsets(events) == [1, 2, 3]
        assert Goaway("drain", 0.0, [f"{host}:{port}"]) in events
        assert "closed" not in states(events) and "recovering" not in states(events)
        assert client.welcome["gateway"] == "gateway-1"
        publishing = Background(lambda: client.publish(ROOM, 2))
        new.answer("publish", {"epoch": 1, "offset": 4})
        publishing.result()


def test_replaced_on_the_connection_being_left_means_nothing(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    old = connect(client, peer)
    join(client, old)
    asking = Background(lambda: client.publish(ROOM, 1))
    old.expect("publish")
    old.push("goaway", {"reason": "drain", "after": 0})
    new = peer.accept()
    new.welcome()
    new.answer("join", history(0))
    old.kick("replaced", reconnect=False)
    with pytest.raises(ConnectionLost):
        asking.result()
    pinging = Background(client.ping)
    number, _body = new.expect("ping")
    new.push("pong", {}, number)
    pinging.result()
    assert client.state == "live"
    assert peer.nobody_else_came()


def test_the_old_connection_is_left_when_nothing_waits_on_it(peer: Peer, make: Callable[..., Client]) -> None:
    client = make(timings=Timings(longest_nap=0.02))
    old = connect(client, peer)
    old.push("goaway", {"reason": "drain", "after": 0})
    peer.accept().welcome()
    assert old.ended()
    until(client, StateChanged, state="live")
    assert client.state == "live"


def test_the_old_connection_ending_first_leaves_one_dialer(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    old = connect(client, peer)
    old.push("goaway", {"reason": "restart", "after": 0})
    new = peer.accept()
    new.expect("hello")
    old.close()
    until(client, StateChanged, state="recovering")
    new.push("ok", WELCOME, 1)
    until(client, StateChanged, state="live")
    asking = Background(client.ping)
    number, _body = new.expect("ping")
    new.push("pong", {}, number)
    asking.result()


# --- heartbeat -------------------------------------------------------------------------------


def test_quiet_connections_are_kept_alive_by_pings(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer, ping=0.05)
    for _ in range(3):
        number, _body = conversation.expect("ping")
        conversation.push("pong", {}, number)
    assert client.state == "live"


def test_a_server_that_does_not_answer_is_left(peer: Peer, make: Callable[..., Client]) -> None:
    client = make(timings=Timings(answer=0.1))
    conversation = connect(client, peer, ping=0.05)
    conversation.expect("ping")
    new = peer.accept()
    new.welcome()
    assert conversation.ended()
    until(client, StateChanged, state="live")


def test_a_server_that_pushes_but_does_not_answer_is_left(peer: Peer, make: Callable[..., Client]) -> None:
    client = make(timings=Timings(answer=0.2))
    conversation = connect(client, peer)
    join(client, conversation)
    asking = Background(lambda: client.history(ROOM))
    with pytest.raises(OSError):  # the client has closed
        for offset in range(1, 1000):
            conversation.message(offset)
            time.sleep(0.02)
    with pytest.raises(ConnectionLost):
        asking.result()


def test_a_server_that_dies_in_the_middle_of_a_packet_costs_nothing_that_was_whole(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make()
    conversation = connect(client, peer)
    join(client, conversation)
    conversation.sock.sendall(frame("message", 0, message(1)) + frame("message", 0, message(2))[:-3])
    conversation.close()
    new = peer.accept()
    new.welcome()
    assert new.answer("join", history(2, 2))["since"] == {"epoch": 1, "offset": 1}
    assert offsets(until(client, Message, offset=2)) == [1, 2]


def test_a_defect_of_the_client_ends_it_and_whoever_waits(
    peer: Peer, make: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make()
    conversation = connect(client, peer)

    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(client._session, "receive", broken)
    asking = Background(lambda: client.history(ROOM))
    conversation.answer("history", history(0))
    with pytest.raises(ConnectionLost):
        asking.result()
    assert client.state == "closed" and conversation.ended()


def test_a_server_that_does_not_read_holds_up_nobody_for_ever(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make()
    conversation = connect(client, peer)
    with pytest.raises(Timeout):
        while True:
            client.post("publish", {"room": ROOM, "data": "x" * 60_000})
    with pytest.raises(Timeout):
        client.publish(ROOM, 1, timeout=0.02)
    received = Background(
        lambda: sum(op == "publish" for op, _, _ in (conversation.read() for _ in range(5)))
    )
    assert received.result() == 5


# --- ending ----------------------------------------------------------------------------------


def test_close_says_bye_and_waits_for_the_server(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    closing = Background(client.close)
    assert conversation.read()[0] == "bye"
    conversation.close()
    closing.result()
    assert client.state == "closed"
    assert states(list(client.events())) == ["connecting", "live", "closed"]
    with pytest.raises(ClientClosed):
        client.connect()


def test_close_does_not_wait_for_ever(peer: Peer, make: Callable[..., Client]) -> None:
    client = make(timings=Timings(longest_nap=0.02))
    conversation = connect(client, peer)
    begun = time.monotonic()
    client.close(linger=0.05)
    assert time.monotonic() - begun < 2.0
    assert conversation.read()[0] == "bye" and conversation.ended()


def test_close_from_a_callback_ends_the_client(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    client.on("message", lambda event: client.close())
    conversation = connect(client, peer)
    join(client, conversation)
    conversation.message(1)
    assert conversation.read()[0] == "bye"
    conversation.close()


def test_close_while_coming_back_ends_the_client(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer, retry={"base": 60, "factor": 1, "max": 60})
    conversation.close()
    until(client, StateChanged, state="recovering")
    client.close()
    assert states(list(client.events(timeout=PATIENCE))) == ["closed"]


def test_close_while_logging_in_again_ends_that_login(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    connect(client, peer).close()
    login = peer.accept()
    login.expect("hello")
    begun = time.monotonic()
    client.close()
    assert login.ended(), "an answer would make it the newest login of its device"
    assert time.monotonic() - begun < PATIENCE / 2
    assert peer.nobody_else_came()


def test_a_client_that_was_closed_before_its_socket_stood_says_no_hello(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make()
    client._dialer.stop()
    with pytest.raises(ClientClosed):
        client._dialer.dial_all(time.monotonic() + PATIENCE)
    assert peer.accept().ended()


def test_close_during_connect_ends_it_and_the_state_stays_closed(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make()
    connecting = Background(client.connect)
    peer.accept().expect("hello")
    client.close()
    with pytest.raises(ClientClosed):
        connecting.result()
    assert client.state == "closed"
    assert states(list(client.events(timeout=0))) == ["connecting", "closed"]


def test_after_close_nothing_is_heard_any_more(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer)
    join(client, conversation)
    conversation.message(1)
    until(client, Message)
    closing = Background(client.close)
    conversation.expect("bye")
    conversation.message(2)
    conversation.close()
    closing.result()
    for _ in range(2):
        assert [event for event in client.events(timeout=0) if isinstance(event, Message)] == []


def test_close_ends_what_is_being_published_surely(peer: Peer, make: Callable[..., Client]) -> None:
    client = make()
    conversation = connect(client, peer, retry={"base": 60, "factor": 1, "max": 60})
    publishing = Background(lambda: client.publish_surely(ROOM, 1, timeout=600))
    conversation.refuse("publish", "busy", retry=True, after=60_000)
    client.close(linger=0)
    with pytest.raises(ClientClosed):
        publishing.result()


def test_the_context_manager_connects_and_closes(peer: Peer) -> None:
    def use() -> str:
        with Client(peer.address, "t") as client:
            return client.state

    using = Background(use)
    conversation = peer.accept()
    conversation.welcome()
    assert conversation.read()[0] == "bye"
    conversation.close()
    assert using.result() == "live"


def test_states_are_told_to_on_state(peer: Peer, make: Callable[..., Client]) -> None:
    told: list[str] = []
    client = make(on_state=told.append)
    connect(client, peer)
    client.close(linger=0)
    assert told == ["connecting", "live", "closed"]


def test_no_reader_is_left_behind(peer: Peer, make: Callable[..., Client]) -> None:
    before = threading.active_count()
    client = make()
    conversation = connect(client, peer)
    closing = Background(client.close)
    conversation.read()
    conversation.close()
    closing.result()
    for _ in range(100):
        if threading.active_count() <= before:
            return
        time.sleep(0.02)
    raise AssertionError(threading.enumerate())


def test_an_ack_that_does_not_wait_is_said_by_the_next_connection_when_there_is_none(
    peer: Peer, make: Callable[..., Client]
) -> None:
    client = make(seq=3)
    client.on("inbox", lambda event: client.ack(seq=event.seq, wait=False))
    connecting = Background(client.connect)
    conversation = peer.accept()
    conversation.welcome()
    connecting.result()
    body = {"mid": 1, "uid": "bob", "data": 1, "time": 0}
    conversation.push("inbox", body | {"seq": 4})
    assert conversation.expect("ack") == (0, {"seq": 4})
    conversation.close()
    again = peer.accept()
    client.ack(seq=6, wait=False)
    again.welcome()
    again.push("inbox", body | {"seq": 4})
    assert again.expect("ack") == (0, {"seq": 6})
    assert client.repeats == 1
