"""The processes of a simulated cluster, and what they do for each other: leases, directory, links.

Names and addresses are those of common/places.py; who is alive is decided by common/rules/directory.py, who
was frozen by common/rules/lease.py, when a stream begins anew by common/rules/streams.py. Time goes in turns
of a second. What a process does is counted, and paid for in µs by the figures (tools/capacity.toml).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from common.places import Places
from common.rules.directory import Directory, freshest
from common.rules.lease import Lease
from common.rules.streams import Stream, Verdict
from common.settings import Settings
from tools.capacity import Figures

FROZEN_AFTER = 6.0
TURN = 1.0
SETTLED = 3
"""Turns in which every pair exchanges batches; then those in which nothing changes are only counted."""


class Process:
    """One process: its lease, its life, and when it renews."""

    __slots__ = ("alive", "frozen", "incarnation", "lease", "name", "renews_at")

    def __init__(self, name: str, now: float, renews_at: float) -> None:
        self.name = name
        self.incarnation = f"{now:012.3f}"
        self.lease = Lease(FROZEN_AFTER, now)
        self.renews_at = renews_at
        self.alive = True
        self.frozen = False

    @property
    def runs(self) -> bool:
        """Tell whether it does anything."""
        return self.alive and not self.frozen


class Link(NamedTuple):
    """Both ends of the streams between a gateway and a session or world."""

    peer: str
    near: Stream
    far: Stream

    @property
    def up(self) -> bool:
        """Both directions are open, in the same session."""
        return self.near.open and self.far.open and self.near.session == self.far.session


class Fabric:
    """All processes but center and Redis.

    Attributes:
        now: simulated seconds.
        counts: what happened, by thing, since `begin`.
        us: µs of CPU each process spent since `begin`.
        directories: of each function process.
        verdicts: how batches were judged.
        down: (gateway, peer) whose streams are not open.
        began: (gateway, peer) whose streams have begun anew; whoever acts on it clears it.
        directory: what processes know of each other, as of this turn.
    """

    def __init__(self, settings: Settings, places: Places, figures: Figures, dice: random.Random) -> None:
        self.now = 1.0
        self.settings = settings
        self.places = places
        self.figures = figures
        self.counts: Counter[str] = Counter()
        self.us: Counter[str] = Counter()
        self.verdicts: Counter[Verdict] = Counter()
        every = settings.lease.renew_every
        self.processes = {
            name: Process(name, self.now, self.now + dice.random() * every) for name in places.processes
        }
        self.directories = {name: self._directory() for name in places.functions}
        peers = places.worlds + places.sessions
        self.links = {
            gateway: [Link(peer, Stream(gateway, peer), Stream(peer, gateway)) for peer in peers]
            for gateway in places.gateways
        }
        self.began: list[tuple[str, str]] = []
        self.directory: dict[str, list[str | int]] = {}
        self.down = {(gateway, link.peer) for gateway, pairs in self.links.items() for link in pairs}
        self._begun: dict[tuple[str, str], tuple[int, int]] = {}
        self._lively: set[str] = set(places.gateways)
        self._lively_until = self.now + SETTLED

    def _directory(self) -> Directory:
        return Directory(self.settings.lease.suspect_after, self.settings.lease.gone_after)

    def begin(self) -> None:
        """Count anew."""
        self.counts.clear()
        self.us.clear()

    def spend(self, name: str, microseconds: float) -> None:
        """Have a process, or one of a group that is not simulated, pay."""
        self.us[name] += microseconds  # type: ignore[assignment]

    def turn(self) -> None:
        """Let a second pass."""
        self.now += TURN
        for process in self.processes.values():
            if process.runs and process.lease.beat(self.now):
                self._was_frozen(process)
        self._renew()
        running = (one for name, one in self.directories.items() if self.processes[name].runs)
        self.directory = freshest([one.snapshot(self.now) for one in running]) or self.directory
        if self.now > self._lively_until:
            self._lively = set()
        for gateway in self.places.gateways:
            self._talk(gateway)

    # leases

    def _renew(self) -> None:
        every = self.settings.lease.renew_every
        renewal, entry = self.figures.cpu_us["renewal"], self.figures.cpu_us["entry"]
        for process in self.processes.values():
            while process.renews_at <= self.now:
                at, process.renews_at = process.renews_at, process.renews_at + every
                if not process.runs:
                    continue
                for name, directory in self.directories.items():
                    if not self.processes[name].runs:
                        continue
                    address = self.places.rpc_address(process.name)
                    term = process.lease.term
                    taken = directory.renew(process.name, process.incarnation, term, address, "ready", at)
                    entries = len(directory)
                    self.counts["renewal"] += 1
                    self.counts["entry"] += entries
                    self.counts["refused"] += not taken
                    self.spend(name, renewal["function"] + entries * entry["function"])
                    self.spend(process.name, renewal["each"] + entries * entry["each"])

    def state(self, name: str) -> str:
        """Give what the directory says of a process; "" when it does not know it."""
        return str(self.directory[name][2]) if name in self.directory else ""

    # links

    def _talk(self, gateway: str) -> None:
        """Exchange what idle links exchange in a second."""
        batches = TURN / self.settings.link.idle_every
        each = self.figures.cpu_us["idle_batch"]["each"] * batches
        for link in self.links[gateway]:
            if gateway in self._lively or link.peer in self._lively:
                self._exchange(gateway, link)
            elif not link.up:
                continue
            self.counts["idle_batch"] += 2 * batches  # type: ignore[assignment]
            self.spend(gateway, 2 * each)
            self.spend(link.peer, 2 * each)

    def _exchange(self, gateway: str, link: Link) -> None:
        one, other = self.processes[gateway], self.processes[link.peer]
        for sender, out, receiver, into in (
            (one, link.near, other, link.far),
            (other, link.far, one, link.near),
        ):
            if not receiver.runs:
                continue
            if sender.runs:
                header = out.next_header(sender.name, sender.incarnation, sender.lease.term)
                self.verdicts[into.receive(header, receiver.incarnation, receiver.lease.term)] += 1
            elif into.look() * TURN > self.settings.link.silent_after:
                into.close()
        begun = link.near.begun, link.far.begun
        if not link.up:
            self.down.add((gateway, link.peer))
            return
        self.down.discard((gateway, link.peer))
        if self._begun.get((gateway, link.peer)) != begun:
            self._begun[gateway, link.peer] = begun
            self.began.append((gateway, link.peer))

    def _streams_of(self, name: str) -> Iterator[tuple[str, Link, Stream]]:
        """Walk a process's own ends: (gateway, link, its end)."""
        for gateway, links in self.links.items():
            for link in links:
                if gateway == name:
                    yield gateway, link, link.near
                elif link.peer == name:
                    yield gateway, link, link.far

    # what happens to processes

    def watch(self, name: str, seconds: float) -> None:
        """Exchange every batch of a process for so long from now on."""
        self._lively.add(name)
        self._lively_until = max(self._lively_until, self.now + seconds)

    def kill(self, name: str) -> None:
        """End a process."""
        self.processes[name].alive = False
        self.watch(name, 30)

    def start(self, name: str) -> None:
        """Start it again: a new life, which knows nothing."""
        self.processes[name] = Process(name, self.now, self.now)
        self._begun = {pair: begun for pair, begun in self._begun.items() if name not in pair}
        if name in self.directories:
            self.directories[name] = self._directory()
        for gateway in self.places.gateways:
            links = self.links[gateway]
            for index, link in enumerate(links):
                if gateway == name:
                    links[index] = link._replace(near=Stream(gateway, link.peer))
                elif link.peer == name:
                    links[index] = link._replace(far=Stream(link.peer, gateway))
        self.watch(name, 30)

    def freeze(self, name: str) -> None:
        """Stop a process where it stands."""
        self.processes[name].frozen = True
        self.watch(name, 30)

    def thaw(self, name: str) -> None:
        """Have it go on; it finds out at the next turn."""
        self.processes[name].frozen = False

    def _was_frozen(self, process: Process) -> None:
        """All its streams begin anew."""
        for _, _, stream in self._streams_of(process.name):
            stream.close()
