"""Messages of application servers, the whole way: center, storage, session, gateway, device.

Unicasts are sent at a fixed rate whether or not the ones before were answered, and timed from the
moment each was due (no coordinated omission): until the answer, and until the device has it. Kept
multicasts go to users who are away, some requests at a time.
"""

from __future__ import annotations

from typing import Any

from loadtest.bench.clusters import cluster
from loadtest.bench.commands import Commanded
from loadtest.bench.meter import Meter
from tools import apikeys

PRODUCT = "bench"
UNICAST_GOALS_MS = {"p50": 10, "p99": 50}
MULTICAST_GOAL = 20_000
NOTED_AT_ONCE = 1_000


def measure(
    rate: int = 300,
    seconds: float = 10.0,
    devices: int = 200,
    receivers: int = 10_000,
    rounds: int = 10,
    at_once: int = 2,
) -> dict[str, Any]:
    """Give the times of unicasts, live and kept, and the receivers per second of kept multicasts.

    Args:
        rate: unicasts a second, for so many `seconds`, to so many `devices` in turn.
        receivers: of one multicast; `rounds` of them, `at_once` under way.
    """
    with cluster({"center.requests_per_second": 100_000}) as running:
        host, port = running.tcp(0)
        key = apikeys.create(running.settings, PRODUCT, ["push"], "bench")
        uids = [f"away{number}" for number in range(receivers)]
        with apikeys.dbservers(running.settings) as store:
            for begin in range(0, receivers, NOTED_AT_ONCE):
                part = uids[begin : begin + NOTED_AT_ONCE]
                store.call("users_seen", [[f"{PRODUCT}/{uid}", 1, 0] for uid in part])
        plan = {
            "url": running.center_url(),
            "key": key,
            "host": host,
            "port": port,
            "tokens": [running.token(f"here{number}", PRODUCT) for number in range(devices)],
        }
        meter = Meter(running)
        with Commanded("loadtest.bench.push_end", plan) as end:
            unicast = {}
            for kind in ("live", "kept"):
                told = end.order("unicasts", rate=rate, seconds=seconds, keep=kind == "kept")
                unicast[kind] = told | {"cpu_us": meter.each(told["sent"])}
            multicast = end.order("multicasts", uids=uids, rounds=rounds, at_once=at_once)
            spent = meter.each(receivers * rounds)
    return {
        "rate": rate,
        "unicast": unicast,
        "goals_ms": UNICAST_GOALS_MS,
        "receivers": receivers,
        "multicast_receivers_per_second": round(receivers * rounds / multicast["seconds"]),
        "goal_receivers_per_second": MULTICAST_GOAL,
        "cpu_us_per_receiver": spent,
        "errors": {**unicast["live"].pop("errors"), **unicast["kept"].pop("errors"), **multicast["errors"]},
    }
