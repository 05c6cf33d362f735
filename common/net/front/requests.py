"""Requests that went to another process by link and wait for their answer.

All wait equally long, so the oldest is always the first of the table and time-outs
cost nothing until they happen. An answer is taken by the op's finisher in the
greenlet of that link, at its place in the stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from gevent.event import AsyncResult

from common.errors import DeadlineExceeded, RequestError, Unavailable, rebuild

if TYPE_CHECKING:
    from common.net.front.connection import Connection

Finisher = Callable[["Request", Any], None]
Failed = Callable[["Request", RequestError], None]
Item = Callable[[int], list[Any]]
"""Gives the link item of a request for the number it goes under."""


def item(kind: str, *rest: Any) -> Item:
    """Give what makes `[kind, number, *rest]`."""
    return lambda number: [kind, number, *rest]


class Request:
    """One request on its way.

    Attributes:
        number: the client's id; 0 wants no reply.
        peer: process that answers.
        finish: called with (request, value) on `ok`; may raise RequestError.
        fail: called with (request, error); None: the error is the reply.
        subject: what the op needs when the answer comes.
    """

    __slots__ = ("connection", "fail", "finish", "number", "peer", "started_at", "subject")

    def __init__(
        self,
        connection: Connection,
        number: int,
        peer: str,
        started_at: float,
        finish: Finisher,
        fail: Failed | None,
        subject: Any,
    ) -> None:
        self.connection = connection
        self.number = number
        self.peer = peer
        self.started_at = started_at
        self.finish = finish
        self.fail = fail
        self.subject = subject


class Requests:
    """All requests of a gateway, by the number that travels with them.

    Numbers begin above those of an earlier life of this gateway, so that an answer which
    was meant for that one is never taken for another request's.

    Args:
        timeout: seconds after which a request fails with `timeout`.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._numbers = count(time.time_ns() // 1000)
        self._waiting: dict[int, Request] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: Request) -> int:
        """Remember a request; give its number for the link."""
        number = next(self._numbers)
        self._waiting[number] = request
        request.connection.in_flight += 1
        return number

    def forget(self, number: int) -> None:
        """Take a request back that was not sent."""
        self._take(number)

    def succeed(self, number: int, value: Any) -> None:
        """Take an answer; one that is no longer waited for is dropped."""
        request = self._take(number)
        if request is None:
            return
        try:
            request.finish(request, value)
        except RequestError as error:
            self._refuse(request, error)

    def fail(self, number: int, code: str, message: str, facts: dict[str, Any]) -> None:
        """Take a refusal; one that is no longer waited for is dropped."""
        request = self._take(number)
        if request is not None:
            self._refuse(request, rebuild(code, message, facts))

    def lost(self, peer: str) -> None:
        """The stream with `peer` ended: what it has not answered fails with `unavailable`."""
        numbers = [number for number, request in self._waiting.items() if request.peer == peer]
        for number in numbers:
            request = self._take(number)
            if request is not None:
                self._refuse(request, Unavailable(f"lost touch with {peer}; it may have been done"))

    def expire(self, now: float) -> None:
        """Fail what has waited too long."""
        while self._waiting:
            number, request = next(iter(self._waiting.items()))
            if now - request.started_at < self._timeout:
                return
            self._take(number)
            self._refuse(request, DeadlineExceeded(f"{request.peer} did not answer in time"))

    def _take(self, number: int) -> Request | None:
        request = self._waiting.pop(number, None)
        if request is not None:
            request.connection.in_flight -= 1
        return request

    def _refuse(self, request: Request, error: RequestError) -> None:
        if request.fail is not None:
            request.fail(request, error)
        else:
            request.connection.refuse(request.number, error)


def settle(request: Request, value: Any) -> None:
    """Finisher for greenlets that wait: `subject` is their AsyncResult."""
    result: AsyncResult = request.subject
    result.set(value)


def settle_error(request: Request, error: RequestError) -> None:
    """The same for a failure."""
    result: AsyncResult = request.subject
    result.set_exception(error)
