"""One connection: requests, replies, heartbeat; time is passed in."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_peer import WELCOME

from roost_client.codec import Decoder, Packet
from roost_client.connection import LARGEST_NUMBER, Connection, open_connection
from roost_client.errors import Busy, ConnectionLost, PacketTooLarge, ProtocolError, Timeout
from roost_client.retry import Timings


def live(now: float = 0.0) -> Connection:
    connection = Connection(now, Timings())
    connection.request("hello", {}, now)
    open_connection(connection, [("ok", 1, dict(WELCOME))])
    connection.outgoing.clear()
    return connection


def sent(connection: Connection) -> list[Packet]:
    packets = Decoder().receive_data(bytes(connection.outgoing))
    connection.outgoing.clear()
    return packets


def test_a_reply_ends_its_request_and_wakes_the_caller() -> None:
    connection, woken = live(), []
    request = connection.request("join", {"room": "a/b"}, 1.0, wake=lambda: woken.append(1))
    assert sent(connection) == [("join", request.number, {"room": "a/b"})]
    connection.answer("ok", request.number, {"epoch": 1})
    assert request.result() == {"epoch": 1} and woken == [1] and not connection.pending


def test_an_error_reply_is_raised_as_its_class() -> None:
    connection = live()
    request = connection.request("join", {}, 1.0)
    connection.answer("error", request.number, {"code": "busy", "retry": True})
    with pytest.raises(Busy) as caught:
        request.result()
    assert caught.value.retry


def test_an_answer_nobody_waits_for_is_dropped() -> None:
    assert live().answer("ok", 99, {}) == []


def test_an_answer_the_client_cannot_read_is_a_protocol_error_for_the_caller_too() -> None:
    connection = live()
    request = connection.request("join", {}, 1.0, then=lambda _connection, asked: asked.value["epoch"])
    with pytest.raises(ProtocolError):
        connection.answer("ok", request.number, {})
    assert request.done
    with pytest.raises(ProtocolError):
        request.result()


def test_numbers_begin_again_after_the_largest_and_skip_those_in_use() -> None:
    connection = live()
    first = connection.request("ping", {}, 1.0)
    connection._number = LARGEST_NUMBER - 1
    numbers = [connection.request("ping", {}, 1.0).number for _ in range(3)]
    assert first.number == 2 and numbers == [LARGEST_NUMBER, 1, 3]


def test_a_packet_too_large_leaves_nothing_behind() -> None:
    connection = live()
    with pytest.raises(PacketTooLarge):
        connection.request("publish", {"data": b"x" * 70_000}, 1.0)
    assert not connection.pending and not connection.outgoing


def test_quiet_makes_a_ping_and_asking_puts_it_off() -> None:
    connection = live()
    connection.heartbeat(23.9)
    assert sent(connection) == []
    connection.request("history", {}, 20.0)
    connection.outgoing.clear()
    connection.heartbeat(24.1)
    assert sent(connection) == []
    connection.heartbeat(44.0)
    assert [op for op, _number, _body in sent(connection)] == ["ping"]


def test_one_that_only_posts_pings_too_or_it_would_never_hear_of_a_dead_server() -> None:
    connection = live()
    for tenth in range(1, 241):
        connection.post("input", {"n": tenth}, tenth / 10)
    connection.outgoing.clear()
    connection.heartbeat(24.0)
    assert [op for op, _number, _body in sent(connection)] == ["ping"]
    assert connection.dead(39.0)


MALFORMED_WELCOMES: dict[str, dict[str, Any]] = {
    "a ping that is no number": {"ping": "soon"},
    "a ping that is null": {"ping": None},
    "a retry that is no map": {"retry": [1, 2]},
    "a base that is no number": {"retry": {"base": "fast"}},
    "an inbox that is no map": {"inbox": 7},
    "a seq that is no number": {"inbox": {"seq": "1", "bseq": 0}},
    "a resume that is no string": {"resume": 5},
}


@pytest.mark.parametrize("case", MALFORMED_WELCOMES)
def test_a_malformed_welcome_is_a_protocol_error(case: str) -> None:
    connection = Connection(0.0, Timings())
    connection.request("hello", {}, 0.0)
    with pytest.raises(ProtocolError, match="welcome"):
        open_connection(connection, [("ok", 1, {"ping": 30, **MALFORMED_WELCOMES[case]})])


def test_a_connection_without_a_welcome_is_dead_after_ten_seconds() -> None:
    connection = Connection(100.0, Timings())
    connection.request("hello", {}, 100.0)
    assert not connection.dead(109.9) and connection.dead(110.0)


def test_a_connection_without_any_answer_is_dead_after_fifteen_seconds() -> None:
    connection = live()
    assert not connection.dead(1000.0)
    connection.request("ping", {}, 1000.0)
    assert not connection.dead(1014.9) and connection.dead(1015.0)


def test_any_answer_is_a_sign_of_life() -> None:
    connection = live()
    connection.request("history", {}, 0.0)
    ping = connection.request("ping", {}, 10.0)
    data = bytes(frame_of("pong", ping.number))
    for op, number, body in connection.receive_data(data, 12.0):
        connection.answer(op, number, body)
    assert not connection.dead(26.9) and connection.dead(27.0)


def test_an_own_request_that_alone_gets_no_answer_ends_with_a_timeout() -> None:
    connection = live()
    own = connection.request("history", {}, 0.0, internal=True)
    application = connection.request("history", {}, 0.0)
    connection.expire(15.0)
    assert isinstance(own.error, Timeout) and not application.done


def test_the_end_fails_every_request() -> None:
    connection = live()
    requests = [connection.request("ping", {}, 0.0) for _ in range(3)]
    connection.fail_all("gone")
    for request in requests:
        with pytest.raises(ConnectionLost, match="gone"):
            request.result()


def frame_of(op: str, number: int) -> bytes:
    other = Connection(0.0, Timings())
    other._number = number - 1
    other.request(op, {}, 0.0)
    return bytes(other.outgoing)
