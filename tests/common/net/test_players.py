from __future__ import annotations

from typing import Any

import pytest

from common.errors import BadField, DeadlineExceeded, Internal, Unavailable
from common.net.players import change, load, save
from common.net.store import Store
from common.rules.route import BLOB_LIMIT, NO_INPUT, Answer, Change, Record, Save, State
from tests.redis_server import RedisServer

ANN, BOB = "p/ann", "p/bob"
A, B = "world-0 0000000000000001-aa 1", "world-1 0000000000000001-aa 1"
HERE, THERE = "p/a/0.1", "p/b/0.1"


def to(store: Store, number: int, before: str, route: int, after: str, **more: Any) -> Answer:
    """Change the owner of ann."""
    row = {"user": ANN, "id": f"c{number}", "to_place": HERE, **more}
    return change(store, [Change(owner=before, route_ver=route, to_owner=after, **row)])[0]


def put(store: Store, owner: str, route: int, version: int, blob: bytes = b"x", **more: Any) -> Answer:
    """Save ann."""
    row = {"user": ANN, "place": HERE, "input": version, **more}
    return save(store, [Save(owner=owner, route_ver=route, save_ver=version, blob=blob, **row)])[0]


def record(store: Store) -> Record:
    return load(store, [ANN])[0]


def test_a_player_never_seen_is_nowhere_and_nobodys(store: Store) -> None:
    assert load(store, [ANN, BOB]) == [Record(), Record()]
    assert store.call("KEYS", "*") == []


def test_a_claim_makes_the_record(store: Store) -> None:
    assert to(store, 1, "", 0, A) == Answer("ok", A, HERE, 1, 0, "c1")
    assert record(store) == Record(A, HERE, 1, 0, NO_INPUT, None)


def test_any_bytes_are_saved_and_loaded_unchanged(store: Store) -> None:
    to(store, 1, "", 0, A)
    blob = bytes(range(256))
    assert put(store, A, 1, 1, blob, input=2**53 - 1) == Answer("ok", A, HERE, 1, 1, "c1")
    assert record(store) == Record(A, HERE, 1, 1, 2**53 - 1, blob)


def test_an_empty_state_is_a_state(store: Store) -> None:
    to(store, 1, "", 0, A)
    put(store, A, 1, 1, b"")
    assert record(store).blob == b""


def test_a_move_stores_the_state_and_the_new_owner_in_one(store: Store) -> None:
    to(store, 1, "", 0, A)
    put(store, A, 1, 1, b"old")
    assert to(store, 2, A, 1, B, to_place=THERE, state=State(2, 9, b"new")) == Answer(
        "ok", B, THERE, 2, 2, "c2"
    )
    assert record(store) == Record(B, THERE, 2, 2, 9, b"new")


# who saves, with which versions -> status, where B has had the player since a move at save 5
SAVES = {
    "the owner": (B, 2, 6, "ok"),
    "the owner with an older save": (B, 2, 4, "stale"),
    "the owner with the number of another state": (B, 2, 5, "stale"),
    "who had it before": (A, 1, 6, "not_owner"),
    "who had it before, as if it still had": (A, 2, 6, "not_owner"),
    "the owner before it was": (B, 1, 6, "not_owner"),
    "another life of the owner": ("world-1 0000000000000002-aa 1", 2, 6, "not_owner"),
    "an earlier term of the owner": (B[:-1] + "0", 2, 6, "not_owner"),
}


@pytest.mark.parametrize(("owner", "route", "version", "status"), SAVES.values(), ids=SAVES)
def test_who_may_save(store: Store, owner: str, route: int, version: int, status: str) -> None:
    to(store, 1, "", 0, A)
    to(store, 2, A, 1, B, to_place=THERE, state=State(5, 5, b"moved"))
    before = record(store)
    answer = put(store, owner, route, version, b"y")
    assert answer.status == status
    assert answer[1:4] == (B, THERE, 2)
    if status == "ok":
        assert record(store).blob == b"y"
    else:
        assert record(store) == before


def test_a_save_repeated_is_ok_and_a_late_one_changes_nothing(store: Store) -> None:
    to(store, 1, "", 0, A)
    for _ in range(2):
        assert put(store, A, 1, 1, b"one").status == "ok"
    assert put(store, A, 1, 2, b"two").status == "ok"
    assert put(store, A, 1, 1, b"one").status == "stale"
    assert record(store).blob == b"two"


# expected owner and route -> status, where A has had the player since change 1
CHANGES = {
    "as it is": (A, 1, "ok"),
    "an older route": (A, 0, "not_owner"),
    "another owner": (B, 1, "not_owner"),
    "nobody": ("", 0, "not_owner"),
}


@pytest.mark.parametrize(("owner", "route", "status"), CHANGES.values(), ids=CHANGES)
def test_an_owner_is_changed_only_from_what_is_stored(
    store: Store, owner: str, route: int, status: str
) -> None:
    to(store, 1, "", 0, A)
    put(store, A, 1, 1, b"kept")
    before = record(store)
    answer = to(store, 2, owner, route, B, state=State(2, 2, b"y"))
    assert answer.status == status
    if status != "ok":
        assert record(store) == before
        assert answer == Answer("not_owner", A, HERE, 1, 1, "c1")


def test_a_change_repeated_is_the_same_one_also_after_saves_of_the_new_owner(store: Store) -> None:
    to(store, 1, "", 0, A)
    to(store, 2, A, 1, B, state=State(1, 1, b"moved"))
    put(store, B, 2, 2, b"later")
    assert to(store, 2, A, 1, B, state=State(1, 1, b"moved")) == Answer("ok", B, HERE, 2, 2, "c2")
    assert record(store).blob == b"later"


def test_a_change_that_comes_late_is_refused(store: Store) -> None:
    to(store, 1, "", 0, A)
    to(store, 2, A, 1, "")
    assert to(store, 1, "", 0, A).status == "not_owner"
    assert record(store).owner == ""


def test_a_keep_puts_an_end_to_the_change_before_it(store: Store) -> None:
    to(store, 1, "", 0, A)
    assert to(store, 3, A, 1, A).status == "ok"
    assert to(store, 2, A, 1, B, state=State(1, 1, b"too late")).status == "not_owner"
    assert record(store)[:3] == (A, HERE, 2)


def test_a_change_with_an_older_state_than_the_owners_is_stale(store: Store) -> None:
    to(store, 1, "", 0, A)
    put(store, A, 1, 5, b"five")
    assert to(store, 2, A, 1, B, state=State(5, 5, b"four")).status == "stale"
    assert record(store)[:3] == (A, HERE, 1)


def test_who_remembers_what_redis_lost_puts_it_back(store: Store) -> None:
    """Redis died with its last seconds: the record is one of before the move, or gone."""
    to(store, 1, "", 0, A)
    assert put(store, B, 2, 7, b"seven", place=THERE) == Answer("ok", B, THERE, 2, 7, "")
    assert record(store) == Record(B, THERE, 2, 7, 7, b"seven")
    assert put(store, A, 1, 8).status == "not_owner"
    store.call("FLUSHALL")
    assert to(store, 9, B, 2, A, state=State(8, 8, b"eight")) == Answer("ok", A, HERE, 3, 8, "c9")
    assert record(store).blob == b"eight"


def test_players_of_one_batch_are_answered_each(store: Store) -> None:
    to(store, 1, "", 0, A)
    store.call("SET", "gs:player:{p/bob}", "no hash")
    rows = [Save(user, A, HERE, 1, 1, 1, b"x") for user in (ANN, BOB, "p/cid")]
    assert [answer.status for answer in save(store, rows)] == ["ok", "unavailable", "ok"]


def test_when_redis_refuses_all_the_call_fails(store: Store) -> None:
    store.call("SET", "gs:player:{p/bob}", "no hash")
    with pytest.raises(Internal):
        save(store, [Save(BOB, A, HERE, 1, 1, 1, b"x")])


def test_a_state_that_is_too_large_is_refused_before_anything_is_stored(store: Store) -> None:
    to(store, 1, "", 0, A)
    rows = [Save(ANN, A, HERE, 1, 1, 1, b"x" * size) for size in (1, BLOB_LIMIT + 1)]
    with pytest.raises(BadField):
        save(store, rows)
    with pytest.raises(BadField):
        to(store, 2, A, 1, B, state=State(1, 1, b"x" * (BLOB_LIMIT + 1)))
    assert record(store) == Record(A, HERE, 1)
    assert put(store, A, 1, 1, b"x" * BLOB_LIMIT).status == "ok"


def test_equal_players_of_two_products_never_meet(store: Store) -> None:
    to(store, 1, "", 0, A)
    assert load(store, ["q/ann"]) == [Record()]
    change(store, [Change("q/ann", "c1", "", 0, B, "q/a/0.1", State(1, 1, b"q"))])
    assert record(store) == Record(A, HERE, 1)


def test_a_move_survives_redis_being_killed_right_after_it(own_redis: RedisServer, make_store: Any) -> None:
    store = make_store(own_redis, breaker_rest=0.01)
    to(store, 1, "", 0, A)
    to(store, 2, A, 1, B, to_place=THERE, state=State(1, 4, b"moved"))
    own_redis.kill()
    with pytest.raises((Unavailable, DeadlineExceeded)):
        put(store, B, 2, 2)
    own_redis.start()
    after = make_store(own_redis)
    assert record(after) == Record(B, THERE, 2, 1, 4, b"moved")
