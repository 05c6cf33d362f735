"""Request and reply between processes, over zerorpc.

zerorpc carries one opaque `bytes` argument to one method, `call`, and one back
(common/wire/calls.py). Everything it gets wrong on its own is closed here: no keyword
arguments, no objects served (a table only), no heartbeats, arguments packed before
they reach zerorpc, every call bounded by a deadline that travels with it, calls in
flight bounded, a circuit breaker per peer, expired requests dropped by the server and
repeated ones (same request id) answered from memory.

Deadlines are by the wall clock: hosts must agree to a fraction of `rpc.timeout`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import gevent
import zerorpc
import zmq.green
from gevent.pool import Group

from common.errors import BadField, BadPacket, Busy, DeadlineExceeded, Internal, RequestError, Unavailable
from common.handlers import Handlers
from common.net.answers import Answers
from common.net.breaker import Breaker
from common.net.log import get as get_log
from common.net.metrics import Counters
from common.net.zsocket import Rounds, Socket
from common.places import Places
from common.settings import Rpc
from common.wire.calls import Request, open_reply, pack, pack_error, pack_request, pack_result, unpack_request

SERVED_AT_ONCE = 1_000
STOP_SECONDS = 1.0
"""What handlers under way get to end when the server closes."""
LAST_REPLIES = 0.02
"""Seconds the last replies get to leave."""
ANSWER_GRACE = 0.2
"""Seconds a caller waits beyond the deadline, so that it hears of the server's own time-out."""

COUNTERS = {
    "calls": "calls made to other processes",
    "timeouts": "calls without an answer in time",
    "busy": "calls refused here because too many were on the way",
    "breaker_opens": "times calls to a process began to be refused at once",
    "served": "requests answered with a result",
    "refused": "requests answered with an error",
    "late": "requests not carried out because their deadline had passed",
    "repeated": "requests answered from memory",
}


class Context(zerorpc.Context):  # type: ignore[misc]
    """zerorpc's context over zmq.green's sockets, whose wake-ups are not lost.

    No socket lingers: libzmq waits for ever for one that was full when its peer went away,
    also for a Puller, and the process would not end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["_rounds"] = Rounds(self._sockets)

    def destroy(self, linger: int | None = None) -> None:
        """Close all sockets, and end."""
        self._rounds.stop()
        super().destroy(linger)

    def socket(self, socket_type: int, **options: Any) -> Any:
        """Give a socket of this context: `destroy` closes it; one it does not know it waits for, for ever."""
        made = Socket(self, socket_type, **options)
        made.setsockopt(zmq.LINGER, 0)
        self._add_socket(made)
        return made


def on_death(socket: zerorpc.SocketBase, ended: Callable[[Any], None]) -> None:
    """Have `ended` called in the hub when one of a socket's own greenlets ends, also at `close`.

    Without them a process would be deaf or mute and never know.
    """
    events = socket._events
    for task in (getattr(events._recv, "_recv_task", None), getattr(events._send, "_send_task", None)):
        if task is not None:
            task.link(ended)


class RpcServer:
    """Answers calls of other processes.

    Args:
        context: the process's one Context.
        address: zmq endpoint to bind.
        tables: (handlers, service) in the order a method is looked up; a handler
            is called as `f(service, *args)`.
        admit: called with the method before each request; raises Unavailable while it must not be served.
        counters: those of COUNTERS.
    """

    def __init__(
        self,
        context: Context,
        address: str,
        tables: tuple[tuple[Handlers, Any], ...],
        admit: Callable[[str], None],
        counters: Counters,
    ) -> None:
        self._tables = tables
        self._admit = admit
        self._counters = counters
        self._answers = Answers()
        self._log = get_log()
        methods = {"call": self._call}
        self._server = zerorpc.Server(methods, context=context, pool_size=SERVED_AT_ONCE, heartbeat=None)
        for builtin in [name for name in self._server._methods if name != "call"]:
            del self._server._methods[builtin]
        self._server.bind(address)
        on_death(self._server, self._end)
        self._server._multiplexer._channel_dispatcher_task.link(self._end)

    def run(self) -> None:
        """Serve until closed, or until zerorpc can no longer."""
        self._server.run()

    def close(self) -> None:
        """Stop serving: requests under way are answered `unavailable`, the address is released."""
        self._server.stop()
        self._server._task_pool.kill(timeout=STOP_SECONDS)
        gevent.sleep(LAST_REPLIES)
        self._server.close()

    def _end(self, _: Any) -> None:
        """Have `run` return: without one of its greenlets zerorpc would be deaf."""
        if self._server._acceptor_task is not None:
            self._server._acceptor_task.kill(block=False)

    def _call(self, blob: bytes) -> bytes:
        """Answer one packed request; never raises, whatever the handler does."""
        try:
            request = unpack_request(blob)
        except BadPacket as error:
            self._log.error("request cannot be read", error=str(error))
            return self._refusal(Internal(str(error)))
        answer, known = self._answers.begin(request.id, time.monotonic())
        if known:
            self._counters.repeated += 1
            return answer.get()  # type: ignore[no-any-return]
        reply = self._guarded(request)
        self._answers.finish(request.id, answer, reply, time.monotonic())
        return reply

    def _guarded(self, request: Request) -> bytes:
        """Run a handler; turn its result or whatever it raised into a packed reply."""
        method = request.method
        seconds = request.deadline_ms / 1000 - time.time()
        if seconds <= 0:
            self._counters.late += 1
            return self._refusal(DeadlineExceeded(f"{method} came too late"))
        try:
            with gevent.Timeout(seconds):
                reply = pack_result(self._handle(method, request.args))
            self._counters.served += 1
            return reply
        except RequestError as error:
            return self._refusal(error)
        except gevent.Timeout:
            return self._refusal(DeadlineExceeded(f"{method} ran out of time"))
        except gevent.GreenletExit:
            return self._refusal(Unavailable(f"{method} was ended: the process stops"))
        except Exception:  # noqa: BLE001 - the RPC guard: any defect becomes an answer
            self._log.exception("rpc failed", method=method, caller=request.caller)
            return self._refusal(Internal(f"{method} failed; see the log of the process"))

    def _handle(self, method: str, args: list[Any]) -> Any:
        self._admit(method)
        for table, service in self._tables:
            handler = table.get(method)
            if handler is not None:
                return handler(service, *args)
        raise BadField(f"no method {method!r}", field="method")

    def _refusal(self, error: RequestError) -> bytes:
        self._counters.refused += 1
        return pack_error(error)


class Client(zerorpc.Client):  # type: ignore[misc]
    """zerorpc's client with one greenlet less per channel and call, and nothing left of an ended one."""

    def ask(self, blob: bytes) -> bytes:
        """Send one request and wait for its answer until the caller's time-out strikes."""
        channel = self._multiplexer.channel()
        try:
            channel.emit_event(channel.new_event("call", (blob,)))
            event = channel.recv()
        finally:
            channel.close()
        if event.name != "OK":
            raise zerorpc.RemoteError(*event.args)
        answer: bytes = event.args[0]
        return answer


class Connection:
    """One connection to a peer and how many calls are on it."""

    __slots__ = ("calls", "client")

    def __init__(self, context: Context, address: str) -> None:
        self.client = Client(context=context, timeout=None, heartbeat=None)
        self.client.connect(address)
        self.calls = 0


class NoAnswer(Exception):
    """The time of one call is over; never leaves this module."""


class Caller:
    """Calls one other process; made by Callers."""

    def __init__(
        self, context: Context, address: str, peer: str, own_name: str, settings: Rpc, counters: Counters
    ) -> None:
        self._context = context
        self._address = address
        self._peer = peer
        self._own_name = own_name
        self._settings = settings
        self._counters = counters
        self._connection: Connection | None = None
        self._retired: set[Connection] = set()
        self._in_flight = 0
        self._breaker = Breaker(peer, settings.breaker_rest, settings.breaker_failures)
        self._numbers = count(1)
        self._prefix = f"{own_name}:{os.getpid()}:{time.time_ns() & 0xFFFFFFFF:x}:{peer}:"

    def call(self, method: str, args: tuple[Any, ...], timeout: float | None) -> Any:
        """Call and wait; see Callers.call."""
        seconds = self._settings.timeout if timeout is None else timeout
        deadline = int((time.time() + seconds) * 1000)
        request_id = f"{self._prefix}{next(self._numbers)}"
        blob = pack_request(request_id, deadline, self._own_name, method, args)
        if self._in_flight >= self._settings.in_flight:
            self._counters.busy += 1
            raise Busy(f"too many calls on the way to {self._peer}", limit=self._settings.in_flight)
        self._breaker.admit(time.monotonic())
        self._counters.calls += 1
        return open_reply(self._exchange(method, blob, seconds))

    def _exchange(self, method: str, blob: bytes, seconds: float) -> bytes:
        """Send a request and give the packed reply; each way out is reported to the breaker."""
        if self._connection is None:
            self._connection = Connection(self._context, self._address)
        connection = self._connection
        connection.calls += 1
        self._in_flight += 1
        try:
            with gevent.Timeout(seconds + ANSWER_GRACE, NoAnswer):
                reply = connection.client.ask(blob)
        except NoAnswer:
            self._counters.timeouts += 1
            self._failed()
            raise DeadlineExceeded(f"{self._peer} did not answer {method} in {seconds:g} s") from None
        except (zerorpc.RemoteError, zmq.ZMQError) as error:
            self._failed()
            raise Unavailable(f"{self._peer}: {error}") from None
        except BaseException:
            self._breaker.abandoned()
            raise
        finally:
            self._in_flight -= 1
            connection.calls -= 1
            self._close_if_done(connection)
        self._breaker.succeeded()
        return reply

    def _failed(self) -> None:
        """Count a failure; when the circuit opens, what zmq holds for the peer is thrown away."""
        trips = self._breaker.trips
        self._breaker.failed(time.monotonic())
        if self._breaker.trips > trips:
            self._counters.breaker_opens += 1
            self._retire()

    def _retire(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._retired.add(connection)
            self._close_if_done(connection)

    def _close_if_done(self, connection: Connection) -> None:
        """Close a retired connection on which nobody waits any more."""
        if not connection.calls and connection in self._retired:
            self._retired.discard(connection)
            connection.client.close()

    def close(self) -> None:
        """Drop all connections; calls on the way run out of time, a later one makes a new connection."""
        connection, self._connection = self._connection, None
        retired, self._retired = self._retired, set()
        for each in retired | ({connection} if connection is not None else set()):
            each.client.close()


class Callers:
    """One Caller per process that is called.

    Args:
        context: the process's one Context.
        places: where everybody is.
        own_name: who calls, for logs on the other side.
        settings: time-outs, bounds and the breaker.
        counters: those of COUNTERS; nobody looks at them unless given.
    """

    def __init__(
        self,
        context: Context,
        places: Places,
        own_name: str,
        settings: Rpc,
        counters: Counters | None = None,
    ) -> None:
        self._context = context
        self._places = places
        self._own_name = own_name
        self._settings = settings
        if counters is None:
            counters = Counters("rpc")
            counters.declare(COUNTERS)
        self._counters = counters
        self._callers: dict[str, Caller] = {}

    def call(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        """Call a method of another process and give its result.

        Args:
            peer: process name, e.g. "function-0".
            args: values msgpack can carry; tuples arrive as lists.
            timeout: seconds; settings.rpc.timeout unless given. Travels along: a
                request that is older when it is taken up is not carried out.

        Raises:
            DeadlineExceeded: no answer in time; whether it was carried out is not known.
            Unavailable: the circuit to this peer is open, or it refused to serve.
            Busy: too many calls on the way already; nothing was sent.
            RequestError: what the handler raised, as the same class.
            TypeError, ValueError, OverflowError: msgpack cannot carry an argument; nothing was sent.
        """
        caller = self._callers.get(peer)
        if caller is None:
            address = self._places.rpc_address(peer)
            caller = Caller(self._context, address, peer, self._own_name, self._settings, self._counters)
            self._callers[peer] = caller
        return caller.call(method, args, timeout)

    def call_each(
        self, peers: tuple[str, ...], method: str, *args: Any, timeout: float | None = None
    ) -> dict[str, Any]:
        """Call several at once; give peer -> result or the RequestError it ended with.

        Raises:
            TypeError, ValueError, OverflowError: as `call`; nobody was called.
        """
        pack(args)
        results: dict[str, Any] = {}

        def one(peer: str) -> None:
            try:
                results[peer] = self.call(peer, method, *args, timeout=timeout)
            except RequestError as error:
                results[peer] = error

        group = Group()
        try:
            for peer in peers:
                group.spawn(one, peer)
            group.join()
        finally:
            group.kill(block=False)
        return results

    def close(self) -> None:
        """Close every connection."""
        for caller in self._callers.values():
            caller.close()
