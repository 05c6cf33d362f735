"""How every decoder of the wire is fed: whole, byte by byte, and with a tail."""

from __future__ import annotations

from common.wire.framing import cut


def feed(stream: bytes, limit: int, tail: bytes = b"") -> tuple[list[bytes], bytes]:
    """Cut a stream in three ways and give what all of them agree on.

    Args:
        stream: whole packets, or one that must be refused.
        limit: as for `cut`.
        tail: the beginning of a packet that never completes.
    """
    whole = _drain(stream + tail, limit)
    singly = [stream[i : i + 1] for i in range(len(stream))]
    assert _pieces(singly + [tail], limit) == whole
    assert _pieces([stream, tail], limit) == whole
    return whole


def _drain(buffer: bytes, limit: int) -> tuple[list[bytes], bytes]:
    bodies: list[bytes] = []
    while True:
        more, buffer = cut(buffer, limit)
        bodies += more
        if not more:
            return bodies, buffer


def _pieces(pieces: list[bytes], limit: int) -> tuple[list[bytes], bytes]:
    bodies: list[bytes] = []
    rest = b""
    for piece in pieces:
        more, rest = _drain(rest + piece, limit)
        bodies += more
    return bodies, rest
