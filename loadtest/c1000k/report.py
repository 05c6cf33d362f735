"""The figures of a run, each from one place, and what makes the run fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from loadtest.c1000k.sampling import by_group, samples_of

LAG_WINDOW = 60.0
"""Seconds a process's lag percentiles speak of: samples earlier in the hold hold logins too."""

Run = Mapping[str, Any]
"""{connections, commit, phases, samples, base, sent_unicasts, errors}"""


def figures(run: Run) -> dict[str, Any]:
    """Give the report: the figures by name, nothing else."""
    phases, connections = run["phases"], run["connections"]
    hold, counts = phases["hold"], run["samples"][-1]["counts"]
    growth = _growth(run)
    return {
        "commit": run["commit"],
        "connections": hold["alive"],
        "lost": sum(lost(run).values()),
        "repeats": counts.get("repeats", 0),
        "order_errors": counts.get("order_errors", 0),
        "logins_per_second": round(phases["connect"]["logins_per_second"]),
        "gateway_bytes_per_connection": round(growth["gateway"] / connections),
        "session_bytes_per_connection": round(growth["session"] / connections),
        "kernel_bytes_per_connection": round(growth["kernel"] / connections),
        "memory_total_bytes": round(memory_total(run)),
        "heartbeats_answered": hold["counts"].get("pongs", 0),
        "broadcast_seconds": round(phases["broadcast"]["seconds"], 2),
        "unicast_p99_ms": hold["times"].get("unicast", {}).get("p99"),
        "loop_lag_p999_ms": worst_lag(run)[1],
        "gc_pause_max_ms": worst_pause(run)[1],
        "cpu_percent_holding": round(100 * hold["busy"], 1),
        "reconnect_seconds": round(phases["storm"]["seconds"], 2),
    }


def lost(run: Run) -> dict[str, int]:
    """Give what was lost, by kind: connections nobody asked to close, messages missing by number."""
    phases, counts = run["phases"], run["samples"][-1]["counts"]
    return {
        "connections closed": counts.get("closed", 0),
        "connections that did not come back": counts.get("given_up", 0),
        "room messages missing": counts.get("missing", 0) + phases["end"]["behind"],
        "broadcasts missing": phases["broadcast"]["missing"],
        "unicasts missing": max(0, run["sent_unicasts"] - counts.get("unicasts", 0)),
    }


def memory_total(run: Run) -> float:
    """Give what servers, flocks and the kernel's growth took together after the hold."""
    memory = run["phases"]["hold"]["memory"]
    shares = samples_of(memory, "pss")
    kernel: float = memory["machine"]["kernel"] - run["base"]["machine"]["kernel"]
    return sum(shares.values()) + kernel


def _growth(run: Run) -> dict[str, float]:
    """Give the bytes each group, and the kernel, grew by from the first client to the end of the hold."""
    before, after = run["base"], run["phases"]["hold"]["memory"]
    was = by_group(samples_of(before, "rss"))
    grown = {group: held - was.get(group, 0.0) for group, held in by_group(samples_of(after, "rss")).items()}
    return grown | {"kernel": after["machine"]["kernel"] - before["machine"]["kernel"]}


def memory_each(run: Run) -> dict[str, float]:
    """Give bytes per connection by group; flocks and kernel among them."""
    return {group: held / run["connections"] for group, held in _growth(run).items()}


def worst_lag(run: Run) -> tuple[str, float]:
    """Give the process whose loop ran latest while holding, p99.9 in ms."""
    hold = run["phases"]["hold"]
    quiet = min(hold["from"] + LAG_WINDOW, hold["to"] - 1)
    seen = [
        sample
        for sample in (*run["samples"], hold["memory"])
        if sample["phase"] == "hold" and sample["at"] >= quiet
    ]
    return _worst(seen, "lag_p99.9")


def worst_pause(run: Run) -> tuple[str, float]:
    """Give the process with the longest collection of garbage, in ms."""
    return _worst([*run["samples"], run["phases"]["hold"]["memory"]], "gc")


def _worst(samples: list[dict[str, Any]], quantity: str) -> tuple[str, float]:
    values = [(name, value) for sample in samples for name, value in samples_of(sample, quantity).items()]
    name, value = max(values, key=lambda pair: pair[1], default=("", 0.0))
    return name, round(value, 1)


class Goal(NamedTuple):
    """A figure's bound; `least`: it must not be below it."""

    bound: float
    least: bool = False


GOALS = {
    "lost": Goal(0),
    "repeats": Goal(0),
    "order_errors": Goal(0),
    "logins_per_second": Goal(3_000, least=True),
    "gateway_bytes_per_connection": Goal(2_048),
    "session_bytes_per_connection": Goal(1_024),
    "memory_total_bytes": Goal(16e9),
    "broadcast_seconds": Goal(15),
    "unicast_p99_ms": Goal(250),
    "loop_lag_p999_ms": Goal(50),
}
BACK_SECONDS = 60.0
"""After the death of a gateway its clients are back, with presence right."""


def missed(report: Mapping[str, Any], run: Run) -> list[str]:
    """Say which goals of the full size were not reached."""
    said = [
        f"{name} is {report[name]}, goal {'≥' if goal.least else '≤'} {goal.bound:g}"
        for name, goal in GOALS.items()
        if report[name] is not None
        and (report[name] < goal.bound if goal.least else report[name] > goal.bound)
    ]
    death = run["phases"]["death"]
    if death["presence"] > BACK_SECONDS or not death["right"]:
        said.append(f"presence was right {death['presence']:.0f} s after the death of a gateway")
    return said


def failures(report: Mapping[str, Any], run: Run) -> list[str]:
    """Say what must not be at any size: something lost, doubled, out of order, or not complete."""
    phases = run["phases"]
    said = [f"{count:,} {what}" for what, count in lost(run).items() if count]
    said += [f"{report[name]} {name}" for name in ("repeats", "order_errors") if report[name]]
    if report["connections"] != run["connections"]:
        said.append(f"{report['connections']:,} of {run['connections']:,} connections held and answered")
    unanswered = run["samples"][-1]["counts"].get("unanswered", 0)
    said += [f"{unanswered:,} heartbeats unanswered"] if unanswered else []
    said += [f"{name}: not complete in time" for name, one in phases.items() if one.get("whole") is False]
    said += [] if phases["death"]["right"] else ["presence was not right after the death of a gateway"]
    return said
