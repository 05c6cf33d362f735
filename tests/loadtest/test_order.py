from __future__ import annotations

from loadtest.order import Order
from roost_client import Gap, Message, Missed, Rejoined

ROOM = "plaza/a"


def message(offset: int, epoch: int = 1) -> Message:
    return Message(ROOM, epoch, offset, "anna", None, 0)


def began(offset: int = 5) -> Order:
    order = Order()
    order.joined(ROOM, 1, offset)
    return order


def test_messages_in_order_are_no_violation_and_count() -> None:
    order = began()
    assert [order.message(message(offset)) for offset in (6, 7, 8)] == [None] * 3
    assert order.heard == 3
    assert order.reached(ROOM, 1, 8)
    assert not order.reached(ROOM, 1, 9)


def test_a_jump_a_repeat_and_a_foreign_epoch_are_violations() -> None:
    assert "offset 8 after 5" in str(began().message(message(8)))
    assert "offset 5 after 5" in str(began().message(message(5)))
    assert "epoch 2 in epoch 1" in str(began().message(message(6, epoch=2)))


def test_the_first_message_behind_the_join_must_be_the_next() -> None:
    assert began(0).message(message(2)) is not None


def test_messages_quicker_than_the_reply_to_the_join_set_the_place() -> None:
    order = Order()
    assert order.message(message(7)) is None
    order.joined(ROOM, 1, 6)
    assert order.message(message(8)) is None


def test_what_is_announced_as_missed_is_loss_but_no_violation() -> None:
    order = began()
    assert order.was_missed(Missed(ROOM, 1, 6, 9)) is None
    assert order.message(message(10)) is None
    assert order.missed == 4


def test_missed_from_another_place_is_a_violation() -> None:
    assert began().was_missed(Missed(ROOM, 1, 8, 9)) is not None


def test_after_a_new_epoch_any_offset_may_come_but_only_of_that_epoch() -> None:
    for event in (Gap(ROOM, 2, 0, "epoch"), Rejoined(ROOM, 2, 40, False, None, 3)):
        order = began()
        order.began_anew(event)
        assert order.message(message(33, epoch=2)) is None
        assert order.message(message(35, epoch=2)) is not None
        assert order.reached(ROOM, 1, 99), "what was of the old epoch will not come"


def test_a_gap_the_client_fills_and_a_recovered_rejoin_move_nothing() -> None:
    for event in (Gap(ROOM, 1, 9, "slow"), Rejoined(ROOM, 1, 9, True, 0, 3)):
        order = began()
        order.began_anew(event)
        assert order.message(message(10)) is not None
