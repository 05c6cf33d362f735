"""One run: its phases one after the other, and a sample of everything every few seconds.

    connect ─▶ hold ─▶ broadcast ─▶ rush of rooms ─▶ rush of unicasts ─▶ storm ─▶ death ─▶ the end

Each phase leaves its result in `phases`; what is made of them stands in report.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gevent

from common.errors import RequestError
from loadtest.c1000k.application import Application
from loadtest.c1000k.conductor import Conductor
from loadtest.c1000k.sampling import by_group, machine, samples_of
from loadtest.c1000k.size import Size
from loadtest.c1000k.watch import Watch, cores_between, cpu_between, share
from loadtest.door import Door
from loadtest.flock.bottleneck import Load, judge
from loadtest.flock.packets import TO_ALL, stamp
from loadtest.flock.timing import unix_us
from loadtest.swarm import PRODUCT
from tests.cluster.cluster import Cluster
from tools import apikeys
from tools.api import Operator

ALL = ("connect", "hold", "broadcast", "rooms", "unicasts", "storm", "death", "end")
SAY_SECONDS = 5.0
LOOK_SECONDS = 0.5
CLIENTS = ("flock-", "conductor-")
MIB = 1_048_576


class Run:
    """A run on a ready cluster.

    Args:
        say: takes a line of progress.

    Attributes:
        watch: looks at everything meanwhile.
        phases: name -> its result.
        base: what all processes and the kernel held before the first client.
    """

    def __init__(self, cluster: Cluster, size: Size, say: Callable[[str], None], web_port: int = 0) -> None:
        self._cluster = cluster
        self._size = size
        self._say = say
        self._said_at = 0.0
        self._operator = Operator(cluster.settings, PRODUCT)
        key = apikeys.create(cluster.settings, PRODUCT, ["push"], "c1000k")
        self._application = Application(Door(cluster.center_url(), key), range(size.connections), size.kept)
        self._broadcasts = 0
        self.phases: dict[str, dict[str, Any]] = {}
        self.conductor = Conductor(cluster, size, web_port)
        self.watch = Watch(cluster, size, self.conductor)
        self.base = self.watch.look()

    def run(self, names: Sequence[str] = ALL) -> None:
        """Go through phases, in this order."""
        phases = {
            "idle": self._idle,
            "connect": self._connect,
            "hold": self._hold,
            "broadcast": self._broadcast,
            "rooms": self._rooms,
            "unicasts": self._unicasts,
            "storm": self._storm,
            "death": self._death,
            "end": self._end,
        }
        watching = gevent.spawn(self.watch.run)
        try:
            for name in names:
                with self._measured(name) as result:
                    result |= phases[name]()
            self.watch.note()
        finally:
            watching.kill()
            self.conductor.stop()

    # phases

    def _idle(self) -> dict[str, Any]:
        self._rest(self._size.idle)
        return {"seconds": self._size.idle}

    def _connect(self) -> dict[str, Any]:
        size, conductor = self._size, self.conductor
        conductor.start()
        patience = size.patience * max(1.0, size.connections / 10_000)
        whole = self._wait(lambda: conductor.here == size.connections, patience, look=False)
        seconds = time.monotonic() - min(flock.began for flock in conductor.flocks)
        return {"seconds": seconds, "whole": whole, "logins_per_second": conductor.here / seconds}

    def _hold(self) -> dict[str, Any]:
        size, conductor = self._size, self.conductor
        self._rest(size.settle)
        conductor.begin_phase()
        before, cpu = machine(), self.watch.look()
        conductor.publish(size.messages)
        sending = gevent.spawn(self._application.send, size.unicasts, size.hold)
        self._rest(size.hold)
        alive = sum(conductor.each("alive", seconds=size.ping_every * 1.02 + 1))
        sending.join()
        after = machine()
        memory = self.watch.look(full=True)
        return {
            "seconds": size.hold,
            "alive": alive,
            "busy": share(after.busy - before.busy, after.idle - before.idle),
            "memory": memory,
            "cores": cores_between(cpu, memory),
        }

    def _broadcast(self) -> dict[str, Any]:
        size, conductor = self._size, self.conductor
        conductor.publish(0)
        self._rest(size.settle)
        self._broadcasts += 1
        wanted = conductor.counts["broadcasts"] + conductor.here
        began = unix_us()
        asked = gevent.spawn(self._call, "POST", "/v1/push/broadcast", {"data": self._news(began)})
        whole = self._wait(lambda: conductor.counts["broadcasts"] >= wanted, size.patience)
        told = asked.get(timeout=size.patience)
        seconds = (conductor.last_broadcast - began) / 1e6
        missing = max(0, wanted - conductor.counts["broadcasts"])
        return {"seconds": seconds, "whole": whole, "missing": missing, "answer": told}

    def _news(self, now: int) -> list[Any]:
        return stamp(TO_ALL, self._broadcasts, now, self._size.bytes)

    def _rooms(self) -> dict[str, Any]:
        self.conductor.publish(self._size.rush_messages)
        self._rest(self._size.rush)
        return {"seconds": self._size.rush}

    def _unicasts(self) -> dict[str, Any]:
        self.conductor.publish(self._size.messages)
        self._application.send(self._size.rush_unicasts, self._size.rush)
        self._rest(1.0)
        return {"seconds": self._size.rush}

    def _storm(self) -> dict[str, Any]:
        size, conductor = self._size, self.conductor
        began = time.monotonic()
        gone = sum(conductor.each("storm", share=size.storm))
        conductor.look()
        whole = self._wait(lambda: conductor.here == size.connections, size.patience)
        return {"gone": gone, "seconds": time.monotonic() - began, "whole": whole}

    def _death(self) -> dict[str, Any]:
        size, conductor, last = self._size, self.conductor, self._size.gateways - 1
        _, port = self._cluster.tcp(last)
        there = sum(conductor.each("expect_death", port=port))
        began = time.monotonic()
        self._cluster.kill(f"gateway-{last}")
        killed = conductor.counts["killed"] + there
        self._wait(lambda: conductor.counts["killed"] >= killed, size.patience)
        whole = self._wait(lambda: conductor.here == size.connections, size.patience)
        seconds = time.monotonic() - began
        right = self._wait(self._is_presence_right, size.patience)
        presence = time.monotonic() - began
        conductor.each("expect_death", port=0)
        return {"gone": there, "seconds": seconds, "whole": whole, "presence": presence, "right": right}

    def _end(self) -> dict[str, Any]:
        conductor = self.conductor
        conductor.publish(0)
        self._rest(min(5.0, self._size.settle))
        newest = {name.rpartition(".")[2]: offset for name, (_, offset) in self._read_rooms().items()}
        whole = self._wait(lambda: self._behind(newest) == 0, min(10.0, self._size.patience))
        return {"behind": self._behind(newest), "whole": whole}

    def _behind(self, newest: dict[str, int]) -> int:
        return sum(self.conductor.each("behind", newest=newest))

    # what the cluster says

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask center; {"error": …} when it refuses, or is too busy."""
        try:
            return self._operator.call(method, path, body)
        except RequestError as error:
            return {"error": f"{error.code}: {error}"}

    def _is_presence_right(self) -> bool:
        """Tell whether session counts every user and the worlds every member."""
        users = self._call("GET", "/v1/stats").get("users")
        members = sum(count for count, _ in self._read_rooms().values())
        return bool(users == members == self._size.connections)

    def _read_rooms(self) -> dict[str, tuple[int, int]]:
        """Give room -> (members, newest offset)."""
        rooms: dict[str, tuple[int, int]] = {}
        after = ""
        while after is not None:
            page = self._call("GET", f"/v1/rooms?limit=1000{f'&after={after}' if after else ''}")
            if "error" in page:
                return {}
            rooms |= {row["room"]: (row["count"], row["offset"]) for row in page["rooms"]}
            after = page["after"]
        return rooms

    # looking

    @contextmanager
    def _measured(self, name: str) -> Iterator[dict[str, Any]]:
        """Measure a phase; what it gives, what was counted and who was the limit go into `phases`."""
        self.watch.phase = name
        self._say(f"── {name}")
        conductor, result = self.conductor, self.phases.setdefault(name, {})
        conductor.begin_phase()
        counts, was, before, began = conductor.counts, machine(), self.watch.look(), self.watch.now
        yield result
        conductor.look()
        now, after = machine(), self.watch.look()
        result["from"], result["to"] = began, self.watch.now
        result["counts"] = dict(conductor.counts - counts)
        result["cpu"] = {name: round(used, 2) for name, used in cpu_between(before, after).items()}
        result["times"] = {name: one.summary() for name, one in conductor.times.items() if one.total}
        idle = 1 - share(now.busy - was.busy, now.idle - was.idle)
        result["limit"] = judge(_load(result["times"], cores_between(before, after), idle))._asdict()
        self._say(
            f"   {name}: {_in_short(result)}; limit: {result['limit']['who']} ({result['limit']['why']})"
        )

    def _wait(self, until: Callable[[], bool], patience: float, look: bool = True) -> bool:
        """Wait until something is so, saying how it stands; False: it is not, and patience is over."""
        conductor, end = self.conductor, time.monotonic() + patience
        while not until():
            if time.monotonic() > end:
                self._say(f"   {self.watch.phase}: not complete within {patience:.0f} s")
                return False
            gevent.sleep(LOOK_SECONDS)
            if look:
                conductor.look()
            self._progress()
        return True

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            gevent.sleep(min(left, 1.0))
            self._progress()

    def _progress(self) -> None:
        if time.monotonic() < self._said_at + SAY_SECONDS:
            return
        self._said_at = time.monotonic()
        conductor, counts = self.conductor, self.conductor.counts
        rss = by_group(samples_of(self.watch.samples[-1], "rss")) if self.watch.samples else {}
        memory = "  ".join(f"{group} {held / MIB:,.0f}" for group, held in sorted(rss.items()))
        wrong = sum(conductor.errors.values())
        self._say(
            f"{self.watch.now:7.0f} s  {conductor.here:>9,} here  "
            f"{counts['messages']:,} deliveries  {counts['pongs']:,} of {counts['pings']:,} pings  "
            f"{wrong:,} errors  MiB: {memory}"
        )

    def details(self) -> dict[str, Any]:
        """Give all that was seen so far, as report.py and page.py want it."""
        center = {f"center: {words}": count for words, count in self._application.errors.items()}
        return {
            "phases": self.phases,
            "samples": self.watch.samples,
            "base": self.base,
            "sent_unicasts": self._application.sent,
            "errors": {**self.conductor.errors, **center},
        }


def _load(times: dict[str, dict[str, float]], cores: dict[str, float], idle: float) -> Load:
    def busiest(clients: bool) -> tuple[str, float]:
        some = [(name, used) for name, used in cores.items() if name.startswith(CLIENTS) == clients]
        return max(some, key=lambda pair: pair[1], default=("", 0.0))

    p99 = {name: times.get(name, {}).get("p99", 0.0) for name in ("lag", "delivery", "unicast")}
    return Load(busiest(True), busiest(False), idle, p99["lag"], max(p99["delivery"], p99["unicast"]))


def _in_short(result: dict[str, Any]) -> str:
    parts = [f"{result['to'] - result['from']:.1f} s"]
    parts += [
        f"{name} p99 {result['times'][name]['p99']:.0f} ms"
        for name in ("login", "reconnect", "heartbeat", "delivery", "unicast")
        if name in result["times"]
    ]
    return ", ".join(parts)
