from __future__ import annotations

from typing import Any

from common.settings import TokenKey
from common.wire.codec import decode
from common.wire.framing import cut
from common.wire.tokens import Claims, verify_token
from loadtest.flock.greeting import Greeting
from loadtest.flock.members import Members
from loadtest.flock.packets import HELLO, JOIN
from loadtest.flock.plan import Plan

KEY = "k" * 43
EXPIRES = 2_000_000_000


def said(resumes: dict[int, str], at: tuple[int, int] = (0, 0), rooms: int = 0) -> list[Any]:
    """Give the packets client 2 says first."""
    members = Members(5)
    members.epoch[2], members.offset[2] = at
    whole = Plan(port=1, count=5, first=40, token_key=KEY, rooms=rooms)
    bodies, rest = cut(Greeting(whole, members, resumes, EXPIRES).words(2), 10_000)
    assert not rest
    return [tuple(decode(body)) for body in bodies]


def test_it_is_hello_with_a_token_of_its_own_and_join() -> None:
    hello, join = said({}, rooms=10)
    assert hello[:2] == ("hello", HELLO)
    token = hello[2].pop("token")
    assert hello[2] == {"v": 1, "device": "d42", "kind": "swarm"}
    assert verify_token(token, (TokenKey(key=KEY),), EXPIRES - 60) == Claims("u42", "bench", EXPIRES)
    assert join == ("join", JOIN, {"room": "plaza/bench.2"})


def test_who_was_here_before_comes_with_its_resume_token_and_place() -> None:
    hello, join = said({2: "ticket"}, at=(7, 3), rooms=10)
    assert (hello[2]["resume"], "token" in hello[2]) == ("ticket", False)
    assert join[2]["since"] == {"epoch": 7, "offset": 3}


def test_where_nobody_joins_it_is_hello_alone() -> None:
    assert [op for op, _, _ in said({})] == ["hello"]
