from __future__ import annotations

import _socket
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.ssl import SSLContext

from common.net.front.arrival import Arrival
from loadtest.flock.lines import trusting
from tests.cluster.certificates import make_certificate
from tests.common.net.front.scene import Site, until

MakeSite = Callable[..., Site]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> SSLContext:
    path: Path = tmp_path_factory.mktemp("tls") / "gateway.pem"
    make_certificate(path)
    context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def arrive(site: Site, tls: SSLContext | None, web: bool = False) -> socket.socket:
    """Give the other end of a connection that was just accepted."""
    ours, theirs = socket.socketpair()
    raw = _socket.socket(ours.family, ours.type, ours.proto, ours.detach())
    raw.setblocking(False)
    arrival = Arrival(site.front, raw, "127.0.0.1", web, tls)
    site.process.tasks.spawn("arrival", arrival.run)
    theirs.settimeout(5)
    site._browsers.append(theirs)
    return theirs


def hello_of_tls() -> bytes:
    """Give the first words of a handshake."""
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        trusting().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


def drip(sock: Any, data: bytes, seconds: float) -> int:
    """Write byte by byte until the other end is gone; give how many it took."""
    for sent, byte in enumerate(data):
        try:
            sock.sendall(bytes((byte,)))
        except OSError:
            return sent
        gevent.sleep(seconds)
    return len(data)


def test_a_handshake_has_its_time_however_many_pieces_it_comes_in(make_site: MakeSite, tls: SSLContext):
    site = make_site(hello_timeout=0.2)
    words = hello_of_tls()
    assert drip(arrive(site, tls), words, 0.02) < len(words)
    until(lambda: not site.front.half_open)
    assert site.front.counters.tls_failed == 1


def test_half_done_handshakes_of_one_address_are_bounded(make_site: MakeSite, tls: SSLContext):
    site = make_site(half_open_per_address=3)
    socks = [arrive(site, tls) for _ in range(20)]
    for sock in socks:
        sock.sendall(hello_of_tls()[:10])
    until(lambda: site.front.counters.half_open_closed == 17)
    assert len(site.front.half_open) == 3
    assert [sock.recv(1) for sock in socks[:17]] == [b""] * 17


def test_a_request_over_tls_has_its_time_too(make_site: MakeSite, tls: SSLContext):
    site = make_site(hello_timeout=0.3)
    sock = trusting().wrap_socket(arrive(site, tls, web=True))
    site._browsers.append(sock)
    until(lambda: site.front.counters.tls_handshakes == 1)
    plain = socket.socket(fileno=os.dup(sock.fileno()))
    try:
        assert drip(plain, b"\x17\x03\x03\x10\x00" + b"a" * 200, 0.02) < 200
    finally:
        plain.close()
    until(lambda: not site.front.half_open and not site.front.web)
