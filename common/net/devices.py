"""What is stored of a user's devices, read from the hash of the mailbox.

The fields of a device are written by the scripts of the mailbox only (scripts/shared/mailbox.lua).

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

from typing import NamedTuple


class Device(NamedTuple):
    """A device as its mailbox remembers it.

    Args:
        acked, backed: positions of seq and bseq; backed 0: none yet.
        begin, bbegin: where it began: what is not above was never meant for it.
        seen, since: ms, last seen and last login.
        given: the highest seq given to it, as far as is known.
        head, loads: the first seq it did not ack, and over how many connections.
        tags: names.
        ended: highest login epoch ended, 0 = none.
    """

    acked: int
    backed: int
    begin: int
    bbegin: int
    seen: int
    since: int
    given: int
    head: int
    loads: int
    tags: tuple[str, ...] = ()
    ended: int = 0


class Meta(NamedTuple):
    """The hash of a mailbox: last seq given, bytes kept, how many were dropped alive, devices by name."""

    seq: int
    bytes: int
    dropped: int
    devices: dict[str, Device]


def read_meta(flat: list[bytes]) -> Meta:
    """Read the reply to HGETALL."""
    fields = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
    devices = {}
    for field, positions in fields.items():
        if field.startswith("p/"):
            name = field[2:]
            acked, backed, begin, bbegin = map(int, positions.split(":"))
            seen, since, given, head, loads = map(int, fields[f"s/{name}"].split(":"))
            tags, ended = tuple(fields.get(f"t/{name}", "").split()), int(fields.get(f"e/{name}", 0))
            devices[name] = Device(acked, backed, begin, bbegin, seen, since, given, head, loads, tags, ended)
    seq, size, dropped = (int(fields.get(name, 0)) for name in ("seq", "bytes", "dropped"))
    return Meta(seq, size, dropped, devices)
