"""What thousands of clients have heard: every packet counted, every room's offsets followed.

Room messages are recognised by their first bytes and only looked at; all others are
decoded and given to the caller.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

import msgpack

_size_at = struct.Struct(">I").unpack_from
_MESSAGE = b"\x93\xa7message"
_OFFSET = b"\xa6offset"
_WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
"""First byte of a msgpack unsigned integer -> bytes that follow; others are the value."""

Packet = tuple[str, int, dict[str, Any]]


class Receipts:
    """Counts over all clients of a process; each client is in at most one room.

    Attributes:
        messages: room messages.
        octets, reads: bytes, and in how many pieces they came.
        ops: packets by op, without room messages.
        misplaced: room messages whose offset was not the next one.
        errors: texts of `error` and `kick` packets and of lost connections.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.octets = 0
        self.reads = 0
        self.misplaced = 0
        self.ops: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._rest: dict[int, bytes] = {}
        self._offset: dict[int, int] = {}

    def take(self, client: int, data: bytes) -> list[Packet]:
        """Count what came for a client, cut anywhere; give the packets that are no room messages."""
        self.octets += len(data)
        self.reads += 1
        rest = self._rest.pop(client, None)
        if rest is not None:
            data = rest + data
        others: list[Packet] = []
        start, length = 0, len(data)
        while length - start >= 4:
            end = start + 4 + _size_at(data, start)[0]
            if end > length:
                break
            if data.startswith(_MESSAGE, start + 4):
                self._message(client, data, start + 4)
            else:
                others.append(self._other(client, *msgpack.unpackb(data[start + 4 : end])))
            start = end
        if start < length:
            self._rest[client] = data[start:]
        return others

    def report(self) -> dict[str, Any]:
        """Give all counts."""
        return {
            "messages": self.messages,
            "octets": self.octets,
            "reads": self.reads,
            "misplaced": self.misplaced,
            "ops": dict(self.ops),
            "errors": dict(self.errors.most_common(20)),
        }

    def _message(self, client: int, data: bytes, start: int) -> None:
        self.messages += 1
        at = data.index(_OFFSET, start) + len(_OFFSET)
        width = _WIDTHS.get(data[at], 0)
        offset = int.from_bytes(data[at + 1 : at + 1 + width]) if width else data[at]
        if offset != self._offset.get(client, 0) + 1:
            self.misplaced += 1
        self._offset[client] = offset

    def _other(self, client: int, op: str, number: int, body: dict[str, Any]) -> Packet:
        self.ops[op] += 1
        if op in ("error", "kick"):
            self.errors[f"{op} {body['code']}: {body.get('message', body.get('reason'))}"] += 1
        elif op == "gap" or (op == "ok" and "count" in body):  # the reply to a join
            self._offset[client] = body["offset"]
        return op, number, body
