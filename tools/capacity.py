"""`./roost capacity`: what so many clients take, and what so many machines carry.

    rates (what happens how often) × figures (tools/capacity.toml) ─▶ CPU and memory by group
      ─▶ how many processes of each ─▶ what those cost each other: links, leases ─▶ once more

Linear in the clients but for what processes cost each other, which grows with their square.

Source: docs/capacity.md.
"""

from __future__ import annotations

import argparse
import textwrap
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).with_suffix(".toml")
GROUPS = ("gateway", "session", "world", "function", "dbserver", "center", "redis")
LINKED = ("session", "world")
"""Groups every gateway has a link with."""
GIB = 1 << 30
ROUNDS = 8
"""After so many the number of processes no longer changes."""
HARDLY = 0.8
LEAST = {"gateway": 2, "session": 2, "world": 2, "function": 2, "dbserver": 2, "center": 1, "redis": 1}


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the clients do.

    Args:
        connections: at the same time.
        ping: seconds between two heartbeats of a client.
        stay: seconds a connection lasts; each is then followed by the next one's login.
        messages: room messages a second, in all.
        room_size: members of a room.
        pushes: unicasts a second through center's API; `kept`: share of them that is stored.
        receivers: of kept multicasts, a second, in all.
        broadcasts: live broadcasts to all, an hour.
        per_gateway: connections a gateway takes.
        renew_every, idle_every: settings lease.renew_every, link.idle_every; seconds.
    """

    connections: float
    ping: float = 120.0
    stay: float = 3600.0
    messages: float = 0.0
    room_size: float = 100.0
    pushes: float = 0.0
    kept: float = 0.5
    receivers: float = 0.0
    broadcasts: float = 0.0
    per_gateway: float = 18_900
    renew_every: float = 2.0
    idle_every: float = 1.0

    def scaled(self, factor: float) -> Load:
        """Give so many times the clients, doing so many times as much; rooms stay as large."""
        scaled = ("connections", "messages", "pushes", "receivers")
        return replace(self, **{name: getattr(self, name) * factor for name in scaled})


@dataclass(frozen=True)
class Figures:
    """The measured costs.

    Args:
        cpu_us, bytes: thing -> group (or `each`) -> cost of one.
        machine, at_most: shares and bounds.
    """

    cpu_us: Mapping[str, Mapping[str, Any]]
    bytes: Mapping[str, Mapping[str, Any]]
    machine: Mapping[str, Any]
    at_most: Mapping[str, Any]


def read_figures(path: Path = FIGURES) -> Figures:
    """Read the file of figures."""
    return Figures(**tomllib.loads(path.read_text()))


Counts = Mapping[str, int]
"""Group -> processes."""


def gateways_of_a_room(members: float, gateways: int) -> float:
    """Give over how many gateways a room's members are spread, each being anywhere: the mean."""
    return float(gateways * (1.0 - (1.0 - 1.0 / gateways) ** members))


def links(counts: Counts) -> int:
    """Give how many pairs of processes have a link."""
    return counts["gateway"] * sum(counts[group] for group in LINKED)


def leased(counts: Counts) -> int:
    """Give how many processes have a lease, and a line in the directory."""
    return sum(counts[group] for group in GROUPS if group not in ("redis", "center"))


def rates(load: Load, counts: Counts) -> dict[str, float]:
    """Give what happens how often a second."""
    return {
        "login": load.connections / load.stay,
        "heartbeat": load.connections / load.ping,
        "publish": load.messages,
        "delivery": load.messages * load.room_size,
        "crossing": load.messages * gateways_of_a_room(load.room_size, counts["gateway"]),
        "unicast": load.pushes * (1 - load.kept),
        "kept": load.pushes * load.kept,
        "receiver": load.receivers,
        "broadcast": load.connections * load.broadcasts / 3600,
        "idle_batch": 2 * links(counts) / load.idle_every,
        "renewal": counts["function"] * leased(counts) / load.renew_every,
    }


def work(load: Load, counts: Counts, figures: Figures) -> dict[str, float]:
    """Give the cores each group needs for what clients do."""
    often, us = rates(load, counts), figures.cpu_us
    mesh = ("idle_batch", "renewal")
    return {
        group: sum(rate * us[thing].get(group, 0.0) for thing, rate in often.items() if thing not in mesh)
        / 1e6
        for group in GROUPS
    }


def upkeep(load: Load, counts: Counts, figures: Figures) -> dict[str, float]:
    """Give the share of a core one process of each group spends on others, whatever clients do."""
    us, processes = figures.cpu_us, leased(counts)
    renewing = us["renewal"]["each"] + processes * us["entry"]["each"]
    answering = us["renewal"]["function"] + processes * us["entry"]["function"]
    leases = counts["function"] / load.renew_every * renewing
    link = 2 / load.idle_every * us["idle_batch"]["each"]
    spent = {
        "gateway": leases + link * sum(counts[group] for group in LINKED),
        "function": leases + processes / load.renew_every * answering,
        "dbserver": leases,
    } | {group: leases + link * counts["gateway"] for group in LINKED}
    return {group: spent.get(group, 0.0) / 1e6 for group in GROUPS}


def cpu(load: Load, counts: Counts, figures: Figures) -> dict[str, float]:
    """Give the cores each group needs."""
    each = upkeep(load, counts, figures)
    return {
        group: cores + counts[group] * each[group] for group, cores in work(load, counts, figures).items()
    }


def memory(load: Load, counts: Counts, figures: Figures) -> dict[str, float]:
    """Give the bytes of each group; `kernel` is that of the sockets' server ends."""
    held = {group: counts[group] * float(figures.bytes["process"][group]) for group in GROUPS}
    for group, one in figures.bytes["connection"].items():
        if group != "source":
            held[group] = held.get(group, 0.0) + load.connections * one
    each = figures.bytes["link"]["each"]
    for group in LINKED:
        pairs = counts["gateway"] * counts[group]
        held[group] += pairs * each
        held["gateway"] += pairs * each
    held["redis"] += load.connections * figures.bytes["user"]["redis"]
    return held


@dataclass(frozen=True)
class Plan:
    """What a load takes.

    Args:
        counts: processes of each group.
        cores, bytes: of each group (bytes: and `kernel`).
    """

    load: Load
    counts: Counts
    cores: Mapping[str, float]
    bytes: Mapping[str, float]

    def busiest(self, group: str) -> float:
        """Give the share of a core one process of a group takes."""
        return self.cores[group] / self.counts[group]


def plan(load: Load, figures: Figures) -> Plan:
    """Give how many processes of each group there must be, and what they take.

    More function processes take nothing off each other: each holds the whole directory.
    """
    bounds, share = figures.at_most, figures.machine["process_share"]
    by_clients = {
        "gateway": ceil(load.connections / load.per_gateway),
        "session": ceil(load.connections / bounds["session_users"]),
    }
    counts = {group: max(LEAST[group], by_clients.get(group, 1)) for group in GROUPS}
    for _ in range(ROUNDS):
        cores, each = work(load, counts, figures), upkeep(load, counts, figures)
        for group in GROUPS:
            if each[group] < HARDLY * share:  # else it has no time for clients, and more do not help
                counts[group] = max(counts[group], ceil(cores[group] / (share - each[group])))
    return Plan(load, counts, cpu(load, counts, figures), memory(load, counts, figures))


@dataclass(frozen=True)
class Machines:
    """What there is."""

    count: int
    cores: int
    gib: float


def used(made: Plan, machines: Machines, figures: Figures) -> dict[str, float]:
    """Give which share of what may be used a plan uses, by resource; above 1 it does not fit."""
    may, bounds = figures.machine, figures.at_most
    each = upkeep(made.load, made.counts, figures)
    descriptors = made.counts["gateway"] * bounds["link_descriptors"]
    return {
        "CPU": sum(made.cores.values()) / (machines.count * machines.cores * may["cpu_share"]),
        "memory": sum(made.bytes.values()) / (machines.count * machines.gib * GIB * may["memory_share"]),
        "a function's directory": each["function"] / may["process_share"],
        "a session's links, CPU": each["session"] / may["process_share"],
        "a session's links, descriptors": descriptors / bounds["descriptors"],
    }


def most(load: Load, machines: Machines, figures: Figures) -> tuple[float, str]:
    """Give how many connections of this kind the machines carry, and what is used up then."""

    def worst(factor: float) -> tuple[float, str]:
        shares = used(plan(load.scaled(factor), figures), machines, figures)
        return max((share, name) for name, share in shares.items())

    low, high = 0.0, 1.0
    while worst(high)[0] < 1:
        low, high = high, 2 * high
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if worst(middle)[0] < 1 else (low, middle)
    return load.connections * low, worst(high)[1]


def lines(made: Plan, machines: Machines, figures: Figures) -> list[str]:
    """Say it all, a line each."""
    load, counts, often = made.load, made.counts, rates(made.load, made.counts)
    shares = used(made, machines, figures)
    per = f"{machines.count} machines of {machines.cores} cores, {machines.gib:g} GiB"
    said = [f"{load.connections:,.0f} connections on {per}", ""]
    happens = [f"{thing.replace('_', ' ')} {rate:,.0f}" for thing, rate in often.items() if rate >= 0.5]
    said += textwrap.wrap(f"per second: {', '.join(happens)}", 100, subsequent_indent="  ") + [""]
    said += [f"{'group':<10}{'processes':>10}{'cores':>9}{'of one':>8}{'GiB':>9}"]
    for group in GROUPS:
        of_one, gib = f"{made.busiest(group):.2f}", made.bytes[group] / GIB
        said.append(f"{group:<10}{counts[group]:>10,}{made.cores[group]:>9.1f}{of_one:>8}{gib:>9.1f}")
    said.append(f"{'kernel':<10}{'':>10}{'':>9}{'':>8}{made.bytes['kernel'] / GIB:>9.1f}")
    total, gib = sum(made.cores.values()), sum(made.bytes.values()) / GIB
    said += [f"{'all':<10}{sum(counts.values()):>10,}{total:>9.1f}{'':>8}{gib:>9.1f}", ""]
    said += [f"links {links(counts):,}, leases {leased(counts):,}; used of what may be used:"]
    said += [f"  {name:<31}{share:>6.0%}" for name, share in shares.items()]
    carried, limit = most(load, machines, figures)
    return [*said, f"they carry {carried / 1e6:,.2f} million such connections; then {limit} is used up"]


UNITS = {"k": 1e3, "M": 1e6}


def number(text: str) -> float:
    """Read 12.8M, 300k, 5000.

    Raises:
        ValueError: it is none.
    """
    return float(text[:-1]) * UNITS[text[-1]] if text[-1:] in UNITS else float(text)


def add_arguments(it: argparse.ArgumentParser) -> None:
    """Add the options of `./roost capacity`."""
    it.add_argument("--connections", type=number, required=True, help="at the same time: 12.8M, 300k")
    it.add_argument("--machines", type=int, default=1)
    it.add_argument("--cores", type=int, default=16, help="of a machine")
    it.add_argument("--gib", type=float, default=64, help="memory of a machine")
    options: dict[str, tuple[Callable[[str], float], str]] = {
        "ping": (float, "seconds between two heartbeats of a client"),
        "stay": (float, "seconds a connection lasts"),
        "messages": (number, "room messages a second, in all"),
        "room-size": (number, "members of a room"),
        "pushes": (number, "unicasts a second through center"),
        "kept": (float, "share of these that is stored"),
        "receivers": (number, "receivers of kept multicasts, a second"),
        "broadcasts": (float, "live broadcasts to all, an hour"),
        "per-gateway": (number, "connections a gateway takes; each is a descriptor"),
        "renew-every": (float, "lease.renew_every, s"),
        "idle-every": (float, "link.idle_every, s"),
    }
    for name, (kind, text) in options.items():
        default = getattr(Load(connections=1), name.replace("-", "_"))
        it.add_argument(f"--{name}", type=kind, default=default, help=f"{text} ({default:g})")


def show(arguments: argparse.Namespace) -> int:
    """Print the plan; 1 when it does not fit on the machines."""
    given = vars(arguments)
    load = Load(**{name: given[name] for name in Load.__dataclass_fields__})
    machines, figures = Machines(arguments.machines, arguments.cores, arguments.gib), read_figures()
    made = plan(load, figures)
    print("\n".join(lines(made, machines, figures)))
    return 0 if max(used(made, machines, figures).values()) <= 1 else 1
