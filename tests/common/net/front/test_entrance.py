from __future__ import annotations

from common.net.front.entrance import HELD_BYTES
from tests.common.net.front.scene import Site, settle


def test_what_is_kept_for_a_client_until_its_welcome_is_bounded(site: Site) -> None:
    client, go_on = site.open_unwelcomed()
    number = site.connection().number
    data = b"\xc5\x40\x00" + bytes(16_384)
    for mid in range(1, HELD_BYTES // len(data) + 2):
        site.give("session-0", "inbox", [number], mid, "bob", data, 5)
    go_on.set()
    client.send("ping", {}, 2)
    assert client.read_ops(5) == ["ok", "inbox", "inbox", "inbox", "pong"]


def test_who_is_ended_before_its_welcome_leaves_nothing_behind(site: Site) -> None:
    _, go_on = site.open_unwelcomed()
    connection = site.connection()
    assert connection in site.front.entrance
    connection.kick("replaced", "elsewhere")
    assert connection not in site.front.entrance
    go_on.set()
    settle()
