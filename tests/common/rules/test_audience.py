from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from common.rules.audience import Audience
from common.rules.grid import around

COLUMNS, ROWS = 4, 3
STEPS = st.tuples(st.integers(1, 4), st.sampled_from(["g0", "g1", ""]), st.integers(0, COLUMNS * ROWS - 1))


@given(st.lists(STEPS, max_size=40))
def test_what_a_gateway_wants_is_what_its_watchers_see(steps: list[tuple[int, str, int]]) -> None:
    audience = Audience(COLUMNS, ROWS)
    places: dict[int, tuple[str, int]] = {}
    for watcher, gateway, centre in steps:
        if gateway:
            audience.put(watcher, gateway, centre)
            places[watcher] = (gateway, centre)
        else:
            audience.drop(watcher)
            places.pop(watcher, None)
        wanted: dict[str, Counter[int]] = {}
        for gateway_of, centre_of in places.values():
            wanted.setdefault(gateway_of, Counter()).update(around(centre_of, COLUMNS, ROWS))
        assert audience.wanted == wanted
