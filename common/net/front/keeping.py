"""Ops of kept messages: `ack`, `inbox`, and `send` with `keep`.

Source: docs/protocol.md, sections 4 and 6.
"""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import Any

from common.errors import RequestError
from common.net.front.box import Letter, pack_letter, unpack_letter
from common.net.front.connection import Connection
from common.net.front.front import OPS, Front
from common.net.front.requests import item
from common.net.front.whereabouts import ask_all
from common.wire.codec import encode, pack, unpack

PAGE_BYTES = 262_144
NO_BROADCASTS = -1
DIGEST_BYTES = 16


@OPS.on("ack")
def ack(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    """This device has dealt with everything up to these numbers."""
    front.mail.ack(connection, fields["seq"], fields["bseq"])
    return {}


@OPS.on("inbox")
def inbox(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Give a page of what is kept; the positions do not move."""
    bafter = fields["bafter"] if fields["bafter"] is not None else NO_BROADCASTS
    where = (connection.user, connection.device, fields["after"], bafter)
    page = front.dbservers.call("mail_load", *where, fields["limit"], PAGE_BYTES, False)
    messages, broadcasts, gap, more, seq, bseq = page[:6]
    found = [_body(mid, body) | {"seq": place} for place, mid, body in messages]
    found += [_body(mid, body) | {"bseq": place} for place, mid, body in broadcasts]
    answer = {"messages": found, "gap": gap, "more": more, "seq": seq, "bseq": bseq}
    if number:
        connection.send(encode("ok", number, answer))


def _body(mid: int, body: bytes) -> dict[str, Any]:
    letter = unpack_letter(body)
    return {"mid": mid, "uid": letter.uid, "data": unpack(letter.data), "time": letter.time}


def keep(front: Front, connection: Connection, fields: dict[str, Any]) -> dict[str, Any]:
    """Store a message for every receiver, then have their sessions told.

    Raises:
        NotFound: fact `users`; nothing was stored.
        Unavailable, DeadlineExceeded: some may have it; the same key again completes it.
    """
    product, sender = connection.user.partition("/")[::2]
    data = pack(fields["data"])
    body = pack_letter(Letter(sender, data, int(time.time() * 1000), fields["receipt"]))
    users = [f"{product}/{uid}" for uid in fields["to"]]
    digest = blake2b(data, digest_size=DIGEST_BYTES).digest()
    key, ttl = fields["key"] or "", fields["ttl"]
    mid, seqs, prevs = front.dbservers.call(
        "mail_send", product, sender, key, front.ids.take(), body, users, ttl, digest
    )
    shards: dict[str, list[list[Any]]] = {}
    for user, seq in seqs.items():
        session = front.process.places.session_of(user)
        shards.setdefault(session, []).append([user, seq, prevs[user]])
    items = {session: item("keep", rows, mid, body) for session, rows in shards.items()}
    online = 0
    for session, answer in ask_all(front, connection, items).items():
        if isinstance(answer, RequestError):
            front.mail.untold.add(session, shards[session])
        else:
            online += answer
    return {"mid": mid, "online": online}
