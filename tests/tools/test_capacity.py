"""The capacity model: what it adds up, and where it ends."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from tools.capacity import (
    GROUPS,
    Load,
    Machines,
    cpu,
    gateways_of_a_room,
    leased,
    links,
    memory,
    most,
    number,
    plan,
    rates,
    read_figures,
    used,
)
from tools.main import main

FIGURES = read_figures()
MACHINES = Machines(16, 16, 64)
QUIET = Load(connections=1_000_000)


def test_every_figure_names_its_source_and_a_group_there_is() -> None:
    groups = {*GROUPS, "each", "kernel", "source"}
    for table in (FIGURES.cpu_us, FIGURES.bytes):
        for thing, one in table.items():
            assert one["source"], thing
            assert set(one) <= groups, thing


def test_a_room_is_on_as_many_gateways_as_its_members_happen_to_be_on() -> None:
    assert gateways_of_a_room(1, 50) == pytest.approx(1)
    assert gateways_of_a_room(2, 2) == pytest.approx(1.5)
    assert gateways_of_a_room(100_000, 50) == pytest.approx(50)


def test_what_happens_follows_from_what_clients_do() -> None:
    load = Load(connections=120_000, ping=120, stay=600, messages=10, room_size=100, pushes=8, kept=0.25)
    told = rates(load, plan(load, FIGURES).counts)
    assert (told["heartbeat"], told["login"], told["delivery"]) == (1_000, 200, 1_000)
    assert (told["unicast"], told["kept"]) == (6, 2)


def test_cpu_is_each_thing_times_its_cost_in_its_group() -> None:
    load = Load(connections=120_000, stay=1e12, ping=1e12, messages=100, room_size=1_000)
    counts = plan(load, FIGURES).counts
    quiet = cpu(Load(connections=120_000, stay=1e12, ping=1e12), counts, FIGURES)
    costs = FIGURES.cpu_us
    crossings = 100 * gateways_of_a_room(1_000, counts["gateway"])
    grown = cpu(load, counts, FIGURES)["gateway"] - quiet["gateway"]
    us = 100_000 * costs["delivery"]["gateway"] + 100 * costs["publish"]["gateway"]
    assert grown * 1e6 == pytest.approx(us + crossings * costs["crossing"]["gateway"])


def test_processes_cost_each_other_the_square_of_their_number() -> None:
    counts = dict.fromkeys(GROUPS, 100) | {"function": 1}
    double = dict.fromkeys(GROUPS, 200) | {"function": 1}
    nothing = Load(connections=0)
    assert links(double) == 4 * links(counts)
    entries = [leased(one) * rates(nothing, one)["renewal"] for one in (counts, double)]
    assert entries[1] / entries[0] == pytest.approx((leased(double) / leased(counts)) ** 2)
    assert cpu(nothing, double, FIGURES)["session"] > 3.5 * cpu(nothing, counts, FIGURES)["session"]


def test_memory_is_that_of_processes_connections_and_links() -> None:
    counts = plan(QUIET, FIGURES).counts
    empty = memory(Load(connections=0), counts, FIGURES)
    held = memory(QUIET, counts, FIGURES)
    grown = held["gateway"] - empty["gateway"]
    assert grown == pytest.approx(1e6 * FIGURES.bytes["connection"]["gateway"])


def test_a_plan_has_a_process_more_for_whatever_would_take_too_much_of_one() -> None:
    made = plan(Load(connections=1_000_000, pushes=5_000), FIGURES)
    share = FIGURES.machine["process_share"]
    assert all(made.busiest(group) <= share for group in GROUPS if group != "function")
    assert made.counts["center"] > 1
    assert made.counts["gateway"] >= 1_000_000 / 18_900


def test_processes_that_have_no_time_left_beside_their_links_are_not_made_more() -> None:
    made = plan(Load(connections=200_000_000, renew_every=60), FIGURES)
    assert made.counts["session"] == 200_000_000 / FIGURES.at_most["session_users"]
    assert used(made, MACHINES, FIGURES)["a session's links, CPU"] > 1


def test_the_most_that_machines_carry_just_fits() -> None:
    carried, limit = most(QUIET, MACHINES, FIGURES)
    fits = used(plan(Load(connections=0.99 * carried), FIGURES), MACHINES, FIGURES)
    too_much = used(plan(Load(connections=1.02 * carried), FIGURES), MACHINES, FIGURES)
    assert max(fits.values()) <= 1
    assert too_much[limit] > 1


def test_leases_renewed_less_often_put_the_end_of_the_registry_further_off() -> None:
    often, limit = most(QUIET, Machines(64, 64, 512), FIGURES)
    seldom, _ = most(Load(connections=1_000_000, renew_every=6), Machines(64, 64, 512), FIGURES)
    assert limit == "a function's directory"
    assert seldom > 1.4 * often


@pytest.mark.parametrize(("text", "value"), [("12.8M", 12_800_000), ("300k", 300_000), ("5", 5)])
def test_numbers_have_their_prefix_behind_them(text: str, value: float) -> None:
    assert number(text) == value


def test_a_plan_that_does_not_fit_is_told_by_the_exit_code(capsys: pytest.CaptureFixture[Any]) -> None:
    assert main(shlex.split("capacity --connections 1M --machines 1 --cores 2 --gib 24")) == 0
    assert main(shlex.split("capacity --connections 10M --machines 1 --cores 2 --gib 24")) == 1
    assert "machines of 2 cores" in capsys.readouterr().out
