from __future__ import annotations

import contextlib
import gc
import weakref
from typing import Any

import pytest

from common.errors import Conflict, DeadlineExceeded, RequestError, Unavailable
from common.net.dbclient import Dbservers
from common.places import Places
from common.settings import Cluster, Settings


class FakeCallers:
    """Answers for each dbserver as told; remembers who was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def call(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        self.asked.append(peer)
        answer = self.answers[peer.replace("-", "_")]
        if isinstance(answer, RequestError):
            raise answer
        return [answer, method, *args, timeout]


def dbservers(callers: FakeCallers, first: int = 0) -> Dbservers:
    return Dbservers(callers, Places(Settings(cluster=Cluster(dbservers=3))), first)


def test_the_first_that_answers_gives_the_result():
    callers = FakeCallers(dbserver_0="zero")
    assert dbservers(callers).call("ids_take", 5, timeout=1.5) == ["zero", "ids_take", 5, 1.5]


@pytest.mark.parametrize("error", [Unavailable("away"), DeadlineExceeded("slow")], ids=lambda e: e.code)
def test_one_that_is_away_is_passed_over_and_not_asked_first_again(error: RequestError):
    callers = FakeCallers(dbserver_0=error, dbserver_1="one")
    servers = dbservers(callers)
    assert servers.call("x")[0] == "one"
    assert servers.call("x")[0] == "one"
    assert callers.asked == ["dbserver-0", "dbserver-1", "dbserver-1"]


def test_after_the_last_comes_the_first():
    callers = FakeCallers(dbserver_2=Unavailable("away"), dbserver_0="zero")
    assert dbservers(callers, first=5).call("x")[0] == "zero"


def test_a_refusal_is_an_answer():
    callers = FakeCallers(dbserver_0=Conflict("taken"), dbserver_1="one")
    with pytest.raises(Conflict):
        dbservers(callers).call("profile_set")
    assert callers.asked == ["dbserver-0"]


def test_none_answering_raises_unavailable_after_each_was_asked_once():
    away = Unavailable("away")
    callers = FakeCallers(dbserver_0=away, dbserver_1=away, dbserver_2=away)
    with pytest.raises(Unavailable):
        dbservers(callers).call("x")
    assert callers.asked == ["dbserver-0", "dbserver-1", "dbserver-2"]


def test_when_one_ran_out_of_time_it_is_not_known_whether_it_was_done():
    away = Unavailable("away")
    callers = FakeCallers(dbserver_0=away, dbserver_1=DeadlineExceeded("slow"), dbserver_2=away)
    with pytest.raises(DeadlineExceeded):
        dbservers(callers).call("x")


class Silent:
    """Answers nobody; raises a new error each time, as real callers do."""

    def call(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        raise DeadlineExceeded(f"{peer} did not answer")


class Held:
    """An argument whose end can be seen."""


def test_a_failed_call_keeps_nothing_of_its_arguments_until_the_next_collection():
    servers = Dbservers(Silent(), Places(Settings(cluster=Cluster(dbservers=3))))
    argument = Held()
    ended = weakref.ref(argument)
    gc.disable()
    try:
        with contextlib.suppress(DeadlineExceeded):
            servers.call("mail_send", argument)
        del argument
        assert ended() is None
    finally:
        gc.enable()
