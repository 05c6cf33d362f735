from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.placement import choose

GIVEN_BEFORE = {("p/alice", 7): 1, ("p/bob", 7): 3, ("p/plaza/lobby", 7): 4, ("ü", 7): 4}


@pytest.mark.parametrize(("key", "count"), GIVEN_BEFORE)
def test_a_key_stays_where_earlier_versions_placed_it(key: str, count: int) -> None:
    assert choose(key, count) == GIVEN_BEFORE[key, count]


def test_another_process_with_another_hash_seed_places_alike() -> None:
    program = "from common.rules.placement import choose; print([choose(f'p/u{i}', 5) for i in range(50)])"
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str([choose(f"p/u{i}", 5) for i in range(50)])


@given(st.text(), st.integers(1, 40))
def test_one_more_process_takes_keys_only_for_itself(key: str, count: int) -> None:
    assert 0 <= choose(key, count) < count
    assert choose(key, count + 1) in (choose(key, count), count)


def test_keys_are_spread_evenly() -> None:
    owners = [choose(f"product/user{i}", 4) for i in range(8_000)]
    assert all(1_850 < owners.count(index) < 2_150 for index in range(4))


def test_no_process_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="on 0 processes"):
        choose("p/alice", 0)
