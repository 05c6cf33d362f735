from __future__ import annotations

from typing import Any

import pytest

from common.errors import Unavailable
from common.settings import TokenKey
from common.wire.tickets import TICKET_SECONDS, read_ticket
from tests.center.scene import NOW, TICKET_KEY, TOKEN_KEY, Api, Processes, problem
from tests.tokens import sign_token

OTHER_KEY = TokenKey(key="o" * 32)


def load(connections: int, limit: int = 100, state: str = "ready", port: int = 0) -> dict[str, Any]:
    return {"connections": connections, "limit": limit, "address": f"h:{port}", "state": state}


def api_with(*loads: Any) -> Api:
    answers = {f"gateway-{n} load": it for n, it in enumerate(loads)}
    return Api(Processes(**answers), cluster__gateways=len(loads))


def names(api: Api, **options: Any) -> list[str]:
    told = api.get("/v1/dispatch?uid=alice", **options).get_json()
    return [row["gateway"] for row in told["gateways"]]


def token(uid: str = "alice", exp: float = NOW + 60, key: TokenKey = TOKEN_KEY) -> str:
    return sign_token(uid, "p", int(exp), key)


def test_gateways_come_least_loaded_first_by_share_of_their_limit():
    api = api_with(load(50), load(60, 1_000), load(10))
    assert names(api) == ["gateway-1", "gateway-2", "gateway-0"]


def test_full_draining_and_silent_gateways_are_left_out():
    api = api_with(load(100), load(1, state="draining"), Unavailable("away"), load(5), load(6))
    assert names(api) == ["gateway-3", "gateway-4"]


def test_no_gateway_with_space_is_unavailable():
    assert problem(api_with(load(100)).get("/v1/dispatch?uid=alice"))["status"] == 503


def test_what_was_sent_somewhere_counts_there_before_the_next_look():
    api = api_with(load(0, 10), load(1, 10))
    assert [names(api)[0] for _ in range(4)] == ["gateway-0", "gateway-0", "gateway-1", "gateway-0"]
    assert len(api.processes.of("load")) == 2


def test_a_ticket_is_for_that_user_at_that_gateway_for_thirty_seconds():
    told = api_with(load(1, port=7), load(2)).get("/v1/dispatch?uid=alice").get_json()
    assert told["expires"] == (NOW + TICKET_SECONDS) * 1000
    first, second = told["gateways"]
    assert first["address"] == "h:7"
    nonces = {
        read_ticket(TICKET_KEY, row["ticket"], "p/alice", row["gateway"], NOW + 29).nonce
        for row in (first, second)
    }
    assert len(nonces) == 2


def test_a_gateway_that_listens_everywhere_is_where_center_was_reached():
    wild = {**load(1), "address": ""}
    api = api_with(wild)
    port = api.door.places.tcp_port(0)
    told = api.get("/v1/dispatch?uid=alice", headers={"Host": "roost.example:7002"}).get_json()
    assert told["gateways"][0]["address"] == f"roost.example:{port}"
    told = api.get("/v1/dispatch?uid=alice", headers={"Host": "[::1]:7002"}).get_json()
    assert told["gateways"][0]["address"] == f"[::1]:{port}"


def test_a_client_token_is_enough_and_names_the_user():
    api = api_with(load(1))
    told = api.get("/v1/dispatch", key=token()).get_json()
    ticket = told["gateways"][0]["ticket"]
    assert read_ticket(TICKET_KEY, ticket, "p/alice", "gateway-0", NOW)


NO_TOKENS = {
    "expired": token(exp=NOW - 120),
    "of another signer": token(key=OTHER_KEY),
    "nonsense": "x.y.z",
    "nothing": "",
}


@pytest.mark.parametrize("text", NO_TOKENS.values(), ids=NO_TOKENS)
def test_without_a_good_token_or_key_there_is_no_ticket(text: str):
    assert problem(api_with(load(1)).get("/v1/dispatch", key=text))["status"] == 401


def test_a_token_gives_no_ticket_for_somebody_else():
    told = problem(api_with(load(1)).get("/v1/dispatch?uid=bob", key=token()))
    assert told["field"] == "uid"


def test_a_client_that_asks_too_often_has_to_wait_and_others_have_not():
    api = api_with(load(1))
    codes = [api.get("/v1/dispatch", key=token()).status_code for _ in range(11)]
    assert codes == [200] * 10 + [429]
    assert api.get("/v1/dispatch", key=token("bob")).status_code == 200


def test_a_client_token_opens_nothing_else():
    assert api_with(load(1)).get("/v1/users/alice", key=token()).status_code == 401
