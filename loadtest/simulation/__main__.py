"""`make capacity`: does the model (tools/capacity.py) hold for a thousand gateways?

    python -m loadtest.simulation [--gateways 1000] [--users 20000] [--rooms 1000] [--seed 1]

Builds what the model plans for that many gateways, without a socket: real rules, simulated time, costs from
tools/capacity.toml. Compares rates and cores with the model, then kills a gateway, a session and a function,
freezes another gateway, and looks whether the rules put everything right. Prints one JSON object; exit code 1
when the model is off by more than 10 %, or something was not put right.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import replace
from typing import Any

from common.places import Places
from common.settings import Settings, load
from loadtest.simulation.crowd import Crowd
from loadtest.simulation.fabric import Fabric
from tools.capacity import GROUPS, Counts, Figures, Load, Plan, cpu, leased, links, plan, rates, read_figures

TOLERANCE = 0.1
STEADY = 12
"""Turns over which rates and cores are counted."""
SETTLING = 4
PLACED = ("session", "world")
"""Groups whose processes own users and rooms by hash."""
LEFT_OUT = 0.005
"""Of a core: groups that take less are not compared."""
ONE_LOGIN = 1.5
"""How many logins of the sample the rate may be off, over all turns."""


class Simulation:
    """One cluster, its clients, and the model of it."""

    def __init__(self, load: Load, figures: Figures, sample: tuple[int, int], seed: int) -> None:
        dice = random.Random(seed)
        self.load, self.figures = load, figures
        self.plan: Plan = plan(load, figures)
        settings = settings_of(self.plan.counts, load)
        self.places = Places(settings)
        self.fabric = Fabric(settings, self.places, figures, dice)
        others = {group: self.plan.counts[group] for group in ("dbserver", "center", "redis")}
        self.crowd = Crowd(self.fabric, load, sample, others, dice)

    def turns(self, count: int) -> None:
        """Let so many seconds pass."""
        for _ in range(count):
            self.fabric.turn()
            self.crowd.turn()

    def steady(self) -> dict[str, Any]:
        """Give rates and cores beside those of the model, over some turns in which nothing happens."""
        self.turns(SETTLING)
        self.crowd.come()
        self.turns(1)
        counts, fabric = self.plan.counts, self.fabric
        up = sum(link.up for pairs in fabric.links.values() for link in pairs)
        fabric.begin()
        self.turns(STEADY)
        told = {name: fabric.counts[name] / STEADY for name in rates(self.load, counts)}
        model = {name: value for name, value in rates(self.load, counts).items() if value}
        cores, busiest = self._cores()
        return {
            "links_up": up,
            "rates": {name: [round(told[name], 1), round(value, 1)] for name, value in model.items()},
            "cores": {
                group: [round(cores[group], 3), round(value, 3)]
                for group, value in cpu(self.load, counts, self.figures).items()
                if value >= LEFT_OUT
            },
            "busiest_of_mean": busiest,
        }

    def _cores(self) -> tuple[dict[str, float], dict[str, float]]:
        """Give cores by group, and how much more than the mean the busiest process of each has to do."""
        by_group: dict[str, list[float]] = {group: [] for group in GROUPS}
        for name, us in self.fabric.us.items():
            by_group[name.rpartition("-")[0]].append(us / STEADY / 1e6)
        cores = {group: sum(used) for group, used in by_group.items()}
        most = {
            group: round(max(used) * self.plan.counts[group] / cores[group], 2)
            for group, used in by_group.items()
            if group in PLACED and cores[group] >= LEFT_OUT
        }
        return cores, most

    def incident(self) -> dict[str, Any]:
        """Kill and freeze; give what then was so."""
        fabric, crowd, places = self.fabric, self.crowd, self.places
        dead, frozen = places.gateways[0], places.gateways[1]
        session, function = places.sessions[0], places.functions[0]
        fabric.kill(dead)
        lost = crowd.gateway_died(dead)
        fabric.freeze(frozen)
        fabric.kill(function)
        fabric.kill(session)
        self.turns(8)
        seen = [fabric.state(dead), fabric.state(frozen), fabric.state(session)]
        fabric.thaw(frozen)
        fabric.start(session)
        crowd.session_died(session)
        self.turns(1)
        unknown = not crowd.presences[session].known
        self.turns(5)
        gone = fabric.state(dead)
        fabric.start(dead)
        fabric.start(function)
        self.turns(20)
        return {
            "clients_that_came_back": lost,
            "silent_are_suspect": seen == ["suspect"] * 3,
            "then_gone": gone == "gone",
            "term_after_freezing": fabric.processes[frozen].lease.term,
            "presence_of_a_new_session_is_unknown": unknown,
            "then_known": crowd.known(),
            "users_online_where_they_are": crowd.online(),
            "directory_is_whole": len(fabric.directories[function]) == leased(self.plan.counts),
            "links_up": sum(link.up for pairs in fabric.links.values() for link in pairs),
        }


def settings_of(counts: Counts, load_: Load) -> Settings:
    """Give settings of a cluster of this shape; bounds of what one host can configure do not hold here."""
    settings = load({})
    shape: dict[str, Any] = {
        f"{group}s": counts[group] for group in ("gateway", "session", "function", "dbserver")
    }
    return replace(
        settings,
        cluster=replace(settings.cluster, maps={"plaza": counts["world"]}, **shape),
        lease=replace(settings.lease, renew_every=load_.renew_every),
        link=replace(settings.link, idle_every=load_.idle_every),
    )


def breaches(report: dict[str, Any], users: int, counts: Counts) -> list[str]:
    """Say where model and simulation differ, and what was not put right."""
    slack = {"login": ONE_LOGIN * report["connections"] / users / STEADY}
    said = [
        f"{part} of {name}: simulated {simulated:g}, model {model:g}"
        for part in ("rates", "cores")
        for name, (simulated, model) in report["steady"][part].items()
        if abs(simulated - model) > TOLERANCE * model + slack.get(name, 0.0)
    ]
    steady, incident = report["steady"], report["incident"]
    said += [f"{name} is {value}" for name, value in incident.items() if value is False]
    said += [
        f"{one['links_up']:,} of {links(counts):,} links are up"
        for one in (steady, incident)
        if one["links_up"] != links(counts)
    ]
    if incident["users_online_where_they_are"] != users:
        said.append(f"{incident['users_online_where_they_are']:,} of {users:,} users are online")
    if incident["term_after_freezing"] != 2:
        said.append("the frozen gateway has its old term")
    return said


def simulate(load_: Load, sample: tuple[int, int], seed: int) -> dict[str, Any]:
    """Give the whole report."""
    began = time.monotonic()
    simulation = Simulation(load_, read_figures(), sample, seed)
    report: dict[str, Any] = {
        "connections": load_.connections,
        "processes": dict(simulation.plan.counts),
        "users": sample[0],
        "rooms": sample[1],
        "steady": simulation.steady(),
        "incident": simulation.incident(),
    }
    report["breaches"] = breaches(report, sample[0], simulation.plan.counts)
    return report | {"took_seconds": round(time.monotonic() - began, 1)}


def main(words: list[str]) -> int:
    """Simulate; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.simulation")
    parser.add_argument("--gateways", type=int, default=1_000)
    parser.add_argument("--users", type=int, default=20_000, help="of the sample")
    parser.add_argument("--rooms", type=int, default=1_000, help="of the sample")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    connections = asked.gateways * Load(connections=0).per_gateway
    # A thousandth of all clients say something each minute, in rooms of 100; one in a hundred gets a push.
    load_ = Load(
        connections=connections,
        messages=connections / 60_000,
        pushes=connections / 6_000,
        receivers=connections / 600,
        broadcasts=1,
    )
    report = simulate(load_, (asked.users, asked.rooms), asked.seed)
    print(json.dumps(report, indent=1))
    return 1 if report["breaches"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
