from __future__ import annotations

from typing import Any

import pytest

from common.errors import BadField, Full, NotFound, RequestError, Unavailable
from common.rules.copies import Report, Sizes
from common.rules.lines import Lines
from common.wire.lines import Line, line_key

OLD, NEW = "0000000000000001-aaaaaaaa", "0000000000000002-00000000"
HOLD, SILENT = 10.0, 12.0
ARENA = "demo/arena"
WORLDS = {"plaza": ("world-0",), "arena": ("world-1", "world-2")}
SIZES = Sizes(fill=4, full=6, copies=3)


@pytest.fixture
def lines() -> Lines:
    return Lines(WORLDS, HOLD, SILENT)


def report(
    lines: Lines,
    world: str,
    rows: dict[str, tuple[int, int]] | None = None,
    *,
    now: float = 0.0,
    incarnation: str = OLD,
    term: int = 1,
    state: str = "ready",
    busy: bool = False,
    sizes: Sizes = SIZES,
) -> list[list[Any]] | None:
    """Report copies of the arena: name -> (players, ever entered)."""
    listed = [[f"{ARENA}/{name}", *counts] for name, counts in (rows or {}).items()]
    return lines.report(world, Report(incarnation, term, state, busy, sizes, listed), now)


def both(lines: Lines, now: float = 0.0) -> None:
    report(lines, "world-1", now=now)
    report(lines, "world-2", now=now)


def place(lines: Lines, size: int = 1, now: float = 0.0, **others: Any) -> str:
    return str(lines.place(ARENA, size, now, **others))


def make(lines: Lines, size: int = 1, number: int = 1_000, data: Any = None, now: float = 0.0) -> str:
    return str(lines.make(ARENA, size, data, number, now))


def players(lines: Lines, now: float = 0.0) -> dict[str, int]:
    return {name: count for name, count, _ in lines.listing(ARENA, now)}


def refused(kind: type[RequestError], act: Any, *args: Any, **others: Any) -> RequestError:
    with pytest.raises(kind) as caught:
        act(*args, **others)
    return caught.value


def test_players_share_a_line_until_it_is_filled_then_another_opens_on_the_least_loaded_world(lines: Lines):
    both(lines)
    assert [place(lines) for _ in range(9)] == ["0.1"] * 4 + ["1.1"] * 4 + ["0.2"]


def test_the_fullest_line_with_room_is_taken_so_that_others_may_empty(lines: Lines):
    report(lines, "world-1", {"0.1": (1, 1), "0.2": (3, 3)})
    report(lines, "world-2", {"1.1": (2, 2)})
    assert place(lines) == "0.2"
    assert place(lines) == "1.1"


def test_those_who_stay_together_find_a_line_with_room_for_all(lines: Lines):
    report(lines, "world-1", {"0.1": (2, 2)})
    assert place(lines, 3) == "0.2"
    assert place(lines, 2) == "0.1"


def test_when_no_more_lines_may_open_they_are_filled_the_emptiest_first(lines: Lines):
    report(lines, "world-1", {"0.1": (5, 5), "0.2": (4, 4), "0.3": (6, 6)})
    assert [place(lines) for _ in range(3)] == ["0.2", "0.1", "0.2"]
    assert refused(Full, place, lines).facts == {"limit": 6}


def test_more_than_a_line_takes_are_refused(lines: Lines):
    both(lines)
    assert refused(Full, place, lines, 7).facts == {"limit": 6}
    assert place(lines, 6) == "0.1"


def test_a_place_is_held_until_its_time_is_over(lines: Lines):
    both(lines)
    place(lines, 3)
    report(lines, "world-1", {"0.1": (0, 0)}, now=5.0)
    assert players(lines, 9.9) == {"0.1": 3}
    assert players(lines, 10.0) == {"0.1": 0}


def test_who_has_entered_is_not_counted_twice(lines: Lines):
    both(lines)
    place(lines, 3)
    report(lines, "world-1", {"0.1": (2, 2)}, now=1.0)
    assert players(lines, 1.0) == {"0.1": 3}
    report(lines, "world-1", {"0.1": (2, 3)}, now=2.0)
    assert players(lines, 2.0) == {"0.1": 2}


def test_a_line_nobody_came_to_is_forgotten(lines: Lines):
    both(lines)
    place(lines)
    lines.step(9.9)
    assert len(lines) == 1
    lines.step(10.0)
    assert len(lines) == 0


def test_a_line_its_world_has_closed_is_forgotten_and_its_number_used_again(lines: Lines):
    report(lines, "world-1", {"0.1": (4, 4), "0.2": (4, 4)})
    report(lines, "world-1", {"0.2": (4, 4)}, now=20.0)
    assert players(lines, 20.0) == {"0.2": 4}
    assert place(lines, now=20.0) == "0.1"


def test_a_line_that_closed_under_one_on_the_way_is_kept_for_him(lines: Lines):
    report(lines, "world-1", {"0.1": (0, 9)})
    place(lines, now=1.0)
    report(lines, "world-1", now=2.0)
    assert players(lines, 2.0) == {"0.1": 1}


STATES = ("draining", "stopping")


@pytest.mark.parametrize("state", STATES)
def test_nobody_is_sent_to_a_world_that_is_about_to_end(lines: Lines, state: str):
    report(lines, "world-1", {"0.1": (3, 3)}, state=state)
    refused(Unavailable, place, lines)
    refused(Unavailable, make, lines)
    report(lines, "world-2")
    assert place(lines) == "1.1"
    assert make(lines) == "1:1000"


def test_nobody_is_sent_to_a_world_not_heard_of_for_long(lines: Lines):
    both(lines)
    report(lines, "world-2", now=11.0)
    assert place(lines, now=12.0) == "1.1"
    refused(Unavailable, place, lines, now=23.0)


def test_a_world_that_stops_finds_lines_on_the_others_for_its_players(lines: Lines):
    report(lines, "world-1", {"0.1": (3, 3)})
    report(lines, "world-2")
    assert [place(lines, apart="world-1") for _ in range(5)] == ["1.1"] * 4 + ["1.2"]
    assert refused(Unavailable, lines.place, "demo/plaza", 1, 0.0, apart="world-0").retry


def test_a_busy_world_gets_nobody_while_another_has_time(lines: Lines):
    report(lines, "world-1", {"0.1": (1, 1)}, busy=True)
    report(lines, "world-2", {"1.1": (3, 3), "1.2": (4, 4), "1.3": (4, 4)})
    assert place(lines) == "1.1"
    assert place(lines) == "1.1", "no line is opened or filled at a busy world before the others are full"


def test_when_all_worlds_are_busy_they_take_players_still(lines: Lines):
    report(lines, "world-1", busy=True)
    assert place(lines) == "0.1"
    assert make(lines) == "0:1000"


def test_where_all_worlds_are_busy_no_line_is_opened_before_those_there_are_have_their_fill(lines: Lines):
    report(lines, "world-1", {"0.1": (2, 2)}, busy=True)
    assert [place(lines) for _ in range(3)] == ["0.1", "0.1", "0.2"]


def test_a_wished_line_is_given_or_none(lines: Lines):
    report(lines, "world-1", {"0.1": (3, 3), "0.2": (5, 5)})
    assert place(lines, wish=Line(0, 2)) == "0.2"
    assert refused(Full, place, lines, wish=Line(0, 2)).facts == {"limit": 6}
    refused(NotFound, place, lines, wish=Line(0, 3))
    refused(NotFound, place, lines, wish=Line(1, 1))


def test_one_who_comes_back_goes_to_the_line_it_was_in(lines: Lines):
    both(lines)
    assert place(lines, who="ann") == "0.1"
    both(lines, now=20.0)
    report(lines, "world-1", {"0.1": (5, 5), "0.2": (2, 2)}, now=20.0)
    assert place(lines, now=20.0, who="bob") == "0.2"
    assert place(lines, now=20.0, who="ann") == "0.1", "beyond fill, but not full"
    report(lines, "world-1", {"0.1": (6, 6), "0.2": (2, 2)}, now=20.0)
    assert place(lines, now=20.0, who="ann") == "0.2", "full"
    assert str(lines.place("other/arena", 1, 20.0, who="ann")) == "1.1", "somebody else"


def test_many_who_come_back_are_not_counted_beside_their_own_players(lines: Lines):
    both(lines)
    uids = [f"u{n}" for n in range(4)]
    assert {place(lines, who=uid) for uid in uids} == {"0.1"}
    report(lines, "world-1", {"0.1": (4, 4)}, now=1.0)
    assert {place(lines, now=2.0, who=uid) for uid in uids} == {"0.1"}
    assert players(lines, 2.0) == {"0.1": 4}


def test_one_whose_line_is_gone_or_to_be_avoided_goes_elsewhere(lines: Lines):
    report(lines, "world-1", {"0.1": (1, 1)})
    assert place(lines, who="ann") == "0.1"
    report(lines, "world-2")
    assert place(lines, who="ann", apart="world-1") == "1.1"
    report(lines, "world-1", state="draining")
    assert place(lines, who="ann") == "1.1"


def test_only_so_many_last_lines_are_remembered(lines: Lines, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("common.rules.lines.REMEMBERED", 2)
    both(lines)
    for who in ("ann", "bob", "ann", "cat"):
        place(lines, who=who)
    assert {who for _, who in lines._last} == {"ann", "cat"}


def test_an_unknown_map_is_not_found(lines: Lines):
    refused(NotFound, lines.place, "demo/moon", 1, 0.0)
    refused(NotFound, lines.make, "demo/moon", 1, None, 1, 0.0)
    refused(NotFound, lines.listing, "demo/moon", 0.0)


def test_products_share_worlds_but_no_lines(lines: Lines):
    both(lines)
    place(lines)
    assert str(lines.place("other/arena", 1, 0.0)) == "1.1", "the least loaded world, whoever loads it"
    assert players(lines) == {"0.1": 1}


def test_instances_are_made_on_the_least_loaded_world_and_filled_with_nobody_else(lines: Lines):
    report(lines, "world-1", {"0.1": (2, 2)})
    report(lines, "world-2", {"1.1": (1, 1)})
    assert make(lines, 3) == "1:1000"
    assert make(lines) == "0:1001"
    assert players(lines) == {"0.1": 2, "1.1": 1}
    assert place(lines, 3) == "1.1"


def test_numbers_of_instances_are_never_given_twice_though_the_clock_stands_or_goes_back(lines: Lines):
    both(lines)
    made = [make(lines, number=number) for number in (500, 500, 400, 700)]
    assert [name.partition(":")[2] for name in made] == ["500", "501", "502", "700"]


def test_a_world_hosts_only_so_many_copies(lines: Lines):
    report(lines, "world-1")
    for _ in range(3):
        make(lines)
    assert refused(Full, make, lines).facts == {"limit": 3}
    refused(Full, place, lines)


def test_an_instance_that_could_not_be_opened_leaves_nothing(lines: Lines):
    report(lines, "world-1")
    line = lines.make(ARENA, 3, None, 1_000, 0.0)
    lines.unmake(ARENA, line)
    assert len(lines) == 0
    lines.unmake(ARENA, line)


def test_an_instance_its_world_closed_is_gone_at_once(lines: Lines):
    report(lines, "world-1")
    name = make(lines)
    report(lines, "world-1", {name: (0, 0)}, now=1.0)
    assert report(lines, "world-1", now=2.0) == []
    refused(NotFound, place, lines, now=2.0, wish=Line(0, 1_000, made=True))


def test_a_world_started_again_is_told_to_open_its_instances_and_its_players_are_expected(lines: Lines):
    report(lines, "world-1")
    name = make(lines, 2, data={"teams": 2})
    report(lines, "world-1", {name: (2, 2), "0.1": (3, 3)}, now=1.0)
    again = report(lines, "world-1", now=5.0, incarnation=NEW)
    assert again == [[f"{ARENA}/{name}", {"teams": 2}]]
    assert players(lines, 5.0) == {"0.1": 3}
    assert report(lines, "world-1", {name: (0, 0), "0.1": (1, 1)}, now=6.0, incarnation=NEW) == []
    assert players(lines, 6.0) == {"0.1": 3}, "one is back, two are expected"
    report(lines, "world-1", {name: (0, 0), "0.1": (1, 1)}, now=15.0, incarnation=NEW)
    assert players(lines, 15.0) == {"0.1": 1}


def test_an_instance_whose_world_stays_away_is_given_up(lines: Lines):
    report(lines, "world-1")
    name = make(lines)
    report(lines, "world-1", {name: (1, 1)})
    lines.step(11.9)
    lines.step(12.0)
    assert len(lines) == 1
    lines.step(22.0)
    assert len(lines) == 0


def test_a_world_that_was_only_silent_tells_its_copies_again(lines: Lines):
    report(lines, "world-1", {"0.1": (3, 3), "0:77": (1, 1)})
    lines.step(12.0)
    report(lines, "world-1", {"0.1": (3, 3), "0:77": (1, 1)}, now=20.0, term=2)
    assert players(lines, 20.0) == {"0.1": 3}
    assert len(lines) == 2


OLDER = {"incarnation": (OLD, 9), "term": (NEW, 1)}


@pytest.mark.parametrize(("incarnation", "term"), OLDER.values(), ids=OLDER)
def test_an_older_report_is_refused_and_changes_nothing(lines: Lines, incarnation: str, term: int):
    report(lines, "world-1", {"0.1": (3, 3)}, incarnation=NEW, term=2)
    assert report(lines, "world-1", {"0.2": (1, 1)}, incarnation=incarnation, term=term) is None
    assert players(lines) == {"0.1": 3}


FOREIGN = {
    "another world's line": f"{ARENA}/1.1",
    "another map's line": "demo/plaza/0.1",
    "no line": f"{ARENA}/lobby",
    "an unknown map": "demo/moon/0.1",
}


@pytest.mark.parametrize("key", FOREIGN.values(), ids=FOREIGN)
def test_a_world_cannot_report_what_is_not_its_own(lines: Lines, key: str):
    report(lines, "world-1", {"0.1": (3, 3)})
    told = Report(NEW, 1, "ready", False, SIZES, [[line_key(ARENA, Line(0, 2)), 1, 1], [key, 1, 1]])
    refused(BadField, lines.report, "world-1", told, 0.0)
    assert players(lines) == {"0.1": 3}


def test_the_listing_says_which_lines_take_more(lines: Lines):
    report(lines, "world-1", {"0.2": (6, 6), "0.1": (5, 5)})
    report(lines, "world-2", {"1.1": (1, 1)}, state="draining")
    assert lines.listing(ARENA, 0.0) == [["0.1", 5, True], ["0.2", 6, False], ["1.1", 1, False]]
