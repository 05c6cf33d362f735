"""The other doors of a gateway: TLS, proxies, the echo, and floods of slow requests."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Opcode

from common.wire.proxy import SIGNATURE
from loadtest.flock.lines import trusting
from tests.cluster.carriers import WebSocket, WebSocketEnd, ask
from tests.cluster.certificates import make_certificate
from tests.cluster.cluster import Cluster, running
from tests.cluster.raw import Raw
from tests.cluster.test_carriers import hello, need, web
from tests.waiting import until

PROXY = "127.0.0.9"
SLOW = 1_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "gateway.pem"
    make_certificate(path)
    return path


@pytest.fixture(scope="module")
def cluster(certificate: Path) -> Iterator[Cluster]:
    """A small cluster with every door open."""
    with running(
        {
            "cluster.gateways": 1,
            "cluster.sessions": 1,
            "cluster.dbservers": 1,
            "cluster.maps": {"plaza": 1},
            "gateway.tls_certificate": str(certificate),
            "gateway.trusted_proxies": [PROXY],
            "gateway.proxy_protocol": True,
            "gateway.echo": True,
            "gateway.compress": True,
        }
    ) as started:
        yield started


def over_tls(raw: Raw) -> Raw:
    raw.socket = trusting().wrap_socket(raw.socket)
    return raw


def serial_at(cluster: Cluster) -> int:
    """Give the serial number of the certificate that is shown."""
    address = ("127.0.0.1", cluster.places.tls_port)
    with socket.create_connection(address, 5) as plain, trusting().wrap_socket(plain) as sock:
        shown = sock.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def test_packets_of_any_size_go_over_tls(cluster: Cluster) -> None:
    with over_tls(Raw(("127.0.0.1", cluster.places.tls_port))) as client:
        client.hello(cluster.token("secret"))
        client.ok("join", {"room": "plaza/tls"})
        large = "x" * 60_000
        client.send("publish", {"room": "plaza/tls", "data": large})
        assert client.wait_op("message")["data"] == large
        assert client.request("ping", {})[0] == "pong"


def test_a_changed_certificate_is_taken_without_a_restart_and_disturbs_nobody(
    cluster: Cluster, certificate: Path
) -> None:
    with over_tls(Raw(("127.0.0.1", cluster.places.tls_port))) as client:
        client.hello(cluster.token("steady"))
        serial = make_certificate(certificate)
        until(lambda: serial_at(cluster) == serial, 10)
        assert client.request("ping", {})[0] == "pong"


def test_a_client_without_tls_on_a_port_with_it_harms_nobody(cluster: Cluster) -> None:
    with Raw(("127.0.0.1", cluster.places.tls_port)) as client:
        client.write(b"\0\0\0\x05hello")
        client.wait_end()
    assert serial_at(cluster)


def proxy_header(address: str) -> bytes:
    body = socket.inet_aton(address) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 40_000, 7000)
    return SIGNATURE + b"\x21\x11" + struct.pack(">H", len(body)) + body


def test_a_trusted_proxy_must_say_whose_connection_it_is_and_others_need_not(cluster: Cluster) -> None:
    with Raw(cluster.tcp(0), source=PROXY) as proxied:
        proxied.write(proxy_header("192.0.2.7"))
        proxied.hello(cluster.token("proxied"))
    with Raw(cluster.tcp(0), source=PROXY) as silent:
        silent.send("hello", {"v": 1, "token": cluster.token("silent"), "device": "d"})
        silent.wait_end()
        assert not silent.seen
    with Raw(cluster.tcp(0), source="127.0.0.8") as direct:
        direct.hello(cluster.token("direct"))


class Echo(WebSocketEnd):
    """The echo."""

    def __init__(self, cluster: Cluster, compress: bool = False) -> None:
        extensions = [ClientPerMessageDeflateFactory()] if compress else None
        super().__init__(web(cluster, 0), "/echo", extensions=extensions, max_size=None)

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *what: object) -> None:
        self.socket.close()

    def frames(self, count: int) -> list[tuple[Opcode, bytes]]:
        """Read so many frames."""
        found: list[tuple[Opcode, bytes]] = []
        while len(found) < count:
            found += [(one.opcode, bytes(one.data)) for one in self.receive()]
        return found

    def close_code(self, data: bytes) -> int:
        """Write bytes as they are; give the code of the close frame that answers."""
        self.socket.sendall(data)
        while self.protocol.close_rcvd is None:
            self.receive()
        return self.protocol.close_rcvd.code


def test_the_echo_puts_fragments_together_answers_pings_between_them_and_gives_large_messages_back(
    cluster: Cluster,
) -> None:
    with Echo(cluster) as echo:
        echo.protocol.send_text(b"gr\xc3", fin=False)
        echo.protocol.send_ping(b"here?")
        echo.protocol.send_continuation(b"\xbc\xc3\x9fe", fin=True)
        echo.protocol.send_binary(b"\0" * 300_000)
        echo.flush()
        heard = echo.frames(3)
        assert (Opcode.PONG, b"here?") in heard
        assert (Opcode.TEXT, "grüße".encode()) in heard
        assert (Opcode.BINARY, b"\0" * 300_000) in heard
        echo.protocol.send_close(1000, "enough")
        echo.flush()
        assert echo.close_code(b"") == 1000


BROKEN = {
    "a reserved bit": (b"\xc1\x80\0\0\0\0", 1002),
    "text that is not UTF-8": (b"\x81\x81\0\0\0\0\xff", 1007),
    "an unknown opcode": (b"\x83\x80\0\0\0\0", 1002),
    "no mask": (b"\x81\x01x", 1002),
    "too large": (b"\x82\xff" + (2**40).to_bytes(8) + b"\0\0\0\0", 1009),
    "a close code of 1005": (b"\x88\x82\0\0\0\0\x03\xed", 1002),
}


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_answered_with_the_code_of_the_rfc(cluster: Cluster, data: bytes, code: int) -> None:
    with Echo(cluster) as echo:
        assert echo.close_code(data) == code


def test_what_is_agreed_to_be_compressed_is(cluster: Cluster) -> None:
    with Echo(cluster, compress=True) as echo:
        assert len(echo.protocol.extensions) == 1
        echo.protocol.send_text(b"x" * 100_000)
        echo.flush()
        assert echo.frames(1) == [(Opcode.TEXT, b"x" * 100_000)]


FLOODS = {"heads": "-H", "bodies": "-B", "reads": "-X"}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_thousand_slow_requests_keep_no_websocket_out(cluster: Cluster, kind: str) -> None:
    need("slowhttptest")
    url = "http://{}:{}/healthz".format(*web(cluster, 0))
    command = ["slowhttptest", FLOODS[kind], "-c", str(SLOW), "-r", "500", "-i", "5", "-l", "30", "-u", url]
    flood = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _held(cluster) >= SLOW * 0.8, 20)
        began = time.monotonic()
        with WebSocket(web(cluster, 0), hello(cluster, "hasty")) as client:
            assert client.welcome["uid"] == "hasty"
        assert time.monotonic() - began < 1.0
    finally:
        flood.terminate()
        flood.wait(10)


def _held(cluster: Cluster) -> int:
    """Give how many sockets a gateway holds."""
    status, body = ask(web(cluster, 0), "GET", "/healthz")
    assert status == 200
    return int(json.loads(body)["connections"])
