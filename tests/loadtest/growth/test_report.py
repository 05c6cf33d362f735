"""What one of each cost, from what a run has seen; and whether it is flat."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from loadtest.growth.report import JUDGED, costs, markdown, plot, verdicts, wrong

MIB = 1_048_576


def phase(seconds: float, gateway: float, more: float = 0.0, **counts: int) -> dict[str, Any]:
    """A phase in which gateway, session and flock used some CPU."""
    cpu = {"gateway-0": gateway, "session-0": more, "flock-0": 99.0, "conductor-0": 99.0}
    return {"from": 10.0, "to": 10.0 + seconds, "cpu": cpu, "counts": counts}


def memory(gateway: float, session: float, kernel: float) -> dict[str, Any]:
    held = {"gateway-0": gateway, "session-0": session, "world-0": 0.0, "flock-0": 7 * MIB}
    return {
        "processes": {name: {"rss": rss} for name, rss in held.items()},
        "machine": {"kernel": kernel},
    }


def a_run(**changes: Any) -> dict[str, Any]:
    phases = {
        "idle": phase(20, 0.2),  # 0.01 of a core
        "connect": phase(10, 5.0, 1.1, logins=10_000, pongs=0),
        "hold": phase(40, 0.4, 0.2, pongs=20_000) | {"alive": 10_000},  # 0.2 s of pings
        "rooms": phase(20, 4.3, messages=400_000, published=400),
        "end": {"behind": 0, "whole": True},
    }
    phases["hold"]["memory"] = memory(60 * MIB, 50 * MIB, 9 * MIB)
    base = memory(40 * MIB, 40 * MIB, 4 * MIB)
    run = {"connections": 10_000, "gateways": 1, "phases": phases, "base": base, "samples": [{"counts": {}}]}
    return run | changes


def test_costs_are_what_was_used_beyond_idling_and_without_the_load_client() -> None:
    told = costs(a_run())
    assert told["cpu_us_per_login"] == pytest.approx(600)  # 6.1 s less 0.1 s of idling
    assert told["cpu_us_per_heartbeat"] == pytest.approx(10)
    assert told["cpu_us_per_delivery"] == pytest.approx(10)  # 4.3 s less 0.3 s of the hold
    assert told["gateway_bytes_per_connection"] == round(20 * MIB / 10_000)
    assert told["session_bytes_per_connection"] == round(10 * MIB / 10_000)
    assert told["kernel_bytes_per_connection"] == round(5 * MIB / 10_000)
    assert told["deliveries_per_crossing"] == 1_000


def test_pings_while_logins_go_on_are_no_part_of_the_logins() -> None:
    run = a_run()
    run["phases"]["connect"]["counts"]["pongs"] = 100_000
    assert costs(run)["cpu_us_per_login"] == pytest.approx(500)


def sizes(**values: tuple[float, float]) -> list[dict[str, float]]:
    pairs = {name: (100.0, 100.0) for name in JUDGED} | values
    return [
        {"connections": connections} | {name: pair[index] for name, pair in pairs.items()}
        for index, connections in enumerate((200, 400))
    ]


def test_a_cost_within_the_bounds_at_all_sizes_is_flat() -> None:
    assert all(one.flat for one in verdicts(sizes(cpu_us_per_login=(90.0, 110.0))).values())


def test_a_cost_that_grows_beyond_them_is_not() -> None:
    told = verdicts(sizes(cpu_us_per_login=(80.0, 120.0)))
    assert [name for name, one in told.items() if not one.flat] == ["cpu_us_per_login"]
    assert (told["cpu_us_per_login"].mean, told["cpu_us_per_login"].spread) == (100, 0.2)


def test_what_was_lost_or_not_complete_is_said() -> None:
    assert wrong(a_run()) == []
    run = a_run(samples=[{"counts": {"missing": 2}}])
    run["phases"]["end"] = {"behind": 3, "whole": False}
    run["phases"]["hold"]["alive"] = 9_999
    assert [words.partition(": ")[2] for words in wrong(run)] == [
        "2 missing",
        "3 room messages missing",
        "9,999 of 10,000 connections held and answered",
        "end: not complete in time",
    ]


def test_the_plot_is_a_picture_of_its_own_with_a_line_for_each_cost_and_bound() -> None:
    root = ElementTree.fromstring(plot(sizes(cpu_us_per_login=(80.0, 120.0))))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    lines = [one for one in root if one.tag.endswith("polyline")]
    assert len(lines) == len(JUDGED) + 2


def test_the_page_names_what_is_not_flat() -> None:
    several = [costs(a_run()), costs(a_run(connections=20_000))]
    told = {name: one._asdict() for name, one in verdicts(several).items()}
    machine = {"cores": 2, "ram_mib": 24_000, "kernel": "6", "python": "3.11"}
    page = markdown(
        {
            "sizes": several,
            "machine": machine,
            "commit": "abc",
            "began": "now",
            "verdicts": told,
            "tolerance": 0.15,
            "wrong": [],
        }
    )
    assert "| gateway, bytes per connection | 1,573.0 | ±33.3 % | NOT flat |" in page
    assert "| CPU µs per login | 600.0 | ±0.0 % | flat |" in page
