from __future__ import annotations

from common.net import bans
from common.net.store import Script, Store


def test_a_ban_holds_until_its_time_and_one_for_good_for_ever(store: Store) -> None:
    bans.ban(store, "p/alice", 5_000)
    bans.ban(store, "p/bob", 0)
    users = ["p/bob", "p/alice", "p/carol"]
    assert bans.of_users(store, users, 4_999) == [0, 5_000, None]
    assert bans.of_users(store, users, 5_000) == [0, None, None]


def test_a_later_ban_replaces_an_earlier_one_and_unban_lifts_it(store: Store) -> None:
    bans.ban(store, "p/alice", 0)
    bans.ban(store, "p/alice", 10)
    assert bans.of_users(store, ["p/alice"], 5) == [10]
    assert (bans.unban(store, "p/alice"), bans.unban(store, "p/alice")) == (True, False)


def test_bans_that_have_ended_are_removed_when_asked_for(store: Store) -> None:
    for uid, until in (("alice", 10), ("bob", 0), ("carol", 20)):
        bans.ban(store, f"p/{uid}", until)
    assert bans.of_product(store, "p", 15) == {"bob": 0, "carol": 20}
    assert store.call("HKEYS", "db_bans:{p}") == [b"bob", b"carol"]


def test_a_ban_renewed_meanwhile_is_not_removed(store: Store) -> None:
    bans.ban(store, "p/alice", 30)
    assert store.run([Script("bans_end", ("db_bans:{p}",), ("alice", 10))]) == [0]
    assert bans.of_product(store, "p", 15) == {"alice": 30}


def test_equal_users_of_two_products_never_meet(store: Store) -> None:
    bans.ban(store, "p/alice", 0)
    assert bans.of_users(store, ["q/alice", "p/alice"], 1) == [None, 0]
    assert bans.of_product(store, "q", 1) == {}
