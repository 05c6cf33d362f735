"""Names of the copies of a map: which process hosts one stands in its name.

    2.1              line      the first line of the map's third world process
    2:1764080000123  instance  made for somebody, by number of its own

So whoever knows a copy's name knows the way to it, and it can have no second host.

Source: docs/decisions/a-line-is-named-after-its-host.md.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from common.errors import BadField

_line = re.compile(r"(0|[1-9][0-9]{0,3})([.:])([1-9][0-9]{0,15})").fullmatch


class Line(NamedTuple):
    """One copy of a map.

    Args:
        host: index among the world processes of its map.
        number: counts the lines of a host; large and never used again for an instance.
        made: an instance, made on demand.
    """

    host: int
    number: int
    made: bool = False

    def __str__(self) -> str:
        return f"{self.host}{':' if self.made else '.'}{self.number}"


def parse_line(text: object) -> Line:
    """Give what a name says.

    Raises:
        BadField: it is no such name; field is "line".
    """
    match = _line(text) if isinstance(text, str) else None
    if match is None:
        raise BadField("line must be as an `enter` reply or an offer had it", field="line")
    return Line(int(match[1]), int(match[3]), match[2] == ":")


def line_key(area: str, line: Line) -> str:
    """Give the copy inside the system: "product/map/line"."""
    return f"{area}/{line}"


def split_key(key: str) -> tuple[str, Line]:
    """Give (area "product/map", line) of a copy.

    Raises:
        BadField: it ends in no line.
    """
    area, _, name = key.rpartition("/")
    return area, parse_line(name)
