from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from common.errors import Unavailable
from common.rules.devices import Login
from tests.common.net.register.scene import ANN, BOB, NOW, Scene

ONE, TWO = "gateway-0", "gateway-1"


def opened(scene: Scene, name: str, conn: int, user: str = ANN, device: str = "p", *tags: str) -> Login:
    login = scene.log_in(name, conn, user, device, *tags)
    scene.register.tagging.opened(login)
    return login


def test_tags_set_for_a_device_take_the_place_of_the_tokens(scene: Scene) -> None:
    ann = opened(scene, ONE, 1, ANN, "p", "token")
    bob = opened(scene, TWO, 2, BOB, "w", "token")
    scene.dbservers.answers["tags_of"] = [["vip", "de"], None]
    assert scene.register.tagging.step()
    assert scene.dbservers.calls == [("tags_of", ([[ANN, "p"], [BOB, "w"]],))]
    assert (ann.tags, bob.tags) == (("de", "vip"), ("token",))
    assert scene.links.take() == [(ONE, ["tags", [1], ["de", "vip"]])]
    assert len(scene.register.tagging) == 0


def test_tags_the_gateway_knows_are_not_told_again(scene: Scene) -> None:
    opened(scene, ONE, 1, ANN, "p", "a", "b")
    scene.dbservers.answers["tags_of"] = [["b", "a"]]
    scene.register.tagging.step()
    assert scene.links.take() == []


def test_what_storage_did_not_tell_is_asked_again_but_not_for_who_left(scene: Scene) -> None:
    ann, bob = opened(scene, ONE, 1, ANN), opened(scene, ONE, 2, BOB)
    scene.dbservers.answers["tags_of"] = Unavailable("away")
    scene.log_out(bob)
    assert not scene.register.tagging.step()
    assert len(scene.register.tagging) == 1
    scene.dbservers.answers["tags_of"] = [["vip"]]
    assert scene.register.tagging.step()
    assert ann.tags == ("vip",)


def test_tags_set_while_the_read_is_under_way_stay(scene: Scene) -> None:
    ann, go_on = opened(scene, ONE, 1), Event()
    scene.dbservers.answers["tags_of"] = lambda devices: go_on.wait() and [["old"]]
    reading = gevent.spawn(scene.register.tagging.step)
    gevent.sleep(0)
    assert scene.call("tags", ANN, "p", ["new"])
    go_on.set()
    assert reading.get()
    assert ann.tags == ("new",)


def test_many_logins_are_read_in_parts_by_themselves(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.net.register.tagging.READ_AT_ONCE", 2)
    monkeypatch.setattr("common.net.register.tagging.GATHER_SECONDS", 0.001)
    done = Event()

    def answer(devices: list[list[str]]) -> list[list[str]]:
        if len(devices) == 1:
            done.set()
        return [["x"] for _ in devices]

    scene.dbservers.answers["tags_of"] = answer
    running = gevent.spawn(scene.register.tagging.run)
    logins = [opened(scene, ONE, conn, f"demo/{conn}") for conn in range(5)]
    assert done.wait(1.0)
    gevent.sleep(0.005)
    running.kill()
    assert [login.tags for login in logins] == [("x",)] * 5
    assert len(scene.dbservers.calls) == 3


def test_a_gateway_that_announces_older_tags_is_told_the_present_ones(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN)
    epoch = scene.presence.logins(ANN)[0].epoch
    scene.links.down.add(ONE)
    scene.call("tags", ANN, "p", ["vip"])
    scene.register.begun(ONE)
    scene.links.down.clear()
    scene.announce(ONE, [1, ANN, "p", "phone", epoch, NOW, ["old"]], [2, BOB, "p", "phone", 5, NOW, ["b"]])
    assert scene.links.take() == [(ONE, ["tags", [1], ["vip"]])]
    assert scene.presence.logins(BOB)[0].tags == ("b",)


def test_users_are_found_by_one_device_that_has_all_tags(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN, "p", "ios", "de")
    scene.log_in(ONE, 2, BOB, "p", "ios")
    scene.log_in(TWO, 3, BOB, "w", "de")
    scene.log_in(TWO, 4, "other/ann", "p", "ios", "de")
    assert scene.call("tagged", "demo", ["ios", "de"]) == [ANN]
    assert scene.call("tagged", "demo", ["de"]) == [ANN, BOB]
    assert scene.call("tagged", "demo", []) == [ANN, BOB]
    assert scene.call("tagged", "demo", ["android"]) == []


def test_pages_go_on_where_the_one_before_ended_and_name_everybody_once(scene: Scene) -> None:
    users = sorted(f"demo/{number}" for number in range(25))
    for conn, user in enumerate(users):
        scene.log_in(ONE, conn, user, "p", "x")
    seen: list[str] = []
    after, sizes = "", []
    while True:
        page = scene.call("tagged", "demo", ["x"], after, 10)
        seen += page
        sizes.append(len(page))
        if len(page) < 10:
            break
        after = page[-1]
        scene.log_in(TWO, 100 + len(seen), f"demo/0{len(seen)}", "p", "x")
    assert (seen, sizes) == (users, [10, 10, 5])
    assert len(scene.call("tagged", "demo", ["x"], "", 100)) == 27
