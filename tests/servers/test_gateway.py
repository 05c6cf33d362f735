from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from common.net.front.listener import Door, Place
from common.net.front.opening import Opening
from tests.common.net.front.scene import Site, settle, until

HOST = "127.0.0.1"
READY = {"dbserver-0": ["a", 1, "gone", 0], "dbserver-1": ["a", 1, "ready", 0]}


class Starting:
    """A gateway that starts: nobody is there yet; its door is on a port of its own."""

    def __init__(self, **settings: Any) -> None:
        self.site = Site(**settings)
        with socket.create_server((HOST, 0)) as free:
            self.port = free.getsockname()[1]
        self.gateway, self.process = self.site.gateway, self.site.process
        self.process.state = "starting"
        self.site.links.down = set(self.gateway.peers())
        self.gateway.door = Door(self.site.front, HOST, [Place(self.port)])
        self.gateway.door.bind()
        self.gateway.opening = Opening(cast(Any, self.process), self.gateway.door, self.gateway.peers())
        self.process.tasks.spawn("door", self.gateway.opening.run)
        settle()

    def listens(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=2).close()
        except ConnectionRefusedError:
            return False
        return True

    def close(self) -> None:
        self.gateway.door.close()
        self.site.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Starting]]:
    """Start gateways; keywords are settings."""
    made: list[Starting] = []

    def make(**settings: Any) -> Starting:
        made.append(Starting(**settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_clients_are_let_in_when_all_that_serve_them_are_there(start: Callable[..., Starting]) -> None:
    gateway = start()
    assert not gateway.listens()
    assert gateway.gateway.missing() == ["clients are not let in yet"]
    gateway.site.links.down = {"session-1"}
    gateway.process.directory = READY
    settle()
    assert not gateway.listens()
    gateway.site.links.down = set()
    until(gateway.listens)
    assert gateway.gateway.missing() == []


@pytest.mark.parametrize("directory", [{}, {"dbserver-1": ["a", 1, "gone", 0]}], ids=["function", "dbserver"])
def test_clients_wait_for_function_and_for_one_dbserver(
    start: Callable[..., Starting], directory: dict[str, Any]
) -> None:
    gateway = start()
    gateway.site.links.down = set()
    gateway.process.directory = directory
    settle()
    assert not gateway.listens()
    gateway.process.directory = READY
    until(gateway.listens)


def test_after_the_set_time_clients_are_let_in_all_the_same(start: Callable[..., Starting]) -> None:
    gateway = start(door_wait=0.03)
    until(gateway.listens)


def test_a_link_that_goes_down_later_shuts_nobody_out(start: Callable[..., Starting]) -> None:
    gateway = start()
    gateway.site.links.down = set()
    gateway.process.directory = READY
    until(gateway.listens)
    gateway.site.links.down = {"session-0"}
    settle()
    assert gateway.listens()


def test_one_that_is_drained_while_it_waits_lets_nobody_in(start: Callable[..., Starting]) -> None:
    gateway = start()
    gateway.gateway.drain()
    gateway.site.links.down = set()
    gateway.process.directory = READY
    until(lambda: gateway.gateway.missing() == [])
    assert not gateway.listens()
