"""Where events go, without a client around it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from roost_client.delivery import Delivery
from roost_client.events import Count, Event, Message, Overflow, StateChanged

ROOM = "plaza/lobby"


def message(offset: int) -> Message:
    return Message(ROOM, 1, offset, "bob", None, 0)


def waiting(delivery: Delivery) -> list[Event]:
    return list(iter(lambda: delivery.get(0), None))


def test_after_the_end_nothing_is_taken() -> None:
    delivery = Delivery(10, threading.Lock(), None)
    delivery.put([message(1)])
    delivery.end()
    delivery.put([message(2)])
    assert waiting(delivery) == [message(1)]
    assert waiting(delivery) == []


def test_callbacks_are_not_called_after_the_end() -> None:
    delivery = Delivery(10, threading.Lock(), None)
    heard: list[Event] = []
    delivery.on("*", heard.append)
    delivery.put([message(1)])
    delivery.end()
    delivery.put([message(2)])
    delivery.run_callbacks()
    assert heard == [message(1)]


def test_what_was_left_out_makes_the_application_slow_even_if_it_has_read_since() -> None:
    delivery = Delivery(2, threading.Lock(), None)
    delivery.put([message(1), message(2), Count(ROOM, 3)])
    assert delivery.get(0) == message(1)
    assert delivery.full and delivery.half_empty
    delivery.caught_up()
    assert waiting(delivery) == [message(2), Overflow(1)]
    assert not delivery.full


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_thread_stopped_in_a_callback_leaves_the_rest_to_the_next(stop: type[BaseException]) -> None:
    delivery = Delivery(10, threading.Lock(), None)
    heard: list[int] = []

    def on_message(event: Any) -> None:
        heard.append(event.offset)
        if event.offset == 1:
            raise stop

    delivery.on("message", on_message)
    delivery.put([message(1), message(2)])
    with pytest.raises(stop):
        delivery.run_callbacks()
    delivery.run_callbacks()
    assert heard == [1, 2]


def test_on_state_and_the_callbacks_of_a_name_and_of_all_are_called_in_this_order() -> None:
    heard: list[str] = []
    delivery = Delivery(10, threading.Lock(), lambda state: heard.append(f"on_state {state}"))
    delivery.on("*", lambda event: heard.append(f"* {event.name}"))
    delivery.on("state_changed", lambda event: heard.append(f"named {event.state}"))
    delivery.put([StateChanged("live"), message(1)])
    delivery.run_callbacks()
    assert heard == ["on_state live", "named live", "* state_changed", "* message"]
