"""How a connection is made: address, socket, hello, welcome; and when the next attempt is due."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from .codec import Packet
from .connection import Connection, open_connection
from .errors import (
    ClientClosed,
    ConnectionLost,
    RequestError,
    RoostError,
    Timeout,
    Unauthorized,
    pause_of,
)
from .events import Kicked
from .link import Link
from .retry import Timings
from .session import Session
from .wire import Address, Wire, address_text, parse_address

log = logging.getLogger("roost_client")

Token = str | Callable[[], str]
Ticket = Callable[[str], str | None]


class Dialer:
    """Makes links that have their welcome.

    Args:
        addresses: where gateways are; each attempt takes the next one.
        token: shown when there is no `resume`, or it is refused.
        ticket: gives the dispatcher's ticket that goes with a token to an address, None for none.
    """

    def __init__(
        self,
        addresses: list[Address],
        token: Token,
        session: Session,
        timings: Timings,
        ticket: Ticket | None = None,
    ) -> None:
        self._ticket = ticket
        self._configured = addresses
        self._addresses = addresses
        self._next = random.randrange(len(addresses))
        self._token = token
        self._session = session
        self._timings = timings
        self._attempt = 0
        self._wire: Wire | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Log in nowhere any more; what is under way ends at once. Any thread may call."""
        self._stopped.set()
        wire = self._wire
        if wire is not None:
            wire.shut()

    def prefer(self, texts: list[str]) -> None:
        """Try these addresses before the configured ones; what is no address is left out."""
        wanted: list[Address] = []
        for text in texts:
            try:
                wanted.append(parse_address(text))
            except ValueError:
                log.warning("not an address: %r", text)
        if wanted:
            self._addresses = wanted + [known for known in self._configured if known not in wanted]
            self._next = random.randrange(len(wanted))

    def token(self) -> str:
        """Give a token now.

        Raises:
            ConnectionLost: the application's callable raised.
        """
        if not callable(self._token):
            return self._token
        try:
            return self._token()
        except Exception as error:
            raise ConnectionLost(f"no token: {error!r}") from error

    def dial_all(self, deadline: float) -> tuple[Link, list[Packet]]:
        """Try each address once, in turn.

        Raises:
            OSError, RoostError: what the last one answered; a final refusal at once.
        """
        failure: Exception = Timeout("no time to connect")
        for _ in self._addresses:
            if time.monotonic() >= deadline:
                break
            try:
                return self.dial(deadline)
            except ClientClosed:
                raise
            except (OSError, RoostError) as error:
                if isinstance(error, RequestError) and not error.retry:
                    raise
                failure = error
        raise failure

    def dial_on(self, failed: Callable[[int, Exception], object]) -> tuple[Link, list[Packet]]:
        """Dial by the retry plan until a connection stands.

        Args:
            failed: told how many attempts have failed in a row, and what the last one ended with.

        Raises:
            RequestError, ClientClosed: refused for good, or the client has ended.
        """
        while not self._stopped.is_set():
            try:
                return self.dial(time.monotonic() + self._timings.welcome)
            except ClientClosed:
                raise
            except (OSError, RoostError) as error:
                if isinstance(error, RequestError) and not error.retry:
                    raise
                failure: Exception = error
            log.info("could not connect, attempt=%d: %s", self._attempt, failure)
            delay = self._delay()
            failed(self._attempt, failure)
            self.pause(max(pause_of(failure), delay))
        raise ClientClosed("closed", "")

    def wait_after(self, link: Link) -> None:
        """Wait before dialing again; the plan begins anew after a connection that lived for long."""
        if time.monotonic() - link.connection.opened_at >= self._timings.stable:
            self._attempt = 0
        self.pause(self._delay())

    def pause(self, seconds: float) -> None:
        """Wait; `stop` ends it."""
        self._stopped.wait(seconds)

    def _delay(self) -> float:
        self._attempt += 1
        return self._session.plan.delay(self._attempt - 1, random.random)

    def dial(self, deadline: float) -> tuple[Link, list[Packet]]:
        """Log in at the next address: by `resume`, or by token where that is refused.

        Returns:
            The link, and the packets that came behind the welcome.

        Raises:
            OSError, ConnectionLost: no connection, or no welcome in time.
            RequestError: refused.
            ClientClosed: kicked, not to come back; or the client has ended.
        """
        address = self._addresses[self._next % len(self._addresses)]
        self._next += 1
        if self._session.resume is not None:
            try:
                return self._log_in(address, deadline, None)
            except Unauthorized:
                self._session.resume = None
        return self._log_in(address, deadline, self.token())

    def _log_in(self, address: Address, deadline: float, token: str | None) -> tuple[Link, list[Packet]]:
        wire = Wire(address, self._left(deadline))
        try:
            self._wire = wire
            if self._stopped.is_set():  # a `hello` now would replace whoever has the device by now
                raise ClientClosed("closed", "")
            connection = Connection(time.monotonic(), self._timings)
            link = Link(wire, connection)
            connection.request("hello", self._hello(address, token), time.monotonic())
            rest = self._welcome(link, min(deadline, time.monotonic() + self._timings.welcome))
            _refuse_kick(connection)
        except BaseException:
            wire.close()
            raise
        finally:
            self._wire = None
        return link, rest

    def _hello(self, address: Address, token: str | None) -> dict[str, Any]:
        hello = self._session.hello(token)
        if token is None or self._ticket is None:
            return hello
        try:
            ticket = self._ticket(address_text(address))
        except Exception as error:
            raise ConnectionLost(f"no ticket: {error!r}") from error
        return hello if ticket is None else {**hello, "ticket": ticket}

    def _welcome(self, link: Link, deadline: float) -> list[Packet]:
        """Wait for the answer to `hello`; give the packets behind it."""
        while True:
            link.flush()
            data = link.wire.receive(self._left(deadline))
            if data is None:
                raise Timeout("no welcome")
            if not data:
                raise ConnectionLost("closed before the welcome")
            packets = link.connection.receive_data(data, time.monotonic())
            rest = open_connection(link.connection, packets)
            if rest is not None:
                return rest

    def _left(self, deadline: float) -> float:
        return max(0.001, min(deadline - time.monotonic(), self._timings.welcome))


def _refuse_kick(connection: Connection) -> None:
    """Turn a kick that came instead of the welcome into what the caller does about it."""
    if connection.kick is None:
        return
    kick = Kicked.from_body(connection.kick)
    if kick.reconnect:
        raise ConnectionLost(f"kicked: {kick.code} {kick.reason}")
    if kick.code == "unauthorized":
        raise Unauthorized(kick.reason)
    raise ClientClosed(kick.code, kick.reason)
