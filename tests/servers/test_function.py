from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import BadField, Conflict, Unavailable
from common.net import log as logs
from common.net.metrics import Metrics
from common.places import Places
from common.settings import Settings
from servers.function import TABLE, Function, directory, profile_get, profile_set, renew


class FakeCallers:
    """Remembers calls; answers or raises as told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answer: Any = None

    def call(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        self.calls.append((peer, method, *args))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def service() -> Function:
    settings = Settings()
    logs.setup("error", "function-0", io.StringIO())
    process = SimpleNamespace(
        settings=settings,
        places=Places(settings),
        callers=FakeCallers(),
        metrics=Metrics("function-0"),
        log=logs.get(),
        index=0,
    )
    return Function(process)  # type: ignore[arg-type]


def test_a_renewal_is_answered_with_the_whole_directory(service: Any):
    renew(service, "world-0", "a", 1, "ipc://w", "ready")
    answer = renew(service, "gateway-0", "b", 2, "ipc://g", "starting")
    assert answer["accepted"]
    assert {name: entry[:3] for name, entry in answer["directory"].items()} == {
        "world-0": ["a", 1, "ready"],
        "gateway-0": ["b", 2, "starting"],
    }


OLDER = {"incarnation": ("a", 9), "term": ("b", 1)}


@pytest.mark.parametrize("incarnation, term", OLDER.values(), ids=OLDER)
def test_an_older_owner_is_refused_and_told_of_the_newer(service: Any, incarnation: str, term: int):
    renew(service, "world-0", "b", 2, "ipc://w", "ready")
    answer = renew(service, "world-0", incarnation, term, "ipc://w", "ready")
    assert not answer["accepted"]
    assert answer["directory"]["world-0"][:2] == ["b", 2]
    assert service.process.metrics.counters.values() == {"renewals": 1, "refused": 1}


WRONG = {"name": ("world-77", "ready"), "state": ("world-0", "asleep")}


@pytest.mark.parametrize("field", WRONG)
def test_a_renewal_of_an_unknown_name_or_state_is_refused(service: Any, field: str):
    name, state = WRONG[field]
    with pytest.raises(BadField) as caught:
        renew(service, name, "a", 1, "ipc://w", state)
    assert caught.value.facts == {"field": field}
    assert directory(service)["directory"] == {}


def test_the_directory_gives_addresses_too(service: Any):
    renew(service, "world-0", "a", 1, "ipc://w", "ready")
    answer = directory(service)
    assert answer["addresses"] == {"world-0": "ipc://w"}
    assert list(answer["directory"]) == ["world-0"]


def test_leases_are_counted_by_state(service: Any):
    for name, state in (("world-0", "ready"), ("world-1", "ready"), ("gateway-0", "draining")):
        renew(service, name, "a", 1, "ipc://x", state)
    assert service.count_states() == {"ready": 2, "draining": 1}


def test_a_profile_is_stored_by_a_dbserver(service: Any):
    service.process.callers.answer = ["Al", {"level": 3}]
    assert profile_set(service, "demo/alice", "Al", {"level": 3}) == ["Al", {"level": 3}]
    assert service.process.callers.calls == [("dbserver-0", "profile_set", "demo/alice", "Al", {"level": 3})]


def test_a_profile_may_be_set_without_a_name(service: Any):
    profile_set(service, "demo/alice", None, {"level": 3})
    assert service.process.callers.calls[0][3] is None


def test_a_name_may_be_any_printable_text(service: Any):
    profile_set(service, "demo/alice", "Zoë / 🦉", {"blank key": 3})
    assert service.process.callers.calls[0][3] == "Zoë / 🦉"


BAD_NAMES = {"empty": "", "long": "x" * 65, "long in bytes": "ü" * 33, "no text": 7, "newline": "a\n"}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_wrong_name_is_refused_before_any_dbserver_is_asked(service: Any, name: Any):
    with pytest.raises(BadField) as caught:
        profile_set(service, "demo/alice", name, {})
    assert caught.value.facts == {"field": "name"}
    assert service.process.callers.calls == []


def test_a_wrong_key_of_a_field_is_refused(service: Any):
    with pytest.raises(BadField) as caught:
        profile_set(service, "demo/alice", None, {"a/b": 1})
    assert caught.value.facts == {"field": "set"}


def test_a_taken_name_is_a_conflict(service: Any):
    service.process.callers.answer = Conflict("taken")
    with pytest.raises(Conflict):
        profile_set(service, "demo/alice", "Al", {})


def test_profiles_are_unavailable_while_all_dbservers_are_away(service: Any):
    service.process.callers.answer = Unavailable("away")
    with pytest.raises(Unavailable):
        profile_get(service, ["demo/alice"])
    assert [call[0] for call in service.process.callers.calls] == ["dbserver-0", "dbserver-1"]


def test_the_whole_surface_is_one_table():
    assert set(TABLE) == {"renew", "directory", "profile_get", "profile_set"}
