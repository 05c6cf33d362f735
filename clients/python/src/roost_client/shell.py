"""The I/O around the session: one reader thread, coming back, requests that wait.

    _establish   dial until a connection stands, by the retry plan
    _read        the reader's loop over one link, until it ends
    _keep        the reader: establish, read, and again

One lock guards all state; nothing waits while holding it. Of all reader threads one is
the owner, and only it dials. After `goaway` a new reader becomes the owner and makes the
new connection while the old reader goes on; the old one ends with its connection.

Under gevent (monkey-patched) threads are greenlets; nothing else differs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from .codec import Packet
from .connection import Connection, Request
from .delivery import Delivery
from .dialing import Dialer
from .errors import ClientClosed, ConnectionLost, ProtocolError, RequestError, RoostError, Timeout
from .events import Kicked, StateChanged
from .link import Link
from .retry import Timings
from .session import Session

log = logging.getLogger("roost_client")

OFFLINE_AFTER = 3  # failed attempts in a row until `recovering` becomes `offline`
READS_IN_A_ROW = 16  # then other greenlets get their turn

Send = Callable[[Session, Connection, float, Callable[[], object]], Request]


class Shell:
    """Keeps a session connected, and waits for answers."""

    def __init__(
        self,
        dialer: Dialer,
        session: Session,
        timings: Timings,
        delivery: Delivery,
        lock: threading.Lock,
    ) -> None:
        self.state = "offline"
        self.welcome: dict[str, Any] = {}
        self._dialer = dialer
        self._session = session
        self._delivery = delivery
        self._timings = timings
        self._lock = lock
        self._space = threading.Condition(lock)
        self._link: Link | None = None
        self._owner: object = None
        self._ended: ClientClosed | None = None
        self._linger_until = 0.0
        self._step_at = 0.0

    # --- what the client calls ----------------------------------------------------------

    def connect(self, timeout: float) -> None:
        """Dial each address once; come back when a welcome is here.

        Raises:
            OSError, RoostError: what the last address answered, or a refusal at once.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            if self._ended is not None:
                raise self._ended
            if self._owner is not None:
                raise RuntimeError("connect() was called before")
            self._owner = owner = object()
            self._change("connecting")
        self._delivery.run_callbacks()
        try:
            link, rest = self._dialer.dial_all(deadline)
        except BaseException as error:
            with self._lock:
                self._owner = None
                self._change("offline")
            self._delivery.run_callbacks()
            if self._ended is not None:
                raise self._ended from error
            raise
        self._attach(link, rest)
        self._start(owner, link)
        self._delivery.run_callbacks()
        if self._ended is not None:
            raise self._ended

    def request(self, send: Send, timeout: float, name: str) -> Any:
        """Send a request and wait for its result.

        Args:
            send: puts the request on the wire; called with the lock held.

        Raises:
            RoostError: the answer, Timeout, ConnectionLost or ClientClosed.
            RuntimeError: called from a callback, on which the reader waits.
        """
        answered = threading.Event()
        deadline = time.monotonic() + timeout
        with self._lock:
            link = self._ready_link(deadline, may_wait=True)
            request = send(self._session, link.connection, time.monotonic(), answered.set)
            self._flush(link)
        if not answered.wait(max(0.0, deadline - time.monotonic())):
            with self._lock:
                if not request.done:
                    request.wake = None
                    raise Timeout(f"{name}: no answer in {timeout:g} s")
        return request.result()

    def post(self, op: str, body: dict[str, Any]) -> None:
        """Send without wanting a reply; allowed in callbacks too."""
        with self._lock:
            link = self._ready_link(time.monotonic(), may_wait=False)
            link.connection.post(op, body, time.monotonic())
            self._flush(link)

    def wait_live(self, deadline: float) -> None:
        """Wait until there is a connection.

        Raises:
            Timeout: not by `deadline`.
            ClientClosed: never again.
        """
        with self._lock:
            while self._link is None:
                left = deadline - time.monotonic()
                if self._ended is not None:
                    raise self._ended
                if left <= 0:
                    raise Timeout("not connected")
                self._space.wait(left)

    def forget(self, room: str) -> None:
        """Do not join this room again."""
        with self._lock:
            self._session.forget(room)

    def caught_up(self) -> None:
        """The application has read what was waiting: fetch what was left out."""
        with self._lock:
            self._catch_up()

    def close(self, linger: float) -> None:
        """Say bye and end; wait up to `linger` seconds for the server to close."""
        link = self._link
        self._end("closed", "", linger)
        self._delivery.run_callbacks()
        if link is None or link.reader == threading.get_ident():
            return
        deadline = time.monotonic() + linger
        with self._lock:
            while not link.closed and time.monotonic() < deadline:
                self._space.wait(deadline - time.monotonic())
            if not link.closed:
                link.wire.shut()

    # --- the reader -----------------------------------------------------------------------

    def _establish(self) -> tuple[Link, list[Packet]] | None:
        """Dial until a connection stands; None when the client has ended."""
        try:
            return self._dialer.dial_on(self._dial_failed)
        except ClientClosed as error:
            self._end(error.code, error.reason)
        except RequestError as error:
            self._end(error.code, error.message)
        return None

    def _dial_failed(self, times: int, failure: Exception) -> None:
        with self._lock:
            if times >= OFFLINE_AFTER and self._link is None:
                self._change("offline", str(failure))
        self._delivery.run_callbacks()

    def _attach(self, link: Link, rest: list[Packet]) -> None:
        """Make this the link in use."""
        now = time.monotonic()
        with self._lock:
            if self._ended is not None:
                link.wire.close()
                return
            self._link = link
            self.welcome = link.connection.welcome or {}
            self._change("live", welcome=self.welcome)
            self._session.attach(link.connection, now)
            try:
                self._session.receive(link.connection, rest, now)
            except ProtocolError as error:
                log.warning("giving the connection up: %s", error)
                link.wire.shut()
            self._take()
            self._flush(link)
            self._space.notify_all()

    def _start(self, owner: object, link: Link | None) -> None:
        thread = threading.Thread(target=self._run, args=(owner, link), name="roost-reader", daemon=True)
        thread.start()

    def _run(self, owner: object, link: Link | None) -> None:
        """What a reader thread does; a defect in it ends the client instead of hanging it."""
        try:
            self._keep(owner, link)
        except Exception:
            log.exception("the reader failed")
            self._end("internal", "the reader failed")
            if self._link is not None:
                self._lost(self._link, "the reader failed")

    def _keep(self, owner: object, link: Link | None) -> None:
        """Read, come back, read again; until the client ends or another reader took over."""
        while True:
            if link is None:
                made = self._establish()
                if made is None:
                    return
                link, rest = made
                self._attach(link, rest)
                self._delivery.run_callbacks()
            link.reader = threading.get_ident()
            try:
                reason = self._read(link)
            except (OSError, RoostError) as error:
                reason = str(error) or type(error).__name__
            self._lost(link, reason)
            if self._owner is not owner:
                return
            self._dialer.wait_after(link)
            link = None

    def _read(self, link: Link) -> str:
        """Read until the connection ends; give the reason."""
        reads = 0
        with self._lock:
            reason, nap = self._finished(link), self._nap(link, time.monotonic())
        while not reason:
            data, all_read = link.receive(nap)
            with self._lock:
                now = time.monotonic()
                if data == b"":
                    return "closed by the server"
                self._session.receive(link.connection, link.connection.receive_data(data or b"", now), now)
                if all_read and link.connection.dead(now):
                    return "no answer"
                self._tend(link, now)
                successor = self._successor(link, now)
                reason, nap = self._finished(link), self._nap(link, now)
            if successor is not None:
                self._start(successor, None)
            self._delivery.run_callbacks()
            reads += 1
            if reads % READS_IN_A_ROW == 0:
                time.sleep(0)
        return reason

    def _finished(self, link: Link) -> str:
        """Give the reason not to read on; "" to go on."""
        connection = link.connection
        if connection.kick is not None:
            return f"kicked: {connection.kick.get('code')}"
        if self._link is not None and link is not self._link and not connection.pending:
            return "moved"
        if self._ended is not None and time.monotonic() >= self._linger_until:
            return "closed"
        return ""

    def _tend(self, link: Link, now: float) -> None:
        """Do what is due; both links may have got something to send."""
        if now >= min(self._step_at, link.connection.wake_at(), self._session.wake_at()):
            self._step_at = now + self._timings.longest_nap
            self._session.step(now)
            if self._session.paused and self._delivery.half_empty:
                self._catch_up()
        self._take()
        self._flush(link)
        if self._link is not None and self._link is not link:
            self._flush(self._link)

    def _nap(self, link: Link, now: float) -> float:
        """Give the seconds to wait for bytes at most."""
        until = min(now + self._timings.longest_nap, link.wake_at(now), self._session.wake_at())
        if self._ended is not None:
            until = min(until, self._linger_until)
        return until - now

    def _successor(self, link: Link, now: float) -> object:
        """After `goaway`, at its time: give a new owner, to make the next connection."""
        connection = link.connection
        if connection.left or connection.leave_at is None or now < connection.leave_at:
            return None
        connection.left = True
        self._dialer.prefer(connection.leave_for)
        self._owner = object()
        return self._owner

    def _lost(self, link: Link, reason: str) -> None:
        """The connection is over: close it, fail what waits, say so."""
        if link.connection.kick is not None and not link.connection.left:
            kick = Kicked.from_body(link.connection.kick)
            if not kick.reconnect:
                self._end(kick.code, kick.reason)
        with self._lock:
            link.closed = True
            link.wire.close()
            self._session.detach(link.connection, reason)
            if link is self._link:
                self._link = None
                if self._ended is None:
                    self._change("recovering", reason)
            self._take()
            self._space.notify_all()
        self._delivery.run_callbacks()

    # --- with the lock held -----------------------------------------------------------------

    def _ready_link(self, deadline: float, may_wait: bool) -> Link:
        """Give the link, once it has room for another request."""
        while True:
            if self._ended is not None:
                raise self._ended
            link = self._link
            if link is None:
                raise ConnectionLost("not connected")
            if may_wait and link.reader == threading.get_ident():
                raise RuntimeError("a callback cannot wait for an answer; use post() or another thread")
            if not link.full:
                return link
            left = deadline - time.monotonic()
            if not may_wait or left <= 0:
                raise Timeout("the server does not read")
            self._space.wait(left)

    def _flush(self, link: Link) -> None:
        """Send what the socket takes now; the reader goes on with the rest."""
        was_full = link.full
        link.flush()
        if was_full and not link.full:
            self._space.notify_all()

    def _catch_up(self) -> None:
        self._delivery.caught_up()
        if self._link is None:
            self._session.paused = False
            return
        self._session.resume_reading(time.monotonic())
        self._take()
        self._flush(self._link)

    def _take(self) -> None:
        events = self._session.take_events()
        if not events:
            return
        self._delivery.put(events)
        if not self._session.paused and self._delivery.full:
            self._session.paused = True

    def _change(self, state: str, reason: str = "", welcome: dict[str, Any] | None = None) -> None:
        if state != self.state and self.state != "closed":
            self.state = state
            self._delivery.put([StateChanged(state, reason, welcome or {})])

    def _end(self, code: str, reason: str, linger: float | None = None) -> None:
        """Close for good; takes the lock itself. With `linger` the server is told."""
        with self._lock:
            if self._ended is not None:
                return
            self._ended = ClientClosed(code, reason)
            self._linger_until = time.monotonic() + (linger or 0.0)
            self._dialer.stop()
            link = self._link
            if link is not None and linger is not None:
                link.connection.post("bye", {}, time.monotonic())
                self._flush(link)
                link.wire.end_sending()
            elif link is not None:
                link.wire.shut()
            self._change("closed", f"{code}: {reason}" if reason else code)
            self._delivery.end()
            self._space.notify_all()
