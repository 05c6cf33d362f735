from __future__ import annotations

from common.rules.devices import Login, User
from common.rules.gateways import Gateway
from common.rules.seen import Seen


def connected(now: int) -> User:
    user = User(now)
    user.logins = (Login("demo/ann", "p", "phone", Gateway("gateway-0", 0), 1, 1),)
    return user


def test_observations_of_one_user_become_one_row() -> None:
    seen = Seen()
    seen.add("demo/ann", 100, 5)
    seen.add("demo/bob", 50, 0)
    seen.add("demo/ann", 90, 7)
    assert seen.batch(10) == [("demo/ann", 100, 12), ("demo/bob", 50, 0)]


def test_a_batch_comes_again_unchanged_until_it_is_written() -> None:
    seen = Seen()
    seen.add("demo/ann", 100, 5)
    batch = list(seen.batch(10))
    seen.add("demo/ann", 200, 1)
    seen.add("demo/bob", 200, 1)
    assert seen.batch(10) == batch
    assert len(seen) == 3
    seen.written(seen.batch(10))
    assert seen.batch(10) == [("demo/ann", 200, 1), ("demo/bob", 200, 1)]


def test_a_batch_written_twice_does_not_end_the_next() -> None:
    seen = Seen()
    seen.add("demo/ann", 1, 0)
    first = seen.batch(10)
    seen.written(first)
    seen.add("demo/bob", 2, 0)
    second = seen.batch(10)
    seen.written(first)
    assert seen.batch(10) is second


def test_a_batch_is_bounded() -> None:
    seen = Seen()
    for i in range(5):
        seen.add(f"demo/{i}", i, 0)
    assert len(seen.batch(2)) == 2
    assert len(seen) == 5


def test_counting_leaves_parts_of_a_second_for_the_next_time() -> None:
    seen, user = Seen(), connected(1_000)
    seen.count("demo/ann", user, 2_600)
    seen.count("demo/ann", user, 3_100)
    assert seen.batch(1) == [("demo/ann", 3_100, 2)]


def test_a_clock_set_back_adds_nothing() -> None:
    seen, user = Seen(), connected(10_000)
    seen.count("demo/ann", user, 4_000)
    assert seen.batch(1) == [("demo/ann", 4_000, 0)]


def test_a_round_counts_everybody_connected_once_and_spreads_them() -> None:
    seen = Seen()
    users = {f"demo/{i}": connected(0) for i in range(10)} | {"demo/away": User(0)}
    sizes = []
    for turn in range(4):
        seen.count_share(users, turn, 4, 60_000)
        sizes.append(len(seen))
    assert sizes[-1] == 10 and sizes[0] <= 3
    assert {row[2] for row in seen.batch(100)} == {60}


def test_a_user_that_left_during_the_round_is_passed_over() -> None:
    seen = Seen()
    users = {"demo/ann": connected(0), "demo/bob": connected(0)}
    seen.count_share(users, 0, 2, 1_000)
    users.clear()
    seen.count_share(users, 1, 2, 2_000)
    assert len(seen) == 1


def test_at_the_end_everybody_connected_is_counted() -> None:
    seen = Seen()
    seen.count_all({"demo/ann": connected(0), "demo/bob": User(0)}, 5_000)
    assert seen.batch(10) == [("demo/ann", 5_000, 5)]
