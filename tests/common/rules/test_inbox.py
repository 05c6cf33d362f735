from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.rules.inbox import WINDOW_BYTES, WINDOW_MESSAGES, Inbox, Verdict


def test_the_next_live_copy_is_sent_and_a_repeat_dropped():
    inbox = Inbox(10)
    assert inbox.live(12, 10, 1) is Verdict.SEND
    assert inbox.live(12, 10, 1) is Verdict.DROP
    assert inbox.live(11, 10, 1) is Verdict.DROP
    assert inbox.sent == 12


def test_a_hole_before_a_live_copy_asks_for_a_read():
    inbox = Inbox(10)
    assert inbox.live(14, 12, 1) is Verdict.READ
    assert inbox.wants_read
    assert inbox.sent == 10


def test_what_comes_while_the_mailbox_is_read_makes_it_be_read_again():
    inbox = Inbox(0)
    inbox.live(5, 3, 1)
    assert inbox.read_began() == 0
    assert not inbox.wants_read
    assert inbox.live(6, 5, 1) is Verdict.READ
    inbox.read_ended([(3, 1), (5, 1)], more=False)
    assert inbox.wants_read
    assert inbox.sent == 5


def test_a_full_window_waits_for_acks():
    inbox = Inbox(0)
    for number in range(1, WINDOW_MESSAGES + 1):
        assert inbox.live(number, number - 1, 1) is Verdict.SEND
    assert inbox.live(WINDOW_MESSAGES + 1, WINDOW_MESSAGES, 1) is Verdict.READ
    assert not inbox.wants_read
    assert inbox.ack(50)
    assert inbox.wants_read
    assert inbox.space() == (50, WINDOW_BYTES - 50)


def test_one_message_larger_than_the_window_is_sent_alone():
    inbox = Inbox(0)
    assert inbox.live(1, 0, 2 * WINDOW_BYTES) is Verdict.SEND
    assert not inbox.has_space
    inbox.ack(1)
    assert inbox.has_space


def test_an_ack_that_moves_nothing_says_so():
    inbox = Inbox(7)
    assert not inbox.ack(7)
    assert not inbox.ack(3)
    assert inbox.acked == 7


def test_a_failed_read_is_still_to_be_done():
    inbox = Inbox(0)
    inbox.live(5, 3, 1)
    inbox.read_began()
    inbox.read_failed()
    assert inbox.wants_read


def test_what_was_trimmed_is_passed_over_and_never_goes_back():
    inbox = Inbox(5)
    inbox.pass_over(9)
    inbox.pass_over(6)
    assert inbox.sent == 9
    assert inbox.live(8, 7, 1) is Verdict.DROP


STEPS = st.lists(
    st.sampled_from(["push", "push", "push", "lose", "begin", "end", "fail", "ack", "ack_all"]), max_size=150
)


@given(STEPS, st.integers(1, 40))
def test_whatever_is_lost_or_fails_each_message_is_sent_once_in_order_within_the_window(
    steps: list[str], page: int
):
    inbox, stored, sent = Inbox(0), [], []  # type: ignore[var-annotated]
    snapshot: list[int] = []
    for step in [*steps, *["end", "ack_all", "begin"] * (len(steps) + 2), "end"]:
        if step in ("push", "lose"):
            number = (stored[-1] if stored else 0) + 2
            prev = stored[-1] if stored else 0
            stored.append(number)
            if step == "push" and inbox.live(number, prev, 1000) is Verdict.SEND:
                sent.append(number)
            elif step == "lose":
                inbox.behind = True
        elif step == "begin" and inbox.wants_read:
            after = inbox.read_began()
            snapshot = [number for number in stored if number > after]
        elif step == "end" and inbox.reading:
            count = min(page, inbox.space()[0])
            part = snapshot[:count]
            inbox.read_ended([(number, 1000) for number in part], more=len(snapshot) > count)
            sent += part
        elif step == "fail" and inbox.reading:
            inbox.read_failed()
        elif step == "ack" and sent:
            inbox.ack(sent[len(sent) // 2])
        elif step == "ack_all" and sent:
            inbox.ack(sent[-1])
        assert len(sent) - sum(number <= inbox.acked for number in sent) <= WINDOW_MESSAGES
    assert sent == stored
