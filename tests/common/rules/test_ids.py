from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError, Full
from common.rules.ids import (
    COUNTERS,
    REDIS_AHEAD,
    Mark,
    NeedsBound,
    Region,
    State,
    decode,
    encode,
    mid_of,
    shard_of,
    start,
)

FILE = encode(State(shard=3, ident="abc", bound=5_000, mark=90_000))
OWN, OTHER = "host/abc", "elsewhere/xyz"


def begin(data: bytes | None, mark: Mark | None, redis_up: bool = True, init_at: int | None = None) -> Region:
    return start(3, "host", "fresh", data, mark, redis_up=redis_up, ahead=10_000, init_at=init_at)


def ready(counter: int = 0) -> Region:
    """A region whose both bounds have moved."""
    region = begin(None, Mark(OTHER, counter) if counter else None)
    region.redis_bound_moved(region.wanted_redis_bound() or 0)
    region.disk_bound_moved(region.wanted_disk_bound() or 0)
    return region


def test_ids_are_below_two_to_the_53_and_name_their_shard() -> None:
    assert mid_of(511, COUNTERS - 1) == 2**53 - 1
    assert shard_of(mid_of(7, 12)) == 7


# data, mark, redis_up -> first counter, counters usable in Redis at once, owner
STARTS: dict[str, tuple[bytes | None, Mark | None, bool, tuple[int, int, str]]] = {
    "own mark: the file's bound": (FILE, Mark(OWN, 80_000), True, (5_000, 80_000, OWN)),
    "own mark below the file": (FILE, Mark(OWN, 4_000), True, (5_000, 4_000, OWN)),
    "another's mark above": (FILE, Mark(OTHER, 6_000), True, (6_000, 6_000, "host/fresh")),
    "another's mark below": (FILE, Mark(OTHER, 4_000), True, (5_000, 5_000, "host/fresh")),
    "same file on another host": (FILE, Mark("copy/abc", 6_000), True, (6_000, 6_000, "host/fresh")),
    "file but no mark": (FILE, None, True, (5_000, 5_000, "host/fresh")),
    "file, Redis away: up to the mark the file knows": (FILE, None, False, (5_000, 90_000, OWN)),
    "neither": (None, None, True, (0, 0, "host/fresh")),
    "no file but a mark": (None, Mark(OTHER, 7_000), True, (7_000, 7_000, "host/fresh")),
}


@pytest.mark.parametrize(("data", "mark", "redis_up", "expected"), STARTS.values(), ids=STARTS.keys())
def test_a_start_begins_where_the_table_says(
    data: bytes | None, mark: Mark | None, redis_up: bool, expected: tuple[int, int, str]
) -> None:
    region = begin(data, mark, redis_up)
    assert (region.next, region.redis_bound, region.owner) == expected
    assert region.disk_bound == region.next and region.expected == mark


def test_a_kill_between_take_over_and_the_first_write_is_not_taken_for_a_restart() -> None:
    """Else the start would go on from a bound below what the other host gave meanwhile."""
    region = begin(FILE, Mark(OTHER, 200_000))
    again = begin(FILE, Mark(region.owner, 200_000 + REDIS_AHEAD))
    assert again.next == 200_000 + REDIS_AHEAD


DAMAGED = FILE.replace(b"5000", b"4000")
REFUSALS: dict[str, tuple[bytes | None, Mark | None, bool, str]] = {
    "damaged, mark there": (DAMAGED, Mark(OWN, 6_000), True, r"damaged.*--init-at 6000"),
    "damaged, no mark": (DAMAGED, None, True, r"damaged.*--init-at N"),
    "damaged, Redis away": (DAMAGED, None, False, r"damaged.*--init-at N"),
    "empty file": (b"", None, True, r"damaged.*checksum"),
    "no file, Redis away": (None, None, False, r"no state file.*--init-at N"),
    "another shard's file": (encode(State(4, "abc", 1, 1)), None, True, r"belongs to shard 4"),
}


@pytest.mark.parametrize(("data", "mark", "redis_up", "text"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_start_that_cannot_know_is_refused_naming_the_way_out(
    data: bytes | None, mark: Mark | None, redis_up: bool, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        begin(data, mark, redis_up)


INITS: dict[str, tuple[bytes | None, Mark | None, bool, int]] = {
    "damaged file": (DAMAGED, None, True, 8_000),
    "no file, Redis away": (None, None, False, 8_000),
    "never below the mark": (DAMAGED, Mark(OTHER, 9_000), True, 9_000),
    "never below a whole file": (encode(State(3, "abc", 9_500, 9_600)), None, False, 9_500),
}


@pytest.mark.parametrize(("data", "mark", "redis_up", "expected"), INITS.values(), ids=INITS.keys())
def test_init_at_begins_anew_with_a_new_owner(
    data: bytes | None, mark: Mark | None, redis_up: bool, expected: int
) -> None:
    region = begin(data, mark, redis_up, init_at=8_000)
    assert (region.next, region.redis_bound, region.owner) == (expected, expected, "host/fresh")


def test_nothing_is_given_before_both_bounds_have_moved() -> None:
    region = begin(None, None)
    assert region.take(1) == NeedsBound(disk=True, redis=True)
    assert region.wanted_disk_bound() is None
    region.redis_bound_moved(REDIS_AHEAD)
    assert region.take(1) == NeedsBound(disk=True, redis=False)
    assert region.wanted_disk_bound() == 10_000
    region.disk_bound_moved(10_000)
    assert region.take(1_000) == range(mid_of(3, 0), mid_of(3, 1_000))


def test_ranges_follow_each_other_and_stop_at_the_disk_bound() -> None:
    region = ready()
    taken = [region.take(1_000) for _ in range(10)]
    assert taken == [range(mid_of(3, n), mid_of(3, n + 1_000)) for n in range(0, 10_000, 1_000)]
    assert region.take(1) == NeedsBound(disk=True, redis=False)


def test_a_range_that_does_not_fit_takes_nothing() -> None:
    region = ready()
    region.take(9_500)
    assert isinstance(region.take(501), NeedsBound)
    taken = region.take(500)
    assert isinstance(taken, range) and taken[0] == mid_of(3, 9_500)


def test_the_disk_bound_moves_once_half_of_the_way_ahead_is_used() -> None:
    region = ready()
    region.take(5_000)
    assert region.wanted_disk_bound() is None
    region.take(1)
    assert region.wanted_disk_bound() == 15_001


def test_the_redis_bound_moves_by_2_to_the_24_once_half_is_used() -> None:
    region = ready()
    region.disk_bound_moved(REDIS_AHEAD)
    region.take(REDIS_AHEAD // 2)
    assert region.wanted_redis_bound() is None
    region.take(1)
    assert region.wanted_redis_bound() == 2 * REDIS_AHEAD


def test_the_disk_bound_stays_below_the_redis_bound() -> None:
    region = begin(FILE, Mark(OWN, 6_000))
    assert region.wanted_disk_bound() == 6_000
    region.disk_bound_moved(6_000)
    region.take(1_000)
    assert region.wanted_disk_bound() is None
    assert region.take(1) == NeedsBound(disk=True, redis=True)


def test_nothing_beyond_redis_is_given_though_the_file_is_ahead() -> None:
    region = begin(FILE, Mark(OWN, 5_010))
    region.disk_bound_moved(20_000)
    assert isinstance(region.take(10), range)
    assert region.take(1) == NeedsBound(disk=False, redis=True)


def test_a_large_demand_moves_the_bounds_far_enough() -> None:
    region = ready()
    assert region.wanted_disk_bound(50_000) == 50_000
    assert region.wanted_redis_bound(2 * REDIS_AHEAD) == 3 * REDIS_AHEAD


def test_a_late_answer_does_not_bring_a_bound_back() -> None:
    region = ready()
    region.disk_bound_moved(1)
    region.redis_bound_moved(1)
    assert (region.disk_bound, region.redis_bound) == (10_000, REDIS_AHEAD)


def test_the_state_for_the_file_names_the_bound_redis_confirmed() -> None:
    assert ready().state(12_000) == State(3, "fresh", 12_000, REDIS_AHEAD)


def test_a_region_that_is_used_up_says_so() -> None:
    region = ready(COUNTERS - 10)
    assert region.redis_bound == region.disk_bound == COUNTERS
    assert isinstance(region.take(10), range)
    with pytest.raises(Full, match="another shard"):
        region.take(1)


def test_taking_no_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="0 ids"):
        ready().take(0)


STATES = st.builds(
    State,
    st.integers(0, 511),
    st.text("0123456789abcdef", min_size=1, max_size=64),
    st.integers(0, COUNTERS),
    st.integers(0, COUNTERS),
)


@given(STATES)
def test_a_state_comes_back_from_its_bytes(state: State) -> None:
    assert decode(encode(state)) == state


@given(STATES, st.data())
def test_a_single_flipped_bit_is_noticed(state: State, data: st.DataObject) -> None:
    whole = bytearray(encode(state))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="checksum"):
        decode(bytes(whole))


@given(STATES, st.data())
def test_a_file_cut_short_or_with_a_tail_is_noticed(state: State, data: st.DataObject) -> None:
    whole = encode(state)
    for wrong in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\n", whole + whole):
        with pytest.raises(ValueError, match="checksum"):
            decode(wrong)


def test_a_file_of_a_later_version_is_refused_not_guessed() -> None:
    from common.rules.ids import _checksum

    text = b"roost-ids 2 3 abc 5000 90000"
    with pytest.raises(ValueError, match="another version"):
        decode(text + b" " + _checksum(text) + b"\n")
