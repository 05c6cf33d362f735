"""Whether everybody got everything, once, in order, and nothing else. Pure: it is told what was.

What must hold, each with the fault that names its breach:

    not acknowledged   every message sent was answered with `ok`
    missing            every device of its receiver has it
    doubled            … once, numbers seen before being dropped
    out of order       numbers rise, and so do those of one sender to one receiver
    other number       both devices of a user know a message by the same number
    never sent         what a device has is what was sent: sender, receiver, number, id
    trimmed            nothing was dropped from a mailbox (`gap`)

and of the run: enough messages and kills a minute, every kind killed, Redis restarted once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from loadtest import verdict as found
from loadtest.torture.plan import KINDS

FAULTS = (
    "not acknowledged",
    "missing",
    "doubled",
    "out of order",
    "other number",
    "never sent",
    "trimmed",
)

Name = tuple[str, str, int]
"""Sender, receiver, and the sender's number of the message to that receiver."""


class Message(NamedTuple):
    """What a sender says of a message; mid is None without `ok`. Times in unix ms."""

    sender: str
    to: str
    number: int
    sent_ms: int
    mid: int | None = None
    acked_ms: int = 0
    tries: int = 0
    uid: str = ""


class Receipt(NamedTuple):
    """What a device has in its journal.

    Without `seq`, and with `gap`, it is a login that said that messages were dropped. `name` is
    None where the data is no message of a sender.
    """

    seq: int | None
    mid: int
    uid: str
    name: Name | None
    gap: bool
    ms: int


@dataclass
class Verdict(found.Verdict):
    """What was found; faults are those of FAULTS.

    Attributes:
        delays_ms: from the first try to send until a device had it, of each receipt.
    """

    delays_ms: list[int] = field(default_factory=list)
    messages: int = 0
    acknowledged: int = 0
    received: int = 0


class Judge:
    """Compares what was sent with what each device has.

    Args:
        sent: all messages of all senders, each sender's in the order sent.
    """

    def __init__(self, sent: Iterable[Message]) -> None:
        self.verdict = Verdict()
        self._sent: dict[Name, Message] = {}
        self._to: dict[str, set[Name]] = {}
        self._seqs: dict[Name, int | None] = {}
        for message in sent:
            name = (message.sender, message.to, message.number)
            self._sent[name] = message
            self._to.setdefault(message.to, set()).add(name)
            if message.mid is not None:
                self.verdict.acknowledged += 1
            else:
                self.verdict.blame("not acknowledged", f"{name}")
        self.verdict.messages = len(self._sent)

    def device(self, uid: str, device: str, receipts: Iterable[Receipt]) -> None:
        """Judge one device by its journal."""
        verdict, who = self.verdict, f"{uid}.{device}"
        seen: set[Name] = set()
        newest: dict[str, int] = {}
        last = 0
        for receipt in receipts:
            if receipt.gap:
                verdict.blame("trimmed", f"{who} was told of a gap at {receipt.seq or 'its login'}")
                if receipt.seq is None:
                    continue
            verdict.received += 1
            words = self._alien(uid, receipt)
            if words or receipt.name is None:
                verdict.blame("never sent", f"{who} has {words}")
                continue
            name, seq = receipt.name, receipt.seq or 0
            if name in seen:
                verdict.blame("doubled", f"{who} has {name} again as {seq}")
                continue
            seen.add(name)
            if seq <= last:
                verdict.blame("out of order", f"{who} has {name} as {seq} after {last}")
            if name[2] <= newest.get(name[0], 0):
                verdict.blame("out of order", f"{who} has {name} after number {newest[name[0]]}")
            last = max(last, seq)
            newest[name[0]] = max(newest.get(name[0], 0), name[2])
            if self._seqs.setdefault(name, receipt.seq) != receipt.seq:
                verdict.blame(
                    "other number", f"{who} has {name} as {seq}, another device as {self._seqs[name]}"
                )
            verdict.delays_ms.append(receipt.ms - self._sent[name].sent_ms)
        for name in sorted(self._to.get(uid, set()) - seen):
            verdict.blame("missing", f"{who} has no {name}, mid {self._sent[name].mid}")

    def run(
        self,
        seconds: float,
        kills: Mapping[str, int],
        redis: int,
        dropped: int,
        least_messages: int,
        least_kills: int,
    ) -> Verdict:
        """Judge the run as a whole.

        Args:
            kills: kind -> how often.
            dropped: messages mailboxes dropped unread, by the server's word.
        """
        minutes = seconds / 60
        failures = self.verdict.failures
        if self.verdict.acknowledged < least_messages * minutes:
            rate = self.verdict.acknowledged / minutes
            failures.append(f"{rate:.0f} messages a minute, fewer than {least_messages}")
        if sum(kills.values()) < least_kills * minutes:
            failures.append(f"{sum(kills.values()) / minutes:.1f} kills a minute, fewer than {least_kills}")
        failures += [f"no {kind} was killed" for kind in KINDS if not kills.get(kind)]
        if redis != 1:
            failures.append(f"Redis was restarted {redis} times, not once")
        if dropped:
            self.verdict.blame("trimmed", f"mailboxes dropped {dropped} messages unread")
        return self.verdict

    def _alien(self, uid: str, receipt: Receipt) -> str:
        """Give words for what makes a receipt no message that was sent to this user; "" where nothing."""
        sent = None if receipt.name is None else self._sent.get(receipt.name)
        if sent is None or sent.to != uid:
            return f"{receipt.name or 'data of nobody'} as {receipt.seq}"
        if receipt.uid != sent.uid:
            return f"{receipt.name} from {receipt.uid!r}, not {sent.uid!r}"
        if sent.mid is not None and receipt.mid != sent.mid:
            return f"{receipt.name} with id {receipt.mid}, not {sent.mid}"
        if receipt.seq is None:
            return f"{receipt.name} without a number"
        return ""
