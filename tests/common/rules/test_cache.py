from __future__ import annotations

import sys
from typing import Any
from unittest import mock

import greenlet
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.rules import cache as module
from common.rules.cache import Cache, Entry, Keep, Order, Reason

KEYS = st.sampled_from("abcde")
SIZES = st.integers(0, 12)


def values(entries: list[Entry[Any]] | None) -> list[Any] | None:
    return None if entries is None else [entry.value for entry in entries]


def history(count: int, **limits: Any) -> Cache[int]:
    cache: Cache[int] = Cache(Keep(**{"max_items": 100, "max_bytes": 1000, "order": "sequence", **limits}))
    for number in range(1, count + 1):
        cache.put(f"k{number}", number, 1, 0.0, seq=number)
    return cache


def test_what_was_put_is_found_and_what_was_popped_is_gone() -> None:
    cache: Cache[str] = Cache(Keep(10, 100))
    assert cache.put("a", "one", 3, 0.0)
    entry = cache.get("a")
    assert entry is not None and entry.value == "one"
    assert cache.pop("a") is entry
    assert cache.get("a") is None and cache.pop("a") is None
    assert len(cache) == cache.held_bytes == 0


def test_the_oldest_leave_first_by_items_and_by_bytes() -> None:
    gone: list[tuple[Any, Reason]] = []
    keep = Keep(3, 10, on_evict=lambda entry, reason: gone.append((entry.key, reason)))
    cache: Cache[None] = Cache(keep)
    for key in "abcd":
        cache.put(key, None, 1, 0.0)
    cache.put("e", None, 9, 0.0)
    assert gone == [("a", "items"), ("b", "items"), ("c", "bytes")]
    assert [entry.key for entry in cache] == ["d", "e"]


def test_in_an_lru_the_one_used_longest_ago_leaves() -> None:
    cache: Cache[None] = Cache(Keep(3, 10, order="lru"))
    for key in "abc":
        cache.put(key, None, 1, 0.0)
    cache.get("a")
    cache.put("d", None, 1, 0.0)
    assert [entry.key for entry in cache] == ["c", "a", "d"]


def test_something_larger_than_the_whole_limit_is_refused_and_keeps_nothing() -> None:
    cache = history(5, max_bytes=10)
    assert not cache.put("big", 6, 11, 0.0, seq=6)
    assert len(cache) == 0 and cache.newest == 6 and cache.oldest == 7
    assert cache.since(5, 10) is None
    assert values(cache.since(6, 10)) == []
    assert cache.keep.evicted["bytes"] == 6


def test_a_limit_of_no_items_keeps_nothing() -> None:
    cache: Cache[None] = Cache(Keep(0, 100))
    assert not cache.put("a", None, 1, 0.0)
    assert "a" not in cache and cache.keep.evicted["items"] == 1


def test_a_key_put_again_replaces_and_becomes_the_newest() -> None:
    cache: Cache[int] = Cache(Keep(3, 10))
    for number, key in enumerate("aba"):
        cache.put(key, number, 1, 0.0)
    assert [(entry.key, entry.value) for entry in cache] == [("b", 1), ("a", 2)]
    assert cache.keep.evicted["replaced"] == 1


def test_what_its_ttl_ended_leaves_with_the_next_look() -> None:
    cache: Cache[int] = Cache(Keep(10, 100, ttl=5.0))
    cache.put("a", 1, 1, 0.0)
    cache.put("b", 2, 1, 3.0)
    assert cache.get("a") is not None
    assert cache.get("a", 4.9) is not None
    assert cache.get("a", 5.0) is None
    cache.expire(8.0)
    assert len(cache) == 0 and cache.keep.evicted["ttl"] == 2


def test_a_use_does_not_lengthen_the_ttl() -> None:
    cache: Cache[int] = Cache(Keep(10, 100, ttl=5.0, order="lru"))
    cache.put("a", 1, 1, 0.0)
    cache.put("b", 2, 1, 1.0)
    cache.get("a", 4.0)
    assert cache.get("a", 5.0) is None
    assert cache.get("b", 5.0) is not None


SINCE = {
    "all": (0, 100, [1, 2, 3, 4, 5]),
    "the last two": (3, 100, [4, 5]),
    "as many as asked for": (1, 2, [2, 3]),
    "nothing new": (5, 100, []),
    "beyond the newest": (6, 100, None),
    "before the first": (-1, 100, None),
}


@pytest.mark.parametrize(("seq", "limit", "expected"), SINCE.values(), ids=SINCE.keys())
def test_since_gives_what_follows(seq: int, limit: int, expected: list[int] | None) -> None:
    assert values(history(5).since(seq, limit)) == expected


def test_since_says_when_something_between_has_left() -> None:
    cache = history(200, max_items=50)
    assert cache.since(149, 10) is None
    assert values(cache.since(150, 3)) == [151, 152, 153]
    assert cache.oldest == 151


def test_since_does_not_give_what_its_ttl_ended() -> None:
    cache = history(3, ttl=5.0)
    cache.put("k4", 4, 1, 4.0, seq=4)
    assert values(cache.since(3, 10, now=6.0)) == [4]
    assert cache.since(2, 10, now=6.0) is None


def test_a_key_put_again_into_a_history_points_at_the_newer_and_the_older_stays() -> None:
    cache = history(2)
    cache.put("k1", 3, 1, 0.0, seq=3)
    entry = cache.get("k1")
    assert entry is not None and entry.seq == 3
    assert values(cache.since(0, 10)) == [1, 2, 3]


def test_a_message_without_a_key_is_found_by_number() -> None:
    cache = history(0)
    cache.put(None, 1, 1, 0.0, seq=1)
    assert values(cache.since(0, 10)) == [1]


def test_a_history_goes_on_after_the_number_it_began_with() -> None:
    cache: Cache[int] = Cache(Keep(10, 100, order="sequence"), newest=41)
    assert values(cache.since(41, 10)) == []
    cache.put(None, 42, 1, 0.0, seq=42)
    assert values(cache.since(41, 10)) == [42]
    assert cache.since(40, 10) is None


REFUSED: dict[str, tuple[Order, int | None]] = {
    "no number in a history": ("sequence", None),
    "a hole": ("sequence", 4),
    "the same number again": ("sequence", 2),
    "a number where none is wanted": ("fifo", 3),
}


@pytest.mark.parametrize(("order", "seq"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_number_is_refused_and_changes_nothing(order: Order, seq: int | None) -> None:
    cache: Cache[int] = Cache(Keep(10, 100, order=order))
    for number in (1, 2):
        cache.put(number, number, 1, 0.0, seq=number if order == "sequence" else None)
    with pytest.raises(ValueError, match="number"):
        cache.put("x", 3, 1, 0.0, seq=seq)
    assert len(cache) == 2 and cache.newest == 2 and cache.keep.puts == 2


def test_a_history_cannot_be_popped_and_a_plain_cache_has_no_since() -> None:
    with pytest.raises(ValueError, match="hole"):
        history(2).pop("k1")
    with pytest.raises(ValueError, match="in sequence"):
        Cache[int](Keep(10, 100)).since(0, 10)


def test_hits_misses_and_puts_are_counted_for_all_caches_of_a_kind() -> None:
    keep = Keep(10, 100)
    one, other = Cache[int](keep), Cache[int](keep)
    one.put("a", 1, 1, 0.0)
    one.get("a")
    other.get("a")
    assert (keep.puts, keep.hits, keep.misses) == (1, 1, 1)


def test_an_empty_cache_costs_one_small_object() -> None:
    cache = history(3, ttl=1.0)
    cache.expire(2.0)
    assert sys.getsizeof(cache) <= 112
    assert cache._queue is None and cache._map is None


def test_the_list_stays_in_proportion_to_what_is_kept() -> None:
    lru: Cache[int] = Cache(Keep(10, 100, order="lru"))
    fifo: Cache[int] = Cache(Keep(1000, 10_000))
    lru.put("cold", 0, 1, 0.0)
    fifo.put("first", 0, 1, 0.0)
    for number in range(5_000):
        lru.put("hot", 1, 1, 0.0)
        lru.get("cold")
        lru.get("hot")
        fifo.put(number, number, 1, 0.0)
        fifo.pop(number)
    assert lru._queue is not None and len(lru._queue) < 40
    assert fifo._queue is not None and len(fifo._queue) < 40


def test_a_long_history_is_as_quick_as_a_short_one() -> None:
    """Counted in steps of the interpreter, which unlike time do not depend on the machine."""

    def steps(items: int) -> int:
        cache = history(items, max_items=items, max_bytes=10**9)
        count = 0

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal count
            count += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        for number in range(items + 1, items + 201):
            cache.put(f"k{number}", number, 1, 0.0, seq=number)
            cache.get(f"k{number - items // 2}")
            cache.since(number - items // 2, 1)
        sys.settrace(before)
        return count

    assert steps(5_000) < 1.1 * steps(50)


def test_no_operation_switches_greenlets() -> None:
    switches: list[Any] = []

    def work() -> None:
        for order in ("fifo", "lru"):
            cache: Cache[int] = Cache(Keep(5, 20, ttl=3.0, order=order, on_evict=lambda *_: None))
            for number in range(50):
                cache.put(number % 9, number, 4, float(number))
                cache.get(number % 7, float(number))
                cache.pop(number % 5)
        history(20, max_items=5).since(17, 2)

    worker = greenlet.greenlet(work)
    before = greenlet.settrace(lambda event, arguments: switches.append(event))
    try:
        worker.switch()
    finally:
        greenlet.settrace(before)
    assert switches == ["switch", "switch"]


class CacheMachine(RuleBasedStateMachine):
    """A cache beside a plain list that does the same slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.slack = mock.patch.object(module, "SLACK", 2)
        self.slack.start()

    def teardown(self) -> None:
        self.slack.stop()

    @initialize(
        order=st.sampled_from(["fifo", "lru", "sequence"]),
        items=st.sampled_from([1, 3, 4, 8]),
        limit=st.sampled_from([10, 30, 100]),
        ttl=st.sampled_from([None, 5.0]),
    )
    def begin(self, order: Order, items: int, limit: int, ttl: float | None) -> None:
        self.gone: list[tuple[int, Reason]] = []
        self.keep = Keep(items, limit, ttl, order, lambda entry, why: self.gone.append((entry.value, why)))
        self.cache: Cache[int] = Cache(self.keep)
        self.order, self.items, self.limit, self.ttl = order, items, limit, ttl
        self.model: list[tuple[str | None, int, int, float]] = []  # key, value, size, time
        self.expected: list[tuple[int, Reason]] = []
        self.now = 0.0
        self.count = 0

    def drop(self, entry: tuple[str | None, int, int, float], reason: Reason) -> None:
        self.model.remove(entry)
        self.expected.append((entry[1], reason))

    def is_over(self, time: float) -> bool:
        return self.ttl is not None and self.now - time >= self.ttl

    def expire(self) -> None:
        while self.model and self.is_over(self.model[0][3]):
            self.drop(self.model[0], "ttl")

    def known(self, key: str) -> tuple[str | None, int, int, float] | None:
        return next((entry for entry in reversed(self.model) if entry[0] == key), None)

    @rule(seconds=st.floats(0, 4))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(puts=st.lists(st.tuples(st.one_of(st.none(), KEYS), SIZES), min_size=1, max_size=9))
    def put(self, puts: list[tuple[str | None, int]]) -> None:
        for key, size in puts:
            self.put_one(key, size)

    def put_one(self, key: str | None, size: int) -> None:
        self.count += 1
        self.expire()
        old = self.known(key) if key is not None else None
        if old is not None and self.order != "sequence":
            self.drop(old, "replaced")
        while self.model:
            if len(self.model) >= self.items:
                self.drop(self.model[0], "items")
            elif sum(entry[2] for entry in self.model) + size > self.limit:
                self.drop(self.model[0], "bytes")
            else:
                break
        self.model.append((key, self.count, size, self.now))
        if size > self.limit or self.items == 0:
            self.drop(self.model[-1], "bytes" if size > self.limit else "items")
        stored = self.cache.put(
            key, self.count, size, self.now, seq=self.count if self.order == "sequence" else None
        )
        assert stored == bool(self.model)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        expected = self.known(key)
        if expected is not None and self.is_over(expected[3]):
            if self.order == "sequence":
                self.expire()
            else:
                self.drop(expected, "ttl")
            expected = None
        entry = self.cache.get(key, self.now)
        assert (entry and entry.value) == (expected and expected[1])
        if expected is not None and self.order == "lru":
            self.model.remove(expected)
            self.model.append(expected)

    @rule(key=KEYS)
    def pop(self, key: str) -> None:
        if self.order == "sequence":
            return
        expected = self.known(key)
        entry = self.cache.pop(key)
        assert (entry and entry.value) == (expected and expected[1])
        if expected is not None:
            self.drop(expected, "popped")

    @rule(back=st.integers(-1, 8), limit=st.integers(1, 8))
    def since(self, back: int, limit: int) -> None:
        if self.order != "sequence":
            return
        self.expire()
        asked = self.count - back
        run = self.cache.since(asked, limit, self.now)
        complete = asked <= self.count and all(
            number in {entry[1] for entry in self.model} for number in range(asked + 1, self.count + 1)
        )
        assert values(run) == (list(range(asked + 1, self.count + 1))[:limit] if complete else None)
        assert run is None or [entry.seq for entry in run] == values(run)

    @invariant()
    def it_agrees_with_the_list(self) -> None:
        assert [(e.key, e.value, e.size, e.time) for e in self.cache] == self.model
        assert self.gone == self.expected
        assert sum(self.keep.evicted.values()) == len(self.gone)

    @invariant()
    def each_value_of_the_map_is_a_live_entry_of_the_queue(self) -> None:
        live = {id(entry) for entry in self.cache}
        found = self.cache._map or {}
        assert all(id(entry) in live and entry.key == key for key, entry in found.items())
        assert set(found) == {entry[0] for entry in self.model} - {None}

    @invariant()
    def length_and_bytes_are_within_the_limits(self) -> None:
        assert len(self.cache) == len(self.model) <= self.items
        assert self.cache.held_bytes == sum(entry[2] for entry in self.model) <= self.limit

    @invariant()
    def each_entry_stands_at_its_number(self) -> None:
        queue = self.cache._queue or []
        assert len(queue) <= 2 * len(self.cache) + 3
        for place, entry in enumerate(queue):
            assert entry is None or entry.seq == self.cache.newest - len(queue) + 1 + place


CacheMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestCacheMachine = CacheMachine.TestCase
