from __future__ import annotations

from typing import Any

import pytest

from common.errors import Conflict, Full, RequestError, Unauthorized, Unavailable
from common.rules.devices import Limits
from common.rules.gateways import Gateway
from common.rules.presence import KINDS_SHARED, Presence
from common.rules.watches import OFFLINE, UNKNOWN

ANN = "any/ann"
NOW = 1_700_000_000_000


class Scene:
    """A Presence with two gateways that have announced, and a clock of one second a turn."""

    def __init__(self, announced: bool = True, **limits: Any) -> None:
        policies = {"one": "newest", "kinds": "per_kind", "shy": "refuse"}
        self.presence = Presence(["gateway-0", "gateway-1"], Limits(policies, **limits))
        self.now = NOW
        self.conns = 0
        if announced:
            self.announce(0)
            self.announce(1)

    def gateway(self, index: int, incarnation: str = "a") -> Gateway:
        met = self.presence.meet(f"gateway-{index}", incarnation, self.now)
        assert met is not None
        return met

    def announce(
        self, index: int, *entries: list[Any], incarnation: str = "a"
    ) -> tuple[list[int], list[Any]]:
        return self.presence.announce(self.gateway(index, incarnation), entries, True, True, self.now)

    def open(
        self, index: int, user: str, device: str = "p", kind: str = "phone", resume: int = 0
    ) -> tuple[int, int, list[Any]]:
        """Give (conn, epoch, kicks as (gateway, conn, code))."""
        self.conns += 1
        opened = self.presence.open(self.gateway(index), self.conns, user, device, kind, resume, self.now)
        return self.conns, opened.epoch, [(k.gateway, k.conn, k.code) for k in opened.kicks]

    def close(self, index: int, conn: int, user: str, epoch: int = 0, bye: bool = False) -> None:
        self.presence.close(self.gateway(index), conn, user, "p", epoch, bye, self.now)

    def ticks(self, count: int, *silent: int) -> None:
        for _ in range(count):
            self.now += 1_000
            for index in {0, 1} - set(silent):
                self.presence.gateways.heard(f"gateway-{index}", self.presence.ticks)
            self.presence.tick(self.now)

    def told(self, index: int) -> list[Any]:
        return [(user, *view) for user, view in self.presence.changes(f"gateway-{index}", 100)]

    def settle(self) -> None:
        """Wait until offline is told at once."""
        self.ticks(self.presence.limits.offline_ticks + 1)


@pytest.fixture
def scene() -> Scene:
    return Scene()


# logging in


def test_the_epoch_is_the_time_in_microseconds_and_always_grows(scene: Scene) -> None:
    epochs = [scene.open(0, ANN)[1] for _ in range(3)]
    assert epochs == [NOW * 1000, NOW * 1000 + 1, NOW * 1000 + 2]


def test_the_epoch_grows_above_announced_ones_though_the_clock_is_behind(scene: Scene) -> None:
    scene.announce(1, [9, "any/bob", "p", "phone", NOW * 2000, NOW])
    assert scene.open(0, ANN)[1] == NOW * 2000 + 1


def test_the_same_device_again_replaces_the_older_login(scene: Scene) -> None:
    conn, _, _ = scene.open(0, ANN)
    assert scene.open(1, ANN)[2] == [("gateway-0", conn, "replaced")]


def test_devices_stand_together_by_default(scene: Scene) -> None:
    scene.open(0, ANN, "p")
    assert scene.open(1, ANN, "w", "web")[2] == []
    assert scene.presence.view(ANN).devices == [["p", "phone"], ["w", "web"]]


POLICIES = {
    "newest": ("one/ann", "w", "web", ["p", "q"]),
    "per_kind, the same": ("kinds/ann", "w", "phone", ["p"]),
    "per_kind, another": ("kinds/ann", "w", "tv", []),
}


@pytest.mark.parametrize("user, device, kind, kicked", POLICIES.values(), ids=POLICIES)
def test_the_policy_of_the_product_kicks_other_devices(
    user: str, device: str, kind: str, kicked: list[str]
) -> None:
    scene = Scene()
    conns = {}
    if user != "one/ann":
        conns["q"] = scene.open(0, user, "q", "web")[0]
    conns["p"] = scene.open(0, user, "p", "phone")[0]
    kicks = scene.open(1, user, device, kind)[2]
    assert kicks == [("gateway-0", conns[name], "policy") for name in kicked if name in conns]


def test_refuse_answers_conflict_and_changes_nothing(scene: Scene) -> None:
    scene.open(0, "shy/ann", "p")
    with pytest.raises(Conflict):
        scene.open(1, "shy/ann", "w")
    assert scene.presence.view("shy/ann").devices == [["p", "phone"]]


def test_a_connected_device_too_many_is_refused_and_changes_nothing() -> None:
    scene = Scene(devices=2)
    scene.open(0, ANN, "a")
    scene.open(0, ANN, "b")
    with pytest.raises(Full):
        scene.open(0, ANN, "c")
    assert scene.presence.view(ANN).devices == [["a", "phone"], ["b", "phone"]]


def test_the_device_longest_away_is_forgotten_for_a_new_one() -> None:
    scene = Scene(devices=3)
    conns = {device: scene.open(0, ANN, device)[0] for device in ("a", "b", "c")}
    scene.close(0, conns["b"], ANN)
    scene.close(0, conns["a"], ANN)
    scene.open(0, ANN, "d")
    assert [device for device, _ in scene.presence.view(ANN).devices] == ["a", "c", "d"]


def test_a_repeated_open_gets_the_same_answer(scene: Scene) -> None:
    gateway = scene.gateway(0)
    first = scene.presence.open(gateway, 5, ANN, "p", "phone", 0, NOW)
    scene.now += 50
    assert scene.presence.open(gateway, 5, ANN, "p", "phone", 0, scene.now) == first


ENDINGS = {"replaced": False, "closed": True}


@pytest.mark.parametrize("closed", ENDINGS.values(), ids=ENDINGS)
def test_a_repeated_open_of_a_connection_that_is_over_disturbs_nobody(closed: bool) -> None:
    scene = Scene()
    conn, epoch, _ = scene.open(0, ANN)
    if closed:
        scene.close(0, conn, ANN, epoch)
    newest = scene.open(1, ANN)[0]
    with pytest.raises(Conflict):
        scene.presence.open(scene.gateway(0), conn, ANN, "p", "phone", 0, NOW)
    assert [login.conn for login in scene.presence.users[ANN].logins] == [newest]


def test_a_connection_logs_in_once(scene: Scene) -> None:
    conn, _, _ = scene.open(0, ANN)
    with pytest.raises(Conflict):
        scene.presence.open(scene.gateway(0), conn, "any/bob", "p", "phone", 0, NOW)
    assert scene.presence.view("any/bob") == OFFLINE


def test_a_closed_number_is_forgotten_in_time(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    scene.close(0, conn, ANN, epoch)
    scene.ticks(2 * scene.presence.limits.closed_ticks)
    assert not scene.gateway(0).has_closed(conn)


def test_kinds_beyond_the_shared_ones_are_taken_as_they_are(scene: Scene) -> None:
    for i in range(KINDS_SHARED + 2):
        scene.open(0, f"any/{i}", "p", f"kind-{i}")
    assert scene.presence.view(f"any/{KINDS_SHARED + 1}").devices == [["p", f"kind-{KINDS_SHARED + 1}"]]


# resume


def test_a_login_ended_by_bye_is_not_resumed(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    scene.close(0, conn, ANN, epoch, bye=True)
    with pytest.raises(Unauthorized):
        scene.open(0, ANN, resume=epoch)


RESUMED = {"a lost one": (False, 0), "a later login than the one ended": (True, 1)}


@pytest.mark.parametrize("bye, later", RESUMED.values(), ids=RESUMED)
def test_what_can_be_resumed(bye: bool, later: int) -> None:
    scene = Scene()
    conn, epoch, _ = scene.open(0, ANN)
    scene.close(0, conn, ANN, epoch, bye)
    assert scene.open(0, ANN, resume=epoch + later)[1] > epoch


def test_bye_of_an_old_connection_leaves_the_new_login_resumable(scene: Scene) -> None:
    old, old_epoch, _ = scene.open(0, ANN)
    _, new_epoch, _ = scene.open(1, ANN)
    scene.close(0, old, ANN, old_epoch, bye=True)
    assert scene.presence.view(ANN).online
    assert scene.open(1, ANN, resume=new_epoch)[1] > new_epoch


def test_an_unanswered_login_can_be_ended_without_its_epoch(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    scene.close(0, conn, ANN, 0, bye=True)
    with pytest.raises(Unauthorized):
        scene.open(0, ANN, resume=epoch)


# closing and offline


def test_a_late_close_never_takes_the_new_connection_away(scene: Scene) -> None:
    old, old_epoch, _ = scene.open(0, ANN)
    new, _, _ = scene.open(1, ANN)
    scene.close(0, old, ANN, old_epoch)
    scene.settle()
    assert [login.conn for login in scene.presence.targets([ANN])["gateway-1"]] == [new]


def test_a_user_is_offline_only_after_the_delay(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    scene.close(0, conn, ANN, epoch)
    scene.ticks(15)
    assert scene.presence.view(ANN).online
    scene.ticks(1)
    assert scene.presence.view(ANN) == OFFLINE
    assert not scene.presence.users


def test_a_return_in_time_cancels_and_keeps_since(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    scene.close(0, conn, ANN, epoch)
    scene.ticks(10)
    scene.open(1, ANN)
    scene.ticks(30)
    view = scene.presence.view(ANN)
    assert (view.online, view.since) == (True, NOW)


def test_a_device_that_stays_away_is_forgotten_while_another_is_connected(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN, "p")
    scene.open(0, ANN, "w", "web")
    scene.close(0, conn, ANN, epoch)
    assert len(scene.presence.view(ANN).devices) == 2
    scene.settle()
    assert scene.presence.view(ANN).devices == [["w", "web"]]


def test_closing_what_is_not_there_is_harmless(scene: Scene) -> None:
    scene.close(0, 99, ANN, 5, bye=False)
    assert scene.presence.view(ANN) == OFFLINE


def test_messages_go_to_connected_devices_only_and_each_user_once(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN, "p")
    web, _, _ = scene.open(1, ANN, "w", "web")
    bob, _, _ = scene.open(1, "any/bob")
    scene.close(0, conn, ANN, epoch)
    targets = scene.presence.targets([ANN, "any/bob", ANN, "any/nobody"])
    assert {name: [login.conn for login in logins] for name, logins in targets.items()} == {
        "gateway-1": [web, bob]
    }


# not knowing


def test_who_is_not_heard_of_is_unknown_until_all_have_announced() -> None:
    scene = Scene(announced=False)
    scene.announce(0, [1, ANN, "p", "phone", 5, NOW - 60_000])
    assert scene.presence.view(ANN) == (True, [["p", "phone"]], NOW - 60_000)
    assert scene.presence.view("any/bob") == UNKNOWN
    scene.announce(1)
    assert scene.presence.view("any/bob") == OFFLINE


def test_a_gateway_never_heard_is_waited_for_until_it_counts_as_gone() -> None:
    scene = Scene(announced=False)
    scene.announce(0)
    scene.ticks(12, 1)
    assert scene.presence.view(ANN) == UNKNOWN
    scene.ticks(1, 1)
    assert scene.presence.view(ANN) == OFFLINE


def test_a_gateway_called_gone_by_the_directory_is_not_waited_for() -> None:
    scene = Scene(announced=False)
    scene.announce(0)
    assert scene.presence.call_gone("gateway-1", NOW)
    assert scene.presence.known
    assert not scene.presence.call_gone("gateway-1", NOW)
    assert not scene.presence.call_gone("gateway-9", NOW)


@pytest.mark.parametrize("user", ["one/ann", "kinds/ann", "shy/ann"])
def test_policies_that_need_all_devices_wait_until_they_are_known(user: str) -> None:
    scene = Scene(announced=False)
    scene.announce(0)
    with pytest.raises(Unavailable):
        scene.open(0, user)
    assert scene.presence.view(user) == UNKNOWN
    scene.announce(1)
    scene.open(0, user)


def test_by_default_logins_go_on_while_not_all_is_known() -> None:
    scene = Scene(announced=False)
    scene.open(0, ANN)
    assert scene.presence.view(ANN).online


def test_after_a_freeze_all_must_announce_again_and_nothing_is_forgotten(scene: Scene) -> None:
    scene.open(0, ANN)
    scene.presence.doubt()
    assert scene.presence.view(ANN).online
    assert scene.presence.view("any/bob") == UNKNOWN


def test_nobody_goes_offline_while_not_all_is_known(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    scene.close(0, conn, ANN, epoch)
    scene.presence.doubt()
    scene.ticks(30)
    assert scene.presence.view(ANN).online
    scene.announce(0)
    scene.announce(1)
    scene.ticks(1)
    assert scene.presence.view(ANN) == OFFLINE


# announcements


def test_an_announcement_replaces_what_was_known_of_a_gateway(scene: Scene) -> None:
    kept, epoch, _ = scene.open(0, ANN)
    scene.open(0, "any/bob")
    scene.announce(0, [kept, ANN, "p", "phone", epoch, NOW])
    scene.settle()
    assert scene.presence.view(ANN).online
    assert scene.presence.view("any/bob") == OFFLINE


def test_slices_are_one_announcement_and_what_opens_meanwhile_stays(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    gateway = scene.gateway(0)
    scene.presence.announce(gateway, [], True, False, NOW)
    scene.open(0, "any/bob")
    scene.presence.announce(gateway, [[conn, ANN, "p", "phone", epoch, NOW]], False, True, NOW)
    scene.settle()
    assert scene.presence.view(ANN).online and scene.presence.view("any/bob").online


def test_a_last_slice_whose_first_was_lost_takes_nobody_away_and_settles_nothing() -> None:
    scene = Scene(announced=False)
    scene.announce(1)
    gateway = scene.gateway(0)
    scene.open(0, ANN)
    scene.presence.announce(gateway, [], False, True, NOW)
    scene.ticks(20)
    assert scene.presence.view(ANN).online
    assert not scene.presence.known


EPOCHS = {"older": (-1, [7]), "newer": (+1, [])}


@pytest.mark.parametrize("step, stale", EPOCHS.values(), ids=EPOCHS)
def test_of_two_logins_of_one_device_the_higher_epoch_wins(step: int, stale: list[int]) -> None:
    scene = Scene()
    conn, epoch, _ = scene.open(0, ANN)
    refused, kicks = scene.announce(1, [7, ANN, "p", "phone", epoch + step, NOW])
    assert refused == stale
    assert [(kick.gateway, kick.conn) for kick in kicks] == ([] if stale else [("gateway-0", conn)])


REFUSED = {
    "ended by bye": ("any/ann", True, "p"),
    "a newer login of another device under newest": ("one/ann", False, "w"),
    "one too many": ("any/full", False, "w"),
}


@pytest.mark.parametrize("user, bye, device", REFUSED.values(), ids=REFUSED)
def test_announced_logins_that_are_no_longer_accepted_are_stale(user: str, bye: bool, device: str) -> None:
    scene = Scene(devices=1)
    conn, epoch, _ = scene.open(0, user)
    if bye:
        scene.close(0, conn, user, epoch, bye=True)
    assert scene.announce(1, [7, user, device, "phone", epoch - 1, NOW]) == ([7], [])


def test_an_announced_newer_login_takes_the_place_the_policy_gives_it(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, "one/ann")
    stale, kicks = scene.announce(1, [7, "one/ann", "w", "web", epoch + 1, NOW])
    assert not stale
    assert [(kick.conn, kick.code) for kick in kicks] == [(conn, "policy")]


def test_a_connection_told_to_leave_whose_kick_was_lost_is_stale(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    scene.open(1, ANN)
    assert scene.announce(0, [conn, ANN, "p", "phone", epoch, NOW])[0] == [conn]


def test_a_connection_told_to_leave_is_stale_though_its_successor_is_forgotten(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    new, new_epoch, _ = scene.open(1, ANN)
    scene.close(1, new, ANN, new_epoch)
    scene.ticks(16)
    assert ANN not in scene.presence.users and scene.gateway(0).has_closed(conn)
    assert scene.announce(0, [conn, ANN, "p", "phone", epoch, NOW])[0] == [conn]


def test_a_login_below_one_ended_by_bye_is_stale_though_its_successor_is_forgotten(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    new, new_epoch, _ = scene.open(1, ANN)
    scene.close(1, new, ANN, new_epoch, bye=True)
    scene.ticks(40)
    assert not scene.gateway(0).has_closed(conn)
    assert scene.announce(0, [conn, ANN, "p", "phone", epoch, NOW])[0] == [conn]


def test_all_logins_of_a_user_share_its_name(scene: Scene) -> None:
    for device in ("a", "b"):
        scene.open(0, "".join(["any/", "ann"]), device)
    (name,) = scene.presence.users
    assert all(login.user is name for login in scene.presence.users[name].logins)


def test_one_connection_announced_with_another_epoch_is_stale(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    assert scene.announce(0, [conn, ANN, "p", "phone", epoch + 5, NOW])[0] == [conn]


# gateways that go and come


def test_users_of_a_gateway_that_is_gone_go_offline_after_the_delay(scene: Scene) -> None:
    scene.open(0, ANN)
    scene.open(1, "any/bob")
    scene.ticks(13, 0)
    assert not scene.presence.targets([ANN])
    scene.ticks(15, 0)
    assert scene.presence.view(ANN).online
    scene.ticks(1, 0)
    assert scene.presence.view(ANN) == OFFLINE
    assert scene.presence.view("any/bob").online


def test_a_gateway_back_from_being_gone_makes_the_rest_unknown_until_it_announces(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    scene.ticks(40, 0)
    assert scene.presence.view(ANN) == OFFLINE
    scene.presence.back("gateway-0")
    assert scene.presence.view(ANN) == UNKNOWN
    assert scene.announce(0, [conn, ANN, "p", "phone", epoch, NOW]) == ([], [])
    assert scene.presence.view(ANN) == (True, [["p", "phone"]], NOW)


def test_a_new_life_of_a_gateway_drops_what_the_old_one_had(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    scene.announce(0, incarnation="b")
    assert not scene.presence.targets([ANN])
    assert scene.presence.meet("gateway-0", "a", NOW) is None
    scene.presence.close(scene.gateway(0, "b"), conn, ANN, "p", epoch, False, NOW)
    scene.ticks(16)
    assert scene.presence.view(ANN) == OFFLINE


def test_a_new_life_is_noticed_by_its_first_word_and_numbers_connections_anew(scene: Scene) -> None:
    conn, _, _ = scene.open(0, ANN)
    scene.presence.watch(scene.gateway(0), ["any/bob"], False)
    gateway = scene.gateway(0, "b")
    assert not scene.presence.targets([ANN])
    scene.presence.open(gateway, conn, "any/bob", "p", "phone", 0, NOW)
    assert scene.told(0) == []


def test_a_gateway_that_was_only_unlinked_for_a_while_changes_nothing(scene: Scene) -> None:
    scene.open(0, ANN)
    scene.ticks(10, 0)
    scene.presence.back("gateway-0")
    scene.ticks(5)
    assert scene.presence.view(ANN).online
    assert scene.presence.view("any/bob") == OFFLINE


# watching


def test_changes_of_one_turn_are_told_once_and_only_to_watchers(scene: Scene) -> None:
    scene.presence.watch(scene.gateway(0), [ANN], False)
    scene.open(1, ANN)
    scene.open(1, ANN, "w", "web")
    scene.open(1, "any/bob")
    assert scene.told(0) == [(ANN, True, [["p", "phone"], ["w", "web"]], NOW)]
    assert scene.told(0) == [] and scene.told(1) == []


def test_a_loss_with_a_return_is_not_told(scene: Scene) -> None:
    conn, epoch, _ = scene.open(1, ANN)
    scene.presence.watch(scene.gateway(0), [ANN], False)
    scene.close(1, conn, ANN, epoch)
    scene.ticks(10)
    scene.open(0, ANN)
    scene.ticks(30)
    assert scene.told(0) == []


def test_offline_is_told_after_the_delay(scene: Scene) -> None:
    scene.settle()
    conn, epoch, _ = scene.open(1, ANN)
    scene.presence.watch(scene.gateway(0), [ANN], False)
    scene.close(1, conn, ANN, epoch)
    scene.ticks(15)
    assert scene.told(0) == []
    scene.ticks(1)
    assert scene.told(0) == [(ANN, False, [], 0)]


def test_a_watch_taken_back_ends_the_telling(scene: Scene) -> None:
    scene.presence.watch(scene.gateway(0), [ANN], False)
    scene.presence.watch(scene.gateway(0), [ANN], True)
    scene.open(1, ANN)
    assert scene.told(0) == []


def test_after_a_restart_watchers_hear_at_once_who_is_online_and_later_who_is_not() -> None:
    scene = Scene(announced=False)
    scene.presence.watches.renew(scene.gateway(0).name, [ANN, "any/bob"], True, True)
    scene.announce(0)
    scene.announce(1, [7, ANN, "p", "phone", 5, NOW])
    assert scene.told(0) == [(ANN, True, [["p", "phone"]], NOW)]
    scene.ticks(15)
    assert scene.told(0) == []
    scene.ticks(1)
    assert scene.told(0) == [("any/bob", False, [], 0)]


ASKED = {"watch": lambda p, g: p.watch(g, [ANN], False), "where": lambda p, g: p.where(g, [ANN])}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_who_was_unknown_when_asked_for_is_told_of_when_known(ask: Any) -> None:
    scene = Scene()
    scene.presence.watch(scene.gateway(0), [ANN], False)
    if ask is ASKED["watch"]:
        scene.presence.watch(scene.gateway(0), [ANN], True)
    scene.presence.doubt()
    ask(scene.presence, scene.gateway(0))
    assert scene.told(0) == []
    scene.announce(0)
    scene.announce(1)
    scene.settle()
    assert scene.told(0) == [(ANN, False, [], 0)]


def test_a_gateway_that_is_gone_is_told_nothing(scene: Scene) -> None:
    scene.presence.watch(scene.gateway(0), [ANN], False)
    scene.presence.call_gone("gateway-0", NOW)
    scene.open(1, ANN)
    assert scene.told(0) == []


# seen and online time


def test_logins_and_losses_are_seen_and_online_time_is_added_at_the_loss(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN)
    assert scene.presence.seen.batch(9) == [(ANN, NOW, 0)]
    scene.presence.seen.written(scene.presence.seen.batch(9))
    scene.ticks(5)
    scene.close(0, conn, ANN, epoch)
    assert scene.presence.seen.batch(9) == [(ANN, NOW + 5_000, 5)]


def test_online_time_counts_once_whatever_the_number_of_devices_and_not_while_away(scene: Scene) -> None:
    conn, epoch, _ = scene.open(0, ANN, "p")
    web, web_epoch, _ = scene.open(0, ANN, "w")
    scene.ticks(3)
    scene.close(0, conn, ANN, epoch)
    scene.ticks(3)
    scene.close(0, web, ANN, web_epoch)
    scene.ticks(3)
    back, back_epoch, _ = scene.open(0, ANN, "p")
    scene.ticks(2)
    scene.close(0, back, ANN, back_epoch)
    assert scene.presence.seen.batch(9) == [(ANN, NOW + 11_000, 8)]


def test_online_time_of_the_connected_is_added_within_two_rounds() -> None:
    scene = Scene(online_ticks=10)
    scene.open(0, ANN)
    scene.ticks(20)
    ((user, _, seconds),) = scene.presence.seen.batch(9)
    assert user == ANN and seconds >= 10


REFUSALS = {"conflict": ("shy/ann", Conflict), "full": ("any/ann", Full)}


@pytest.mark.parametrize("user, error", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_login_is_not_seen(user: str, error: type[RequestError]) -> None:
    scene = Scene(devices=1)
    scene.open(0, user, "p")
    scene.presence.seen.written(scene.presence.seen.batch(9))
    with pytest.raises(error):
        scene.open(0, user, "w")
    assert len(scene.presence.seen) == 0


# tags and bans


def test_logins_have_the_tags_they_came_with_and_those_given_later() -> None:
    scene = Scene()
    presence, gateway = scene.presence, scene.presence.gateways.get("gateway-0")
    assert gateway is not None
    presence.open(gateway, 1, ANN, "p", "phone", 0, NOW, ["b", "a"])
    presence.open(gateway, 2, ANN, "w", "web", 0, NOW, ["a", "b"])
    presence.announce(gateway, [[3, "any/bob", "p", "phone", 7, NOW, ["c"]]], False, False, NOW)
    first, second = presence.logins(ANN)
    assert first.tags == ("a", "b") and first.tags is second.tags
    (bob,) = presence.logins("any/bob")
    assert bob.tags == ("c",)
    presence.tag(bob, ["d", "d"])
    assert bob.tags == ("d",)
    assert presence.logins("any/nobody") == ()


def test_after_the_end_of_all_logins_none_of_them_is_resumed_and_a_new_one_may_come() -> None:
    scene = Scene()
    presence, gateway = scene.presence, scene.presence.gateways.get("gateway-0")
    assert gateway is not None
    epoch = presence.open(gateway, 1, ANN, "p", "phone", 0, NOW).epoch
    presence.end_logins(ANN, NOW + 5)
    for device, old in (("p", epoch), ("w", epoch - 1)):
        with pytest.raises(Unauthorized):
            presence.open(gateway, 2, ANN, device, "phone", old, NOW + 6)
    later = presence.open(gateway, 3, ANN, "w", "web", 0, NOW + 6).epoch
    assert presence.open(gateway, 4, ANN, "w", "web", later, NOW + 7).epoch > later
