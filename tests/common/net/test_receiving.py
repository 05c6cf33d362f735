from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from common.net.store import Store, value
from tests.common.net.posting import ALICE, Post, texts
from tests.common.net.test_sending import watch


def test_a_login_with_nothing_new_is_one_round_trip(store: Store) -> None:
    post = Post(store)
    post.login()
    post.broadcast("a")
    post.ack(bseq=post.login().bseq)
    trips = watch(store)
    post.login()
    assert trips == [["GET", "mail_load"]]


def test_the_first_login_of_a_device_is_one_round_trip_once_the_product_is_known(store: Store) -> None:
    post = Post(store)
    post.broadcast("a")
    post.login(device="first")
    trips = watch(store)
    later = post.login(device="second")
    assert trips == [["GET", "mail_load"]]
    assert later.broadcasts == []
    assert post.login(device="second").backed == later.backed > 1


def test_a_new_device_begins_at_the_newest_broadcast_another_process_has_sent(store: Store) -> None:
    post, other = Post(store), Post(store, users=None)
    post.login(device="first")
    other.broadcast("a")
    inbox = post.login(device="second")
    assert inbox.broadcasts == []
    assert post.login(device="second").broadcasts == []
    assert post.login(device="second").backed == inbox.backed


def test_a_backlog_in_memory_costs_no_further_round_trip(store: Store) -> None:
    post = Post(store)
    post.login()
    post.sends(*"abc")
    trips = watch(store)
    post.login()
    assert trips == [["GET", "mail_load"]]
    other = Post(store, users=None)
    other.login()
    assert trips[1:] == [["GET", "mail_load"], ["HMGET"]]


def between_slots_and_bodies(post: Post, monkeypatch: pytest.MonkeyPatch, do: Callable[[], Any]) -> None:
    """Have something happen, once, after a load has read slots and before it reads their bodies."""
    get = post.saver.bodies.get
    done: list[Any] = []

    def first(mids: Iterable[int]) -> dict[int, bytes]:
        if not done:
            done.append(do())
        return get(mids)

    monkeypatch.setattr(post.saver.bodies, "get", first)


def test_a_late_ack_in_the_middle_of_a_load_is_no_gap(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    post, other = Post(store), Post(store, users=None)
    post.login()
    first, second, third = post.sends(*"abc")
    between_slots_and_bodies(other, monkeypatch, lambda: post.ack(seq=second))
    inbox = other.login()
    assert [seq for seq, _, _ in inbox.messages] == [third]
    assert (inbox.gap, inbox.acked) == (False, second)


def test_a_body_that_is_gone_without_an_ack_is_a_gap(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    post, other = Post(store), Post(store, users=None)
    post.login()
    first, second, _ = post.sends(*"abc")
    mid = post.login().messages[1][1]

    def lose() -> None:
        post.ack(seq=first)
        store.call("HDEL", f"db_buckets:{mid >> 10}", mid)

    between_slots_and_bodies(other, monkeypatch, lose)
    inbox = other.login()
    assert texts(inbox) == ["c"]
    assert (inbox.gap, inbox.acked) == (True, first)


def test_acks_of_many_users_are_a_few_round_trips(store: Store) -> None:
    users = [f"p/u{n}" for n in range(300)]
    post = Post(store, users=users)
    for user in users:
        post.login(user=user)
    sent, (_, bseq, _) = post.send("a", *users), post.broadcast("b")
    trips = watch(store)
    rows = [[user, "phone", sent.seqs[user], bseq] for user in users]
    assert post.saver.receiver.ack(rows, post.now_ms) == ["ok"] * 300
    assert [len(trip) for trip in trips] == [2, 300, 1, 2]


def test_each_row_has_its_own_answer(store: Store) -> None:
    post = Post(store)
    post.login()
    (seq,) = post.sends("a")
    positions: list[Any] = [(seq + 1, None), (seq, None), (None, 99)]
    rows = [[ALICE, "phone", *position] for position in positions]
    assert post.saver.receiver.ack(rows, post.now_ms) == ["seq", "ok", "bseq"]


def test_nothing_to_ack_is_fine(store: Store) -> None:
    assert Post(store).saver.receiver.ack([], 1) == []


def test_a_device_not_known_is_not_made_by_being_seen(store: Store) -> None:
    post = Post(store)
    post.seen("ghost")
    assert store.call("EXISTS", f"db_smeta:{{{ALICE}}}") == 0


def test_a_login_that_died_before_its_broadcast_position_was_written_takes_it_later(store: Store) -> None:
    post = Post(store)
    post.broadcast("before")
    value(
        store.run([post.saver.mailboxes.load_script(ALICE, "phone", None, 10, 1_000, True, post.now_ms)])[0]
    )
    inbox = post.login()
    assert inbox.broadcasts == []
    post.broadcast("after")
    assert [body for _, _, body in post.login().broadcasts] == [b"after"]
