"""One room, every carrier."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from tests.cluster.carriers import Browser, Carrier, Curl, Events, Polling, Raw, WebSocket, ask
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import MakeCluster
from tests.waiting import until

ROOM = "plaza/carriers"
MESSAGES = 1_000
PAGE = """
window.heard = [];
const socket = new WebSocket(`ws://${location.host}/ws`, ["roost.v1.json"]);
socket.onopen = () => {
  socket.send(JSON.stringify(["hello", 1, {v: 1, token: arguments[0], device: "page"}]));
  socket.send(JSON.stringify(["join", 2, {room: arguments[1]}]));
};
socket.onmessage = (event) => {
  const [op, id, body] = JSON.parse(event.data);
  if (op === "message") window.heard.push([body.offset, body.data]);
  if (op === "ok" && id === 2) window.joined = true;
};
"""


def need(*programs: str) -> None:
    """Skip where a program is missing; in CI that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI must install {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def web(cluster: Cluster, index: int | None = None) -> tuple[str, int]:
    """Give (host, port) of HTTP: of one gateway, or of the port they share."""
    places = cluster.places
    return cluster.settings.cluster.host, places.web_port if index is None else places.own_web_port(index)


def hello(cluster: Cluster, uid: str, **more: Any) -> dict[str, Any]:
    """Give the body of a hello."""
    return {"v": 1, "token": cluster.token(uid), "device": "d", **more}


def messages(client: Carrier | Raw, count: int) -> list[tuple[int, Any]]:
    """Read on until so many messages were seen; give (offset, data) each."""
    heard = [(body["offset"], body["data"]) for op, _, body in client.seen if op == "message"]
    while len(heard) < count:
        packet = client.read()
        assert packet is not None
        if packet[0] == "message":
            heard.append((packet[2]["offset"], packet[2]["data"]))
    return heard


@pytest.fixture
def browser() -> Iterator[Browser]:
    need("chromium", "chromedriver")
    made = Browser()
    yield made
    made.close()


def test_every_kind_of_client_sees_the_same_thousand_messages_in_the_same_order(
    cluster: Cluster, browser: Browser
) -> None:
    need("curl")
    browser.open("http://{}:{}/healthz".format(*web(cluster, 1)))
    browser.run(PAGE, cluster.token("browser"), ROOM)
    until(lambda: browser.run("return window.joined === true"), 20)
    raw = Raw(cluster.tcp(0), timeout=30)
    raw.hello(cluster.token("tcp"))
    clients: list[Carrier | Raw] = [
        raw,
        WebSocket(web(cluster, 1), hello(cluster, "ws")),
        Events(web(cluster, 0), hello(cluster, "sse")),
        Curl(web(cluster, 1), hello(cluster, "curl")),
    ]
    for client in clients:
        client.ok("join", {"room": ROOM})
    data = [{"n": number, "text": "grüße", "bin": {"$bin": "AP8="}} for number in range(MESSAGES)]
    with WebSocket(web(cluster), hello(cluster, "speaker")) as speaker:
        speaker.ok("join", {"room": ROOM})
        reading = [gevent.spawn(messages, client, MESSAGES) for client in clients]
        for one in data:
            speaker.send("publish", {"room": ROOM, "data": one})
        heard = [greenlet.get(timeout=60) for greenlet in reading]
    expected = list(enumerate(data, 1))
    in_msgpack = [(offset, {**one, "bin": b"\x00\xff"}) for offset, one in expected]
    assert heard[0] == in_msgpack
    assert all(other == expected for other in heard[1:])
    until(lambda: browser.run("return window.heard.length") >= MESSAGES, 20)
    assert browser.run("return window.heard") == [list(one) for one in expected]
    for client in clients:
        client.close()


def tcp(cluster: Cluster, index: int, body: dict[str, Any]) -> Raw:
    raw = Raw(cluster.tcp(index), timeout=20)
    raw.welcome = raw.ok("hello", body)
    return raw


MAKERS: tuple[Callable[[Cluster, int, dict[str, Any]], Any], ...] = (
    lambda cluster, index, body: WebSocket(web(cluster, index), body),
    lambda cluster, index, body: Polling(web(cluster, index), body),
    tcp,
)


class Hopper:
    """A device that keeps its place while it changes what carries it.

    Attributes:
        said, told: what it heard in the room, and in its inbox, each once.
    """

    def __init__(self, cluster: Cluster, room: str) -> None:
        self.cluster = cluster
        self.room = room
        self.said: list[int] = []
        self.told: list[int] = []
        self.seq = 0
        with tcp(cluster, 0, hello(cluster, "hopper")) as client:
            joined = client.ok("join", {"room": room})
            self.resume = client.welcome["resume"]
        self.epoch, self.offset = joined["epoch"], joined["offset"]

    def come(self, make: Callable[[Cluster, int, dict[str, Any]], Any], index: int) -> Any:
        """Log in by another carrier where it was; give the client."""
        client = make(self.cluster, index, {"v": 1, "resume": self.resume, "device": "d"})
        self.resume = client.welcome["resume"]
        joined = client.ok("join", {"room": self.room, "since": {"epoch": self.epoch, "offset": self.offset}})
        assert joined["recovered"]
        missed = [("message", 0, body) for body in joined["messages"]]
        client.seen = sorted([*missed, *client.seen], key=lambda packet: packet[2].get("offset", 0))
        return client

    def take(self, client: Any) -> None:
        """Take what was heard, dropping what is known by its number."""
        for op, _, body in client.seen:
            if op == "message" and body["offset"] > self.offset:
                self.offset = body["offset"]
                self.said.append(body["data"])
            elif op == "inbox" and body["seq"] > self.seq:
                self.seq = body["seq"]
                self.told.append(body["data"])
        client.seen.clear()

    def stay(self, client: Any, seconds: float) -> None:
        """Listen for a while, ack, and leave without a word."""
        until_time = time.monotonic() + seconds
        while time.monotonic() < until_time:
            client.read()
        self.take(client)
        if self.seq:
            client.ok("ack", {"seq": self.seq})
            self.take(client)
        client.close()


def test_a_client_that_changes_its_carrier_under_load_hears_each_message_once(cluster: Cluster) -> None:
    room, sending = "plaza/keep.hopping", Event()
    hopper = Hopper(cluster, room)
    speaker = WebSocket(web(cluster, 0), hello(cluster, "steady"))
    speaker.ok("join", {"room": room})

    def speak() -> int:
        number = 0
        while not sending.is_set():
            number += 1
            speaker.send("publish", {"room": room, "data": number})
            speaker.send("send", {"to": "hopper", "data": number, "keep": True})
            sending.wait(0.02)
        return number

    speaking = gevent.spawn(speak)
    for hop in range(20):
        hopper.stay(hopper.come(MAKERS[hop % 3], hop % 2), 0.15)
    sending.set()
    total = speaking.get(timeout=20)
    with hopper.come(tcp, 1) as client:
        hopper.take(client)
        while len(hopper.said) < total or len(hopper.told) < total:
            client.read()
            hopper.take(client)
    assert hopper.said == hopper.told == list(range(1, total + 1))
    speaker.close()


HAPROXY = """
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{port}
  default_backend gateways
backend gateways
  balance roundrobin
{servers}
"""


def test_polls_dealt_out_over_two_gateways_lose_nothing_and_do_nothing_twice(
    cluster: Cluster, tmp_path: Path
) -> None:
    need("haproxy")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    servers = "\n".join("  server g{} {}:{}".format(i, *web(cluster, i)) for i in range(2))
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, servers=servers))
    balancer = subprocess.Popen(["haproxy", "-db", "-q", "-f", str(config)])
    room = "plaza/dealt"
    try:
        until(lambda: answers(("127.0.0.1", port)), 10)
        with Polling(("127.0.0.1", port), hello(cluster, "dealt")) as client:
            client.ok("join", {"room": room})
            for number in range(1, 41):
                client.send("publish", {"room": room, "data": number})
                client.repeat(cut=number % 2 == 0)
            assert [data for _, data in messages(client, 40)] == list(range(1, 41))
    finally:
        balancer.terminate()
        balancer.wait(10)


def test_two_posts_that_race_keep_their_order(cluster: Cluster) -> None:
    room = "plaza/racing"
    with Polling(web(cluster, 0), hello(cluster, "racer")) as client:
        client.ok("join", {"room": room})
        pairs = [["publish", 0, {"room": room, "data": number}] for number in (1, 2)]
        first, second = client.n + 1, client.n + 2
        behind = gevent.spawn(client.post, second, [pairs[1]])
        client.post(first, [pairs[0]])
        behind.get(timeout=10)
        assert [data for _, data in messages(client, 2)] == [1, 2]


def answers(address: tuple[str, int]) -> bool:
    """Tell whether a gateway answers there."""
    try:
        return ask(address, "GET", "/healthz")[0] == 200
    except OSError:
        return False


def test_a_gateway_killed_under_a_session_is_told_and_resume_goes_on(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    client = Polling(web(cluster, 0), hello(cluster, "bereft"))
    pid = cluster.kill("gateway-0")
    cluster.wait_healed({"gateway-0": pid})
    assert ask(web(cluster, 1), "POST", f"/poll?sid={client.sid}&cursor=0")[0] == 404
    with Polling(web(cluster, 1), {"v": 1, "resume": client.welcome["resume"], "device": "d"}) as again:
        assert again.welcome["uid"] == "bereft"
