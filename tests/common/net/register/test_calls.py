from __future__ import annotations

from typing import Any

import pytest

from common.errors import BadField, NotFound
from common.net.register.calls import CALLS, now_ms
from tests.common.net.register.scene import ANN, BOB, NOW, Scene

ONE, TWO = "gateway-0", "gateway-1"


def test_the_table_has_what_others_ask_for() -> None:
    assert sorted(CALLS) == [
        "assign",
        "ban",
        "deliver",
        "kick",
        "stats",
        "tagged",
        "tags",
        "tell",
        "unban",
        "user",
    ]


def test_a_user_is_told_with_devices_and_tags(scene: Scene) -> None:
    login = scene.log_in(ONE, 1, ANN, "p", "vip")
    device = {
        "device": "p",
        "kind": "phone",
        "epoch": login.epoch,
        "gateway": ONE,
        "conn": 1,
        "tags": ["vip"],
    }
    assert scene.call("user", ANN) == {"online": True, "since": NOW, "devices": [device]}
    assert scene.call("user", BOB) == {"online": False, "since": 0, "devices": []}


def test_a_user_of_whom_nothing_is_known_yet_is_not_called_offline() -> None:
    assert Scene(announced=False).call("user", ANN)["online"] is None


def test_users_and_devices_are_counted_for_all_and_for_one_product(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN, "p")
    scene.log_out(scene.log_in(TWO, 2, ANN, "w"))
    scene.log_in(ONE, 3, "other/ann", "p")
    assert scene.call("stats") == {"users": 2, "devices": 2}
    assert scene.call("stats", "demo") == {"users": 1, "devices": 1}
    assert scene.call("stats", "none") == {"users": 0, "devices": 0}


def test_messages_are_passed_on(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN)
    assert scene.call("tell", [[ANN, 5, 4]], 77, b"body") == 1
    assert scene.call("deliver", [ANN, BOB], 78, "", b"x", 123) == 1
    assert scene.links.take() == [
        (ONE, ["kept", [[1, 5, 4]], 77, b"body"]),
        (ONE, ["inbox", [1], 78, "", b"x", 123]),
    ]


KICKED: dict[str, tuple[str | None, list[int]]] = {
    "all": (None, [1, 2]),
    "one": ("w", [2]),
    "none": ("x", []),
}


@pytest.mark.parametrize("device, conns", KICKED.values(), ids=KICKED)
def test_a_kick_ends_all_devices_or_one(scene: Scene, device: str | None, conns: list[int]) -> None:
    scene.log_in(ONE, 1, ANN, "p")
    scene.log_in(TWO, 2, ANN, "w")
    scene.log_in(TWO, 3, BOB)
    scene.log_out(scene.log_in(ONE, 4, ANN, "away"))
    assert scene.call("kick", ANN, device, "policy", "because") == len(conns)
    sent = scene.links.take()
    assert sorted(item[1] for _, item in sent) == conns
    assert all(item[3:] == ["policy", "because"] for _, item in sent)


def test_a_kick_counts_who_can_be_told_only(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN, "p")
    scene.log_in(TWO, 2, ANN, "w")
    scene.links.down.add(ONE)
    scene.links.full.add(TWO)
    assert scene.call("kick", ANN, None, "policy", "") == 1
    scene.links.full.clear()
    assert [(name, item[4]) for name, item in scene.turn()] == [(TWO, "ended by the server")]


def test_a_ban_is_taken_back(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN)
    assert scene.call("ban", ANN, now_ms() + 60_000) == 1
    assert scene.register.bans.until(ANN, now_ms()) is not None
    assert [item[3] for _, item in scene.links.take()] == ["banned"]
    scene.call("unban", ANN)
    assert scene.register.bans.until(ANN, now_ms()) is None


def test_an_assignment_is_told_to_gateways(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN)
    assert scene.call("assign", ANN, "demo/plaza/lobby", False) == 1
    assert scene.links.take() == [(ONE, ["assign", [1], "demo/plaza/lobby", False])]


def test_tags_are_set_for_a_device_that_is_here(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN, "p")
    assert scene.call("tags", ANN, "p", ["b", "a"]) is True
    assert scene.links.take() == [(ONE, ["tags", [1], ["a", "b"]])]
    assert scene.call("tags", ANN, "other", ["a"]) is False
    assert scene.call("tags", BOB, "p", ["a"]) is False


WRONG: dict[str, tuple[Any, ...]] = {
    "a kick of no kind": ("kick", ANN, None, "because", ""),
    "a ban before 1970": ("ban", ANN, -1),
    "tags of no list": ("tags", ANN, "p", "vip"),
    "tagged by no names": ("tagged", "demo", ["a b"]),
    "a room of another product": ("assign", ANN, "other/plaza/lobby", True),
    "no room": ("assign", ANN, "demo/plaza", True),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_what_makes_no_sense_is_refused_and_does_nothing(scene: Scene, call: tuple[Any, ...]) -> None:
    scene.log_in(ONE, 1, ANN)
    with pytest.raises(BadField):
        scene.call(*call)
    assert scene.links.take() == []


def test_a_room_of_no_map_is_not_found(scene: Scene) -> None:
    with pytest.raises(NotFound):
        scene.call("assign", ANN, "demo/nowhere/lobby", True)
