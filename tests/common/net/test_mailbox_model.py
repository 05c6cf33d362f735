"""One mailbox against a model: whatever happens, what docs/protocol.md promises of an inbox holds.

The model knows every message kept, what each client has seen, and nothing of how a
mailbox is stored. Redis may die and come back as it was at an earlier moment.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from common.net.store import Store
from tests.common.net.posting import ALICE, DAY, NOW_MS, Post
from tests.models import run_model

ITEMS, BYTES = 6, 60
EXAMPLES = int(os.environ.get("ROOST_MAILBOX_EXAMPLES", "40"))
DEVICES = ("phone", "web", "tablet")
devices = st.sampled_from(DEVICES)


class Message(NamedTuple):
    """A message the sender was told is kept."""

    seq: int
    text: str
    expires_ms: int


class Client:
    """What a device holds on its disk."""

    def __init__(self) -> None:
        self.last = 0
        self.seen: list[int] = []


class Mailbox(RuleBasedStateMachine):
    """Pushes, logins, acks, time and restarts in any order."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.store.call("FLUSHALL")
        self.post = Post(self.store, items=ITEMS, bytes=BYTES, head_loads=2, known_mids=50)
        self.kept: dict[int, Message] = {}
        self.given: list[int] = []
        self.clients = {name: Client() for name in DEVICES}
        self.image: dict[bytes, Any] = {}
        self.kept_then: dict[int, Message] = {}
        self.mids = 0
        self.take_image()

    @rule(size=st.integers(1, 30), ttl=st.sampled_from([30, DAY, 30 * DAY]))
    def push(self, size: int, ttl: float) -> None:
        self.mids += 1
        text = f"{self.mids:04}".ljust(size, ".")
        seq = self.post.send(text, mid=self.mids, ttl=ttl).seqs[ALICE]
        assert seq > max(self.given, default=0)
        self.given.append(seq)
        self.kept[self.mids] = Message(seq, text, self.post.now_ms + int(ttl * 1000))

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        mid = data.draw(st.sampled_from(sorted(self.kept)[-40:]))
        assert self.post.send(self.kept[mid].text, mid=mid).seqs[ALICE] == self.kept[mid].seq

    @rule(seconds=st.sampled_from([1, 29, 61, DAY, 6 * DAY, 8 * DAY]))
    def wait(self, seconds: float) -> None:
        self.post.sleep(seconds)

    @rule(name=devices, limit=st.integers(1, 8), pages=st.integers(1, 9), stays=st.sampled_from([1, 61]))
    def connect(self, name: str, limit: int, pages: int, stays: int) -> None:
        """Read some or all of the backlog; stay a while."""
        client = self.clients[name]
        is_known = bool(self.store.call("HEXISTS", f"db_smeta:{{{ALICE}}}", f"p/{name}"))
        page = self.post.login(name, limit=limit)
        begin, gap = page.acked, page.gap
        received = list(page.messages)
        while page.more and pages > 1:
            page = self.post.load(name, limit=limit, after=page.seq)
            gap, pages = gap or page.gap, pages - 1
            received += page.messages
        numbers = [seq for seq, _, _ in received]
        assert numbers == sorted(set(numbers))
        self.check_received(received)
        waiting = [
            one.seq for one in self.kept.values() if one.seq > begin and one.expires_ms > self.post.now_ms
        ]
        waiting = sorted(seq for seq in waiting if is_known or seq >= min(self.slots(), default=0))
        due = waiting if not page.more else [seq for seq in waiting if seq <= page.seq]
        if gap:
            assert numbers == due[len(due) - len(numbers) :]
        elif is_known:
            assert numbers == due
        self.check_gap(gap, begin, is_known)
        fresh = [seq for seq in numbers if seq > client.last]
        client.seen += fresh
        client.last = max([client.last, *fresh])
        self.post.sleep(stays)
        self.post.seen(name)

    def check_received(self, received: list[Any]) -> None:
        """Nothing that was never sent, nothing whose time has ended."""
        for seq, mid, body in received:
            message = self.kept[mid]
            assert (seq, body.decode()) == message[:2]
            assert message.expires_ms > self.post.now_ms

    def check_gap(self, gap: bool, begin: int, is_known: bool) -> None:
        """A gap means that something was dropped: above the position, or by passing over its head."""
        if gap:
            assert is_known
            slots = set(self.slots())
            assert any(one.seq not in slots or one.seq == begin for one in self.kept.values())

    @rule(name=devices, data=st.data())
    def ack(self, name: str, data: st.DataObject) -> None:
        seen = self.clients[name].seen[-10:]
        if not seen:
            return
        seq = data.draw(st.sampled_from(seen))
        assert self.post.ack(name, seq=seq) == "ok"
        assert self.post.load(name).acked >= seq

    @rule(name=devices)
    def ack_too_much(self, name: str) -> None:
        passed = self.post.now_ms - NOW_MS
        assert self.post.ack(name, seq=max([*self.given, self.post.now_ms]) + passed + 2**21) == "seq"

    @rule()
    def take_image(self) -> None:
        """Remember what Redis has on disk."""
        self.image = {key: self.store.call("DUMP", key) for key in self.store.call("KEYS", "*")}
        self.kept_then = dict(self.kept)

    @rule()
    def restart(self) -> None:
        """Redis dies and comes back as it was; what was kept since is lost, no number is given again."""
        self.store.call("FLUSHALL")
        for key, dump in self.image.items():
            self.store.call("RESTORE", key, 0, dump)
        self.kept = dict(self.kept_then)
        now_ms = self.post.now_ms
        self.post = Post(self.store, users=None, items=ITEMS, bytes=BYTES, head_loads=2, known_mids=50)
        self.post.now_ms = now_ms + 1_000
        self.post.restart()

    def slots(self) -> list[int]:
        return self.post.kept()

    @invariant()
    def the_list_is_within_its_limits_and_ascends(self) -> None:
        slots = [
            list(map(int, slot.split(b":")))
            for slot in self.store.call("LRANGE", f"db_slots:{{{ALICE}}}", 0, -1)
        ]
        numbers, size = [slot[0] for slot in slots], sum(slot[3] for slot in slots)
        assert numbers == sorted(set(numbers))
        assert len(slots) <= ITEMS
        assert size <= BYTES or len(slots) == 1
        assert not slots or self.post.meta("bytes") == size
        assert all(self.post.has_body(slot[1]) for slot in slots)
        assert not slots or self.post.meta("soonest") <= min(slot[2] for slot in slots)

    @invariant()
    def clients_saw_each_number_once_in_order(self) -> None:
        for client in self.clients.values():
            assert client.seen == sorted(set(client.seen))


def test_a_mailbox_keeps_what_the_protocol_promises(store: Store) -> None:
    Mailbox.store = store
    run_model(Mailbox, EXAMPLES, 25)
