from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from common.errors import ConfigError
from common.net.front.listener import Door, Listener, Place
from tests.common.net.front.scene import Site, settle, until

HOST = "127.0.0.1"
MakeSite = Callable[..., Site]


def free_ports(number: int) -> list[int]:
    """Give ports nobody listens on."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Entrance:
    """A gateway with its door; its clock stands still unless told."""

    def __init__(self, site: Site, ports: list[int]) -> None:
        self.site, self.front = site, site.front
        self.own, self.shared = ports
        self.front.clock._timer.stop()
        self.door = Door(self.front, HOST, [Place(self.own), Place(self.shared, shared=True)])
        self.clients: list[socket.socket] = []

    def connect(self, number: int = 1, port: int | None = None) -> list[socket.socket]:
        """Connect so many clients; the kernel takes them, whoever accepts."""
        clients = [socket.create_connection((HOST, port or self.own), timeout=2) for _ in range(number)]
        self.clients += clients
        settle()
        return clients

    def held(self) -> int:
        return len(self.front.half_open)

    def leave(self, number: int) -> None:
        """End the oldest connections."""
        for connection in list(self.front.half_open)[:number]:
            connection.close("test")

    def listens(self, port: int) -> bool:
        try:
            self.connect(port=port)
        except ConnectionRefusedError:
            return False
        return True

    def close(self) -> None:
        self.door.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def make_entrance(make_site: MakeSite) -> Iterator[Callable[..., Entrance]]:
    """Make doors, open at first; keywords are settings of the gateway."""
    entrances: list[Entrance] = []

    def make(ports: list[int] | None = None, **settings: Any) -> Entrance:
        entrances.append(Entrance(make_site(**settings), ports or free_ports(2)))
        entrances[-1].door.open()
        return entrances[-1]

    yield make
    for entrance in entrances:
        entrance.close()


MakeEntrance = Callable[..., Entrance]


def test_clients_come_in_by_both_ports(make_entrance: MakeEntrance) -> None:
    entrance = make_entrance()
    entrance.connect(2, entrance.own)
    entrance.connect(2, entrance.shared)
    assert entrance.held() == 4
    assert {connection.address for connection in entrance.front.half_open} == {HOST}


def test_a_taken_port_is_said_with_the_cure(make_entrance: MakeEntrance) -> None:
    taken = make_entrance()
    with pytest.raises(ConfigError, match=f"cannot listen on {HOST}:{taken.own}: .*set ROOST_PORT"):
        make_entrance([taken.own, taken.shared])


def test_a_full_gateway_takes_exactly_its_limit(make_entrance: MakeEntrance) -> None:
    entrance = make_entrance(max_connections=5)
    entrance.connect(9)
    assert entrance.held() == 5
    entrance.door.step()
    assert entrance.held() == 5


def test_a_full_gateway_closes_its_ports_and_opens_them_when_there_is_space(
    make_entrance: MakeEntrance,
) -> None:
    entrance = make_entrance(max_connections=100)
    entrance.connect(100)
    entrance.door.step()
    assert not entrance.listens(entrance.own)
    assert not entrance.listens(entrance.shared)
    entrance.leave(2)
    entrance.door.step()
    assert not entrance.listens(entrance.shared), "not at 98 of 100: it would flap"
    entrance.leave(1)
    entrance.door.step()
    assert entrance.listens(entrance.shared)
    assert entrance.listens(entrance.own)
    assert entrance.held() == 99


def test_clients_go_to_the_others_while_one_gateway_is_full(make_entrance: MakeEntrance) -> None:
    own, other_own, shared = free_ports(3)
    full, other = make_entrance([own, shared], max_connections=3), make_entrance([other_own, shared])
    full.connect(3, own)
    full.door.step()
    other.connect(20, shared)
    assert (full.held(), other.held()) == (3, 20)


def test_a_port_somebody_took_meanwhile_is_tried_again(make_entrance: MakeEntrance) -> None:
    entrance = make_entrance(max_connections=2)
    entrance.connect(2)
    entrance.door.step()
    thief = socket.create_server((HOST, entrance.own))
    entrance.leave(2)
    entrance.door.step()
    entrance.door.step()
    thief.close()
    entrance.door.step()
    assert entrance.listens(entrance.own)
    assert entrance.listens(entrance.shared)


def test_above_the_accept_rate_clients_wait_and_come_in_later(make_entrance: MakeEntrance) -> None:
    entrance = make_entrance(accept_per_second=10)
    entrance.connect(25)
    entrance.door.step()
    settle()
    assert entrance.held() == 10
    for wanted in (15, 20, 25, 25):
        entrance.front.now += 0.5
        entrance.door.step()
        settle()
        assert entrance.held() == wanted
    assert entrance.listens(entrance.own)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the list into which every step of a door puts its time."""
    steps: list[float] = []
    step = Door.step

    def counted(door: Door) -> None:
        steps.append(time.monotonic())
        step(door)

    monkeypatch.setattr(Door, "step", counted)
    return steps


@pytest.fixture
def run() -> Iterator[Callable[[Entrance], None]]:
    """Let doors look after themselves."""
    running: list[Any] = []
    yield lambda entrance: running.append(gevent.spawn(entrance.door.run))
    gevent.killall(running)


def test_a_door_nobody_waits_at_does_nothing(
    make_entrance: MakeEntrance, watched: list[float], run: Callable[[Entrance], None]
) -> None:
    entrance = make_entrance()
    run(entrance)
    entrance.connect(3)
    gevent.sleep(0.05)
    assert entrance.held() == 3
    assert watched == []


def test_a_door_that_paused_goes_on_by_itself_and_then_rests(
    make_entrance: MakeEntrance, watched: list[float], run: Callable[[Entrance], None]
) -> None:
    entrance = make_entrance(half_open=2)
    run(entrance)
    entrance.connect(3)
    assert entrance.held() == 2
    entrance.leave(2)
    until(lambda: entrance.front.counters.accepted == 3)
    gevent.sleep(0.03)
    steps = len(watched)
    gevent.sleep(0.05)
    assert len(watched) == steps


def test_a_gateway_closes_its_ports_once_it_is_full_before_anybody_else_comes(
    make_entrance: MakeEntrance, run: Callable[[Entrance], None]
) -> None:
    entrance = make_entrance(max_connections=3)
    run(entrance)
    entrance.connect(3)
    until(lambda: entrance.door._full)
    assert not entrance.listens(entrance.own)
    entrance.leave(3)
    until(lambda: not entrance.door._full)
    assert entrance.listens(entrance.own)


def test_too_many_half_open_logins_make_others_wait_until_some_are_done(make_entrance: MakeEntrance) -> None:
    entrance = make_entrance(half_open=4)
    entrance.connect(6)
    entrance.door.step()
    settle()
    assert entrance.held() == 4
    entrance.leave(1)
    entrance.door.step()
    settle()
    assert (entrance.held(), entrance.front.counters.accepted) == (4, 5)
    entrance.leave(4)
    entrance.door.step()
    settle()
    assert (entrance.held(), entrance.front.counters.accepted) == (1, 6)


def test_a_storm_of_pauses_of_all_kinds_ends_with_an_open_door(make_entrance: MakeEntrance) -> None:
    entrance = make_entrance(accept_per_second=5, half_open=6, max_connections=8)
    for _ in range(12):
        if entrance.door._full:
            entrance.leave(8)
        else:
            entrance.connect(3)
        entrance.front.now += 0.3
        entrance.door.step()
        settle()
    for _ in range(20):
        entrance.leave(8)
        entrance.front.now += 1
        entrance.door.step()
        settle()
    assert entrance.front.counters.accepted == len(entrance.clients)
    assert entrance.listens(entrance.own)


def test_sockets_on_their_way_out_count_towards_the_limit(make_entrance: MakeEntrance) -> None:
    entrance = make_entrance(max_connections=2)
    entrance.connect(2)
    for connection in list(entrance.front.half_open):
        connection.kick("idle", "test")
    entrance.connect(1)
    assert entrance.held() == 0
    assert entrance.front.held() == 2


def test_a_closed_door_lets_nobody_in_and_stays_closed(make_entrance: MakeEntrance) -> None:
    entrance = make_entrance()
    entrance.door.close()
    entrance.door.step()
    assert not entrance.listens(entrance.own)
    assert not entrance.listens(entrance.shared)


def test_without_descriptors_accepting_rests_instead_of_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    taken: list[Any] = []
    listener = Listener((HOST, port), False, lambda: True, lambda sock, address: taken.append(sock))
    listener.open()
    real, tries = listener._sock, []

    class NoDescriptors:
        def _accept(self) -> Any:
            tries.append(1)
            raise OSError(errno.EMFILE, "too many open files")

    listener._sock = NoDescriptors()
    client = socket.create_connection((HOST, port), timeout=2)
    gevent.sleep(0.02)
    assert len(tries) == 1
    listener._sock = real
    listener.resume()
    until(lambda: bool(taken))
    listener.close()
    client.close()
    taken.pop().close()
