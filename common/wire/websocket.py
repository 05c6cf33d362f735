"""WebSocket frames of one client, in and out; opening and rules by `websockets`' sans-I/O core.

    server frame   FIN 1, opcode │ size: 7, 16 or 64 bits │ payload, unmasked
    client frame   the same with a mask of 4 bytes; may be cut into fragments

A Reader exists while a client talks. Between two messages it keeps nothing, so a quiet
connection needs none: `quick` knows the one frame a quiet client sends, a ping.

Source: RFC 6455; docs/protocol.md, section 2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from websockets.extensions import Extension
from websockets.frames import CloseCode, Opcode
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.utils import apply_mask

CONTROLS: Final = frozenset((Opcode.PING, Opcode.PONG))
SMALL: Final = 125
"""Largest payload whose size stands in the second byte."""
MASKED: Final = 0x80
FIN: Final = 0x80

_short = struct.Struct(">BBH").pack
_long = struct.Struct(">BBQ").pack


class Message(NamedTuple):
    """What a client said: the payload of a whole message."""

    text: bool
    data: bytes


def frame(opcode: int, payload: bytes, compressed: bool = False) -> bytes:
    """Give a server's whole frame; `compressed` sets the bit of permessage-deflate."""
    head, size = FIN | (0x40 if compressed else 0) | opcode, len(payload)
    if size <= SMALL:
        return bytes((head, size)) + payload
    if size < 65_536:
        return _short(head, 126, size) + payload
    return _long(head, 127, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Give a close frame; the reason is cut to what fits."""
    return frame(Opcode.CLOSE, code.to_bytes(2) + reason.encode()[: SMALL - 2])


def quick(data: bytes, answer: Callable[[bytes], bytes | None], opcode: int) -> bytes | None:
    """Give the answer when this is one small whole frame with a ping in it; never raises.

    Args:
        answer: gives the packet that answers a packet; b"" none, None: not a ping.
        opcode: that of packets.

    Returns:
        What to write; b"" nothing; None: it is something else, for a Reader.
    """
    if len(data) < 6 or not MASKED <= data[1] <= MASKED | SMALL or len(data) != 6 + data[1] - MASKED:
        return None
    kind = data[0] ^ FIN
    if kind == Opcode.PING:
        return frame(Opcode.PONG, apply_mask(data[6:], data[2:6]))
    if kind != opcode:
        return None
    reply = answer(apply_mask(data[6:], data[2:6]))
    return frame(opcode, reply) if reply else reply


def whole(buffer: bytes, limit: int, one: bool = False) -> int:
    """Give how many bytes at the front of a buffer are whole frames, or the first of them.

    All of it counts as whole when a frame announces more than `limit` bytes: nothing of it is
    to be waited for.
    """
    start, length = 0, len(buffer)
    while length - start >= 2:
        size, head = buffer[start + 1] & 0x7F, 2
        if size > SMALL:
            head = 4 if size == 126 else 10
            if length - start < head:
                return start
            size = int.from_bytes(buffer[start + 2 : start + head])
        if size > limit:
            return length
        end = start + head + (4 if buffer[start + 1] & MASKED else 0) + size
        if end > length:
            return start
        start = end
        if one:
            break
    return start


class Reader:
    """A client's messages out of its bytes.

    Args:
        limit: largest message, bytes; a larger one is refused from the size announced.
        extensions: as agreed in the opening.

    Attributes:
        controls: pings, pongs and fragments in what was taken last; they cost like packets.
        failed: why the client broke the rules; "" while it has not.
        over: nothing more is to be read: it broke the rules, or closed.
    """

    __slots__ = ("_limit", "_parts", "_protocol", "_rest", "_text", "controls", "failed", "over")

    def __init__(self, limit: int, extensions: Sequence[Extension] = ()) -> None:
        self._protocol = Protocol(SERVER, state=OPEN, max_size=limit)
        self._protocol.extensions = list(extensions)
        self._limit = limit
        self._rest = b""
        self._parts: list[bytes] = []
        self._text = False
        self.controls = 0
        self.failed = ""
        self.over = False

    @property
    def idle(self) -> bool:
        """Tell whether it stands between two messages and keeps nothing."""
        return not self._rest and self._protocol.current_size is None

    def take(self, data: bytes) -> list[Message]:
        """Take bytes off the wire, cut anywhere; give the messages they complete.

        What is to be written then, pongs and the close frame, `replies` gives. Where messages are
        compressed it gives few at once, for they may be a thousand times as large as what came:
        call again with b"" until it gives none.
        """
        self._rest = self._rest + data if self._rest else data
        self.controls = 0
        one = bool(self._protocol.extensions)
        messages: list[Message] = []
        size = 0
        while size < self._limit and not self.over and (end := whole(self._rest, self._limit, one)):
            part, self._rest = self._rest[:end], self._rest[end:]
            self._protocol.receive_data(part)
            fresh = self._messages()
            messages += fresh
            size += sum(len(message.data) for message in fresh)
            self._look_for_the_end()
            if not one:
                break
        return messages

    def _look_for_the_end(self) -> None:
        if self._protocol.close_expected():
            self.over = True
            self._rest = b""
            if self._protocol.parser_exc is not None and not self.failed:
                self.failed = str(self._protocol.parser_exc)

    def _messages(self) -> list[Message]:
        messages: list[Message] = []
        for event in self._protocol.events_received():
            opcode = getattr(event, "opcode", None)
            if opcode in CONTROLS:
                self.controls += 1
            elif opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                message = self._gather(event)
                if message is None:
                    continue
                if message.text and not _is_utf8(message.data):
                    self.fail(CloseCode.INVALID_DATA, "text is not UTF-8")
                    break
                messages.append(message)
        return messages

    def _gather(self, event: object) -> Message | None:
        """Put a fragment to the others; give the message it completes."""
        opcode, data, fin = event.opcode, bytes(event.data), event.fin  # type: ignore[attr-defined]
        if opcode is not Opcode.CONT:
            self._text = opcode is Opcode.TEXT
            if fin:
                return Message(self._text, data)
        if data:
            self._parts.append(data)
        if not fin:
            self.controls += 1
            return None
        parts, self._parts = self._parts, []
        return Message(self._text, b"".join(parts))

    def fail(self, code: int, reason: str) -> None:
        """End the connection for a message that is not allowed."""
        self.failed = reason
        self.over = True
        self._protocol.fail(code, reason)

    def replies(self) -> bytes:
        """Give what is to be written now; b"" when nothing."""
        return b"".join(self._protocol.data_to_send())

    def close(self) -> None:
        """Read no more. The protocol and its parser hold each other: nothing else would free them soon."""
        self._protocol.parser.close()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
