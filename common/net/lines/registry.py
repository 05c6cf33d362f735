"""The lines of all maps, in a function process: which there are, and who goes where.

    world    ── line_report ──▶ every function process ── instances to open again ──▶ back
    others   ── line_place, line_make, lines ──▶ the one that decides for a product's map
             ── instance_open ──▶ the world an instance is made on

What is decided stands in common/rules/lines.py.
"""

from __future__ import annotations

import time
from typing import Any

from common.errors import BadField, RequestError
from common.handlers import Handlers
from common.net.dbclient import Calls
from common.places import Places
from common.rules.copies import Report, Sizes
from common.rules.lines import Lines
from common.settings import Settings
from common.wire.lines import line_key, parse_line
from common.wire.names import is_room

LINES = Handlers("lines rpc")


class Registry:
    """The lines, as one function process has heard of them.

    Args:
        callers: the process's calls, to worlds that are to open an instance.
    """

    def __init__(self, callers: Calls, places: Places, settings: Settings) -> None:
        self.callers = callers
        self.places = places
        self.lines = Lines(places.maps, settings.lines.hold, settings.lease.gone_after)

    def step(self) -> None:
        """Each second: forget what is over."""
        self.lines.step(time.monotonic())


@LINES.on("line_report")
def line_report(
    registry: Registry,
    world: str,
    lease: list[Any],
    state: str,
    busy: bool,
    sizes: list[int],
    rows: list[list[Any]],
) -> list[list[Any]] | None:
    """Take all copies of a world.

    Args:
        lease: [incarnation, term].
        sizes: [fill, full, copies], as its map says.
        rows: [key, players, players that ever entered] each.

    Returns:
        [key, data] of instances it had before and is to open again; None: a newer process
        has this name.

    Raises:
        BadField: no such world, or a row is no copy of it; nothing changed.
    """
    if world not in registry.places.worlds:
        raise BadField(f"no world {world!r} is configured", field="world")
    incarnation, term = lease
    told = Report(incarnation, term, state, busy, Sizes(*sizes), rows)
    return registry.lines.report(world, told, time.monotonic())


@LINES.on("line_place")
def line_place(
    registry: Registry, area: str, size: int, apart: str = "", wish: str = "", who: str = ""
) -> str:
    """Give the line for so many players who stay together; their places are held for a while.

    Args:
        area: "product/map".
        apart: a world process they may not go to.
        wish: the line or instance they want, and no other; "" for any line.
        who: the uid of one who goes back to its last line, if that has room; "" for nobody known.

    Raises:
        BadField, NotFound: no such map or line.
        Full: no line has room for them; fact `limit`.
        Unavailable: no process of the map takes players now.
    """
    _check(area, size)
    line = parse_line(wish) if wish else None
    return str(registry.lines.place(area, size, time.monotonic(), apart, line, who))


@LINES.on("line_make")
def line_make(registry: Registry, area: str, size: int, data: Any) -> str:
    """Make an instance and give its name; it is open then.

    Args:
        data: what the map gets with it; a map whose `guests` names the uids who may enter.

    Raises:
        NotFound, Full, Unavailable: as `line_place`.
        DeadlineExceeded: the world did not answer; nobody is sent there.
    """
    _check(area, size)
    lines = registry.lines
    line = lines.make(area, size, data, time.time_ns() // 1_000_000, time.monotonic())
    try:
        registry.callers.call(
            registry.places.host_of(area, line), "instance_open", line_key(area, line), data
        )
    except RequestError:
        lines.unmake(area, line)
        raise
    return str(line)


@LINES.on("lines")
def lines(registry: Registry, area: str) -> list[list[Any]]:
    """Give [line, players, does it take more] of all lines, in order; instances are nobody else's.

    Raises:
        BadField, NotFound: no such map.
    """
    _check(area, 1)
    return registry.lines.listing(area, time.monotonic())


def _check(area: str, size: int) -> None:
    if not is_room(area):
        raise BadField("a map is product/map", field="map")
    if size < 1:
        raise BadField("a place is for one player at least", field="size")
