"""A connection with its socket, as the shell holds it."""

from __future__ import annotations

from .connection import Connection
from .wire import CHUNK, Wire

OUTGOING_MOST = 256 * 1024  # bytes waiting for the socket; above, requests wait too
FULL_SOCKET_NAP = 0.02  # seconds after which the reader tries a full socket again


class Link:
    """A connection with its socket; `reader` is the id of the thread that reads it."""

    def __init__(self, wire: Wire, connection: Connection) -> None:
        self.wire = wire
        self.connection = connection
        self.reader = 0
        self.closed = False

    @property
    def full(self) -> bool:
        """Too much waits for the socket."""
        return len(self.connection.outgoing) > OUTGOING_MOST

    def receive(self, timeout: float) -> tuple[bytes | None, bool]:
        """Wait for bytes as `Wire.receive`; and tell whether that was all there was."""
        data = self.wire.receive(timeout)
        return data, data is None or len(data) < CHUNK

    def wake_at(self, now: float) -> float:
        """Give the time by which this connection needs the reader, bytes or none."""
        connection = self.connection
        times = [connection.wake_at()]
        if connection.leave_at is not None and not connection.left:
            times.append(connection.leave_at)
        if connection.outgoing:
            times.append(now + FULL_SOCKET_NAP)
        return min(times)

    def flush(self) -> None:
        """Send what the socket takes now; a broken one is left for the reader to find."""
        outgoing = self.connection.outgoing
        if not outgoing or self.closed:
            return
        try:
            while outgoing:
                sent = self.wire.send(outgoing)
                if not sent:
                    return
                del outgoing[:sent]
        except OSError:
            outgoing.clear()
            self.wire.shut()
