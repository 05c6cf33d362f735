"""A request of a gateway, answered in the stream the room's messages travel in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from common.errors import RequestError
from common.net.links import Links
from common.rules.room import Message
from common.wire.batch import pack_item


class Ask(NamedTuple):
    """Who asked, and the number the answer goes under; 0 wants none."""

    links: Links
    gateway: str
    number: int

    def ok(self, value: Any) -> None:
        """Answer with a value; an answer the gateway's queue has no space for is lost."""
        if self.number:
            self.links.send(self.gateway, pack_item(["ok", self.number, value]))

    def refuse(self, error: RequestError) -> None:
        """Answer with an error; lost in the same way."""
        if self.number:
            item = ["err", self.number, error.code, error.message, error.facts]
            self.links.send(self.gateway, pack_item(item))


def rows(messages: Iterable[Message]) -> list[list[Any]]:
    """Give the messages of an answer as gateways take them: [offset, uid, data, time] each."""
    return [[message.offset, message.uid, message.data, message.time] for message in messages]
