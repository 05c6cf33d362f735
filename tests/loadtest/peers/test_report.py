from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtest.peers import report
from loadtest.peers.__main__ import into_docs
from loadtest.peers.size import Size

SIZE = Size(rates=(1_000,), rounds=3)
MACHINE = {
    "commit": "abc",
    "changed_files": 0,
    "cores": 2,
    "ram_mib": 24_000,
    "kernel": "6",
    "python": "3.11",
    "load": [0.1],
}


def phase(deliveries: int, **changes: Any) -> dict[str, Any]:
    taken = {
        "seconds": 2.0,
        "deliveries": deliveries,
        "reads": deliveries // 4,
        "client_cores": 0.5,
        "cpu": {"gateway-0": 1.0, "world-0": 0.5, "world-1": 0.5},
        "idle": 0.2,
        "repeats": 0,
        "misordered": 0,
        "lost": 0,
        "errors": {},
        "times": {"p50": 1.0, "p99": 9.0},
        "late": {"p99": 1.0},
    }
    return taken | changes


def told(deliveries: int, **changes: Any) -> dict[str, Any]:
    layout = {"enter": 0.5, "rss": {"gateway-0": 1500.0, "world-0": 500.0}}
    saturate = phase(deliveries, **changes)
    rooms = layout | {"steady": {"1000": phase(2_000)}, "saturate": saturate}
    return {"rooms": rooms, "one": layout | {"saturate": phase(deliveries * 2)}}


def peer(title: str, *rounds: dict[str, Any], **changes: Any) -> dict[str, Any]:
    known = {"title": title, "version": "1", "setting": "as it comes", "install": "apt-get install it"}
    return known | {"rounds": list(rounds), "failed": []} | changes


FOUND = {
    "roost": peer("Roost", told(100_000), told(300_000, lost=2), told(200_000, misordered=1)),
    "nats": peer("nats-server", told(400_000)),
    "nchan": peer("nchan", version=""),
}


def test_figures_are_medians_and_what_is_wrong_a_sum() -> None:
    made = report.figures(FOUND, SIZE)
    assert set(made) == {"roost", "nats"}
    ours = made["roost"]
    rooms = ours["saturate"]["rooms"]
    assert rooms["deliveries_per_second"] == 100_000
    assert rooms["deliveries_per_cpu_second"] == 100_000
    assert rooms["cores_by_group"] == {"gateway": 0.5, "world": 0.5}
    assert ours["saturate"]["one"]["deliveries_per_second"] == 200_000
    assert ours["rss_per_connection"] == 2_000
    assert (ours["lost"], ours["repeats"], ours["misordered"]) == (2, 0, 1)
    assert report.ratios(made) == {"rooms": 0.5, "one": 0.5}
    assert report.ratios({"roost": ours}) == {}


def test_times_that_are_the_clients_own_lateness_are_called_that() -> None:
    one = told(1)
    one["rooms"]["steady"]["1000"] = phase(2_000, late={"p99": 8.0})
    made = report.figures({"nats": peer("nats-server", one)}, SIZE)
    assert made["nats"]["steady"]["1000"]["limit"]["who"] == "client"


@pytest.mark.parametrize(("deliveries", "keeps_up"), [(1_999, True), (1_900, False)])
def test_a_server_that_falls_behind_the_rate_did_not_keep_up(deliveries: int, keeps_up: bool) -> None:
    one = told(1)
    one["rooms"]["steady"]["1000"] = phase(deliveries)
    made = report.figures({"nats": peer("nats-server", one)}, SIZE)
    assert made["nats"]["steady"]["1000"]["keeps_up"] is keeps_up


def test_a_client_without_time_left_is_named_as_the_limit() -> None:
    made = report.figures({"nats": peer("nats-server", told(1_000, client_cores=0.97))}, SIZE)
    assert made["nats"]["saturate"]["rooms"]["limit"]["who"] == "client"
    assert made["nats"]["saturate"]["one"]["limit"]["who"] == "none"


def test_the_page_has_every_server_and_what_is_missing_with_its_cure() -> None:
    made = report.figures(FOUND, SIZE)
    known = {
        "machine": MACHINE,
        "peers": FOUND,
        "figures": made,
        "began": "2026-01-01 00:00",
        "took_seconds": 9.0,
        "of_nats": report.ratios(made),
    }
    text = report.page(known, SIZE)
    assert "| Roost | 100,000 | 100,000 |" in text
    assert "* nats-server 1: as it comes." in text
    assert "… its gateway alone" in text
    assert "nchan is not here: `apt-get install it`." in text
    assert "Roost gives 0.50 of nats-server's deliveries a second, rooms of 100." in text
    tables = [line.count("|") for line in text.split("\n") if line.startswith("|")]
    assert len(set(tables)) == 2
    for plot in report.plots(made, FOUND, SIZE).values():
        words = [element.text for element in ElementTree.fromstring(plot)]
        assert {"Roost", "nats-server", "rooms of 100", "one of 1,000"} <= set(words)


def test_figures_take_the_place_of_older_ones_between_two_marks(tmp_path: Path) -> None:
    out, docs = tmp_path / "out", tmp_path / "docs"
    (docs / "images").mkdir(parents=True)
    out.mkdir()
    (out / "report.md").write_text("new figures\n")
    (out / "rates.svg").write_text("<svg/>")
    page = docs / "performance.md"
    page.write_text(f"before\n{report.BEGIN}old figures\n{report.END}\nbehind\n")
    for _ in range(2):
        into_docs(out, docs)
        text = page.read_text()
        assert text.startswith("before\n")
        assert text.endswith("\nbehind\n")
        assert "old figures" not in text
        assert text.count("new figures") == 1
    assert "![rates](images/rates.svg)" in text
    assert (docs / "images" / "rates.svg").read_text() == "<svg/>"


def test_figures_without_a_place_are_refused() -> None:
    with pytest.raises(ValueError, match="make bench-peers"):
        report.placed("nothing", "figures")
