"""The way to Redis: bounded connections, a deadline for each batch, scripts, one error tree.

A *batch* is a list of commands sent at once on one connection and answered in order.
What goes wrong with Redis itself is told in two ways:

    Unavailable        not carried out: no connection, circuit open, out of memory
    DeadlineExceeded   no answer to what was sent: whether it was carried out is unknown

A command that Redis refuses does not spoil its neighbours: its reply is an error
*value*, which `value` raises. Only this module imports redis.

Scripts are the files in common/net/scripts. Their ARGV[1] is always the `run_id` of
the server life they run in: it is read and the scripts are loaded each time a
connection opens, so it can never be an old one. KEYS of one call share a hash tag.
A line `-- include NAME` in one stands for the text of scripts/shared/NAME.lua.

Source: docs/storage.md, section 6.
"""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import gevent
import hiredis
from gevent import monkey
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool

from common.errors import DeadlineExceeded, Internal, RequestError, Unavailable
from common.net import log
from common.net.breaker import Breaker
from common.settings import Redis

if monkey.is_module_patched("socket") and not monkey.is_module_patched("ssl"):
    monkey.patch_ssl()  # redis brings ssl; other processes do without

import redis  # noqa: E402
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError  # noqa: E402

SCRIPTS = Path(__file__).resolve().parent / "scripts"
INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)
REFUSING = {"OOM", "MISCONF", "READONLY", "LOADING", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS"}
"""Error words of a server that cannot take the command now; a script's error has them inside."""

LATE_SECONDS = 0.25
"""A probe given up this much later than asked says that this process stood still, not Redis."""
AT_ONCE = 8
"""Batches of one caller under way at the same time."""

Argument = str | bytes | int | float
Command = Sequence[Argument]
"""Name and arguments; str is sent as UTF-8, numbers as decimal text."""


class Script(NamedTuple):
    """A command that runs a file of common/net/scripts.

    Args:
        name: of the file, without `.lua`.
        keys: KEYS; all share one hash tag.
        args: ARGV from 2 on; ARGV[1] is the run_id.
    """

    name: str
    keys: tuple[str, ...]
    args: tuple[Argument, ...]


class Store:
    """A Redis server, as the durable side uses it.

    Args:
        url: redis://, rediss:// or unix:// as redis.from_url takes it.
        settings: time-outs, rest of the breaker, connections.
        clock: monotonic seconds.
        is_probed: somebody calls `probe` all the time; then no other call waits for long for a
            Redis that is away, each is refused at once.
    """

    def __init__(
        self,
        url: str,
        settings: Redis,
        clock: Callable[[], float] = time.monotonic,
        is_probed: bool = False,
    ) -> None:
        self._timeout = settings.timeout
        self._silent_after = settings.silent_after
        self._heard_at = float("-inf")
        self._under_way: set[Any] = set()
        self._is_probed = is_probed
        self._clock = clock
        self._breaker = Breaker("Redis", settings.breaker_rest)
        self._slots = BoundedSemaphore(settings.connections)
        self._sources = {path.stem: _source(path) for path in sorted(SCRIPTS.glob("*.lua"))}
        self._digests = {name: hashlib.sha1(text).hexdigest() for name, text in self._sources.items()}
        self._run_ids: dict[Any, str] = {}
        self._idle: list[Any] = []
        self._log = log.get()
        self._warned = log.Doubling()
        self.run_id = ""
        self._pool = redis.ConnectionPool.from_url(
            url,
            protocol=2,
            driver_info=None,
            socket_timeout=settings.timeout,
            socket_connect_timeout=settings.timeout,
            redis_connect_func=self._greet,
        )

    @property
    def failures(self) -> int:
        """How many batches got no answer since the start."""
        return self._breaker.failures

    def probe(self) -> None:
        """Ask whether Redis answers; a success closes the breaker.

        When Redis has said nothing at all for `redis.silent_after` seconds, to nobody, the
        circuit opens and what is under way is given up. Switches greenlets.

        Raises:
            Unavailable, DeadlineExceeded: it does not answer.
        """
        asked_at = self._clock()

        def judge() -> bool:
            """Tell whether Redis is away, given that the probe was not answered; give up on it then."""
            stood_still = self._clock() - asked_at > self._silent_after + LATE_SECONDS
            if stood_still or self._heard_at >= asked_at:
                return False
            self._hang_up()
            return True

        self._run([("PING",)], True, self._silent_after, judge)

    def _hang_up(self) -> None:
        """End what is under way: whoever waits for an answer is told that there is none."""
        for connection in self._under_way:
            if connection._sock is not None:
                with suppress(OSError):
                    connection._sock.shutdown(socket.SHUT_RDWR)

    def run(self, commands: Sequence[Command | Script]) -> list[Any]:
        """Send a batch; give the replies in order. Switches greenlets.

        Returns:
            One per command: bytes, int, list or None as Redis sent it, or a RequestError
            (not raised) where Redis refused this command.

        Raises:
            Unavailable: nothing of the batch was carried out.
            DeadlineExceeded: it is unknown which of it was carried out.
            Internal: an argument is no str, bytes or number; nothing was sent.
        """
        return self._run(commands, not self._is_probed, self._timeout)

    def _run(
        self,
        commands: Sequence[Command | Script],
        may_probe: bool,
        seconds: float,
        is_away: Callable[[], bool] = lambda: True,
    ) -> list[Any]:
        """Run a batch within `seconds`; [] when it failed and that does not show that Redis is away."""
        if not commands:
            return []
        self._breaker.admit(self._clock(), may_probe)
        reported = False
        try:
            replies = self._within_deadline(commands, seconds)
            self._breaker.succeeded()
            reported = True
            return replies
        except (Unavailable, DeadlineExceeded) as error:
            if not is_away():
                return []
            self._breaker.failed(self._clock())
            reported = True
            if self._warned.hit():
                self._log.warning("redis failed", error=error.message, count=self._warned.count)
            raise
        finally:
            if not reported:
                self._breaker.abandoned()

    def run_each(self, batches: Sequence[Sequence[Command | Script]]) -> list[list[Any]]:
        """Send several batches, up to AT_ONCE at the same time; give the replies of each, in order.

        Redis writes what arrives together to disk together: large work is several times faster so.

        Raises:
            RequestError: as `run`, of the first batch that failed, once all have ended.
        """
        if len(batches) == 1:
            return [self.run(batches[0])]
        pool = Pool(AT_ONCE)
        try:
            ended = pool.map(self._outcome, batches)
        finally:
            pool.kill()
        return [value(outcome) for outcome in ended]

    def call(self, *command: Argument) -> Any:
        """Send one command; give its reply. Raises as `run`, or what `value` raises."""
        return value(self.run([command])[0])

    def script(self, name: str, keys: tuple[str, ...], *args: Argument) -> Any:
        """Run one script; give its reply. Raises as `run`, or what `value` raises."""
        return value(self.run([Script(name, keys, args)])[0])

    def close(self) -> None:
        """Close all connections; calls still waiting for an answer get DeadlineExceeded."""
        for connection in list(self._run_ids):
            connection.disconnect()

    def _outcome(self, batch: Sequence[Command | Script]) -> list[Any] | RequestError:
        try:
            return self.run(batch)
        except RequestError as error:
            return error

    def _within_deadline(self, commands: Sequence[Command | Script], seconds: float) -> list[Any]:
        sent = False
        timer = gevent.Timeout(seconds)
        try:
            with timer, self._slots:
                connection = self._take()
                sent = True
                try:
                    return self._exchange(connection, commands)
                finally:
                    self._give_back(connection)
        except gevent.Timeout as fired:
            if fired is not timer:
                raise
            reason = f"Redis gave no answer in {seconds:g} s"
            raise (DeadlineExceeded if sent else Unavailable)(reason) from None
        except (redis.RedisError, OSError) as error:
            raise (DeadlineExceeded if sent else Unavailable)(f"Redis is away: {error}") from None

    def _take(self) -> Any:
        """Give a connection that nobody uses and the server has not closed; may switch greenlets.

        redis-py's own pool asks the loop whether each one is alive: as dear as a batch.
        """
        while self._idle:
            connection = self._idle.pop()
            if _is_alive(connection):
                return connection
            self._forget(connection)
        connection = self._pool.connection_class(**self._pool.connection_kwargs)
        try:
            connection.connect()
        except BaseException:
            self._forget(connection)
            raise
        return connection

    def _give_back(self, connection: Any) -> None:
        """Keep a connection for the next batch; a read or write that was broken off has closed it already."""
        if connection._sock is None:
            self._forget(connection)
        else:
            self._idle.append(connection)

    def _forget(self, connection: Any) -> None:
        self._run_ids.pop(connection, None)
        connection.disconnect()

    def _exchange(self, connection: Any, commands: Sequence[Command | Script]) -> list[Any]:
        """Send all, read all; scripts the server forgot are loaded and run again, once."""
        replies = self._converse(connection, [self._plain(connection, command) for command in commands])
        forgotten = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if forgotten:
            self._load_scripts(connection)
            again = self._converse(connection, [self._plain(connection, commands[i]) for i in forgotten])
            for i, reply in zip(forgotten, again, strict=True):
                replies[i] = reply
        return [_refusal(reply) if isinstance(reply, redis.RedisError) else reply for reply in replies]

    def _converse(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = []
        with self._waiting(connection):
            connection.send_packed_command(_packed(commands), check_health=False)
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except redis.ResponseError as refused:
                    replies.append(refused)
                self._heard_at = self._clock()
        return replies

    @contextmanager
    def _waiting(self, connection: Any) -> Iterator[None]:
        """Count a connection as under way: it is hung up when Redis turns out to be away."""
        self._under_way.add(connection)
        try:
            yield
        finally:
            self._under_way.discard(connection)

    def _plain(self, connection: Any, command: Command | Script) -> Command:
        if not isinstance(command, Script):
            return command
        digest, run_id = self._digests[command.name], self._run_ids[connection]
        return ("EVALSHA", digest, len(command.keys), *command.keys, run_id, *command.args)

    def _greet(self, connection: Any) -> None:
        """Log in on a new connection, learn which life of the server this is, load the scripts."""
        with self._waiting(connection):
            connection.on_connect()
        (info,) = self._converse(connection, [("INFO", "server")])
        if isinstance(info, redis.RedisError):
            raise info
        facts = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        self._run_ids[connection] = self.run_id = facts["run_id"]
        self._load_scripts(connection)

    def _load_scripts(self, connection: Any) -> None:
        loads = [("SCRIPT", "LOAD", source) for source in self._sources.values()]
        for reply in self._converse(connection, loads):
            if isinstance(reply, redis.RedisError):
                raise reply


def value(reply: Any) -> Any:
    """Give a reply of `Store.run` back, or raise it if it is an error."""
    if isinstance(reply, RequestError):
        raise reply
    return reply


def _packed(commands: Sequence[Command]) -> list[bytes]:
    """Give a batch as it is sent; redis-py's own way looks at each argument again and costs twice as much.

    Raises:
        Internal: an argument is no str, bytes or number.
    """
    try:
        return [b"".join([hiredis.pack_command(tuple(command)) for command in commands])]  # type: ignore[arg-type]
    except TypeError as error:
        raise Internal(f"not a Redis command: {error}") from None


def _is_alive(connection: Any) -> bool:
    """Tell whether an idle connection is open and has nothing unread. Does not switch."""
    try:
        connection._sock._sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):
        return False
    return False


def _source(path: Path) -> bytes:
    """Read a script with what it includes."""
    return INCLUDE.sub(
        lambda found: (SCRIPTS / "shared" / f"{found[1]}.lua").read_text(), path.read_text()
    ).encode()


def _refusal(error: redis.RedisError) -> RequestError:
    """Say what an error reply means for the caller: not now, or a defect of ours."""
    if isinstance(error, OutOfMemoryError | ReadOnlyError):
        return Unavailable(f"Redis refuses: {error}")
    words = str(error).replace("-", " ").replace(":", " ").split()
    kind = Internal if REFUSING.isdisjoint(words) else Unavailable
    return kind(f"Redis refuses: {error}")
