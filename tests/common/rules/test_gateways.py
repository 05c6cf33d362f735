from __future__ import annotations

from common.rules.devices import Login
from common.rules.gateways import Gateway, Gateways


def met(gateways: Gateways, name: str, incarnation: str, tick: int = 0) -> tuple[Gateway, bool]:
    answer = gateways.meet(name, incarnation, tick)
    assert answer is not None
    return answer


def test_every_configured_gateway_is_awaited_at_first() -> None:
    assert Gateways(["gateway-0", "gateway-1"], 3).awaited == {"gateway-0", "gateway-1"}


def test_a_new_incarnation_is_a_new_life_and_the_older_voice_is_void() -> None:
    gateways = Gateways(["gateway-0"], 3)
    assert met(gateways, "gateway-0", "a")[1]
    assert not met(gateways, "gateway-0", "a")[1]
    gateway, renewed = met(gateways, "gateway-0", "b")
    assert renewed and gateway.incarnation == "b"
    assert gateways.meet("gateway-0", "a", 0) is None
    assert gateway.incarnation == "b"


def test_a_new_life_forgets_closed_connections_and_the_announcement_under_way() -> None:
    gateways = Gateways(["gateway-0"], 3)
    gateway, _ = met(gateways, "gateway-0", "a")
    gateway.closed.add(7)
    gateway.announcing = {1}
    met(gateways, "gateway-0", "b")
    assert not gateway.has_closed(7)
    assert gateway.announcing is None


def test_a_gateway_that_restarts_is_not_awaited_but_one_that_was_gone_is() -> None:
    gateways = Gateways(["gateway-0"], 3)
    gateway, _ = met(gateways, "gateway-0", "a")
    gateways.awaited.clear()
    met(gateways, "gateway-0", "b")
    assert not gateways.awaited
    gateway.gone = True
    gateways.back("gateway-0", 5)
    assert gateways.awaited == {"gateway-0"} and not gateway.gone


def test_a_gateway_nobody_configured_is_taken_in_and_awaited() -> None:
    gateways = Gateways([], 3)
    met(gateways, "gateway-7", "a")
    assert gateways.awaited == {"gateway-7"}


def test_silence_is_counted_in_ticks_since_the_last_sign() -> None:
    gateways = Gateways(["gateway-0"], 3)
    gateways.heard("gateway-0", 10)
    assert gateways.silent(13) == []
    (silent,) = gateways.silent(14)
    silent.gone = True
    assert gateways.silent(20) == []


def test_a_closed_connection_is_remembered_for_one_to_two_periods() -> None:
    gateway = Gateway("gateway-0", 0)
    gateway.closed.add(7)
    gateway.forget_closed()
    assert gateway.has_closed(7)
    gateway.forget_closed()
    assert not gateway.has_closed(7)


def test_after_doubt_all_but_the_gone_are_awaited() -> None:
    gateways = Gateways(["gateway-0", "gateway-1"], 3)
    gone = gateways.get("gateway-1")
    assert gone is not None
    gone.gone = True
    gateways.awaited.clear()
    gateways.await_all()
    assert gateways.awaited == {"gateway-0"}


def test_a_held_login_counts_as_named_and_a_released_one_is_away() -> None:
    gateway = Gateway("gateway-0", 0)
    gateway.announcing = set()
    login = Login("demo/ann", "p", "phone", gateway, 4, 1)
    gateway.hold(login)
    assert gateway.connections == {4: login} and gateway.announcing == {4}
    gateway.release(login)
    assert gateway.connections == {} and login.gateway is None
