"""Whatever is lost, cut or answered late: messages come in order, or the loss is announced.

A small model of a world, a gateway and the wire between plays against a real session.
Hypothesis chooses what happens; then everything is let run to its end and the events
the application saw are read back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_peer import WELCOME

from roost_client.codec import Decoder, Packet
from roost_client.connection import Connection, open_connection
from roost_client.events import Event, Gap, Message, Missed, Rejoined
from roost_client.retry import RetryPlan, Timings
from roost_client.session import Session

ROOM = "plaza/lobby"
PORTION = 3  # messages in one reply

ACTIONS = st.lists(
    st.sampled_from(
        ["publish", "publish", "publish", "drop", "gap", "epoch", "serve", "serve", "fail"]
        + ["deliver", "deliver", "late", "lose", "tick", "pause", "resume"]
    ),
    max_size=80,
)


class Model:
    """World, gateway, wire and client of one room. Each message's data is its (epoch, offset)."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self.epoch = 1
        self.newest = 0
        self.owes_gap = False
        self.failures = 0
        self.now = 0.0
        self.events: list[Event] = []
        self.session = Session({}, RetryPlan(0.5, 1.0, 0.5), lambda: 1.0)
        self.connect()
        self.session.join(ROOM, None, False, self.now, lambda: None)
        self.settle()

    def connect(self) -> None:
        self.connection = Connection(self.now, Timings())
        self.connection.request("hello", {}, self.now)
        open_connection(self.connection, [("ok", 1, dict(WELCOME))])
        self.connection.outgoing.clear()
        self.decoder = Decoder()
        self.requests: list[Packet] = []
        self.wire: list[Packet] = []
        self.late: list[Packet] = []
        self.member = False
        self.owes_gap = False
        self.session.attach(self.connection, self.now)

    # --- what may happen ----------------------------------------------------------------

    def publish(self) -> None:
        self.newest += 1
        if self.member:
            self.wire.append(("message", 0, self.message(self.newest)))
            self.owes_gap = False  # a jump shows it now

    def drop(self) -> None:
        self.newest += 1
        self.owes_gap = True

    def gap(self, reason: str = "lost") -> None:
        if self.member:
            body = {"room": ROOM, "epoch": self.epoch, "offset": self.newest, "reason": reason}
            self.wire.append(("gap", 0, body))
            self.owes_gap = False

    def begin_epoch(self) -> None:
        self.epoch += 1
        self.newest = 0
        self.gap("epoch")

    def serve(self) -> None:
        self.collect()
        if self.requests:
            op, number, body = self.requests.pop(0)
            on_its_way = self.late if op == "history" else self.wire
            on_its_way.append(("ok", number, self.answer(op, body)))

    def fail(self) -> None:
        self.collect()
        if self.requests and self.failures < 5:
            self.failures += 1
            _op, number, _body = self.requests.pop(0)
            self.wire.append(("error", number, {"code": "unavailable", "retry": True}))

    def arrive(self) -> None:
        """Answers to history that stood elsewhere come on the wire, behind newer pushes."""
        self.wire += self.late
        self.late = []

    def deliver(self, count: int = 2) -> None:
        packets, self.wire = self.wire[:count], self.wire[count:]
        self.session.receive(self.connection, packets, self.now)
        self.events += self.session.take_events()

    def lose(self) -> None:
        self.session.detach(self.connection, "gone")
        self.connect()

    def tick(self) -> None:
        self.now += 0.5
        self.session.step(self.now)

    def pause(self) -> None:
        self.session.paused = True

    def resume(self) -> None:
        self.session.resume_reading(self.now)

    # --- its parts ------------------------------------------------------------------------

    def message(self, offset: int) -> dict[str, Any]:
        return {"room": ROOM, "offset": offset, "uid": "u", "data": [self.epoch, offset], "time": 1}

    def collect(self) -> None:
        self.requests += self.decoder.receive_data(bytes(self.connection.outgoing))
        self.connection.outgoing.clear()

    def answer(self, op: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer as docs/protocol.md says a world does."""
        if op == "join":
            self.member = True
            self.owes_gap = False
        if op not in ("join", "history"):
            return {}
        reply: dict[str, Any] = {"room": ROOM, "epoch": self.epoch, "offset": self.newest, "count": 1}
        since = body.get("since")
        if since is None:
            return {**reply, "recovered": False, "messages": [], "more": False}
        oldest = max(1, self.newest - self.kept + 1)
        after = since["offset"]
        recovered = since["epoch"] == self.epoch and oldest - 1 <= after <= self.newest
        first = after + 1 if recovered else max(oldest, self.newest - PORTION + 1)
        found = [self.message(offset) for offset in range(first, self.newest + 1)][:PORTION]
        more = recovered and after + len(found) < self.newest
        return {**reply, "recovered": recovered, "messages": found, "more": more}

    def settle(self) -> None:
        """Let everything under way come to its end."""
        for _ in range(400):
            self.serve()
            self.arrive()
            self.deliver(50)
            self.tick()
        self.collect()
        assert not self.requests and not self.wire


def read_back(events: list[Event], kept: int, model: Model) -> tuple[int, int | None]:
    """Check the order; give where the application ended (None: unknown within the epoch)."""
    epoch: int = 1
    offset: int | None = 0
    for event in events:
        match event:
            case Message():
                assert event.epoch == epoch and event.data == [epoch, event.offset]
                assert offset is None or event.offset == offset + 1, events
                offset = event.offset
            case Missed():
                assert event.epoch == epoch and event.first <= event.last
                assert offset is None or event.first == offset + 1
                fits = min(kept, PORTION)
                there = epoch == model.epoch and event.last > model.newest - fits
                assert not there, "announced as missed, but the newest that fit have it"
                offset = event.last
            case Gap(reason="epoch"):
                epoch, offset = int(event.epoch), 0
            case Gap():
                assert event.epoch == epoch
            case Rejoined(recovered=True):
                assert event.epoch == epoch
            case Rejoined(missed=None):
                epoch, offset = int(event.epoch), None
            case Rejoined(missed=int(missed)):
                assert event.epoch == epoch
                offset = None if offset is None else offset + missed
            case _:
                raise AssertionError(event)
    return epoch, offset


@settings(max_examples=200, deadline=None)
@given(ACTIONS, st.integers(0, 12))
def test_every_message_is_seen_in_order_or_its_loss_is_announced(actions: list[str], kept: int) -> None:
    model = Model(kept)
    step: dict[str, Callable[[], None]] = {
        "publish": model.publish,
        "drop": model.drop,
        "gap": model.gap,
        "epoch": model.begin_epoch,
        "serve": model.serve,
        "fail": model.fail,
        "deliver": model.deliver,
        "late": model.arrive,
        "lose": model.lose,
        "tick": model.tick,
        "pause": model.pause,
        "resume": model.resume,
    }
    for action in actions:
        step[action]()
    model.resume()
    model.settle()
    if model.owes_gap:
        model.gap()
        model.settle()
    epoch, offset = read_back(model.events, kept, model)
    assert epoch == model.epoch
    assert offset in (None, model.newest)
    assert model.session.streams[ROOM].position == (model.epoch, model.newest)
