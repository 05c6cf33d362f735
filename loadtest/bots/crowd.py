"""A crowd of bots in one process: they log in, enter a map, walk and shoot; a few look closely.

    dial ─▶ hello + enter ─▶ here: an input now and then, `state` after `state`
                 ▲                │ lost
                 └── a second ◀───┘

All know where they are. The *watchers* among them keep all they are told (view.py), and each second
what they knew at the end of a tick is compared with where the bots were at that tick, each
by its own word.

Source: docs/protocol.md, sections 3 to 6.
"""

from __future__ import annotations

import heapq
import os
import select
import time
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from loadtest.bots.hearing import Decoder, Heard, packet
from loadtest.bots.mind import Mind
from loadtest.bots.view import Place, Snapshot, View, judge
from loadtest.flock.histogram import Histogram
from loadtest.flock.lag import Lag
from loadtest.flock.sockets import CONNECTING, INCOMING, dial, failure_of
from loadtest.flock.tokens import Signer

HELLO, ENTER = 1, 2
AT_ONCE = 128
"""Logins under way together."""
AT_A_TIME = 8_192
"""Bytes read of a bot in a turn, a tick or two: so all hear of the same ticks at a time, and these are
decoded once, also when all are late."""
DAY = 86_400
LATER = 1.0
"""Seconds until a lost bot comes back, and between two looks of a watcher."""
TICKS_KEPT = 40
SETTLED = 15
"""Ticks after which all bots have told where they were."""
KEPT_WRONG = 5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who the bots are and where they play.

    Args:
        ports: of gateways; bots are dealt out to them.
        watchers: bots that look closely.
        seed: of all they do by chance.
    """

    host: str = "127.0.0.1"
    ports: tuple[int, ...] = ()
    map: str = "arena"
    count: int = 200
    watchers: int = 20
    product: str = "demo"
    token_key: str = ""
    seed: int = 1


class Bot:
    """One bot; `descriptor` is -1 while it has no connection, `line` is "map/line"."""

    __slots__ = (
        "asked_at",
        "asked_n",
        "descriptor",
        "due",
        "line",
        "looked_at",
        "mind",
        "n",
        "number",
        "pending",
        "place",
        "state",
        "view",
        "you",
    )

    def __init__(self, number: int, view: View | None) -> None:
        self.number = number
        self.view = view
        self.descriptor = -1
        self.state = "away"
        self.due = 0.0
        self.line = ""
        self.you = 0
        self.place: Place | None = None
        self.mind: Mind | None = None
        self.n = 0
        self.asked_n = 0
        self.asked_at = 0.0
        self.looked_at = 0.0
        self.pending: Snapshot | None = None


class Crowd:
    """The bots of one process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.here = 0
        self.inputs = Histogram()
        self.lateness = Histogram()
        self.errors: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self._chance = Random(plan.seed)
        self._decoder = Decoder()
        self._signer = Signer(plan.token_key, plan.product, int(time.time()) + DAY)
        step = max(1, plan.count // max(1, plan.watchers))
        watching = set(range(0, step * plan.watchers, step))
        self._bots = [Bot(number, View(0) if number in watching else None) for number in range(plan.count)]
        self._by_descriptor: dict[int, Bot] = {}
        self._poll = select.epoll()
        self._due: list[tuple[float, int]] = []
        self._waiting = list(reversed(self._bots))
        self._entering = 0
        self._truth: dict[tuple[str, int], dict[int, Place]] = {}
        self._reach = (0.0, 0.0)
        self._lag = Lag(self.lateness, time.monotonic())

    # time

    def turn(self, wait: float = 0.05) -> None:
        """Read what has come, for at most `wait` seconds if nothing has, and do what is due."""
        now = time.monotonic()
        if self._due:
            wait = min(wait, self._due[0][0] - now)
        for descriptor, _ in self._poll.poll(max(0.0, min(wait, self._lag.due - now)), 1_024):
            bot = self._by_descriptor.get(descriptor)
            if bot is not None:
                self._ready(bot)
        now = time.monotonic()
        self._lag.beat(now)
        while self._waiting and self._entering < AT_ONCE:
            self._dial(self._waiting.pop(), now)
        while self._due and self._due[0][0] <= now:
            due, number = heapq.heappop(self._due)
            if self._bots[number].due == due:
                self._act(self._bots[number], now)

    def _wake(self, bot: Bot, due: float) -> None:
        """Have a bot's turn at that moment, and at no other."""
        bot.due = due
        heapq.heappush(self._due, (due, bot.number))

    def report(self) -> dict[str, Any]:
        """Give what was counted since the last report."""
        counts, self.counts = self.counts, Counter()
        return {
            "here": self.here,
            "input_to_state_ms": _taken(self.inputs),
            "lag_ms": _taken(self.lateness),
            "cpu": self._lag.cpu_seconds(),
            "counts": counts,
            "errors": dict(self.errors),
            "wrong": self.wrong[:KEPT_WRONG],
        }

    def close(self) -> None:
        """Close all connections."""
        for bot in list(self._by_descriptor.values()):
            self._part(bot)
        self._poll.close()

    # coming and going

    def _dial(self, bot: Bot, now: float) -> None:
        self._entering += 1
        bot.state = "dialling"
        port = self.plan.ports[bot.number % len(self.plan.ports)]
        try:
            bot.descriptor, is_connected = dial(f"127.{bot.number % 200 + 20}.0.1", self.plan.host, port)
        except OSError as error:
            self._entering -= 1
            self._fail(bot, f"connect: {error.strerror}", now)
            return
        self._by_descriptor[bot.descriptor] = bot
        self._poll.register(bot.descriptor, INCOMING if is_connected else CONNECTING)
        if is_connected:
            self._greet(bot)

    def _greet(self, bot: Bot) -> None:
        bot.state = "entering"
        uid = f"bot{bot.number}"
        hello = {"v": 1, "token": self._signer.token(uid), "device": "bot", "kind": "bot"}
        enter = {"map": self.plan.map, "data": {"name": uid}}
        self._write(bot, packet("hello", HELLO, hello) + packet("enter", ENTER, enter))

    def _entered(self, bot: Bot, body: dict[str, Any], now: float) -> None:
        if bot.state == "entering":
            bot.state = "here"
            self.here += 1
            self._entering -= 1
            self._wake(bot, now + self._chance.uniform(0, LATER))
        bot.you, bot.line, bot.place = body["you"], f"{body['map']}/{body['line']}", None
        bot.n = max(bot.n, body.get("ack", 0))
        bot.asked_n = 0
        width, height = body.get("width", 1_000), body.get("height", 1_000)
        bot.mind = Mind(width, height, body.get("peaceful", False), Random(self._chance.random()))
        seen = body.get("view", 0)
        self._reach = (seen * 7 / 8 - 1, seen * 17 / 8 + 1)
        if bot.view is not None:
            bot.view, bot.pending = View(bot.you), None

    def _part(self, bot: Bot) -> None:
        self._poll.unregister(bot.descriptor)
        os.close(bot.descriptor)
        del self._by_descriptor[bot.descriptor]
        self._decoder.forget(bot.number)
        bot.descriptor = -1
        if bot.state == "here":
            self.here -= 1
        else:
            self._entering -= 1
        bot.state = "away"

    def _fail(self, bot: Bot, why: str, now: float) -> None:
        """A bot has no connection, and comes back later."""
        self.errors[why] += 1
        bot.state = "away"
        self._wake(bot, now + LATER)

    def _lose(self, bot: Bot, why: str) -> None:
        self._part(bot)
        self._fail(bot, why, time.monotonic())

    # words

    def _write(self, bot: Bot, words: bytes) -> None:
        try:
            sent = os.write(bot.descriptor, words)
        except OSError as error:
            self._lose(bot, f"write: {error.strerror}")
            return
        if sent < len(words):
            self._lose(bot, "the server does not read")

    def _act(self, bot: Bot, now: float) -> None:
        if bot.state == "away":
            self._waiting.append(bot)
            return
        if bot.state != "here":
            return
        if bot.place is not None and bot.mind is not None:
            bot.n += 1
            if not bot.asked_n:
                bot.asked_n, bot.asked_at = bot.n, now
            self.counts["inputs"] += 1
            self._write(bot, packet("input", 0, {"n": bot.n, "data": bot.mind.act(*bot.place)}))
        waits = bot.mind.waits() if bot.mind is not None else LATER
        if bot.state == "here":
            self._wake(bot, now + waits)

    def _connected(self, bot: Bot) -> None:
        failed = failure_of(bot.descriptor)
        if failed:
            self._lose(bot, f"connect: {os.strerror(failed)}")
            return
        self._poll.modify(bot.descriptor, INCOMING)
        self._greet(bot)

    def _ready(self, bot: Bot) -> None:
        if bot.state == "dialling":
            self._connected(bot)
            return
        try:
            data = os.read(bot.descriptor, AT_A_TIME)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(bot, f"read: {error.strerror}")
            return
        if not data:
            self._lose(bot, "closed by the server")
            return
        now = time.monotonic()
        for heard in self._decoder.take(bot.number, data):
            if heard.op == "state" and bot.view is None and not heard.ack:
                self._step(bot, heard)
            elif heard.op == "state":
                for one in heard.parts or (heard,):
                    self._state(bot, one, now)
            else:
                self._hear(bot, heard, now)
            if bot.descriptor < 0:
                return

    def _hear(self, bot: Bot, heard: Heard, now: float) -> None:
        body = heard.body
        if heard.op == "ok" and heard.id == ENTER:
            self._entered(bot, body, now)
        elif heard.op == "entered":
            self.counts["away" if body.get("away") else "entered"] += 1
            if not body.get("away"):
                self._entered(bot, body, now)
        elif heard.op == "kick" or (heard.op == "error" and heard.id in (HELLO, ENTER)):
            self._lose(bot, f"{heard.op} {body['code']}: {body.get('message', body.get('reason'))}")
        elif heard.op == "error":
            self.errors[f"error {body['code']}: {body['message']}"] += 1

    def _state(self, bot: Bot, heard: Heard, now: float) -> None:
        view = bot.view
        if view is not None and heard.tick > view.tick:
            self._look(bot, view, heard.tick, now)
        self._step(bot, heard)
        if bot.asked_n and heard.ack >= bot.asked_n:
            self.inputs.record(int((now - bot.asked_at) * 1e6))
            bot.asked_n = 0
        if view is not None:
            view.take(heard.body)

    def _step(self, bot: Bot, heard: Heard) -> None:
        """A bot may hear where it is."""
        place = heard.moves.get(bot.you)
        if place is not None:
            bot.place = place
            self._remember(bot.line, heard.tick, bot.you, place)

    def _remember(self, line: str, tick: int, entity: int, place: Place) -> None:
        """Note where an entity is by its own word."""
        told = self._truth.get((line, tick))
        if told is None:
            told = self._truth[line, tick] = {}
            for old in [key for key in self._truth if key[0] == line and key[1] <= tick - TICKS_KEPT]:
                del self._truth[old]
        told[entity] = place

    def _look(self, bot: Bot, view: View, tick: int, now: float) -> None:
        """A tick is over for a watcher: judge what it knew a while ago, and note what it knows now."""
        pending = bot.pending
        if pending is not None and tick > pending.tick + SETTLED:
            truth = self._truth.get((bot.line, pending.tick), {})
            found = judge(pending, truth, *self._reach)
            self.counts["looks"] += 1
            self.counts["in_view"] += len(pending.others)
            self.counts["compared"] += len(truth)
            self.counts["wrong"] += len(found)
            self.wrong += found[: KEPT_WRONG - len(self.wrong)] if len(self.wrong) < KEPT_WRONG else []
            bot.pending = pending = None
        here = view.places.get(bot.you)
        if pending is None and here is not None and now >= bot.looked_at and view.tick:
            bot.looked_at = now + LATER
            bot.pending = Snapshot(view.tick, bot.you, here, view.others())


def _taken(histogram: Histogram) -> dict[str, float]:
    """Give the summary of what was counted since the last time."""
    summary = histogram.summary()
    histogram.take()
    return summary
