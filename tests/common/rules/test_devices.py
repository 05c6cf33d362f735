from __future__ import annotations

import pytest

from common.errors import Conflict, Full
from common.rules.devices import EndedLogins, Login, User, leavers, rivals, stands_above
from common.rules.gateways import Gateway

GATEWAY = Gateway("gateway-0", 0)


def login(device: str, kind: str = "phone", epoch: int = 1, away: bool = False) -> Login:
    made = Login("demo/ann", device, kind, GATEWAY, 1, epoch)
    if away:
        made.gateway = None
    return made


PHONE, WEB, TABLET = login("p"), login("w", "web"), login("t", "phone", away=True)
LEAVERS = {
    "all: nobody": ("all", "x", "phone", []),
    "all: the same device": ("all", "p", "phone", [PHONE]),
    "newest: everybody": ("newest", "x", "tv", [PHONE, WEB, TABLET]),
    "per_kind: the same kind": ("per_kind", "x", "phone", [PHONE, TABLET]),
    "per_kind: another kind": ("per_kind", "x", "tv", []),
    "per_kind: the same device as another kind": ("per_kind", "w", "phone", [PHONE, WEB, TABLET]),
}


@pytest.mark.parametrize("policy, device, kind, leaving", LEAVERS.values(), ids=LEAVERS)
def test_who_leaves_for_a_new_login(policy: str, device: str, kind: str, leaving: list[Login]) -> None:
    assert leavers((PHONE, WEB, TABLET), device, kind, policy, 16) == leaving


def test_refuse_keeps_the_connected_device() -> None:
    with pytest.raises(Conflict):
        leavers((PHONE,), "x", "phone", "refuse", 16)


def test_refuse_lets_the_same_device_replace_itself() -> None:
    assert leavers((PHONE,), "p", "phone", "refuse", 16) == [PHONE]


def test_refuse_forgets_devices_that_are_away() -> None:
    assert leavers((TABLET,), "x", "phone", "refuse", 16) == [TABLET]


def test_the_device_longest_away_makes_room() -> None:
    first, second = login("a", away=True), login("b", away=True)
    assert leavers((PHONE, first, second), "x", "phone", "all", 3) == [first]


def test_a_connected_device_is_never_forgotten() -> None:
    with pytest.raises(Full) as refused:
        leavers((PHONE, WEB), "x", "phone", "all", 2)
    assert refused.value.facts == {"limit": 2}


def test_replacing_oneself_needs_no_room() -> None:
    assert leavers((PHONE, WEB), "w", "web", "all", 2) == [WEB]


STANDS = {
    "newer": (login("p", epoch=9), 8, True),
    "older": (login("p", epoch=7), 8, False),
    "the same, still connected elsewhere": (login("p", epoch=8), 8, True),
    "the same, away: it comes back": (login("p", epoch=8, away=True), 8, False),
    "newer, away": (login("p", epoch=9, away=True), 8, True),
}


@pytest.mark.parametrize("held, epoch, stands", STANDS.values(), ids=STANDS)
def test_the_higher_epoch_stands(held: Login, epoch: int, stands: bool) -> None:
    assert stands_above(held, "p", epoch) is stands


def test_rivals_under_all_are_only_the_device_itself() -> None:
    assert rivals((PHONE, WEB), "w", "phone", "all") == [WEB]


def test_a_user_gives_back_the_logins_it_was_given() -> None:
    user = User(5)
    for logins in ((), (PHONE,), (PHONE, WEB), (TABLET,)):
        user.logins = logins
        assert user.logins == logins
        assert user.connected() is any(one is not TABLET for one in logins)


def test_ended_logins_keep_the_highest_epoch() -> None:
    ended = EndedLogins(10)
    ended.end("demo/ann", "p", 7)
    ended.end("demo/ann", "p", 5)
    assert ended.has("demo/ann", "p", 7)
    assert not ended.has("demo/ann", "p", 8)
    assert not ended.has("demo/ann", "w", 1)
    assert not ended.has("other/ann", "p", 7)


def test_ended_logins_are_bounded_and_the_used_ones_stay() -> None:
    ended = EndedLogins(2)
    for device in ("a", "b"):
        ended.end("demo/ann", device, 1)
    assert ended.has("demo/ann", "a", 1)
    ended.end("demo/ann", "c", 1)
    assert len(ended) == 2
    assert [ended.has("demo/ann", device, 1) for device in ("a", "b", "c")] == [True, False, True]


def test_up_to_which_epoch_ended_logins_had_to_be_forgotten_is_known() -> None:
    ended = EndedLogins(2)
    for device, epoch in (("a", 5), ("b", 9), ("a", 6)):
        ended.end("demo/ann", device, epoch)
    assert ended.forgotten == 0
    for device, epoch in (("c", 7), ("d", 8)):
        ended.end("demo/ann", device, epoch)
    assert ended.forgotten == 9
