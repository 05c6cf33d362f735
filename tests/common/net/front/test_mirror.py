from __future__ import annotations

from typing import Any

import gevent
import pytest

from common.net.front.mirror import ANNOUNCED_ROOMS
from tests.common.net.front.scene import Site, settle


def fill(site: Site, count: int) -> tuple[str, set[str]]:
    """Have clients on their way into so many rooms; give a world, and its rooms among them."""
    places, mirror = site.process.places, site.gateway.mirror
    for number in range(count):
        key = f"demo/plaza/r{number}"
        mirror.room(key, places.world_of(key)).joining = 1
    world = places.worlds[0]
    return world, {key for key, room in mirror.rooms.items() if room.world == world}


def announced(site: Site, world: str) -> list[list[Any]]:
    """Give the parts of announcements to a world since the last time: [rows, first, last] each."""
    return [item[1:] for name, item in site.links.take("announce") if name == world]


def test_a_world_hears_of_all_rooms_in_parts_between_which_others_run(site: Site) -> None:
    world, keys = fill(site, 5 * len(site.process.places.worlds) * ANNOUNCED_ROOMS)
    site.process.tasks.spawn("mirror", site.gateway.mirror.run)
    site.gateway.link_up(world)
    parts = announced(site, world)
    assert parts == [[[], True, False]], "the list begins before anything else can be said"
    while not parts[-1][2]:
        gevent.sleep(0.001)
        new = announced(site, world)
        assert len(new) <= 1
        parts += new
    assert all(len(rows) <= ANNOUNCED_ROOMS for rows, _, _ in parts)
    told = [row[0] for rows, _, _ in parts for row in rows]
    assert (len(told), set(told)) == (len(keys), keys)
    settle()
    assert announced(site, world) == []


@pytest.mark.parametrize("rooms", [0, 10])
def test_a_full_link_loses_no_part(site: Site, rooms: int) -> None:
    mirror = site.gateway.mirror
    fill(site, rooms)
    world = site.process.places.worlds[0]
    keys = {key for key, room in mirror.rooms.items() if room.world == world}
    parts: list[list[Any]] = []
    for _ in range(2):
        site.links.full = {world}
        if not parts:
            mirror.announce(world)
        mirror.announce_more(world)
        assert announced(site, world) == []
        site.links.full = set()
        mirror.announce_more(world)
        parts += announced(site, world)
    assert [(first, last) for _, first, last in parts] == [(True, False), (False, True)]
    assert {row[0] for row in parts[1][0]} == keys


def test_no_digest_is_sent_while_a_world_does_not_know_all(site: Site) -> None:
    mirror = site.gateway.mirror
    world, _ = fill(site, 10)
    mirror.announce(world)
    mirror.send_digests()
    assert site.links.take("digest") == []
    mirror.announce_more(world)
    mirror.send_digests()
    assert site.links.take("digest") == [(world, ["digest", mirror.digests[world]])]


def test_a_world_hears_where_a_room_stands_before_anything_else_of_it(site: Site) -> None:
    client = site.log_in()
    mirror, key = site.gateway.mirror, "demo/plaza/r0"
    world = site.process.places.world_of(key)
    mirror.room(key, world).joining = 1
    mirror.announce(world)
    client.send("join", {"room": "plaza/r0"}, 2)
    assert site.asked("join")[0] == world
    told = [item for name, item in site.links.take("announce") if name == world]
    assert told == [["announce", [], True, False], ["announce", [[key, 2, 0, 0, 0]], False, False]]
    mirror.announce_more(world)
    assert site.links.take("announce") == [(world, ["announce", [], False, True])]
