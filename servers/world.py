"""A world process: its share of a map: rooms, in order, and places, in ticks.

    python -m servers.world INDEX

    gateway ── join, publish, history, presence ──▶ one room, in order ──▶ ok, err
            ── count, announce, digest ──▶ how many of its clients are where
            ◀── m (a message), sync (where a room stands), event, roster, recount ──
            ── ask ──▶ a method of the map, for a member of a room
            ── enter, input, exit, call, again, seats ──▶ whom its clients play, in common/net/stage
            ◀── tick, entered, elsewhere, unseat ──
    world   ── expect, arrive ──▶ players on their way here, in common/net/travel
    center  ── publish, room, rooms ──▶ common/net/hall/calls.py
    ./roost ── reload ──▶ common/net/stage/code.py

Answers go in the stream the room's messages travel in, so a join's answer at offset X
is followed by X + 1. Ephemeral rooms live in memory; a durable one is loaded first, and
its messages are confirmed and heard once Redis has them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from common.errors import Full, NotFound, RequestError
from common.handlers import Handlers
from common.net.dbclient import Dbservers
from common.net.hall.appender import Appender, Then
from common.net.hall.ask import Ask, rows
from common.net.hall.book import Book
from common.net.hall.calls import CALLS, Hall
from common.net.hall.counts import Counts
from common.net.hall.fanout import COUNTERS, Fanout
from common.net.hall.names import NameBook
from common.net.idrange import Ids
from common.net.lines.desk import Desk
from common.net.lines.host import HOSTS, Host
from common.net.links import Peer
from common.net.live import Live
from common.net.matches import Matches
from common.net.process import Process, Service, main
from common.net.stage.calls import MAPS, STAGE
from common.net.stage.code import CODE, Code, Version
from common.net.stage.guard import Guard
from common.net.stage.stage import Stage, Ways
from common.net.travel.moving import MOVES
from common.rules.hosting import Hosting
from common.rules.owner import Owner, stands
from common.rules.room import REPLY_MESSAGES, Message, Recovery, Room
from common.wire.batch import pack_item
from common.wire.codec import pack
from common.wire.lines import line_key, parse_line
from worlds.catalogue import find, find_anew, version_of
from worlds.map import Map
from worlds.rooms import Rooms, Visitor
from worlds.space import Space

LINK = Handlers("world links")
CATCH_UP_EVERY = 0.1
LINK.adopt(MAPS, lambda world: world.stage)
RECOUNT = pack_item(["recount"])
STOP_SECONDS = 3.0
"""What a world that stops gives its players' last states to be stored."""


class World(Service):
    """Who is in a room, and in what order things happened there."""

    LINK = LINK

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        settings, links = process.settings.world, process.links
        process.metrics.counters.declare(COUNTERS)
        self.counters = process.metrics.counters
        self.fanout = Fanout(links, self.counters)
        self.book = Book(settings, self.fanout, self.counters)
        self.names = NameBook(settings, self.book, links)
        self.counts = Counts(self.book, self.names)
        dbservers = Dbservers(process.callers, process.places, process.index)
        self.appender = Appender(self.book, dbservers, self._owner, process.tasks, settings.append_bytes)
        self.loader = self.appender.loader
        self.hall = Hall(self.book, self.names, self.appender, self._owns, settings.publishes_per_second)
        self._lost_at: dict[str, float] = {}
        name = process.places.map_of(process.name)
        kind = find(name, settings.maps.get(name, ""))
        self.rooms = kind() if issubclass(kind, Rooms) else Rooms()
        self.is_spatial = issubclass(kind, Space)
        self.host = self._make_host(name, kind)
        desk = Desk(process.callers, process.places, process.state_of)
        self.matches = self._make_matches(name, kind, dbservers, desk)
        self.code = self._make_code(name, kind)
        self.stage = Stage(
            self.code.make if self.code is not None else None,
            self.host.hosting,
            settings,
            self._ways(dbservers, desk),
            links,
            process.tasks,
            process.metrics,
            process.log,
            process.thaw,
        )
        self.guard = Guard(name, process.metrics.area("stage"), process.log)

    def _make_host(self, name: str, kind: type[Map]) -> Host:
        """Give the copies of the map, and what tells function of them."""
        process, settings = self.process, self.process.settings.lines
        space = kind if issubclass(kind, Space) else Space
        index = process.places.maps[name].index(process.name)
        return Host(
            Hosting(index, space.full, settings.copies, settings.idle, settings.hold),
            process.callers,
            process.places.functions,
            lambda: (process.name, [process.incarnation, process.term], process.state),
            [space.fill, space.full, settings.copies],
            lambda: self.stage.busy(),
        )

    def _ways(self, dbservers: Dbservers, desk: Desk) -> Ways:
        """Give what the stage reaches beyond this process."""
        process = self.process

        def stands_to_us(text: str) -> str:
            return stands(text, self._owner(), process.directory, process.places.processes)

        def find(area: str, uid: str) -> tuple[str, str]:
            process.places.home_of(area)
            line = parse_line(desk.place(area, who=uid))
            return line_key(area, line), process.places.host_of(area, line)

        return Ways(dbservers, process.callers, self._owner, stands_to_us, find)

    def _make_code(self, name: str, kind: type[Map]) -> Code | None:
        """Give the map's code, which may be read anew; None where there is no spatial map."""
        if not self.is_spatial:
            return None
        target = self.process.settings.world.maps[name]
        return Code(
            Version(kind, version_of(target)),
            lambda: Version(*find_anew(name, target)),
            lambda: self.stage.lines,
            lambda kind: self.host.resize(kind.fill, kind.full),
            self.process.log,
        )

    def _make_matches(self, name: str, kind: type[Map], dbservers: Dbservers, desk: Desk) -> Matches | None:
        """Give the matches of the map; None where nothing is played."""
        if not (issubclass(kind, Space) and kind.modes):
            return None
        process = self.process
        live = Live(process.callers, process.places, Ids(dbservers))
        return Matches(name, kind.modes, process.settings.matches, desk.make, live.deliver, process.tasks)

    def tables(self) -> tuple[tuple[Handlers, Any], ...]:
        return (
            (CALLS, self.hall),
            (HOSTS, self.host),
            (CODE, self.code),
            (MOVES, self.stage.mover),
            (STAGE, self.stage),
        )

    def peers(self) -> tuple[str, ...]:
        return self.process.places.gateways

    def start(self) -> None:
        tasks, metrics = self.process.tasks, self.process.metrics
        tasks.spawn("appender", self.appender.run, core=True)
        tasks.every("catch up", CATCH_UP_EVERY, self.catch_up)
        if self.is_spatial:
            self.tell_lines()
            tasks.spawn("players", self.stage.run, core=True)
            tasks.every("stage", 1.0, self.stage.step)
            tasks.every("lines", self.process.settings.lines.report_every, self.tell_lines)
        if self.matches is not None:
            self.matches.start()
            metrics.gauge("matches", "parties that wait for a match", self.matches.__len__)
        tasks.every("names", 1.0, self.names.step)
        tasks.every("loads", 1.0, self.loader.step)
        tasks.every("sweep", 1.0, lambda: self.book.sweep(self.appender.busy))
        metrics.gauge("rooms", "rooms in memory", lambda: len(self.book.rooms))
        metrics.gauge("history_bytes", "bytes of rooms and histories", lambda: self.book.held_bytes)
        metrics.gauge("members", "connections in them", lambda: self.book.members)

    def queues(self) -> dict[str, int]:
        return {"append": self.appender.queued_bytes}

    def link_down(self, peer: str) -> None:
        self._lost_at[peer] = self.book.clock()
        self.fanout.link_down(peer)
        self.stage.seats.link_down(peer)

    def link_up(self, peer: str) -> None:
        self._lost_at.pop(peer, None)
        self.fanout.link_up(peer)

    def catch_up(self) -> None:
        """Let nobody wait for a gateway: one that is behind, that is silent, or that is gone."""
        self.fanout.catch_up(self.book.rooms)
        self.names.catch_up()
        limit = self.book.clock() - self.process.settings.lease.gone_after
        for gateway in [name for name, lost_at in self._lost_at.items() if lost_at < limit]:
            del self._lost_at[gateway]
            self.counts.gone(gateway)
        self.counts.step()

    def missing(self) -> list[str]:
        return [] if self.host.heard or not self.is_spatial else ["function has not heard of its lines"]

    def stop(self) -> None:
        if self.is_spatial:
            self.host.hosting.draining = True
            self.tell_lines()
            unsaved = self.stage.keeper.close(STOP_SECONDS)
            if unsaved:
                self.process.log.warning("players not stored", count=len(unsaved), first=unsaved[:5])

    def fenced(self) -> None:
        self.stage.keeper.fenced()

    def tell_lines(self) -> None:
        """Tell function of all copies; at the start it says which instances an earlier life had."""
        self.host.report(self.process.settings.lease.renew_every / 2)

    def _owns(self, key: str) -> bool:
        return self.process.places.world_of(key) == self.process.name

    def _owner(self) -> str:
        """Give whose lease durable rooms are owned under; fences the process if it was frozen."""
        self.process.thaw()
        return str(Owner(self.process.name, self.process.incarnation, self.process.term))

    def visitor(self, room: Room, uid: str) -> Visitor:
        """Give who calls a method in a room."""

        def publish(data: Any) -> None:
            self.hall.publish(room.key, "", "", pack(data), lambda room, outcome: None)

        return Visitor(uid, room.key, room.count, publish)

    def in_turn(self, room: Room, answer: Then, ask: Ask) -> None:
        """Answer behind the publishes into a durable room that came before, once it is in memory."""
        self.appender.after(room, partial(self.loader.when_loaded, room, answer, ask.refuse))

    def ask(self, peer: Peer, number: int) -> Ask:
        """Give what a gateway's request is answered by."""
        return Ask(self.process.links, peer.name, number)


@LINK.on("join")
def join(
    world: World, peer: Peer, rid: int, key: str, counts: list[int], since: list[int] | None, listens: bool
) -> None:
    """A client comes in: answer where the room stands, with what it missed.

    Args:
        counts: the gateway's [members, listeners] with this one.
        since: [epoch, offset] it had, or None for no messages.
        value: [epoch, offset, recovered, messages, more, count]
    """
    room, ask = world.book.room(key), world.ask(peer, rid)
    limit = world.book.rule(room).member_limit
    before = room.members.get(peer.name, (0, 0))[0]
    if counts[0] > before and room.count - before + counts[0] > limit:
        ask.refuse(Full("the room is full", limit=limit))
        return
    world.counts.take(peer.name, room, *counts)
    answer = partial(world.in_turn, room, partial(enter, world, ask, room, since), ask)
    if listens:
        world.names.when_known(room, answer)
    else:
        answer()


def enter(world: World, ask: Ask, room: Room, since: list[int] | None) -> None:
    """Answer a join, with what followed `since`."""
    recovery = Recovery(False, [], False)
    if since is not None:
        recovery = room.recover(since[0], since[1], REPLY_MESSAGES, world.book.clock())
    messages = rows(recovery.messages)
    ask.ok([room.epoch, room.offset, recovery.recovered, messages, recovery.more, room.count])


@LINK.on("count")
def count(world: World, peer: Peer, key: str, members: int, listening: int, seats: list[Any] | None) -> None:
    """A gateway's absolute counts changed; `seats` names its members where the room keeps names."""
    if not members and key not in world.book.rooms:
        return
    room = world.book.room(key)
    world.counts.take(peer.name, room, members, listening)
    if seats is not None:
        world.names.take(room, peer.name, seats)


@LINK.on("announce")
def announce(world: World, peer: Peer, rooms: list[list[Any]], first: bool, last: bool) -> None:
    """After a new stream: all rooms of a gateway, [key, members, listeners, epoch, offset] each.

    Rooms that moved on meanwhile, or are another epoch, are answered with `sync`, durable
    ones once they are loaded; rooms it does not name lose their members there.
    """
    if first:
        world.counters.resyncs += 1
        world.counts.announcing(peer.name)
        world.names.ask_again(peer.name)
    for key, members, listening, epoch, offset in rooms:
        if not members:
            continue
        room = world.book.room(key)
        world.counts.take(peer.name, room, members, listening)
        if not room.epoch:
            world.loader.load(room)
        elif (room.epoch, room.offset) != (epoch, offset):
            world.fanout.sync(peer.name, room)
    if last:
        world.counts.announced(peer.name)


@LINK.on("digest")
def digest(world: World, peer: Peer, value: int) -> None:
    """Compare the sum of all a gateway's counts with ours; when they stay apart, ask for all."""
    if world.counts.differ(peer.name, value):
        world.counters.digest_mismatches += 1
        world.process.log.warning("counts of a gateway differ", gateway=peer.name)
        world.process.links.send(peer.name, RECOUNT)


@LINK.on("publish")
def publish(world: World, peer: Peer, rid: int, key: str, uid: str, name: str, data: bytes) -> None:
    """Give a message its offset and let the members hear it; value: [epoch, offset]."""
    world.hall.publish(key, uid, name, data, partial(published, world.ask(peer, rid)))


def published(ask: Ask, room: Room, outcome: Message | RequestError) -> None:
    """Answer a publish."""
    if isinstance(outcome, RequestError):
        ask.refuse(outcome)
    else:
        ask.ok([room.epoch, outcome.offset])


@LINK.on("history")
def history(world: World, peer: Peer, rid: int, key: str, since: list[int] | None, limit: int) -> None:
    """Give what is kept; value: [epoch, newest, oldest kept, recovered, messages, more]."""
    room, ask = world.book.room(key), world.ask(peer, rid)

    def answer() -> None:
        now = world.book.clock()
        found = room.recover(since[0], since[1], limit, now) if since else room.newest(limit, now)
        messages, first = rows(found.messages), room.history.oldest
        ask.ok([room.epoch, room.offset, first, found.recovered, messages, found.more])

    world.in_turn(room, answer, ask)


@LINK.on("presence")
def presence(world: World, peer: Peer, rid: int, key: str) -> None:
    """Give who is in a room; value: [count, [[uid, [[device, kind]…], since]…]]."""
    room, ask = world.book.rooms.get(key), world.ask(peer, rid)
    if room is None:
        ask.ok([0, []])
        return
    world.names.when_known(room, lambda: ask.ok([room.count, world.names.listing(room)]))


def answer_with(ask: Ask, function: Callable[..., Any], *args: Any) -> None:
    """Answer a request with what a function gives, or refuse it as it says."""
    try:
        value = function(*args)
    except RequestError as error:
        ask.refuse(error)
    else:
        ask.ok(value)


@LINK.on("ask")
def ask_room(world: World, peer: Peer, rid: int, key: str, uid: str, method: str, args: Any) -> None:
    """A member of a room calls a method of the map."""
    visitor = world.visitor(world.book.room(key), uid)
    call_it = partial(world.guard.ask, f"method {method}", world.rooms.call)
    answer_with(world.ask(peer, rid), call_it, visitor, method, args)


@LINK.on("match")
def match(world: World, peer: Peer, rid: int, product: str, uid: str, method: str, args: Any) -> None:
    """A client asks something of matchmaking (docs/matches.md)."""
    ask = world.ask(peer, rid)
    if world.matches is None:
        ask.refuse(NotFound("nothing is played in this map", field="map"))
    else:
        answer_with(ask, world.matches.call, product, uid, method, args)


if __name__ == "__main__":
    main("world", World)
