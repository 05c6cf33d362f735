"""What one connection, login and delivery cost at each size, and whether that stays the same.

    bytes per connection    growth of RSS from an idle cluster, warmed up, to the end of the hold
    µs per login            CPU of all servers in `connect`, less what the idle cluster takes, less pings
    µs per heartbeat        the same of `hold`, in which nothing but pings goes on
    µs per delivery         CPU of all servers in `rooms`, less what the hold takes in the same time

CPU time and not wall time: the load client shares the machine. An idle cluster's own CPU (leases, empty
batches of links) grows with its processes and the time, not with what is done, and is a figure of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loadtest.c1000k.report import memory_each
from loadtest.c1000k.run import CLIENTS
from loadtest.plots import COLOURS, alone, chart

Run = Mapping[str, Any]
"""{connections, gateways, phases, samples, base}, as loadtest/c1000k has it, of the phases above."""

JUDGED = {
    "gateway_bytes_per_connection": "gateway, bytes per connection",
    "session_bytes_per_connection": "session, bytes per connection",
    "cpu_us_per_login": "CPU µs per login",
    "cpu_us_per_delivery": "CPU µs per delivery",
}
TOLERANCE = 0.15
WRONG = ("closed", "given_up", "missing", "repeats", "order_errors", "unanswered")
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#57606a}.grid{stroke:#d0d7de}.axis{font-size:10px}"
    "polyline{fill:none;stroke-width:1.6}"
    + "".join(f'text[fill="{colour}"]{{fill:{colour}}}' for colour in COLOURS)
)


def costs(run: Run) -> dict[str, float]:
    """Give what one of each cost at one size."""
    phases, each = run["phases"], memory_each(run)
    idle = _cpu(phases["idle"]) / _seconds(phases["idle"])
    connect, hold, rooms = phases["connect"], phases["hold"], phases["rooms"]
    beat = (_cpu(hold) - idle * _seconds(hold)) / _count(hold, "pongs")
    pings = connect["counts"].get("pongs", 0)
    login = (_cpu(connect) - idle * _seconds(connect) - beat * pings) / _count(connect, "logins")
    busy = _cpu(rooms) - _cpu(hold) / _seconds(hold) * _seconds(rooms)
    return {
        "connections": run["connections"],
        "gateways": run["gateways"],
        "gateway_bytes_per_connection": round(each["gateway"]),
        "session_bytes_per_connection": round(each["session"]),
        "world_bytes_per_connection": round(each["world"]),
        "kernel_bytes_per_connection": round(each["kernel"]),
        "cpu_us_per_login": round(login * 1e6, 1),
        "cpu_us_per_heartbeat": round(beat * 1e6, 1),
        "cpu_us_per_delivery": round(busy / _count(rooms, "messages") * 1e6, 2),
        "deliveries_per_crossing": round(_count(rooms, "messages") / _crossings(run), 1),
        "idle_cpu_percent": round(100 * idle, 1),
    }


def _crossings(run: Run) -> float:
    """Give how often a message crossed from a world to a gateway: once to each that has members."""
    published: int = run["phases"]["rooms"]["counts"].get("published", 0)
    return max(1.0, float(published * run["gateways"]))


def _cpu(phase: Mapping[str, Any]) -> float:
    cpu: Mapping[str, float] = phase["cpu"]
    return sum(used for name, used in cpu.items() if not name.startswith(CLIENTS))


def _seconds(phase: Mapping[str, Any]) -> float:
    return max(0.01, float(phase["to"] - phase["from"]))


def _count(phase: Mapping[str, Any], name: str) -> int:
    return max(1, int(phase["counts"].get(name, 0)))


def cpu_by_group(run: Run, phase: str) -> dict[str, float]:
    """Give CPU seconds in a phase by group of servers."""
    sums: dict[str, float] = {}
    for name, used in run["phases"][phase]["cpu"].items():
        if not name.startswith(CLIENTS):
            group = name.rpartition("-")[0]
            sums[group] = round(sums.get(group, 0.0) + used, 2)
    return sums


def wrong(run: Run) -> list[str]:
    """Say what must not be at any size."""
    counts, phases = run["samples"][-1]["counts"], run["phases"]
    said = [f"{counts[name]:,} {name}" for name in WRONG if counts.get(name)]
    said += [f"{phases['end']['behind']:,} room messages missing"] if phases["end"]["behind"] else []
    if phases["hold"]["alive"] != run["connections"]:
        said.append(f"{phases['hold']['alive']:,} of {run['connections']:,} connections held and answered")
    said += [f"{name}: not complete in time" for name, one in phases.items() if one.get("whole") is False]
    return [f"{run['connections']:,}: {words}" for words in said]


class Verdict(NamedTuple):
    """One cost over all sizes.

    Args:
        spread: largest distance of a size from the mean, as a share of it.
    """

    mean: float
    spread: float
    flat: bool


def verdicts(sizes: Sequence[Mapping[str, float]], tolerance: float = TOLERANCE) -> dict[str, Verdict]:
    """Tell of each cost whether it is the same at all sizes."""
    told = {}
    for name in JUDGED:
        values = [size[name] for size in sizes]
        mean = sum(values) / len(values)
        spread = max(abs(value - mean) for value in values) / abs(mean) if mean else float("inf")
        told[name] = Verdict(round(mean, 2), round(spread, 3), spread <= tolerance)
    return told


def plot(sizes: Sequence[Mapping[str, float]], tolerance: float = TOLERANCE) -> str:
    """Give the plot as SVG: each cost at each size, as % of its mean, and the bounds."""
    told = verdicts(sizes, tolerance)
    lines = {
        words.replace("connection", "conn."): [
            (size["connections"], 100 * size[name] / told[name].mean) for size in sizes
        ]
        for name, words in JUDGED.items()
        if told[name].mean
    }
    ends = (0.0, max(size["connections"] for size in sizes))
    for bound in (1 + tolerance, 1 - tolerance):
        lines[f"{100 * bound:.0f} %"] = [(end, 100 * bound) for end in ends]
    return alone(chart("Growth", "% of the mean", lines, {}, along=""), STYLE)


def markdown(report: Mapping[str, Any]) -> str:
    """Give the report to read."""
    sizes, machine = report["sizes"], report["machine"]
    names = list(sizes[0])
    rows = [
        f"| {name.replace('_', ' ')} | {' | '.join(f'{size[name]:,}' for size in sizes)} |" for name in names
    ]
    judged = [
        f"| {words} | {one['mean']:,} | ±{100 * one['spread']:.1f} % | {'NOT ' * (not one['flat'])}flat |"
        for name, words in JUDGED.items()
        for one in [report["verdicts"][name]]
    ]
    told = (
        "\n".join(f"* {words}" for words in report["wrong"]) or "Nothing was lost, doubled or out of order."
    )
    return (
        f"# Growth: {sizes[0]['connections']:,} to {sizes[-1]['connections']:,} connections\n\n"
        f"Commit `{report['commit']}`; {machine['cores']} cores, {machine['ram_mib'] / 1024:.0f} GiB, Linux "
        f"{machine['kernel']}, CPython {machine['python']}; {report['began']}.\n\n"
        + "\n".join(["| at each size | |" + " |" * (len(sizes) - 1), "|---|" + "---|" * len(sizes), *rows])
        + f"\n\n| cost | mean | farthest from it | within ±{100 * report['tolerance']:.0f} % |\n"
        + "|---|---|---|---|\n"
        + "\n".join(judged)
        + f"\n\n![each cost as % of its mean](growth.svg)\n\n{told}\n"
    )
