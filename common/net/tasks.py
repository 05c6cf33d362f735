"""The one owner of a process's greenlets.

Every greenlet has a name and ends in one of three ways: it returns, it is killed
(`GreenletExit`, a normal end), or it crashes, which is logged once with its
traceback. A *core* task must live as long as the process: when it crashes or
returns before `stop`, `on_death` is called once, and the process ends so that
supervisord starts a whole one.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent import Greenlet, GreenletExit

from common.net.log import Logger
from common.rules.ticks import next_due

OnDeath = Callable[[str, BaseException | None], None]
"""Called with the name of a dead core task and its error (None: it returned)."""


class Tasks:
    """Greenlets by name: spawned, watched and stopped here only.

    Args:
        log: where crashes are told.
        on_death: called once, in the greenlet of the first core task that died.
    """

    def __init__(self, log: Logger, on_death: OnDeath | None = None) -> None:
        self._log = log
        self._on_death = on_death
        self._alive: set[Greenlet[..., Any]] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._alive)

    def spawn(
        self, name: str, function: Callable[..., Any], *args: Any, core: bool = False
    ) -> Greenlet[..., Any]:
        """Start `function(*args)` in a greenlet of its own; it runs at the next loop turn.

        Returns:
            The greenlet; its `value` is what the function returned (None after a crash).
        """
        greenlet: Greenlet[..., Any] = Greenlet(self._run, name, core, function, args)
        greenlet.name = name
        self._alive.add(greenlet)
        greenlet.rawlink(self._alive.discard)
        greenlet.start()
        return greenlet

    def every(
        self, name: str, seconds: float, function: Callable[[], Any], core: bool = True
    ) -> Greenlet[..., Any]:
        """Call `function()` each `seconds`, first after one such time; missed turns are skipped."""
        return self.spawn(name, self._repeat, seconds, function, core=core)

    def expect_end(self) -> None:
        """Say that the ordered stop has begun: a core task that ends from now on may do so."""
        self._stopping = True

    def stop(self, timeout: float) -> list[str]:
        """Kill all greenlets but the calling one, in at most `timeout` seconds; implies `expect_end`.

        Returns:
            Names of those that did not end in time; [] when all did.
        """
        self.expect_end()
        until = monotonic() + timeout
        caller = gevent.getcurrent()
        killed: set[Greenlet[..., Any]] = set()
        while True:
            rest = [greenlet for greenlet in self._alive if greenlet is not caller]
            for greenlet in rest:
                if greenlet not in killed:
                    killed.add(greenlet)
                    greenlet.kill(block=False)
            left = until - monotonic()
            if not rest or left <= 0:
                return sorted(greenlet.name for greenlet in rest)
            gevent.joinall(rest, timeout=left)

    def _repeat(self, seconds: float, function: Callable[[], Any]) -> None:
        due = monotonic() + seconds
        while True:
            gevent.sleep(max(0.0, due - monotonic()))
            function()
            due = next_due(due, seconds, monotonic())

    def _run(self, name: str, core: bool, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        error: BaseException | None = None
        value = None
        try:
            value = function(*args)
        except GreenletExit as ended:
            error = ended
        except (Exception, gevent.Timeout) as crash:  # noqa: BLE001 - the last place that can report it
            error = crash
            self._log.error("task crashed", task=name, core=core, exc_info=crash)
        if core and not self._stopping:
            self._die(name, error)
        return value

    def _die(self, name: str, error: BaseException | None) -> None:
        on_death, self._on_death = self._on_death, None
        if on_death is not None:
            self._log.error("core task died", task=name, error=repr(error))
            on_death(name, error)
