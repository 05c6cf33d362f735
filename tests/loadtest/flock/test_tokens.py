from __future__ import annotations

import time

import pytest

from common.errors import Unauthorized
from common.settings import TokenKey
from common.wire.tokens import verify_token
from loadtest.flock.tokens import Signer

KEY = "k" * 43


def test_a_gateway_takes_the_token_for_what_it_says() -> None:
    now = int(time.time())
    claims = verify_token(Signer(KEY, "swarm", now + 60).token("u17"), [TokenKey(key=KEY)], now)
    assert (claims.user, claims.exp, claims.rooms, claims.tags) == ("swarm/u17", now + 60, None, ())


def test_it_is_worth_nothing_under_another_key() -> None:
    now = int(time.time())
    with pytest.raises(Unauthorized):
        verify_token(Signer(KEY, "swarm", now + 60).token("u17"), [TokenKey(key="x" * 43)], now)
