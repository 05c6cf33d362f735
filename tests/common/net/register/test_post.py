from __future__ import annotations

from common.rules.devices import Kick
from tests.common.net.register.scene import Scene

ONE, TWO = "gateway-0", "gateway-1"


def test_what_a_full_link_did_not_take_is_sent_again_in_order_until_it_does(scene: Scene) -> None:
    scene.links.full.add(ONE)
    for number in range(3):
        scene.post.surely(ONE, ["stale", [number]])
    scene.post.surely(TWO, ["stale", [9]])
    assert scene.turn() == [(TWO, ["stale", [9]])]
    scene.links.full.clear()
    assert scene.turn() == [(ONE, ["stale", [number]]) for number in range(3)]
    assert scene.turn() == []


def test_a_new_stream_voids_what_waited_for_that_gateway_only(scene: Scene) -> None:
    scene.links.full.update((ONE, TWO))
    scene.post.surely(ONE, ["stale", [1]])
    scene.post.surely(TWO, ["stale", [2]])
    scene.links.full.clear()
    scene.register.begun(ONE)
    assert scene.turn() == [(TWO, ["stale", [2]])]


def test_a_kick_says_why_in_words(scene: Scene) -> None:
    scene.post.kick([Kick(ONE, 1, 5, "replaced")])
    scene.post.kick([Kick(TWO, 2, 6, "policy")], "because")
    assert scene.links.take() == [
        (ONE, ["kick", 1, 5, "replaced", "this device logged in again"]),
        (TWO, ["kick", 2, 6, "policy", "because"]),
    ]
    assert scene.counters.kicks == 2
