"""Each bench at a small size: that it runs, hears everything and says what it must; never how fast.

Three of them guard against a change for the worse all the same, by what does not move with the machine or
with what else runs on it: bytes of an idle connection, and CPU time as a share of that of a bare server in
the same run, round by round in turn. Their bounds are far from what is measured (docs/performance.md).
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from common.settings import ROOT
from loadtest.bench.__main__ import BENCHES, main
from loadtest.bench.fanout import GATHERED, WARM_UP

SIZES: dict[str, dict[str, Any]] = {
    "memory": {"users": 5_000, "rooms_of": 100, "park_after": 0.5},
    "fanout": {"members": 1_000, "messages": 20, "bursts": 4, "rounds": 3},
    "echo": {"clients": 4_000, "seconds": 0.4, "rounds": 3},
    "login": {"users": 40, "rooms_of": 10},
    "links": {"items": 4096, "rounds": 1},
    "keeping": {"receivers": 100, "rounds": 1},
    "push": {"rate": 20, "seconds": 0.5, "devices": 3, "receivers": 50, "rounds": 2},
    "broadcast": {"connections": 40, "rounds": 1, "quiet": 0.1},
    "carriers": {"users": 40, "rooms_of": 10, "park_after": 0.2, "carriers": "wss.json sse"},
    "handshakes": {"count": 30, "rounds": 1, "keys": "P-256"},
    "steady": {"rate": 400, "seconds": 0.5, "clients": 20, "rooms_of": 10, "warm_up": 0.1},
    "ticks": {"players": [1, 40], "ticks": 3},
}
SAYS: dict[str, set[str]] = {
    "memory": {"bytes_each_parked", "goal_bytes_each", "ceiling_bytes_each"},
    "fanout": {"single_of_bare", "gathered_of_single", "bare_sends_per_cpu_second", "received"},
    "echo": {"bare_per_cpu_second", "parked_of_bare", "talking_of_bare"},
    "login": {"logins_per_second", "cpu_us_per_login", "ceiling_connects_per_second"},
    "links": {"batches"},
    "keeping": {"receivers_per_second", "redis_cpu_us_per_receiver", "cost_in_redis"},
    "push": {"unicast", "goals_ms", "multicast_receivers_per_second", "cpu_us_per_receiver"},
    "broadcast": {"connections", "seconds", "lag_ms", "cpu_us_per_connection"},
    "carriers": {"goal_bytes_each_websocket", "carriers"},
    "handshakes": {"handshakes"},
    "steady": {"delivery_ms", "goals_ms", "lag_ms", "limit", "cores"},
    "ticks": {"players", "goal_ms"},
}
GUARDS: dict[str, dict[str, tuple[float, float]]] = {
    "memory": {"bytes_each_parked": (400, 2_600)},
    "fanout": {"single_of_bare": (0.45, 2.0), "gathered_of_single": (3.0, 100.0)},
    "echo": {"parked_of_bare": (0.4, 3.0), "talking_of_bare": (0.15, 2.0)},
}
"""Figure -> from, to: above the upper bound the ceiling is what went wrong, or the measuring."""


def test_every_bench_is_tried_here() -> None:
    assert set(SIZES) == set(BENCHES)


@pytest.mark.parametrize("name", SIZES)
def test_bench_gives_its_figures_with_the_facts_of_the_machine_and_has_heard_everything(name: str) -> None:
    sizes = SIZES[name]
    figures = bench(name, *(f"{key}={json.dumps(value)}" for key, value in sizes.items()))
    assert figures["bench"] == name
    assert {"cores", "ram_mib", "kernel", "python", "versions", "commit"} <= set(figures["machine"])
    assert SAYS[name] <= set(figures)
    assert figures.get("errors", {}) == {}
    assert figures.get("misplaced", 0) == 0
    for figure, (low, high) in GUARDS.get(name, {}).items():
        assert low <= figures[figure] <= high, (figure, figures)
    if name == "fanout":
        messages = WARM_UP + sizes["rounds"] * (sizes["messages"] + sizes["bursts"] * GATHERED)
        assert figures["received"] == sizes["members"] * messages
    if name == "push":
        told = figures["unicast"].values()
        assert [(one["sent"], one["unheard"]) for one in told] == [(10, 0), (10, 0)]
    if name == "broadcast":
        assert {"gateway-0", "session-0", "center-0"} <= set(figures["lag_ms"])
    if name == "carriers":
        assert all(
            one["logins_per_second"] and "bytes_each_parked" in one for one in figures["carriers"].values()
        )
    if name == "steady":
        assert figures["received"] == figures["published"] * sizes["rooms_of"] > 0
    if name == "handshakes":
        told = [(one["new"]["resumed"], one["resumed"]["resumed"]) for one in figures["handshakes"].values()]
        assert told == [(0, 1)] * 2


def test_an_unknown_bench_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert (
        "memory, fanout, echo, login, links, keeping, push, broadcast, carriers, handshakes, steady, ticks"
        in capsys.readouterr().err
    )


def bench(*words: str) -> dict[str, Any]:
    """Run a bench as `make bench` does; give the object it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.bench", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
