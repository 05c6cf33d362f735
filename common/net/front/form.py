"""How packets stand on a carrier: what is the same for all connections of one kind.

    TCP                      the frames as they are made (common/wire/codec.py)
    WebSocket, msgpack       each packet in a binary message
    WebSocket, JSON          each packet as JSON in a text message
    … with permessage-deflate, its messages compressed

Packets are made once, as TCP frames; a form makes of them what its carrier writes. It
remembers what it made last, so a fan-out is translated once for all members.

Source: docs/protocol.md, section 2.
"""

from __future__ import annotations

from typing import Final, Protocol

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode, Frame, Opcode

from common.errors import KICKS
from common.wire import codec, jsoncodec, websocket
from common.wire.codec import Packet
from common.wire.framing import HEADER_BYTES, SERVER_LIMIT, cut

Deflate = tuple[bool, bool, int, int]
"""Compression as agreed: remote, local without context takeover; remote, local window bits."""
KICK_CODES: Final = {code: 4000 + place for place, code in enumerate(KICKS)}
"""kick code -> close code on WebSocket."""
COMPRESSED_BYTES: Final = 128
"""Messages below this are not compressed: it would make them larger."""


class Reader(Protocol):
    """Packets' bytes out of a connection's bytes; exists while it talks.

    Attributes:
        controls: frames of the carrier's own that came and were not looked at yet.
        grown: bytes that what was taken last has become, where it came compressed.
    """

    controls: int
    grown: int

    @property
    def over(self) -> bool:
        """Tell whether nothing more is to be read."""

    @property
    def failed(self) -> str:
        """Give the rule of the carrier that was broken; "" none."""

    @property
    def idle(self) -> bool:
        """Tell whether it keeps nothing."""

    def take(self, data: bytes) -> list[bytes]:
        """Take bytes, give whole packets; call again with b"" until it gives none."""

    def replies(self) -> bytes:
        """Give what the carrier itself answers; b"" nothing."""

    def close(self) -> None:
        """Read no more."""


class Form(Protocol):
    """One way to carry packets."""

    def wrap(self, frames: bytes) -> bytes:
        """Give what to write for some whole TCP frames."""

    def wrap_one(self, frame: bytes) -> bytes:
        """The same for one frame, or b"", that nobody else gets."""

    def closing(self, code: str) -> bytes:
        """Give what to write behind the last packet; `code` as of a kick, "" a usual end."""

    def quick(self, data: bytes) -> bytes | None:
        """Answer a lone ping of a quiet connection: b"" nothing to write, None something else came."""

    def reader(self, limit: int) -> Reader:
        """Give what reads packets of at most `limit` bytes."""

    def decode(self, body: bytes) -> Packet:
        """Give the packet that a reader found; raises BadPacket."""


class TcpReader:
    """Packets behind their size."""

    __slots__ = ("_limit", "_rest")

    controls = 0
    grown = 0
    over = False
    failed = ""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    @property
    def idle(self) -> bool:
        """Tell whether no half packet waits."""
        return not self._rest

    def take(self, data: bytes) -> list[bytes]:
        """Take bytes, give whole packets.

        Raises:
            BadPacket, PacketTooLarge: by the size alone; what came before it was given before.
        """
        bodies, self._rest = cut(self._rest + data if self._rest else data, self._limit)
        return bodies

    def replies(self) -> bytes:
        """TCP has nothing of its own to say."""
        return b""

    def close(self) -> None:
        """Nothing is to be freed."""


class TcpForm:
    """Frames as they are."""

    def wrap(self, frames: bytes) -> bytes:
        """Give them as they are."""
        return frames

    def wrap_one(self, frame: bytes) -> bytes:
        """Give it as it is."""
        return frame

    def closing(self, code: str) -> bytes:
        """TCP ends without words."""
        return b""

    def quick(self, data: bytes) -> bytes | None:
        """Answer a whole frame with a ping."""
        if len(data) < 24 and data[:3] == b"\0\0\0" and len(data) == 4 + data[3]:
            return codec.ping_reply(data[4:])
        return None

    def reader(self, limit: int) -> TcpReader:
        """Give what cuts frames."""
        return TcpReader(limit)

    def decode(self, body: bytes) -> Packet:
        """Decode msgpack."""
        return codec.decode(body)


class WebSocketReader:
    """Packets in WebSocket messages of one type."""

    __slots__ = ("_compressed", "_reader", "_text", "controls", "grown")

    def __init__(self, reader: websocket.Reader, text: bool, compressed: bool) -> None:
        self._reader = reader
        self._text = text
        self._compressed = compressed
        self.controls = 0
        self.grown = 0

    @property
    def idle(self) -> bool:
        """Tell whether no half message waits."""
        return self._reader.idle

    @property
    def over(self) -> bool:
        """Tell whether the client closed, or broke a rule."""
        return self._reader.over

    @property
    def failed(self) -> str:
        """Give the rule it broke."""
        return self._reader.failed

    def take(self, data: bytes) -> list[bytes]:
        """Take bytes, give the messages; one of the wrong type ends the connection."""
        if not data and not self._compressed:
            return []
        bodies = []
        messages = self._reader.take(data)
        self.controls = self._reader.controls
        for message in messages:
            if message.text != self._text:
                wanted = "text" if self._text else "binary"
                self._reader.fail(CloseCode.UNSUPPORTED_DATA, f"packets are {wanted} messages here")
                break
            bodies.append(message.data)
        if self._compressed:
            self.grown = sum(map(len, bodies))
        return bodies

    def replies(self) -> bytes:
        """Give pongs, and the close frame."""
        return self._reader.replies()

    def close(self) -> None:
        """Free what read the frames."""
        self._reader.close()


class WebSocketForm:
    """Packets as messages.

    Args:
        text: JSON in text messages; else msgpack in binary ones.
        deflate: what was agreed about compression; None: none.
    """

    def __init__(self, text: bool, deflate: Deflate | None = None) -> None:
        self._text = text
        self._deflate = deflate
        self._opcode = Opcode.TEXT if text else Opcode.BINARY
        self._ping_reply = jsoncodec.ping_reply if text else self._packed_pong
        self._wrapped = self._made = b""

    @staticmethod
    def _packed_pong(body: bytes) -> bytes | None:
        reply = codec.ping_reply(body)
        return reply[4:] if reply else reply

    def wrap(self, frames: bytes) -> bytes:
        """Give messages for frames; for the same frames again the same bytes."""
        if frames is not self._wrapped:
            bodies: list[bytes] = []
            part, rest = cut(frames, SERVER_LIMIT)
            while part:
                bodies += part
                part, rest = cut(rest, SERVER_LIMIT)
            self._made = b"".join(map(self._message, bodies))
            self._wrapped = frames
        return self._made

    def wrap_one(self, frame: bytes) -> bytes:
        """Give the message for one frame; what `wrap` made last stays."""
        return self._message(frame[HEADER_BYTES:]) if frame else b""

    def _message(self, body: bytes) -> bytes:
        payload = jsoncodec.translate(body) if self._text else body
        if self._deflate is None or len(payload) < COMPRESSED_BYTES:
            return websocket.frame(self._opcode, payload)
        small = PerMessageDeflate(*self._deflate).encode(Frame(self._opcode, payload))
        return websocket.frame(self._opcode, bytes(small.data), compressed=True)

    def closing(self, code: str) -> bytes:
        """Give the close frame."""
        return websocket.close_frame(KICK_CODES.get(code, CloseCode.NORMAL_CLOSURE))

    def quick(self, data: bytes) -> bytes | None:
        """Answer a whole frame with a ping, WebSocket's or ours."""
        return websocket.quick(data, self._ping_reply, self._opcode)

    def reader(self, limit: int) -> WebSocketReader:
        """Give what reads messages."""
        extensions = [] if self._deflate is None else [PerMessageDeflate(*self._deflate)]
        return WebSocketReader(websocket.Reader(limit, extensions), self._text, bool(extensions))

    def decode(self, body: bytes) -> Packet:
        """Decode JSON or msgpack."""
        return jsoncodec.decode(body) if self._text else codec.decode(body)


class Forms:
    """The forms of WebSocket in use, each made once, so that what it translated serves all."""

    def __init__(self) -> None:
        self._made: dict[tuple[bool, Deflate | None], WebSocketForm] = {}

    def websocket(self, text: bool, deflate: Deflate | None) -> WebSocketForm:
        """Give the form with this subprotocol and this compression."""
        key = (text, deflate)
        if key not in self._made:
            self._made[key] = WebSocketForm(text, deflate)
        return self._made[key]


TCP: Final = TcpForm()
