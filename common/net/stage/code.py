"""The code of a map while it is played: read anew, tried under the players, taken back when it fails.

    reload ─▶ its module is read anew ─▶ every line goes on with the new class, between two ticks
              │ fails: nothing changed      │ TRIAL_SECONDS without an error: it stays
              ▼                             ▼ an error: all lines have the old class again
           refused                       rolled back, and the caller is told the error

What a line has stays: entities, players, timers, attributes. Timers go on with the new functions of
the same names. A line whose PINNED attributes would be others keeps the class it has until it
closes; lines that are opened meanwhile have the new one.

Source: docs/worlds.md, section 6.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gevent import sleep

from common.errors import BadField, ConfigError, Conflict
from common.handlers import Handlers
from common.net.log import Logger
from common.net.stage.line import Line

CODE = Handlers("code rpc")
TRIAL_SECONDS = 1.0
LOOK_EVERY = 0.05
PINNED = ("width", "height", "view", "rate")
"""Attributes of a class that a line is built from."""


class Version(NamedTuple):
    """A map's class, as it was read; `name` tells one from another."""

    kind: Any
    name: str


class Code:
    """The code of the map of one process.

    Args:
        version: what it began with.
        read: gives what its module is now; raises ConfigError.
        lines: gives "product/map/line" -> line.
        taken: called with each version lines begin with from now on.
    """

    def __init__(
        self,
        version: Version,
        read: Callable[[], Version],
        lines: Callable[[], Mapping[str, Line]],
        taken: Callable[[Any], None],
        log: Logger,
    ) -> None:
        self.version = version
        self._read = read
        self._lines = lines
        self._taken = taken
        self._log = log
        self._trying = False

    def make(self, line: str, made: Any) -> Any:
        """Give a new copy of the map."""
        return self.version.kind(line, made)

    def reload(self) -> dict[str, Any]:
        """Read the code anew and try it; blocks while it is tried.

        Returns:
            version, before: names; lines: how many have it now; pinned: how many keep what they
            have; error: "", or why all is as it was.

        Raises:
            Conflict: one is being tried already.
        """
        if self._trying:
            raise Conflict("another version is being tried")
        before = self.version
        try:
            new = self._read()
        except ConfigError as error:
            return self._said(before, before, str(error))
        if new.name == before.name:
            return self._said(before, before)
        self._trying = True
        try:
            return self._try(before, new)
        finally:
            self._trying = False

    def _try(self, before: Version, new: Version) -> dict[str, Any]:
        self.version = new
        self._taken(new.kind)
        error = self._swap(before.kind, new.kind)
        until = time.monotonic() + TRIAL_SECONDS
        while not error and time.monotonic() < until:
            sleep(LOOK_EVERY)
            error = self._failure(new.kind)
        if not error:
            self._log.info("code reloaded", version=new.name, before=before.name)
            return self._said(before, new)
        self.version = before
        self._taken(before.kind)
        self._swap(new.kind, before.kind)
        self._log.error("code rolled back", version=new.name, to=before.name, error=error)
        return self._said(before, before, error)

    def _swap(self, old: Any, new: Any) -> str:
        """Let all lines of a class go on with another one; give what failed first, "" when nothing did."""
        failed = ""
        for line in list(self._lines().values()):
            if type(line.space) is old and _fits(line, new):
                line.go_on_with(new)
                failed = failed or line.trouble
        return failed

    def _failure(self, kind: Any) -> str:
        """Give the newest error of a line that has a class."""
        having = (line for line in self._lines().values() if type(line.space) is kind)
        return next((line.trouble for line in having if line.trouble), "")

    def _said(self, before: Version, now: Version, error: str = "") -> dict[str, Any]:
        having = sum(type(line.space) is now.kind for line in self._lines().values())
        return {
            "version": now.name,
            "before": before.name,
            "lines": having,
            "pinned": len(self._lines()) - having,
            "error": error,
        }


def _fits(line: Line, kind: Any) -> bool:
    """Tell whether a line can go on with a class."""
    return all(getattr(line.space, name) == getattr(kind, name) for name in PINNED)


@CODE.on("reload")
def reload(code: Code | None) -> dict[str, Any]:
    """Read the map's code anew; contract: Code.reload."""
    if code is None:
        raise BadField("this map has no code of its own that could be reloaded", field="map")
    return code.reload()
