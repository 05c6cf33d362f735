from __future__ import annotations

from typing import Any

import pytest

from common.wire.codec import encode, message_frame
from loadtest.receipts import Receipts

JOINED = encode("ok", 2, {"room": "plaza/a", "epoch": 1, "offset": 126, "messages": [], "count": 1})


def said(offset: int) -> bytes:
    return message_frame("plaza/a", offset, "anna", b"\x01", 1_700_000_000_000)


def heard(*pieces: bytes) -> Receipts:
    receipts = Receipts()
    for piece in pieces:
        receipts.take(7, piece)
    return receipts


STREAMS: dict[str, tuple[bytes, int, int]] = {
    "in order over all sizes of an offset": (JOINED + b"".join(map(said, range(127, 400))), 273, 0),
    "one lost": (JOINED + said(127) + said(129) + said(130), 3, 1),
    "one twice": (JOINED + said(127) + said(127), 2, 1),
    "two changed places": (JOINED + said(128) + said(127), 2, 2),
    "a gap announced": (JOINED + encode("gap", 0, {"room": "plaza/a", "offset": 140}) + said(141), 1, 0),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_every_message_is_counted_and_every_jump_seen_however_it_is_cut(stream: str, size: int) -> None:
    data, messages, misplaced = STREAMS[stream]
    receipts = heard(*(data[at : at + size] for at in range(0, len(data), size)))
    assert (receipts.messages, receipts.misplaced) == (messages, misplaced)
    assert receipts.octets == len(data)


def test_other_packets_are_given_and_counted_by_op() -> None:
    receipts = Receipts()
    body: dict[str, Any] = {"code": "busy", "message": "later", "retry": True}
    assert receipts.take(1, encode("pong", 4, {}) + encode("error", 3, body)) == [
        ("pong", 4, {}),
        ("error", 3, body),
    ]
    assert receipts.report()["ops"] == {"pong": 1, "error": 1}
    assert receipts.report()["errors"] == {"error busy: later": 1}


def test_clients_do_not_mix() -> None:
    receipts = Receipts()
    receipts.take(1, JOINED[:5])
    receipts.take(2, JOINED + said(127))
    receipts.take(1, JOINED[5:] + said(127))
    assert (receipts.messages, receipts.misplaced) == (2, 0)
