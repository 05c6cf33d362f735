"""mosquitto, as Debian ships it, by MQTT 3.1.1 at QoS 0.

    packet     u8 type and flags, length of the rest as a varint (7 bits each, lowest first), the rest
    PUBLISH    0x30, …, u16 length of the topic, topic, payload

Source: https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html
"""

from __future__ import annotations

import re
from pathlib import Path

from loadtest.peers import server
from loadtest.peers.peer import HOST, Data, Frame, Running, Step, behind, number_at

CONNECT, PUBLISH, SUBSCRIBE = 0x10, 0x30, 0x82
CLEAN_SESSION = 2
SUBACK = b"\x90\x03\x00\x01\x00"
"""Of packet 1: QoS 0 is granted."""
LONGEST_LENGTH = 4
CONF = """\
listener {port} {host}
allow_anonymous true
persistence false
set_tcp_nodelay true
user root
"""


def text(words: str) -> bytes:
    """Give a string as MQTT has it."""
    return len(words).to_bytes(2) + words.encode()


def packet(kind: int, rest: bytes) -> bytes:
    """Give a packet."""
    size, length = len(rest), b""
    while size > 127:
        length += bytes((0x80 | size & 0x7F,))
        size >>= 7
    return bytes((kind,)) + length + bytes((size,)) + rest


class Mosquitto:
    """mosquitto."""

    title = "mosquitto"
    setting = "`set_tcp_nodelay true`, no persistence, QoS 0"
    install = "apt-get install mosquitto"

    def version(self) -> str:
        """Give "2.0.11" of "mosquitto version 2.0.11 …"."""
        found = re.search(r"mosquitto version (\S+)", server.says("mosquitto", "-h"))
        return found[1] if found else ""

    def start(self, folder: Path) -> Running:
        """Start it."""
        port = server.free_port()
        conf = folder / "mosquitto.conf"
        conf.write_text(CONF.format(port=port, host=HOST))
        return server.start([str(server.find("mosquitto")), "-c", str(conf)], folder, port)

    def enter(self, number: int, topic: str) -> list[Step]:
        """Connect, with no heartbeat, and subscribe."""
        head = text("MQTT") + bytes((4, CLEAN_SESSION, 0, 0))
        subscribe = packet(SUBSCRIBE, b"\x00\x01" + text(topic) + b"\x00")
        return [Step(packet(CONNECT, head + text(f"c{number}")) + subscribe, behind(SUBACK))]

    def enter_publisher(self, topic: str) -> list[Step] | None:
        """The first subscriber publishes."""
        return None

    def publish(self, topic: str, payload: bytes) -> bytes:
        """Publish."""
        return packet(PUBLISH, text(topic) + payload)

    def frame(self, data: Data, start: int) -> Frame | None:
        """Give the next packet."""
        size = shift = 0
        for at in range(start + 1, min(start + 1 + LONGEST_LENGTH, len(data))):
            size |= (data[at] & 0x7F) << shift
            shift += 7
            if data[at] < 0x80:
                break
        else:
            return None
        begin, end = at + 1, at + 1 + size
        if end > len(data):
            return None
        if data[start] & 0xF0 != PUBLISH:
            return Frame(end)
        topic = int.from_bytes(data[begin : begin + 2])
        return Frame(end, number_at(data, begin + 2 + topic))
