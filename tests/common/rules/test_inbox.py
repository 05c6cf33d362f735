from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.rules.inbox import WINDOW_BYTES, WINDOW_MESSAGES, Inbox, Stream, Verdict


def at(acked: int = 0, backed: int = 0) -> Inbox:
    """Give an inbox whose device has acknowledged up to there."""
    inbox = Inbox()
    inbox.begin(acked, backed)
    return inbox


def test_the_next_live_copy_is_sent_and_a_repeat_dropped() -> None:
    inbox = at(10)
    assert inbox.live(inbox.seq, 12, 10, 1) is Verdict.SEND
    assert inbox.live(inbox.seq, 12, 10, 1) is Verdict.DROP
    assert inbox.live(inbox.seq, 11, 10, 1) is Verdict.DROP
    assert inbox.seq.sent == 12


def test_the_two_streams_have_their_own_numbers() -> None:
    inbox = at(10, 70)
    assert inbox.live(inbox.bseq, 80, 70, 1) is Verdict.SEND
    assert inbox.live(inbox.seq, 11, 10, 1) is Verdict.SEND
    assert (inbox.seq.sent, inbox.bseq.sent) == (11, 80)


def test_a_hole_before_a_live_copy_asks_for_a_read() -> None:
    inbox = at(10)
    assert inbox.live(inbox.seq, 14, 12, 1) is Verdict.READ
    assert inbox.wants_read
    assert inbox.seq.sent == 10


def test_what_comes_while_the_mailbox_is_read_makes_it_be_read_again() -> None:
    inbox = at()
    inbox.live(inbox.seq, 5, 3, 1)
    assert inbox.read_began() == (0, 0)
    assert not inbox.wants_read
    assert inbox.live(inbox.seq, 6, 5, 1) is Verdict.READ
    assert inbox.seq.take(3, 1)
    assert inbox.seq.take(5, 1)
    inbox.read_ended(5, 0, more=False)
    assert inbox.wants_read
    assert inbox.seq.sent == 5


def test_one_window_bounds_both_streams_and_waits_for_acks() -> None:
    inbox = at()
    half = WINDOW_MESSAGES // 2
    for number in range(1, half + 1):
        assert inbox.live(inbox.seq, number, number - 1, 1) is Verdict.SEND
        assert inbox.live(inbox.bseq, number, number - 1, 1) is Verdict.SEND
    assert inbox.live(inbox.bseq, half + 1, half, 1) is Verdict.READ
    assert not inbox.wants_read
    assert inbox.seq.ack(20)
    assert inbox.wants_read
    assert inbox.space() == (20, WINDOW_BYTES - WINDOW_MESSAGES + 20)


def test_one_message_larger_than_the_window_is_sent_alone() -> None:
    inbox = at()
    assert inbox.live(inbox.seq, 1, 0, 2 * WINDOW_BYTES) is Verdict.SEND
    assert not inbox.has_space
    assert inbox.live(inbox.bseq, 1, 0, 1) is Verdict.READ
    inbox.seq.ack(1)
    assert inbox.has_space


def test_an_ack_that_moves_nothing_says_so() -> None:
    stream = Stream(7)
    assert not stream.ack(7)
    assert not stream.ack(3)
    assert stream.acked == 7


def test_what_a_device_acknowledged_unsent_is_not_sent_to_it() -> None:
    inbox = at(5)
    inbox.live(inbox.seq, 6, 5, 1)
    assert inbox.seq.ack(9)
    assert inbox.space() == (WINDOW_MESSAGES, WINDOW_BYTES)
    assert not inbox.seq.take(8, 1)
    assert inbox.live(inbox.seq, 9, 8, 1) is Verdict.DROP
    assert inbox.live(inbox.seq, 10, 9, 1) is Verdict.SEND


def test_a_failed_read_is_still_to_be_done() -> None:
    inbox = at()
    inbox.live(inbox.seq, 5, 3, 1)
    inbox.read_began()
    inbox.read_failed()
    assert inbox.wants_read


def test_what_was_trimmed_is_passed_over_and_never_goes_back() -> None:
    stream = Stream(5)
    stream.pass_over(9)
    stream.pass_over(6)
    assert stream.sent == 9


STEPS = st.lists(
    st.sampled_from(
        ["push", "push", "shout", "push", "lose", "lose_shout", "begin", "end", "fail", "ack", "ack_all"]
    ),
    max_size=150,
)


class Device:
    """A connection, what is stored for it and what it was sent, for both streams."""

    def __init__(self) -> None:
        self.inbox = at()
        self.streams = (self.inbox.seq, self.inbox.bseq)
        self.stored: tuple[list[int], list[int]] = ([], [])
        self.sent: tuple[list[int], list[int]] = ([], [])
        self.snapshot: tuple[list[int], list[int]] = ([], [])

    def push(self, which: int, is_lost: bool) -> None:
        stored = self.stored[which]
        prev = stored[-1] if stored else 0
        stored.append(prev + 2)
        if is_lost:
            self.inbox.behind = True
        elif self.inbox.live(self.streams[which], prev + 2, prev, 1000) is Verdict.SEND:
            self.sent[which].append(prev + 2)

    def begin(self) -> None:
        after = self.inbox.read_began()
        above = [[n for n in stored if n > last] for stored, last in zip(self.stored, after, strict=True)]
        self.snapshot = (above[0], above[1])

    def end(self, page: int) -> None:
        """A page as storage gives it: messages first, broadcasts with what room is left."""
        left = min(page, self.inbox.space()[0])
        ends, more = [0, 0], False
        for which, waiting in enumerate(self.snapshot):
            part = waiting[: max(0, left)]
            left -= len(part)
            more = more or len(part) < len(waiting)
            ends[which] = part[-1] if part else 0
            self.sent[which].extend(n for n in part if self.streams[which].take(n, 1000))
        self.inbox.read_ended(ends[0], ends[1], more)

    def unacked(self) -> int:
        pairs = zip(self.sent, self.streams, strict=True)
        return sum(number > stream.acked for sent, stream in pairs for number in sent)


@given(STEPS, st.integers(1, 40))
def test_whatever_is_lost_or_fails_each_message_is_sent_once_in_order_within_the_window(
    steps: list[str], page: int
) -> None:
    device = Device()
    inbox = device.inbox
    for step in [*steps, *["end", "ack_all", "begin"] * (len(steps) + 2), "end"]:
        if step in ("push", "lose", "shout", "lose_shout"):
            device.push(int(step.endswith("shout")), step.startswith("lose"))
        elif step == "begin" and inbox.wants_read:
            device.begin()
        elif step == "end" and inbox.reading:
            device.end(page)
        elif step == "fail" and inbox.reading:
            inbox.read_failed()
        elif step in ("ack", "ack_all"):
            for sent, stream in zip(device.sent, device.streams, strict=True):
                if sent:
                    stream.ack(sent[-1 if step == "ack_all" else len(sent) // 2])
        assert device.unacked() <= WINDOW_MESSAGES
    assert device.sent == device.stored
