"""What a link carries: items in order, behind a header that says from whom to whom.

    batch    msgpack array │ header │ item │ item │ …
    header   [sender, its incarnation, its term,
              receiver's incarnation ("" not known yet), receiver's term,
              session (how often the link was set up), number (of the batch in it)]
    item     [kind: str, …], packed once by whoever sends it

It travels as the one argument of zerorpc's event `deliver`:

    event    msgpack [{v: 3}, "deliver", [batch: bytes]]

Source: docs/architecture.md, links.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from msgpack import Packer, unpackb

from common.errors import BadPacket
from common.wire.codec import pack


class Header(NamedTuple):
    """Whose batch this is, for whom, and which one."""

    sender: str
    sender_incarnation: str
    sender_term: int
    receiver_incarnation: str
    receiver_term: int
    session: int
    number: int


_TYPES: Final = [str, str, int, str, int, int, int]
_pack_size: Final = Struct(">I").pack
_EVENT: Final = b"\x93" + pack({"v": 3}) + pack("deliver") + b"\x91\xc6"
_EVENT_BYTES: Final = len(_EVENT) + 4
_packer = Packer(autoreset=True)


def pack_item(item: list[Any]) -> bytes:
    """Give one item, `[kind, …]`, ready for any number of batches.

    Raises:
        TypeError, ValueError, OverflowError: msgpack cannot carry it.
    """
    return pack(item)


def pack_batch(header: Header, items: Sequence[bytes]) -> bytes:
    """Give a batch; the items are joined as they are. [] makes an idle one."""
    head: bytes = _packer.pack_array_header(len(items) + 1)
    return b"".join((head, pack(header), *items))


def pack_event(batch: bytes) -> bytes:
    """Give a batch as zerorpc's event."""
    return b"".join((_EVENT, _pack_size(len(batch)), batch))


def unpack_event(event: bytes | memoryview) -> bytes | memoryview:
    """Give the batch in an event.

    Raises:
        BadPacket: it is no event with one argument, or that is no bytes.
    """
    size = len(event) - _EVENT_BYTES
    if size >= 0 and event[:_EVENT_BYTES] == _EVENT + _pack_size(size):
        return event[_EVENT_BYTES:]
    try:
        _, _, (batch,) = unpackb(event)
    except (TypeError, ValueError) as error:
        raise BadPacket(f"no event: {error}") from None
    if type(batch) is not bytes:
        raise BadPacket("the event's argument is no batch")
    return batch


def unpack_batch(blob: bytes | memoryview) -> tuple[Header, list[list[Any]]]:
    """Give the header and the items of a batch, in order; bytes stay bytes.

    Raises:
        BadPacket: nothing `pack_batch` has made.
    """
    try:
        value = unpackb(blob)
    except ValueError as error:
        raise BadPacket(f"batch is not msgpack: {error}") from None
    if type(value) is not list or not value or type(value[0]) is not list:
        raise BadPacket("batch has no header")
    header, *items = value
    if [type(part) for part in header] != _TYPES:
        raise BadPacket("batch header has other fields")
    for item in items:
        if type(item) is not list or not item or type(item[0]) is not str:
            raise BadPacket("batch item is not [kind, …]")
    return Header(*header), items
