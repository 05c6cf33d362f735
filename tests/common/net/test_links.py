from __future__ import annotations

import gc
from typing import Any

import gevent
import msgpack
import pytest
from gevent.event import Event

from common.net import handling
from common.settings import Link
from tests.common.net.sites import FAST, Post, Site, Sites
from tests.waiting import pause, stand_still, until

A, B, C = "gateway-0", "world-0", "world-1"


@pytest.fixture(autouse=True)
def short_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handling, "REST", 0.1)


def both_up(first: Site, second: Site) -> None:
    until(lambda: first.links.up(second.name) and second.links.up(first.name))


@pytest.fixture
def pair(sites: Sites) -> tuple[Site, Site]:
    """The initiator and the follower, up."""
    pair = sites.site(A, B), sites.site(B, A)
    both_up(*pair)
    return pair


@pytest.fixture(params=["from initiator to follower", "from follower to initiator"])
def ends(request: pytest.FixtureRequest, pair: tuple[Site, Site]) -> tuple[Site, Site]:
    """Sender and receiver, each way round."""
    return pair if request.param.startswith("from initiator") else (pair[1], pair[0])


def links_item(kind: str, *rest: Any) -> bytes:
    packed: bytes = msgpack.packb([kind, *rest])
    return packed


def hold(sender: Site, receiver: Site) -> None:
    """Have the receiver handle nothing of the sender until its gate opens."""
    receiver.service.gate.clear()
    sender.links.send(receiver.name, links_item("wait"))
    until(lambda: receiver.service.waiting)


def test_items_arrive_whole_in_order_and_together_in_batches(ends: tuple[Site, Site]):
    sender, receiver = ends
    values: list[Any] = [[index, b"\x00\xff", "ä", None, {"k": [1.5]}] for index in range(2_000)]
    for start in range(0, len(values), 500):
        assert all(sender.send(receiver.name, value) for value in values[start : start + 500])
        until(lambda: not sender.links.queued_bytes())
    until(lambda: len(receiver.service.values(sender.name)) == len(values))
    assert receiver.service.values(sender.name) == values
    assert receiver.counters.items_in == sender.counters.items_out == len(values)
    assert receiver.counters.batches_in < 100


def test_a_batch_larger_than_its_limit_is_cut_and_nothing_is_lost_or_moved(sites: Sites):
    settings = Link(idle_every=0.05, silent_after=0.5, gather_ms=0, batch_bytes=1024)
    a, b = sites.site(A, B, settings=settings), sites.site(B, A, settings=settings)
    both_up(a, b)
    before = a.counters.batches_out
    for index in range(200):
        a.send(B, [index, b"x" * 500])
    until(lambda: len(b.service.values(A)) == 200)
    assert [value[0] for value in b.service.values(A)] == list(range(200))
    assert a.counters.batches_out - before >= 60


def test_before_link_up_nothing_can_be_sent_and_what_link_up_sends_is_heard_first(sites: Sites):
    a, b = sites.idle_site(A, B), sites.idle_site(B, A)
    a.service.on_up = lambda peer: a.send(peer, "announced")
    assert not a.send(B, "too early")
    assert a.links.missing() == [B]
    a.start()
    assert not a.send(B, "too early")
    assert a.counters.dropped == 2
    b.start()
    until(lambda: a.send(B, "later"))
    until(lambda: len(b.service.values(A)) == 2)
    assert b.service.heard == [("up", A), ("item", A, "announced"), ("item", A, "later")]


def test_a_full_queue_refuses_and_what_was_taken_is_sent(pair: tuple[Site, Site]):
    a, b = pair
    taken = 0
    while a.send(B, b"x" * 1000):
        taken += 1
    assert FAST.queue_bytes - 1100 < a.links.queued_bytes() <= FAST.queue_bytes
    assert a.counters.dropped == 1
    until(lambda: len(b.service.values(A)) == taken)
    assert a.send(B, "there is space again")


def test_more_arrivals_than_may_wait_restart_the_stream_on_both_sides(ends: tuple[Site, Site]):
    sender, receiver = ends
    hold(sender, receiver)
    sender.send(receiver.name, "waits behind it")
    until(receiver.links.queued_bytes)
    while receiver.counters.discarded == 0:
        sender.send(receiver.name, b"x" * 10_000)
        gevent.sleep(0)
    receiver.service.gate.set()
    both_up(sender, receiver)
    until(lambda: sender.service.turns(receiver.name)[-3:] == ["up", "down", "up"])
    assert receiver.service.turns(sender.name)[-3:] == ["up", "down", "up"]
    assert "waits behind it" not in receiver.service.values(sender.name)
    until(lambda: sender.send(receiver.name, "goes on"))
    until(lambda: receiver.service.values(sender.name)[-1:] == ["goes on"])
    assert receiver.links.queued_bytes() == 0


def test_an_idle_link_stays_up_by_empty_batches(pair: tuple[Site, Site]):
    a, b = pair
    before = a.counters.batches_in, b.counters.batches_in
    pause(3 * FAST.silent_after)
    assert a.counters.batches_in - before[0] >= 5 and b.counters.batches_in - before[1] >= 5
    assert a.service.turns(B) == b.service.turns(A) == ["up"]
    assert a.counters.items_in == b.counters.items_in == 0


def test_a_standstill_of_this_process_is_no_silence_of_its_peers(pair: tuple[Site, Site]):
    a, b = pair
    for _ in range(3):
        stand_still(2 * FAST.silent_after)
        pause(FAST.idle_every)
    assert a.service.turns(B) == b.service.turns(A) == ["up"]


@pytest.mark.parametrize("dead", [A, B])
def test_a_silent_peer_is_down_until_its_next_life_is_heard(sites: Sites, pair: tuple[Site, Site], dead: str):
    victim, other = pair if dead == A else (pair[1], pair[0])
    sites.end(victim)
    until(lambda: other.service.turns(dead) == ["up", "down"])
    assert not other.send(dead, "nobody there")
    again = sites.site(dead, other.name, life=2)
    both_up(again, other)
    assert other.service.turns(dead) == ["up", "down", "up"]
    assert again.send(other.name, "back") and other.send(dead, "welcome")
    until(lambda: other.service.values(dead) == ["back"] and again.service.values(other.name) == ["welcome"])


@pytest.mark.parametrize("dead", [A, B])
def test_a_peer_that_came_back_before_it_was_missed_is_told_down_then_up(
    sites: Sites, pair: tuple[Site, Site], dead: str
):
    victim, other = pair if dead == A else (pair[1], pair[0])
    sites.end(victim)
    other.send(dead, "for the dead one")
    again = sites.site(dead, other.name, life=2)
    both_up(again, other)
    until(lambda: other.service.turns(dead) == ["up", "down", "up"])
    assert other.send(dead, "for the living")
    until(lambda: again.service.values(other.name))
    assert again.service.values(other.name) == ["for the living"]


def test_any_starting_order_will_do(sites: Sites):
    b = sites.site(B, A)
    c = sites.site(C, A)
    pause(3 * FAST.idle_every)
    a = sites.site(A, B, C)
    both_up(a, b)
    both_up(a, c)
    assert a.links.missing() == []
    assert a.service.turns(B) == a.service.turns(C) == ["up"]


def test_a_frozen_process_neither_sends_nor_handles_what_waited_and_both_hear_of_it(ends: tuple[Site, Site]):
    frozen, other = ends
    hold(other, frozen)
    other.send(frozen.name, "arrived before")
    until(frozen.links.queued_bytes)
    frozen.send(other.name, "queued before")
    frozen.freeze()
    frozen.service.gate.set()
    until(lambda: other.service.turns(frozen.name) == ["up", "down", "up"])
    both_up(*ends)
    assert frozen.lease.term == 2
    assert frozen.service.turns(other.name) == ["up", "down", "up"]
    assert frozen.send(other.name, "after") and other.send(frozen.name, "after")
    until(lambda: other.service.values(frozen.name) and frozen.service.values(other.name))
    assert other.service.values(frozen.name) == frozen.service.values(other.name) == ["after"]


def test_what_is_queued_when_a_process_freezes_is_not_sent(ends: tuple[Site, Site]):
    frozen, other = ends
    frozen.send(other.name, "queued")
    frozen.freeze()
    until(lambda: other.service.turns(frozen.name) == ["up", "down", "up"])
    both_up(*ends)
    frozen.send(other.name, "after")
    until(lambda: other.service.values(frozen.name))
    assert other.service.values(frozen.name) == ["after"]


def test_what_has_arrived_when_a_process_freezes_is_not_handled(ends: tuple[Site, Site]):
    frozen, other = ends
    hold(other, frozen)
    other.send(frozen.name, "waits")
    until(frozen.links.queued_bytes)
    frozen.links._deliver = lambda event: None  # type: ignore[method-assign]
    frozen.freeze()
    frozen.service.gate.set()
    until(lambda: frozen.service.turns(other.name)[:2] == ["up", "down"])
    assert frozen.service.values(other.name) == []


LATE = {
    "an older incarnation": {"sender_incarnation": f"{0:016x}-00000000"},
    "an older term": {"sender_term": 0},
    "for our older incarnation": {"receiver_incarnation": f"{0:016x}-00000000"},
    "for our older term": {"receiver_term": 0},
    "of an older session": {"session": 0, "number": 7},
}


@pytest.mark.parametrize("fields", LATE.values(), ids=LATE.keys())
def test_a_late_batch_is_harmless(sites: Sites, pair: tuple[Site, Site], fields: dict[str, Any]):
    a, b = pair
    stream = a.links._peers[B].stream
    before = a.counters.batches_in
    sites.post(a).batch(b.header(a, stream.session, stream.awaited)._replace(**fields), ["item", "late"])
    until(lambda: a.counters.batches_in > before)
    b.send(A, "in time")
    until(lambda: a.service.values(B))
    assert a.service.heard == [("up", B), ("item", B, "in time")]


@pytest.mark.parametrize("error", ["value", "key", "timeout"])
def test_a_handler_that_raises_is_counted_and_the_stream_goes_on(pair: tuple[Site, Site], error: str):
    a, b = pair
    a.links.send(B, links_item("raise", error))
    a.send(B, "next")
    until(lambda: b.service.values(A) == ["next"])
    assert b.service.turns(A) == ["up"]
    assert (b.counters.failed, b.counters.items_in) == (1, 1)


BAD_ITEMS = {
    "an unknown kind": ["unheard of", 1],
    "too few values": ["item"],
    "too many values": ["item", 1, 2],
}


@pytest.mark.parametrize("bad", BAD_ITEMS.values(), ids=BAD_ITEMS.keys())
def test_an_item_nobody_can_take_is_counted_and_the_next_is_handled(pair: tuple[Site, Site], bad: list[Any]):
    a, b = pair
    a.links.send(B, msgpack.packb(bad))
    a.send(B, "next")
    until(lambda: b.service.values(A) == ["next"])
    assert b.counters.failed == 1


def event(*args: Any) -> bytes:
    packed: bytes = msgpack.packb(({"v": 3}, "deliver", args))
    return packed


GARBAGE = {
    "nothing": b"",
    "bytes at random": b"\xc1\x00\xff\xfe",
    "no event": msgpack.packb(7),
    "an event without arguments": event(),
    "an event with two": event(b"", b""),
    "an argument that is no bytes": event(7),
    "a batch that is no msgpack": event(b"\xc1"),
    "a batch without a header": event(msgpack.packb([])),
    "a batch with half a header": event(msgpack.packb([["world-0", "x"]])),
    "an item that is none": event(msgpack.packb([["world-0", "9", 1, "", 0, 1, 0], 7])),
    "a map with a list as its key": b"\x81\x90\x00",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_counted_and_harmless(sites: Sites, pair: tuple[Site, Site], garbage: bytes):
    a, b = pair
    post: Post = sites.post(a)
    post.frames(garbage)
    post.frames(garbage, garbage)
    until(lambda: a.counters.refused == 2)
    b.send(A, "sense")
    until(lambda: a.service.values(B) == ["sense"])
    assert a.service.turns(B) == ["up"]
    assert a.deaths == []


def test_a_process_that_is_no_peer_is_not_listened_to(sites: Sites, pair: tuple[Site, Site]):
    a, _ = pair
    stranger = sites.site(C, A)
    until(lambda: a.counters.refused >= 2)
    assert stranger.links.missing() == [A]
    with pytest.raises(KeyError):
        a.send(C, "x")


def test_a_peer_that_does_not_read_blocks_nobody_else(sites: Sites):
    a, b = sites.site(A, B, C), sites.site(B, A)
    c = sites.site(C, A)
    both_up(a, b)
    both_up(a, c)
    reading = next(task for task in c.tasks._alive if task.name == "link puller")
    reading.kill()
    while a.send(C, b"x" * 10_000):
        pause(0.001)
    pause(3 * FAST.idle_every)
    for index in range(100):
        a.send(B, index)
        b.send(A, index)
    until(lambda: b.service.values(A) == a.service.values(B) == list(range(100)), 1.0)


def test_a_peer_that_never_was_there_blocks_nobody(sites: Sites):
    a, b = sites.site(A, B, C), sites.site(B, A)
    both_up(a, b)
    pause(12 * FAST.idle_every)
    assert a.links.missing() == [C]
    assert a.send(B, "x")
    until(lambda: b.service.values(A) == ["x"], 1.0)
    assert a.service.turns(B) == ["up"]


def test_a_handler_that_waits_holds_up_its_own_peer_only(sites: Sites):
    a, b, c = sites.site(A, B, C), sites.site(B, A), sites.site(C, A)
    both_up(a, b)
    both_up(a, c)
    hold(c, a)
    c.send(A, "behind it")
    b.send(A, "beside it")
    until(lambda: a.service.values(B) == ["beside it"], 1.0)
    assert a.service.values(C) == []
    a.service.gate.set()
    until(lambda: a.service.values(C) == ["behind it"])


def test_many_items_of_one_peer_leave_turns_to_other_greenlets(pair: tuple[Site, Site]):
    a, b = pair
    turns = 0
    b.service.on_turn = lambda peer: gevent.sleep(0)
    for index in range(3_000):
        a.send(B, index)
    while len(b.service.values(A)) < 3_000:
        gevent.sleep(0)
        turns += 1
    assert turns > 3


def test_a_link_up_that_waits_holds_up_its_own_peer_only(sites: Sites):
    a = sites.idle_site(A, B, C)
    gate = Event()
    a.service.on_up = lambda peer: gate.wait() if peer == B else None
    a.start()
    b, c = sites.site(B, A), sites.site(C, A)
    until(lambda: b.links.up(A))
    b.send(A, "behind it")
    both_up(a, c)
    c.send(A, "beside it")
    until(lambda: a.service.values(C) == ["beside it"], 1.0)
    assert a.service.values(B) == []
    gate.set()
    until(lambda: a.service.values(B) == ["behind it"])


@pytest.mark.parametrize("broken", ["link_up", "link_down", "link_turn"])
@pytest.mark.parametrize("name", [A, B])
def test_a_callback_that_raises_ends_the_stream_for_a_while_and_nothing_else(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, name: str, broken: str
):
    site, other = sites.idle_site(name, B if name == A else A), sites.site(B if name == A else A, name)
    defects = [ValueError("a defect") if name == A else gevent.Timeout(1)]
    original = getattr(site.service, broken)

    def fails(peer: str) -> None:
        if defects:
            raise defects.pop()
        original(peer)

    monkeypatch.setattr(site.service, broken, fails)
    site.start()
    if broken == "link_down":
        both_up(site, other)
        site.links.end_all()
    until(lambda: not defects)
    both_up(site, other)
    until(lambda: site.send(other.name, "well again"))
    until(lambda: other.service.values(site.name) == ["well again"])
    assert site.deaths == other.deaths == []


def test_a_callback_that_always_raises_is_tried_about_once_in_a_rest(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(handling, "REST", 0.25)
    a, _ = sites.idle_site(A, B), sites.site(B, A)
    tries: list[str] = []

    def fails(peer: str) -> None:
        tries.append(peer)
        raise ValueError

    a.service.on_up = fails
    a.start()
    until(lambda: tries)
    pause(0.6)
    assert 2 <= len(tries) <= 3


@pytest.mark.parametrize("task", ["link puller", "link sender"])
def test_a_process_that_cannot_read_or_send_any_more_ends(pair: tuple[Site, Site], task: str):
    a, _ = pair
    next(one for one in a.tasks._alive if one.name == task).kill()
    until(lambda: a.deaths == [task])


def test_flush_waits_until_all_is_on_its_way(pair: tuple[Site, Site], sites: Sites):
    a, b = pair
    for index in range(500):
        a.send(B, index)
    a.links.flush(2.0)
    sites.end(a)
    until(lambda: len(b.service.values(A)) == 500, 1.0)


def test_flush_does_not_wait_for_a_dead_peer(sites: Sites):
    a = sites.site(A, B)
    with gevent.Timeout(0.5):
        a.links.flush(5.0)


def living() -> set[int]:
    return {id(thing) for thing in gc.get_objects() if isinstance(thing, gevent.Greenlet) and not thing.dead}


def test_close_leaves_no_greenlet(sites: Sites):
    pause(0.01)
    before = living()
    a, b = sites.site(A, B), sites.site(B, A)
    both_up(a, b)
    sites.end(a)
    sites.end(b)
    pause(0.02)
    assert living() - before == set()
