"""A client process: devices of many users, each with its state on disk.

    python -m loadtest.torture.devices PLAN HOST

A device writes each message into its journal, then acks it. Started again, also after
`kill -9`, it goes on from the last line there. It says bye and comes back at random;
whatever else happens to its connections is the network's doing (proxy.py).
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - patched before anything else is imported
import random  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.lock import BoundedSemaphore  # noqa: E402

from loadtest.torture import plan as plans  # noqa: E402
from loadtest.torture.child import Child, now_ms  # noqa: E402
from loadtest.torture.journal import Journal  # noqa: E402
from loadtest.torture.proxy import address_of  # noqa: E402
from roost_client import Client, ClientClosed, Inbox, RetryPlan, RoostError, StateChanged, Timings  # noqa: E402

ACK_EVERY = 4
"""Messages after which a device acks at once; fewer wait for the next turn."""
ACK_TURN = 0.5
TIMINGS = Timings(welcome=5.0, answer=5.0)
LOGINS_AT_ONCE = 10


class Device:
    """One device, over all its connections.

    Attributes:
        seq: number of the newest message in its journal.
        seen: it has been connected, and storage knew its place.
    """

    def __init__(self, host: Host, number: int) -> None:
        self.uid, self.name = host.plan.devices()[number]
        self._host = host
        self._address = address_of(host.plan, number)
        self._journal = Journal(host.plan.journal(self.uid, self.name))
        self._client: Client | None = None
        self._told = 0
        self.seq = self._newest()
        self._waiting = 0
        self.seen = False

    def _newest(self) -> int:
        """Give the number of the newest message in the journal; a login's notice has none."""
        row = self._journal.newest(lambda row: row[0] is not None)
        return int(row[0]) if row else 0

    def live(self) -> None:
        """Come and go until the end; from calm on, stay."""
        host = self._host
        plan, dice, child = host.plan, host.dice, host.child
        while not child.ending.is_set():
            client = self._client = self._make_client()
            stay = float("inf") if child.calm.is_set() else dice.expovariate(1 / plan.close_after)
            if not self._connect(client) or _ended(client, stay, child):
                host.counts.add("clients ended by the server")
            elif child.calm.is_set() and not child.ending.is_set():
                _ended(client, float("inf"), child)
            else:
                host.counts.add("closed")
            client.close(linger=2.0)
            self.report()
            self._client = None
            mean = plan.long_away if dice.random() < plan.long_share else plan.away
            child.calm.wait(dice.expovariate(1 / mean))

    def state(self) -> list[Any]:
        """Give what one wants to know of a device that lacks messages."""
        client = self._client
        if client is None:
            return [self.uid, self.name, "away", self.seq]
        return [self.uid, self.name, client.state, self.seq, client.welcome.get("inbox"), client.repeats]

    def turn(self) -> None:
        """Ack what waits, count what came again."""
        self._ack(1)
        self.report()

    def report(self) -> None:
        """Count the repeats the client dropped since the last time."""
        client = self._client
        if client is not None:
            self._host.counts.add("repeats", client.repeats - self._told)
            self._told = client.repeats

    def _make_client(self) -> Client:
        plan = self._host.plan
        self._told = 0
        client = Client(
            self._address,
            plan.tokens[self.uid],
            device=self.name,
            retry=RetryPlan(0.2, 2.0, 3.0),
            timings=TIMINGS,
            seq=self.seq,
        )
        client.on("inbox", self._take)
        client.on("kicked", lambda kick: self._host.counts.add(f"kicked {kick.code}"))
        client.on("state_changed", self._changed)
        return client

    def _connect(self, client: Client) -> bool:
        """Log in, however often it takes; False when the server said not to come back."""
        host, tries = self._host, 0
        while not host.child.ending.is_set():
            try:
                with host.logins:
                    client.connect(timeout=5.0)
            except ClientClosed as error:
                host.counts.add(f"kicked {error.code} at login")
                return False
            except (OSError, RoostError) as error:
                host.counts.add(f"login {getattr(error, 'code', type(error).__name__)}")
                tries += 1
                gevent.sleep(host.dice.uniform(0.05, min(2.0, 0.2 * 2**tries)))
                continue
            self.seen = self.seen or client.welcome.get("inbox") is not None
            return True
        return True

    def _changed(self, event: StateChanged) -> None:
        """Count connections; a login may say that messages were dropped."""
        if event.state == "live":
            self._host.counts.add("connections")
            if (event.welcome.get("inbox") or {}).get("gap"):
                self._journal.append([None, 0, "", None, True, now_ms()])

    def _take(self, event: Inbox) -> None:
        """Keep a message, then ack it now or at the next turn."""
        self._journal.append([event.seq, event.mid, event.uid, event.data, event.gap, now_ms()])
        self._host.counts.add("received")
        if event.seq is not None:
            self.seq = max(self.seq, event.seq)
            self._waiting += 1
            self._ack(ACK_EVERY)

    def _ack(self, least: int) -> None:
        client = self._client
        if client is None or self._waiting < least:
            return
        self._waiting = 0
        try:
            client.ack(seq=self.seq, wait=False)
        except ClientClosed:
            self._host.counts.add("acks too late")


class Host:
    """The devices of one process."""

    def __init__(self, plan: plans.Plan, host: int) -> None:
        self.plan = plan
        self._number = host
        self.child = Child(plan, f"host-{host}")
        self.counts = self.child.counts
        self.dice = random.Random()
        self.logins = BoundedSemaphore(LOGINS_AT_ONCE)
        self._devices = [Device(self, n) for n in range(host, len(plan.devices()), plan.hosts)]

    def run(self) -> None:
        """Live until asked to end; ready once each device has been connected."""
        living = [gevent.spawn(device.live) for device in self._devices]
        turning = gevent.spawn(self._turn)
        while not all(device.seen for device in self._devices) and not self.child.ending.is_set():
            gevent.sleep(0.05)
        self.child.wait_end("ready")
        states = [device.state() for device in self._devices]
        (Path(self.plan.folder) / "states" / f"{self._number}.json").write_text(json.dumps(states))
        gevent.joinall(living, timeout=10)
        turning.kill()
        for device in self._devices:
            device.report()
        self.counts.flush()

    def _turn(self) -> None:
        while True:
            gevent.sleep(ACK_TURN)
            for device in self._devices:
                device.turn()


def _ended(client: Client, seconds: float, child: Child) -> bool:
    """Wait so long, or until calm begins or the end; give whether the client has ended by itself."""
    until, was_calm = time.monotonic() + seconds, child.calm.is_set()
    while client.state != "closed" and time.monotonic() < until and not child.ending.is_set():
        if child.calm.is_set() and not was_calm:
            break
        (child.ending if was_calm else child.calm).wait(min(1.0, until - time.monotonic()))
    return client.state == "closed"


if __name__ == "__main__":
    Host(plans.read(sys.argv[1]), int(sys.argv[2])).run()
