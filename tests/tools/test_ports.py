from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from common.errors import ConfigError
from common.places import Places
from common.settings import load
from tools import ports
from tools.ports import Port


@pytest.fixture
def taken() -> Iterator[Port]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Port("127.0.0.1", server.getsockname()[1], "clients, all gateways", "cluster.host")


def test_every_port_of_the_cluster_follows_the_base() -> None:
    settings = load({"ROOST_PORT": "9000", "ROOST_CLUSTER_GATEWAYS": "3"})
    numbers = [port.number for port in ports.wanted(settings, Places(settings))]
    assert numbers == [9000, 9001, 9100, 9200, 9101, 9201, 9102, 9202, 9002]


def test_clusters_with_bases_a_thousand_apart_share_no_port() -> None:
    sets = []
    for base in ("7000", "8000"):
        settings = load({"ROOST_PORT": base, "ROOST_CLUSTER_GATEWAYS": "200"})
        sets.append({port.number for port in ports.wanted(settings, Places(settings))})
    assert not sets[0] & sets[1]


def test_a_taken_port_is_named_with_its_holder_and_the_setting_that_moves_it(taken: Port) -> None:
    with pytest.raises(ConfigError) as caught:
        ports.check([taken])
    text = str(caught.value)
    assert f"port {taken.number} on 127.0.0.1 (clients, all gateways) is taken" in text
    assert f"pid {os.getpid()} (" in text
    assert "ROOST_PORT=" in text


def test_a_port_is_taken_even_for_one_who_would_share_it(taken: Port) -> None:
    with socket.socket() as sharing:
        sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharing.bind(("127.0.0.1", 0))
        sharing.listen()
        with pytest.raises(ConfigError, match="is taken"):
            ports.check([Port("127.0.0.1", sharing.getsockname()[1], "clients", "cluster.host")])


def test_free_ports_pass_and_stay_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    ports.check([Port("127.0.0.1", number, "center", "center.host")] * 2)


def test_an_address_this_host_does_not_have_names_the_setting() -> None:
    with pytest.raises(ConfigError, match=r"check the setting center\.host"):
        ports.check([Port("192.0.2.1", 7002, "center", "center.host")])


def test_nobody_holds_a_free_port() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert ports.holder(bound.getsockname()[1]) is None
