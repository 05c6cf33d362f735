"""Addresses and the socket."""

from __future__ import annotations

import pytest
from scripted_peer import Peer

from roost_client.wire import Wire, parse_address

GOOD = {"127.0.0.1:7000": ("127.0.0.1", 7000), "[::1]:7000": ("::1", 7000), "a.example:1": ("a.example", 1)}


@pytest.mark.parametrize("text", GOOD)
def test_an_address_is_parsed(text: str) -> None:
    assert parse_address(text) == GOOD[text]


def test_a_pair_is_an_address() -> None:
    assert parse_address(("localhost", 7000)) == ("localhost", 7000)


@pytest.mark.parametrize("text", ["", "7000", "host", "host:", ":7000", "host:x"])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_address(text)


def test_a_full_socket_takes_nothing_and_blocks_nobody(peer: Peer) -> None:
    wire = Wire(peer.address, 5.0)
    peer.accept()
    while wire.send(bytearray(1 << 20)):
        pass
    assert wire.send(bytearray(10)) == 0
    wire.close()


def test_receiving_gives_bytes_then_none_then_the_end(peer: Peer) -> None:
    wire = Wire(peer.address, 5.0)
    conversation = peer.accept()
    conversation.sock.sendall(b"abc")
    assert wire.receive(5.0) == b"abc"
    assert wire.receive(0.0) is None
    conversation.close()
    assert wire.receive(5.0) == b""
    wire.close()
