from __future__ import annotations

import pytest

from common.settings import load
from loadtest.c1000k.__main__ import CONF
from loadtest.c1000k.size import SIZES, Size

LARGEST_ROOM = 1_000


@pytest.mark.parametrize("name", SIZES)
def test_the_clients_of_a_dead_gateway_fit_on_the_others(name: str) -> None:
    size = SIZES[name]
    limit = load({"ROOST_CONF": str(CONF)}).gateway.max_connections
    assert size.connections <= limit * (size.gateways - 1)


@pytest.mark.parametrize("name", SIZES)
def test_all_are_in_rooms_of_a_thousand(name: str) -> None:
    size = SIZES[name]
    assert size.connections / size.rooms == LARGEST_ROOM


def test_the_conf_file_is_for_the_full_size() -> None:
    settings = load({"ROOST_CONF": str(CONF)})
    assert settings.cluster.gateways == SIZES["c1000k"].gateways
    assert settings.gateway.ping >= SIZES["c1000k"].ping_every


def test_flocks_share_all_connections() -> None:
    size = Size(connections=1_001, gateways=3)
    assert (size.flock_size, size.flocks) == (334, 3)
    assert Size(connections=5, gateways=8).flocks == 5


def test_words_change_a_size_and_wrong_ones_are_refused() -> None:
    assert SIZES["c100k"].changed(["hold=5.5", "gateways=2"]).hold == 5.5
    for word in ("hold", "speed=9"):
        with pytest.raises(ValueError, match=word):
            SIZES["c100k"].changed([word])
