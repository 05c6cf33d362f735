from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from common.errors import BadField, Conflict, DeadlineExceeded, RequestError
from common.net import profiles
from common.net.profiles import NAME_GRACE, change, get
from common.net.store import Store

NAMES = "gs:name:{p}"
CLAIMS = "gs:claim:{p}"


class Dying:
    """A store whose process dies right before the named script, or right after it."""

    def __init__(self, store: Store, script: str, after: bool = False) -> None:
        self._store = store
        self._script = script
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def script(self, name: str, keys: tuple[str, ...], *args: Any) -> Any:
        if name == self._script and not self._after:
            raise DeadlineExceeded("killed")
        reply = self._store.script(name, keys, *args)
        if name == self._script:
            raise DeadlineExceeded("killed")
        return reply


def at(now: float) -> Callable[[], float]:
    """Give a clock that stands still."""
    return lambda: now


def test_a_user_without_a_profile_has_no_name_and_no_fields(store: Store) -> None:
    assert get(store, ["p/alice", "p/bob"]) == [("p/alice", None, {}), ("p/bob", None, {})]


def test_fields_are_values_of_the_protocol_and_come_back_as_they_were(store: Store) -> None:
    fields = {
        "level": 7,
        "mood": "käse",
        "pic": b"\x00\xff",
        "pos": [1.5, None, {"x": True}],
        "big": 2**53 - 1,
    }
    assert change(store, "p/alice", "Neo", fields) == ("p/alice", "Neo", fields)
    assert get(store, ["p/bob", "p/alice"]) == [("p/bob", None, {}), ("p/alice", "Neo", fields)]


def test_a_change_leaves_other_fields_and_none_removes_one(store: Store) -> None:
    change(store, "p/alice", "Neo", {"a": 1, "b": 2})
    assert change(store, "p/alice", None, {"b": None, "c": 3}) == ("p/alice", "Neo", {"a": 1, "c": 3})


def test_a_taken_name_is_a_conflict_and_changes_nothing(store: Store) -> None:
    change(store, "p/alice", "Neo", {})
    with pytest.raises(Conflict):
        change(store, "p/bob", "Neo", {"a": 1})
    assert get(store, ["p/alice", "p/bob"]) == [("p/alice", "Neo", {}), ("p/bob", None, {})]


def test_a_new_name_releases_the_old_one_and_leaves_no_claim(store: Store) -> None:
    change(store, "p/alice", "Neo", {})
    change(store, "p/alice", "Trinity", {})
    change(store, "p/bob", "Neo", {})
    assert store.call("HGETALL", CLAIMS) == []
    assert dict(zip(*[iter(store.call("HGETALL", NAMES))] * 2, strict=True)) == {
        b"Trinity": b"alice",
        b"Neo": b"bob",
    }


def test_the_same_name_again_is_no_conflict(store: Store) -> None:
    change(store, "p/alice", "Neo", {"a": 1})
    assert change(store, "p/alice", "Neo", {"a": 2}) == ("p/alice", "Neo", {"a": 2})


def test_of_many_who_want_a_name_at_once_exactly_one_gets_it(store: Store) -> None:
    def want(uid: str) -> bool:
        try:
            change(store, f"p/{uid}", "Neo", {})
        except Conflict:
            return False
        return True

    users = [f"u{n}" for n in range(60)]
    got = [uid for uid, racer in [(uid, gevent.spawn(want, uid)) for uid in users] if racer.get(timeout=10)]
    assert len(got) == 1
    named = [user for user, name, _ in get(store, [f"p/{uid}" for uid in users]) if name == "Neo"]
    assert named == [f"p/{got[0]}"]
    assert store.call("HGET", NAMES, "Neo") == got[0].encode()


def test_users_who_swap_names_in_a_storm_never_share_one(store: Store) -> None:
    names, users = [f"n{n}" for n in range(4)], [f"p/u{n}" for n in range(8)]

    def rename(user: str, turn: int) -> None:
        for step in range(12):
            try:
                change(store, user, names[(turn + step) % len(names)], {})
            except Conflict:
                gevent.sleep(0)

    gevent.joinall([gevent.spawn(rename, u, n) for n, u in enumerate(users)], timeout=20, raise_error=True)
    held = [(name, user.split("/")[1]) for user, name, _ in get(store, users) if name is not None]
    assert len({name for name, _ in held}) == len(held)
    owners = {
        name.decode(): uid.decode()
        for name, uid in zip(*[iter(store.call("HGETALL", NAMES))] * 2, strict=True)
    }
    assert {name: owners[name] for name, _ in held} == dict(held)


def test_a_user_with_two_changes_at_once_ends_with_one_name_and_the_other_is_free(store: Store) -> None:
    for turn in range(10):
        pair = [f"a{turn}", f"b{turn}"]
        racers = [gevent.spawn(_quietly, store, "p/alice", name) for name in pair]
        gevent.joinall(racers, timeout=10, raise_error=True)
        ((_, name, _),) = get(store, ["p/alice"])
        assert name in pair
        for other in {*pair} - {name}:
            change(store, "p/bob", other, {}, at(1e10))


def _quietly(store: Store, user: str, name: str) -> None:
    try:
        change(store, user, name, {})
    except Conflict:
        return


@pytest.mark.parametrize("script", ["name_claim", "profile_write", "name_settle"])
@pytest.mark.parametrize("after", [False, True])
def test_a_change_that_died_half_way_is_completed_by_repeating_it(
    store: Store, script: str, after: bool
) -> None:
    change(store, "p/alice", "Neo", {"a": 1})
    with pytest.raises(DeadlineExceeded):
        change(Dying(store, script, after), "p/alice", "Trinity", {"a": 2})  # type: ignore[arg-type]
    assert change(store, "p/alice", "Trinity", {"a": 2}) == ("p/alice", "Trinity", {"a": 2})
    assert store.call("HGETALL", NAMES) == [b"Trinity", b"alice"]
    assert store.call("HGETALL", CLAIMS) == []


def test_a_claim_whose_claimer_died_is_left_alone_for_the_grace_and_then_taken_over(store: Store) -> None:
    with pytest.raises(DeadlineExceeded):
        change(Dying(store, "profile_write"), "p/alice", "Neo", {}, at(1_000.0))  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        change(store, "p/bob", "Neo", {}, at(1_000.0 + NAME_GRACE - 0.1))
    assert change(store, "p/bob", "Neo", {}, at(1_000.0 + NAME_GRACE))[1] == "Neo"
    with pytest.raises(Conflict):
        change(store, "p/alice", "Neo", {}, at(9_999.0))


def test_an_old_name_that_was_never_released_is_taken_over(store: Store) -> None:
    change(store, "p/alice", "Neo", {})
    with pytest.raises(DeadlineExceeded):
        change(Dying(store, "name_settle"), "p/alice", "Trinity", {}, at(1_000.0))  # type: ignore[arg-type]
    assert change(store, "p/bob", "Neo", {}, at(1_000.0))[1] == "Neo"
    with pytest.raises(Conflict):
        change(store, "p/carol", "Trinity", {}, at(9_999.0))


STALE = {"another holder": ("bob", "7"), "a newer claim": ("alice", "6"), "no claim": ("alice", "")}


@pytest.mark.parametrize("seen", STALE.values(), ids=STALE)
def test_an_orphan_that_changed_since_it_was_seen_is_not_taken_over(
    store: Store, seen: tuple[str, str]
) -> None:
    keys = (NAMES, CLAIMS)
    store.script("name_claim", keys, "Neo", "alice", 7, "", "")
    assert store.script("name_claim", keys, "Neo", "eve", 8, *seen) == [b"taken", b"alice", b"7"]
    assert store.script("name_claim", keys, "Neo", "eve", 8, "alice", "7") == [b"ok"]


def test_of_many_who_take_an_orphan_over_exactly_one_gets_it(store: Store) -> None:
    with pytest.raises(DeadlineExceeded):
        change(Dying(store, "profile_write"), "p/alice", "Neo", {}, at(1_000.0))  # type: ignore[arg-type]
    results: list[str] = []

    def want(uid: str) -> None:
        try:
            change(store, f"p/{uid}", "Neo", {}, at(2_000.0))
        except Conflict:
            return
        results.append(uid)

    gevent.joinall([gevent.spawn(want, f"u{n}") for n in range(30)], timeout=10, raise_error=True)
    assert len(results) == 1


def test_a_claimer_who_wakes_after_its_name_was_taken_over_gets_its_old_one_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(store, "p/alice", "Old", {})
    write = profiles._write

    def sleep_and_write(*arguments: Any) -> str:
        monkeypatch.setattr(profiles, "_write", write)
        change(store, "p/bob", "Neo", {}, at(2_000.0))
        return write(*arguments)

    monkeypatch.setattr(profiles, "_write", sleep_and_write)
    with pytest.raises(Conflict):
        change(store, "p/alice", "Neo", {}, at(1_000.0))
    assert [name for _, name, _ in get(store, ["p/alice", "p/bob"])] == ["Old", "Neo"]


TOO_MUCH: dict[str, dict[str, Any]] = {
    "17 fields": {f"f{n}": n for n in range(17)},
    "4 KiB and more": {"text": "x" * 4090},
    "an empty field name": {"": 1},
    "a field name of 65 bytes": {"f" * 65: 1},
    "the field name": {"name": "Neo"},
}


@pytest.mark.parametrize("fields", TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_much_is_refused_and_changes_nothing_and_the_name_stays_free(
    store: Store, fields: dict[str, Any]
) -> None:
    change(store, "p/alice", "Old", {})
    with pytest.raises(BadField) as raised:
        change(store, "p/alice", "Neo", fields)
    assert raised.value.facts["field"] == "set"
    assert get(store, ["p/alice"]) == [("p/alice", "Old", {})]
    assert change(store, "p/bob", "Neo", {})[1] == "Neo"


def test_the_limits_count_what_is_stored_already(store: Store) -> None:
    change(store, "p/alice", "Neo", {f"f{n}": n for n in range(16)})
    with pytest.raises(BadField, match="16 fields"):
        change(store, "p/alice", None, {"one_more": 1})
    assert len(change(store, "p/alice", None, {"one_more": 1, "f0": None})[2]) == 16
    with pytest.raises(BadField, match="4096 bytes"):
        change(store, "p/alice", None, {"f1": "x" * 4_090})


@pytest.mark.parametrize("name", ["", "ä" * 33])
def test_a_name_has_1_to_64_bytes(store: Store, name: str) -> None:
    with pytest.raises(BadField) as raised:
        change(store, "p/alice", name, {})
    assert raised.value.facts["field"] == "name"
    assert change(store, "p/alice", "ä" * 32, {})[1] == "ä" * 32


def test_equal_users_and_names_of_two_products_never_meet(store: Store) -> None:
    change(store, "p/alice", "Neo", {"in": "p"})
    change(store, "q/alice", "Neo", {"in": "q"})
    assert get(store, ["p/alice", "q/alice"]) == [
        ("p/alice", "Neo", {"in": "p"}),
        ("q/alice", "Neo", {"in": "q"}),
    ]


def test_errors_of_the_store_pass_through(store: Store) -> None:
    store.call("SET", "gs:profile:{p/alice}", "no hash")
    with pytest.raises(RequestError):
        get(store, ["p/alice"])
