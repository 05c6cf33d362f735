from __future__ import annotations

import pytest

from common.errors import ConfigError
from common.settings import load
from tools import drain


def test_what_is_left_is_told_when_it_changes_until_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "TURN", 0.001)
    left = iter([300, 300, 120, 0, 7])
    said: list[str] = []
    drain._watch(lambda: {"connections": next(left)}, "gateway-0", said.append)
    assert said == [f"gateway-0: {number} connections left" for number in (300, 120, 0)]


@pytest.mark.parametrize("name", ["gateway-9", "world-0", "gateway"])
def test_only_gateways_are_drained(name: str) -> None:
    with pytest.raises(ConfigError, match="there are gateway-0, gateway-1"):
        drain.drain(load({}), name, print)
