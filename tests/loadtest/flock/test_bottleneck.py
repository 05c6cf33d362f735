from __future__ import annotations

import pytest

from loadtest.flock.bottleneck import Load, judge

QUIET = Load(client=("flock-0", 0.2), server=("gateway-0", 0.3), idle=0.5, lag_ms=1.0, delivery_ms=8.0)

LOADS: dict[str, tuple[Load, str]] = {
    "time left everywhere": (QUIET, "none"),
    "a flock has no time left": (QUIET._replace(client=("flock-3", 0.9)), "client"),
    "what was measured is the flock itself": (QUIET._replace(lag_ms=5.0), "client"),
    "both are so quick that it does not matter": (QUIET._replace(lag_ms=3.0, delivery_ms=4.0), "none"),
    "a server has no time left": (QUIET._replace(server=("world-0", 0.97)), "server"),
    "flock and server have none: no figure is to be trusted": (
        QUIET._replace(client=("flock-3", 0.9), server=("world-0", 0.97)),
        "client",
    ),
    "the machine has none": (QUIET._replace(idle=0.01), "machine"),
}


@pytest.mark.parametrize("name", LOADS)
def test_the_limit_is_named(name: str) -> None:
    load, who = LOADS[name]
    assert judge(load).who == who


def test_the_words_name_the_process() -> None:
    assert "flock-3" in judge(QUIET._replace(client=("flock-3", 0.9))).why
    assert "world-0" in judge(QUIET._replace(server=("world-0", 0.97))).why
