"""The example game in a real cluster: bots, a duel found by matchmaking, and two windows that fight it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from math import hypot
from pathlib import Path
from typing import Any

import pytest

from common.settings import ROOT
from tests.cluster.carriers import Browser, Window
from tests.cluster.cluster import FULL, Cluster, running
from tests.cluster.raw import Raw
from tests.cluster.test_carriers import need
from tests.waiting import until
from tools.bots import Bots, plan

MAPS = {
    "cluster.maps": {"plaza": 1, "arena": 1, "yard": 1},
    "cluster.sessions": 1,
    "cluster.dbservers": 1,
    "lines.hold": 1.0,
    "lines.idle": 0.5,
}
BOTS, SECONDS = (200, 20) if FULL else (30, 2)
PICTURES = ROOT / "build" / "arena"
"""Where the pictures in docs/images come from."""


YARD = """
from worlds.actions import method
from worlds.arena import Arena

class Yard(Arena):
    name = "yard"

    @method("version")
    def version(self, player):
        return {version}

    def on_tick(self, seconds):
        super().on_tick(seconds)
        {more}
"""


@pytest.fixture(scope="module")
def yard() -> Iterator[Path]:
    """The file of a map whose code is changed while it is played; worlds find modules below ROOT only."""
    path = ROOT / "build" / f"yard_{os.getpid()}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(YARD.format(version=1, more=""))
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def arena(yard: Path) -> Iterator[Cluster]:
    """A cluster with the example game, and the yard."""
    classes = {"arena": "worlds.arena:Arena", "yard": f"build.{yard.stem}:Yard"}
    with running(MAPS | {"world.maps": classes}) as started:
        yield started


def player(cluster: Cluster, uid: str, gateway: int = 0) -> Raw:
    raw = Raw(cluster.tcp(gateway))
    raw.hello(cluster.token(uid))
    return raw


def ask(raw: Raw, method: str, **args: Any) -> dict[str, Any]:
    result: dict[str, Any] = raw.ok("call", {"map": "arena", "method": f"match.{method}", "args": args})[
        "result"
    ]
    return result


def told(raw: Raw, state: str) -> dict[str, Any]:
    """Read on until this state of a match comes as an inbox message."""
    packet = raw.find(lambda one: one[0] == "inbox" and one[2]["data"]["match"]["state"] == state)
    assert packet[2]["uid"] == ""
    match: dict[str, Any] = packet[2]["data"]["match"]
    return match


def test_bots_play_and_what_they_are_told_is_so(arena: Cluster) -> None:
    command = [str(ROOT / "roost"), "bots", "arena", str(BOTS), "--seconds", str(SECONDS), "--json"]
    done = subprocess.run(
        command, env=os.environ | arena.environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["here"], found["wrong"], found["errors"]) == (BOTS, 0, {})
    assert found["looks"] > 0
    assert found["compared"] >= 5 * found["looks"]
    assert found["input_to_state_p99_ms"] > 0
    assert found["tick_p99_ms"] > 0
    assert all(found["cpu"].values())


def test_two_find_each_other_and_have_an_instance_for_themselves(arena: Cluster) -> None:
    ann, bob, eve = player(arena, "ann"), player(arena, "bob", 1), player(arena, "eve")
    assert ask(ann, "find", mode="duel", rank=1_000)["state"] == "waiting"
    ask(bob, "find", mode="duel", rank=1_020)
    for one in (ann, bob):
        offer = told(one, "offered")
        assert ask(one, "accept", match=offer["match"])["state"] in ("accepted", "made")
    places = [told(one, "made") for one in (ann, bob)]
    assert places[0] == places[1]
    where = {"map": places[0]["map"], "line": places[0]["line"]}
    entered = [one.ok("enter", where) for one in (ann, bob)]
    assert [body["line"] for body in entered] == [where["line"]] * 2
    assert eve.error("enter", where)["code"] == "forbidden"
    assert eve.error("enter", {"map": "arena", "line": "0.17"})["code"] == "not_found"
    assert eve.ok("enter", {"map": "arena"})["line"] == "0.1"
    for one in (ann, bob, eve):
        one.ok("exit", {})
    until(lambda: eve.error("enter", where)["code"] == "not_found", 20)
    for one in (ann, bob, eve):
        one.close()


def test_nothing_is_played_where_the_map_says_nothing(arena: Cluster) -> None:
    with player(arena, "ann") as ann:
        body = {"map": "plaza", "method": "match.find", "args": {"mode": "duel"}}
        assert ann.error("call", body)["code"] == "not_found"


def test_who_comes_back_through_another_gateway_is_the_same_in_the_same_place(arena: Cluster) -> None:
    ann = player(arena, "ann")
    before = ann.ok("enter", {"map": "arena"})
    ann.close()
    with player(arena, "ann", 1) as again:
        after = again.ok("enter", {"map": "arena"})
        assert (after["line"], after["you"]) == (before["line"], before["you"])
        again.ok("exit", {})


def reload(cluster: Cluster) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "roost"), "reload", "yard"]
    return subprocess.run(
        command, env=os.environ | cluster.environment, capture_output=True, text=True, timeout=60
    )


def test_the_code_of_a_map_is_changed_and_taken_back_under_its_players(arena: Cluster, yard: Path) -> None:
    bots = Bots(plan(arena.settings, arena.places, "yard", BOTS, "demo"))
    ann = player(arena, "ann")
    try:
        entered = ann.ok("enter", {"map": "yard"})
        until(lambda: bots.report()["here"] == BOTS, 60)
        for text, code, words, version in (
            (YARD.format(version=2, more=""), 0, "1 of 1 lines have it", 2),
            (YARD.format(version=3, more="1 / 0"), 1, "ZeroDivisionError", 2),
            ("class Yard(", 1, "SyntaxError", 2),
        ):
            yard.write_text(text)
            done = reload(arena)
            assert (done.returncode, words in done.stdout) == (code, True), done.stdout + done.stderr
            assert ann.ok("call", {"map": "yard", "method": "version"})["result"] == version
        told = bots.report()
        assert (told["here"], told["errors"], told["wrong"]) == (BOTS, {}, [])
        assert not any(packet[0] == "entered" for packet in ann.seen), "nobody was moved or sent away"
        ticks = [packet[2]["tick"] for packet in ann.seen if packet[0] == "state"]
        assert ticks == sorted(ticks)
        ann.ok("exit", {})
        assert entered["line"] == "0.1"
    finally:
        ann.close()
        bots.close()


class Page(Window):
    """A window that plays."""

    def __init__(self, browser: Browser, cluster: Cluster, uid: str, gateway: int) -> None:
        address = f"{cluster.web_url(gateway)}/arena#token={cluster.token(uid)}&name={uid.title()}"
        super().__init__(browser, address, PICTURES)

    def press(self, element: str) -> None:
        self.run("document.getElementById(arguments[0]).click()", element)

    def place(self) -> tuple[float, float]:
        x, y = self.run("const d = document.getElementById('canvas').dataset; return [d.x, d.y]")
        return float(x), float(y)

    def hold(self, *keys: str) -> None:
        """Let all keys go, then hold these."""
        self.run(
            "const key = (type, code) => document.body.dispatchEvent("
            "new KeyboardEvent(type, {code, bubbles: true, cancelable: true}));"
            "for (const code of ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown']) key('keyup', code);"
            "for (const code of arguments[0]) key('keydown', code);",
            list(keys),
        )


@pytest.fixture
def browser() -> Iterator[Browser]:
    need("chromium", "chromedriver")
    made = Browser(width=1200, height=760)
    yield made
    made.close()


def test_two_windows_find_a_duel_walk_up_to_each_other_and_fight(arena: Cluster, browser: Browser) -> None:
    ann, bob = Page(browser, arena, "ann", 0), Page(browser, arena, "bob", 1)
    for one in (ann, bob):
        until(lambda one=one: one.text("map") == "arena 0.1" and one.text("hp") != "–", 30)  # type: ignore[misc]
    for one in (ann, bob):
        one.press("duel")
    for one in (ann, bob):
        until(lambda one=one: one.shows("offer"), 20)  # type: ignore[misc]
    ann.picture("offer")
    for one in (ann, bob):
        one.press("offer-yes")
    for one in (ann, bob):
        until(lambda one=one: one.text("map").startswith("arena 0:"), 20)  # type: ignore[misc]
    assert ann.text("map") == bob.text("map")
    until(lambda: approach(ann, bob), 60)
    ann.hold()
    until(lambda: shoot(bob, ann), 60)
    bob.run(
        "document.getElementById('text').value = 'Got you!';"
        "document.getElementById('compose').requestSubmit()"
    )
    until(lambda: "Got you!" in ann.text("log"), 20)
    bob.picture("fight")


def approach(one: Page, other: Page) -> bool:
    """Let one walk on towards another; True when it is there."""
    (x, y), (toward_x, toward_y) = one.place(), other.place()
    keys = [("ArrowLeft", "ArrowRight")[toward_x > x]] if abs(toward_x - x) > 8 else []
    keys += [("ArrowUp", "ArrowDown")[toward_y > y]] if abs(toward_y - y) > 8 else []
    one.hold(*keys)
    return hypot(toward_x - x, toward_y - y) < 40


def shoot(one: Page, other: Page) -> bool:
    """Let one shoot at another; True when that was hit."""
    one.hold("Space")
    return other.text("hp") not in ("100", "–")
