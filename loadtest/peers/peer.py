"""What the bench asks of a server: to start, and the words its clients say and hear.

One module per server has both halves. The half that starts it runs in the bench, the other half in
the load client, which makes its own of `options`. Neither knows how figures are taken.

    payload    10 digits, the message's number in its topic (1, 2, 3 …), then "x" up to the size
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

DIGITS = 10
HOST = "127.0.0.1"

Data = bytes | bytearray


def payload(number: int, size: int) -> bytes:
    """Give the payload of a message; `size` is at least 10."""
    return b"%010d" % number + b"x" * (size - DIGITS)


def number_at(data: Data, start: int) -> int:
    """Give the number of the message whose payload begins at `start`."""
    return int(data[start : start + DIGITS])


class Frame(NamedTuple):
    """One whole frame of what a subscriber reads.

    Args:
        end: the place behind it.
        number: of the message; 0: it is no message.
        answer: what the subscriber has to write now.
        refusal: what the server says went wrong.
    """

    end: int
    number: int = 0
    answer: bytes = b""
    refusal: str = ""


class Step(NamedTuple):
    """One step of coming in.

    Args:
        words: to write.
        end: given all that was read since, tells the place behind the answer; 0: not yet all there.
    """

    words: bytes
    end: Callable[[bytes], int]


def behind(mark: bytes) -> Callable[[bytes], int]:
    """Give the end of an answer that ends with a mark."""

    def end(data: bytes) -> int:
        at = data.find(mark)
        return at + len(mark) if at >= 0 else 0

    return end


@dataclass(frozen=True)
class Running:
    """A server that takes clients.

    Args:
        pids: of all its processes, by name ("gateway-0").
        stop: ends it.
        options: what the load client needs to know, as keyword arguments of the peer.
    """

    port: int
    pids: dict[str, int]
    stop: Callable[[], None]
    options: dict[str, Any] = field(default_factory=dict)


class Peer(Protocol):
    """One kind of server.

    Attributes:
        title: its name in the report.
        setting: what is not as it comes, in words.
        install: the command that installs it.
    """

    title: str
    setting: str
    install: str

    def version(self) -> str:
        """Give the version that would be started; "" when it is not here."""

    def start(self, folder: Path) -> Running:
        """Start it with its files in a folder of its own; returns when it takes clients.

        Raises:
            RuntimeError: it ended, or took too long.
        """

    def enter(self, number: int, topic: str) -> list[Step]:
        """Give how the client of a number subscribes to a topic."""

    def enter_publisher(self, topic: str) -> list[Step] | None:
        """Give how a connection for publishing comes in; None: the topic's first subscriber publishes."""

    def publish(self, topic: str, payload: bytes) -> bytes:
        """Give the words that publish."""

    def frame(self, data: Data, start: int) -> Frame | None:
        """Give the frame that begins at `start`; None when it is not yet all there."""
