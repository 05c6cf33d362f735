"""One end of a link in a process of its own: the real kernel, and a service that only counts.

    python -m loadtest.bench.link_end '{"name": "gateway-0", "peer": "world-0", "run_dir": …}'

Told by lines of JSON on stdin to `send` or to `report`.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - patched before anything else is imported
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

from gevent import sleep  # noqa: E402
from gevent.fileobject import FileObject  # noqa: E402

from common.handlers import Handlers  # noqa: E402
from common.net import log as logs  # noqa: E402
from common.net.links import Peer  # noqa: E402
from common.net.process import Process, Service  # noqa: E402
from common.settings import load  # noqa: E402
from common.wire.batch import pack_item  # noqa: E402

LINK = Handlers("bench links")
PATIENCE = 60.0


class LinkEnd(Service):
    """A process that has one link.

    Attributes:
        received: items that have come.
    """

    LINK = LINK

    def __init__(self, process: Process, peer: str) -> None:
        super().__init__(process)
        self._peer = peer
        self.received = 0

    def peers(self) -> tuple[str, ...]:
        return (self._peer,)

    def start(self) -> None:
        self.process.tasks.spawn("orders", self._take_orders)

    def _take_orders(self) -> None:
        """Carry out orders until stdin ends."""
        orders: dict[str, Callable[..., dict[str, Any]]] = {"send": self.send, "report": self.report}
        for line in FileObject(sys.stdin.fileno(), "rb", close=False):
            order = json.loads(line)
            print(json.dumps(orders[order.pop("do")](**order)), flush=True)
        self.process.stopping.set()

    def send(self, items: int, together: int, bytes: int) -> dict[str, Any]:
        """Send so many items, `together` at a time; when the link's queue is full, wait.

        Raises:
            TimeoutError: it took too long.
        """
        item = pack_item(["item", "x" * bytes])
        links, sent, until = self.process.links, 0, time.monotonic() + PATIENCE
        while sent < items:
            before = sent
            for _ in range(together):
                sent += links.send(self._peer, item)
            if time.monotonic() > until:
                raise TimeoutError(f"{sent} of {items} items sent")
            sleep(0 if sent > before else 0.001)
        return {"sent": sent}

    def report(self) -> dict[str, Any]:
        """Give what has come, the CPU seconds used, and whether the link is up."""
        links = self.process.links
        return {"received": self.received, "cpu": time.process_time(), "up": links.up(self._peer)}


@LINK.on("item")
def item(end: LinkEnd, peer: Peer, data: str) -> None:
    """Count it."""
    end.received += 1


def main(name: str, peer: str, run_dir: str) -> None:
    """Be one end until stdin ends."""
    group, _, index = name.partition("-")
    settings = load({"ROOST_RUN_DIR": run_dir})
    logs.setup("error", name)
    process = Process(group, int(index), settings)
    process.run(LinkEnd(process, peer))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
