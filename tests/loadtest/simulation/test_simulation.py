"""A small cluster simulated: that it agrees with the model, and finds out when it does not."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from common.places import Places
from common.rules.streams import Verdict
from loadtest.simulation.__main__ import Simulation, breaches, settings_of, simulate
from loadtest.simulation.fabric import Fabric
from tools.capacity import Load, links, plan, read_figures

FIGURES = read_figures()
LOAD = Load(connections=300_000, messages=50, pushes=100, receivers=200, broadcasts=6, stay=600)
SAMPLE = (800, 100)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return simulate(LOAD, SAMPLE, seed=3)


def test_model_and_simulation_agree_and_the_rules_put_everything_right(report: dict[str, Any]) -> None:
    assert report["breaches"] == []
    assert report["steady"]["rates"]["login"][0] > 0
    assert report["incident"]["clients_that_came_back"] > 0
    assert report["incident"]["users_online_where_they_are"] == SAMPLE[0]


def test_a_model_that_forgets_something_is_found_out(report: dict[str, Any]) -> None:
    simulation = Simulation(LOAD, FIGURES, SAMPLE, seed=3)
    forgotten = dict(FIGURES.cpu_us["delivery"]) | {"gateway": 1.0}
    simulation.figures = replace(FIGURES, cpu_us={**FIGURES.cpu_us, "delivery": forgotten})
    told = report | {"steady": simulation.steady()}
    assert any("cores of gateway" in words for words in breaches(told, SAMPLE[0], simulation.plan.counts))


def test_what_is_not_put_right_is_said(report: dict[str, Any]) -> None:
    counts = plan(LOAD, FIGURES).counts
    incident = report["incident"] | {"then_known": False, "users_online_where_they_are": 7, "links_up": 3}
    assert len(breaches(report | {"incident": incident}, SAMPLE[0], counts)) == 3


def fabric() -> Fabric:
    counts = plan(Load(connections=40_000), FIGURES).counts
    settings = settings_of(counts, Load(connections=40_000))
    return Fabric(settings, Places(settings), FIGURES, random.Random(1))


def up(simulated: Fabric) -> int:
    return sum(link.up for pairs in simulated.links.values() for link in pairs)


def test_all_streams_open_within_a_few_turns_and_then_count_two_batches_a_second_each() -> None:
    simulated = fabric()
    for _ in range(4):
        simulated.turn()
    whole = links(plan(Load(connections=40_000), FIGURES).counts)
    assert up(simulated) == whole
    simulated.begin()
    simulated.turn()
    assert simulated.counts["idle_batch"] == 2 * whole


def test_what_a_frozen_gateway_says_under_its_old_term_is_void() -> None:
    simulated = fabric()
    for _ in range(4):
        simulated.turn()
    gateway = simulated.places.gateways[0]
    process, link = simulated.processes[gateway], simulated.links[gateway][0]
    simulated.freeze(gateway)
    for _ in range(8):
        simulated.turn()
    late = link.near.next_header(gateway, process.incarnation, process.lease.term)
    simulated.thaw(gateway)
    for _ in range(4):
        simulated.turn()
    assert process.lease.term == 2
    peer = simulated.processes[link.peer]
    assert link.far.receive(late, peer.incarnation, peer.lease.term) is Verdict.STALE
    assert up(simulated) == links(plan(Load(connections=40_000), FIGURES).counts)


def test_a_function_that_comes_back_has_the_whole_directory_one_renewal_later() -> None:
    simulated = fabric()
    for _ in range(4):
        simulated.turn()
    name = simulated.places.functions[0]
    simulated.kill(name)
    simulated.turn()
    simulated.start(name)
    assert len(simulated.directories[name]) == 0
    for _ in range(3):
        simulated.turn()
    assert len(simulated.directories[name]) == len(simulated.processes)
