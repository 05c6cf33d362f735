"""When a gateway that starts lets clients in: as soon as it can serve them, or has waited long enough."""

from __future__ import annotations

import time

from gevent import sleep

from common.net.front.listener import Door
from common.net.process import Process

STEP = 0.02
"""How often it looks."""
SERVING = ("ready", "draining")
"""States of a dbserver, in the directory, that answers for mailboxes."""


class Opening:
    """Opens a gateway's door once; what is lost later closes nothing.

    Args:
        peers: names of the processes it must have links with.
    """

    def __init__(self, process: Process, door: Door, peers: tuple[str, ...]) -> None:
        self._process = process
        self._door = door
        self._peers = peers
        self.is_over = False

    def run(self) -> None:
        """Let clients in when it is time, and serve the door for ever."""
        waited = self._process.settings.gateway.door_wait
        until = time.monotonic() + waited
        while (away := self._away()) and time.monotonic() < until:
            sleep(STEP)
        if self._process.state == "starting":
            if away:
                self._process.log.warning("clients are let in without", away=away, waited=waited)
            self._door.open()
        self.is_over = True
        self._door.run()

    def _away(self) -> list[str]:
        """Name those without whom clients would be refused: links, function, all dbservers."""
        directory, dbservers = self._process.directory, self._process.places.dbservers
        away = [name for name in self._peers if not self._process.links.up(name)]
        if not directory:
            away.append("function")
        if not any(name in directory and directory[name][2] in SERVING for name in dbservers):
            away.append("dbserver")
        return away
