"""An application server and the devices its messages are for, in a process of its own.

    python -m loadtest.bench.push_end '{"url": …, "key": …, "host": …, "port": …, "tokens": […]}'

Takes orders, a line of JSON each: `unicasts`, `multicasts`.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - patched before anything else is imported
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.pool import Pool  # noqa: E402

from loadtest.door import Door  # noqa: E402
from tests.cluster.raw import Raw  # noqa: E402

CONNECTIONS = 64
"""Requests under way at most; a unicast that has to wait for one waits on its own time."""
LAST_SECONDS = 5.0
"""What the last messages get to arrive."""


class End:
    """The application server, its devices, and what they heard.

    Args:
        tokens: one for each device, of users "here0", "here1" …
    """

    def __init__(self, url: str, key: str, host: str, port: int, tokens: Sequence[str]) -> None:
        self._door = Door(url, key)
        self._pool = Pool(CONNECTIONS)
        self._heard: dict[int, float] = {}
        self._count = 0
        self._devices: list[Raw] = []
        for token in tokens:
            raw = Raw((host, port), timeout=600.0)
            raw.hello(token, device="bench")
            self._devices.append(raw)
            gevent.spawn(self._listen, raw)

    def _listen(self, raw: Raw) -> None:
        while (packet := raw.read()) is not None:
            raw.seen.clear()
            op, _, body = packet
            if op == "inbox":
                self._heard[body["data"]] = time.perf_counter()
                if "seq" in body:
                    raw.send("ack", {"seq": body["seq"]}, 0)

    def unicasts(self, rate: int, seconds: float, keep: bool) -> dict[str, Any]:
        """Send at a fixed rate to the devices in turn; give how long answers and messages took."""
        answers: dict[int, float] = {}
        first, count = self._count, round(rate * seconds)
        self._count += count
        begin = time.perf_counter()
        due = {first + number: begin + number / rate for number in range(count)}

        def one(number: int) -> None:
            to = f"here{number % len(self._devices)}"
            if self._door.push("unicast", {"to": to, "data": number, "keep": keep}):
                answers[number] = time.perf_counter()

        for number, moment in due.items():
            gevent.sleep(max(0.0, moment - time.perf_counter()))
            self._pool.spawn(one, number)
        self._pool.join()
        until = time.perf_counter() + LAST_SECONDS
        while any(number not in self._heard for number in due) and time.perf_counter() < until:
            gevent.sleep(0.01)
        return {
            "sent": count,
            "answer_ms": _spread([answers[number] - due[number] for number in answers]),
            "heard_ms": _spread(
                [self._heard[number] - due[number] for number in due if number in self._heard]
            ),
            "unheard": sum(number not in self._heard for number in due),
            "errors": dict(self._door.errors),
        }

    def multicasts(self, uids: list[str], rounds: int, at_once: int) -> dict[str, Any]:
        """Send kept messages to all these users, `rounds` times; give the seconds it took."""
        senders = Pool(at_once)
        begin = time.perf_counter()
        for number in range(rounds):
            senders.spawn(self._door.push, "multicast", {"to": uids, "data": number, "keep": True})
        senders.join()
        return {"seconds": time.perf_counter() - begin, "errors": dict(self._door.errors)}


def _spread(seconds: list[float]) -> dict[str, float]:
    """Give p50, p99 and max in ms."""
    ordered = sorted(seconds) or [0.0]
    last = len(ordered) - 1
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[round(share * last)] * 1000, 2) for name, share in shares.items()}


def main(words: str) -> None:
    """Carry out orders until stdin ends."""
    end = End(**json.loads(words))
    orders: dict[str, Callable[..., dict[str, Any]]] = {
        "unicasts": end.unicasts,
        "multicasts": end.multicasts,
    }
    while line := sys.stdin.readline():
        order = json.loads(line)
        print(json.dumps(orders[order.pop("do")](**order)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
