"""nats-server, as Debian ships it, by its text protocol.

    client    CONNECT {…}    SUB <subject> <sid>    PUB <subject> <bytes>    PING
    server    INFO {…}    MSG <subject> <sid> <bytes>    PING    PONG    -ERR <words>

each followed by CR LF, and PUB and MSG by their payload and another one.

Source: https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

from pathlib import Path

from loadtest.peers import server
from loadtest.peers.peer import HOST, Data, Frame, Running, Step, behind, number_at

END = b"\r\n"


class Nats:
    """nats-server."""

    title = "nats-server"
    setting = "as it comes"
    install = "apt-get install nats-server"

    def version(self) -> str:
        """Give "2.9.10" of "nats-server: v2.9.10"."""
        return server.says("nats-server", "--version").rpartition("v")[2]

    def start(self, folder: Path) -> Running:
        """Start it."""
        port = server.free_port()
        command = [str(server.find("nats-server")), "-a", HOST, "-p", str(port)]
        return server.start(command, folder, port)

    def enter(self, number: int, topic: str) -> list[Step]:
        """Connect and subscribe; the PONG says that all before it is done."""
        words = b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB %s 1\r\nPING\r\n' % topic.encode()
        return [Step(words, behind(b"PONG\r\n"))]

    def enter_publisher(self, topic: str) -> list[Step] | None:
        """The first subscriber publishes."""
        return None

    def publish(self, topic: str, payload: bytes) -> bytes:
        """Publish."""
        return b"PUB %s %d\r\n%s\r\n" % (topic.encode(), len(payload), payload)

    def frame(self, data: Data, start: int) -> Frame | None:
        """Give the next line, with the payload if it has one."""
        line_end = data.find(END, start)
        if line_end < 0:
            return None
        line = bytes(data[start:line_end])
        begin = line_end + len(END)
        if line.startswith(b"MSG "):
            end = begin + int(line.rpartition(b" ")[2]) + len(END)
            return Frame(end, number_at(data, begin)) if end <= len(data) else None
        if line == b"PING":
            return Frame(begin, answer=b"PONG\r\n")
        return Frame(begin, refusal=line.decode() if line.startswith(b"-ERR") else "")
