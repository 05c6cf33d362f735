from __future__ import annotations

from collections.abc import Callable

import pytest

from common.errors import Unavailable
from common.net.memory import Memory
from common.net.store import Store
from tests.redis_server import RedisServer


class Said:
    """Stands for a store; says what INFO would."""

    def __init__(self) -> None:
        self.used, self.limit, self.asked = 50, 100, 0

    def call(self, *command: str) -> bytes:
        self.asked += 1
        if not self.used:
            raise Unavailable("away")
        return f"# Memory\r\nused_memory:{self.used}\r\nmaxmemory:{self.limit}\r\n".encode()


def make(said: Said, now: list[float]) -> Memory:
    return Memory(said, 0.8, lambda: now[0])  # type: ignore[arg-type]


def test_it_asks_about_once_a_second(store: Store) -> None:
    said, now = Said(), [0.0]
    memory = make(said, now)
    for _ in range(100):
        memory.admit()
        now[0] += 0.05
    assert 5 <= said.asked <= 6


CASES = {"below": (79, True), "at the share": (80, False), "above": (120, False)}


@pytest.mark.parametrize(("used", "admits"), CASES.values(), ids=CASES.keys())
def test_it_refuses_from_the_share_on(used: int, admits: bool) -> None:
    said = Said()
    said.used = used
    if admits:
        assert make(said, [0.0]).admit() == used / 100
        return
    with pytest.raises(Unavailable) as raised:
        make(said, [0.0]).admit()
    assert raised.value.facts == {"share": used / 100}


def test_a_server_without_a_limit_always_has_room() -> None:
    said = Said()
    said.limit = 0
    assert make(said, [0.0]).admit() == 0


def test_an_answer_that_did_not_come_is_asked_for_again() -> None:
    said, now = Said(), [0.0]
    memory = make(said, now)
    said.used = 0
    for _ in range(2):
        with pytest.raises(Unavailable, match="away"):
            memory.admit()
    said.used = 10
    assert memory.admit() == 0.1


def test_the_real_server_says_how_full_it_is(
    own_redis: RedisServer, make_store: Callable[..., Store]
) -> None:
    own_redis.command("CONFIG", "SET", "maxmemory", 1_000_000_000)
    assert 0 < Memory(make_store(own_redis), 0.8).admit() < 0.1
