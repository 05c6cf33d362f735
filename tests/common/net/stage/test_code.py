"""A map's code is changed under its players: versions are classes here, read from a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from common.errors import BadField, ConfigError, Conflict
from common.net import log as logs
from common.net.stage import code as module
from common.net.stage.code import Code, Version, reload
from tests.common.net.stage.playing import KEY, Plain, Play
from worlds.actions import Field, action, method
from worlds.space import Player


class First(Plain):
    """Rings each second."""

    def on_open(self) -> None:
        self.rung: list[str] = []
        self.every(0.1, self.ring)

    def ring(self) -> None:
        self.rung.append("first")

    @method("version")
    def version(self, player: Player) -> int:
        return 1


class Second(First):
    """Rings otherwise, and knows one action more."""

    def on_reload(self) -> None:
        self.brought_up_to_date = True

    def ring(self) -> None:
        self.rung.append("second")

    @action("jump", Field("far", "number", low=0, high=99))
    def jump(self, player: Player, far: float) -> None:
        self.move(player, player.x + far, player.y)

    @method("version")
    def version(self, player: Player) -> int:
        return 2


class FailsToTick(First):
    def on_tick(self, seconds: float) -> None:
        raise ZeroDivisionError("in on_tick")


class FailsToBegin(First):
    def on_reload(self) -> None:
        raise ZeroDivisionError("in on_reload")


class LacksATimer(Plain):
    def on_tick(self, seconds: float) -> None:
        raise AssertionError("it must not come to that")


class Wider(First):
    width = 90


class Otherwise(First):
    """Python lets no object become one of this class."""

    __slots__ = ("more",)


class Site:
    """A stage whose code comes from here."""

    def __init__(self) -> None:
        self.file: type[Any] | ConfigError = First
        self.sizes: list[type[Any]] = []
        self.play = Play(lambda line, made: self.code.make(line, made))
        self.code = Code(
            Version(First, "First"), self._read, lambda: self.play.stage.lines, self.sizes.append, logs.get()
        )

    def _read(self) -> Version:
        if isinstance(self.file, ConfigError):
            raise self.file
        return Version(self.file, self.file.__name__)

    def reload(self, file: type[Any] | ConfigError, meanwhile: Callable[[], None] = lambda: None) -> Any:
        """Reload while the map ticks; give the answer."""
        self.file = file
        asking = gevent.spawn(self.code.reload)
        gevent.sleep(0)
        meanwhile()
        while not asking.ready():
            self.play.tick()
            gevent.sleep(0.001)
        return asking.get()

    def version(self, number: int = 1) -> Any:
        return self.play.call("gateway-0", number, "version", None)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(module, "TRIAL_SECONDS", 0.03)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.002)
    made = Site()
    made.play.enter("ann", [15, 15])
    made.play.tick()
    return made


def test_players_go_on_in_the_new_code_with_all_they_have(site: Site) -> None:
    ann = site.play.space.players["ann"]
    told = site.reload(Second)
    assert told == {"version": "Second", "before": "First", "lines": 1, "pinned": 0, "error": ""}
    assert site.version() == 2
    assert site.play.space.brought_up_to_date
    site.play.input(site.play.clients["gateway-0", 1], 1, {"do": "jump", "far": 5})
    site.play.tick()
    assert (site.play.space.players["ann"] is ann, ann.x) == (True, 20)


def test_timers_go_on_with_the_new_functions(site: Site) -> None:
    site.play.tick()
    assert set(site.play.space.rung) == {"first"}
    site.reload(Second)
    site.play.space.rung.clear()
    site.play.tick()
    site.play.tick()
    assert set(site.play.space.rung) == {"second"}


def test_lines_opened_later_have_the_new_code_and_its_sizes(site: Site) -> None:
    site.reload(Second)
    site.play.enter("bob", number=9, key="demo/field/0.2")
    assert site.version(9) == 2
    assert site.sizes == [Second]


FAILING = {
    "it fails to tick": (FailsToTick, "on_tick failed"),
    "it fails to take over": (FailsToBegin, "in on_reload"),
    "a timer calls what it lacks": (LacksATimer, "ring"),
    "no line can become one": (Otherwise, "TypeError"),
}


@pytest.mark.parametrize(("broken", "words"), FAILING.values(), ids=FAILING)
def test_code_that_fails_is_taken_back_and_the_error_told(site: Site, broken: type[Any], words: str) -> None:
    told = site.reload(broken)
    assert words in told.pop("error")
    assert told == {"version": "First", "before": "First", "lines": 1, "pinned": 0}
    assert site.version() == 1
    assert site.sizes == [broken, First]
    site.play.space.rung.clear()
    site.play.tick()
    site.play.tick()
    assert "first" in site.play.space.rung
    assert "code rolled back" in site.play.log.getvalue()


def test_a_line_opened_while_broken_code_was_tried_is_taken_back_too(site: Site) -> None:
    def open_another() -> None:
        site.play.enter("bob", number=9, key="demo/field/0.2")

    site.reload(FailsToTick, open_another)
    assert site.version(9) == 1


def test_what_cannot_be_read_changes_nothing(site: Site) -> None:
    told = site.reload(ConfigError("importing it fails: SyntaxError"))
    assert told["error"] == "importing it fails: SyntaxError"
    assert (site.version(), site.sizes) == (1, [])


def test_what_did_not_change_is_not_tried(site: Site) -> None:
    assert site.reload(First)["before"] == "First"
    assert site.sizes == []


def test_a_line_of_other_measures_keeps_its_code_and_new_ones_have_theirs(site: Site) -> None:
    told = site.reload(Wider)
    assert (told["version"], told["lines"], told["pinned"]) == ("Wider", 0, 1)
    assert type(site.play.stage.lines[KEY].space) is First
    site.play.enter("bob", number=9, key="demo/field/0.2")
    assert type(site.play.stage.lines["demo/field/0.2"].space) is Wider


def test_two_versions_are_not_tried_at_once(site: Site) -> None:
    def again() -> None:
        with pytest.raises(Conflict):
            site.code.reload()

    site.reload(Second, again)


def test_a_map_of_rooms_is_not_reloaded() -> None:
    with pytest.raises(BadField):
        reload(None)
