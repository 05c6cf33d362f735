from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import msgpack
import pytest
import zerorpc
import zmq

from common.errors import (
    BadField,
    Busy,
    Conflict,
    DeadlineExceeded,
    Full,
    Internal,
    NotFound,
    RequestError,
    Unavailable,
)
from common.handlers import Handlers
from common.net import rpc, zsocket
from common.net.metrics import Counters
from common.net.rpc import ANSWER_GRACE, Callers, Context, RpcServer
from common.places import Places
from common.settings import ROOT, Cluster, Rpc, Settings
from common.wire.calls import open_reply, pack_request
from tests.waiting import pause, until

SERVER, CALLER = "function-0", "gateway-0"
TABLE = Handlers("test rpc")
KERNEL = Handlers("test kernel rpc")


class Service:
    """What the handlers below are about."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.closed: Exception | None = None

    def secret(self) -> str:
        return "no handler"


@TABLE.on("echo")
def echo(service: Service, *args: Any) -> Any:
    service.seen.append(args)
    return args[0] if len(args) == 1 else list(args)


@TABLE.on("slow")
def slow(service: Service, seconds: float, value: Any) -> Any:
    gevent.sleep(seconds)
    service.seen.append(value)
    return value


@TABLE.on("give")
def give(service: Service, what: str) -> Any:
    given: Any = {
        "object": object(),
        "set": {1},
        "big number": 2**70,
        "lone surrogate": "\ud800",
        "tuple as a key": {(1, 2): 3},
    }[what]
    return given


ERRORS: dict[str, Callable[[], BaseException]] = {
    "conflict": lambda: Conflict("taken", name="bob"),
    "full": lambda: Full("", limit=7),
    "with odd facts": lambda: NotFound("gone", self=1, code="x", message=b"\x00"),
    "with facts that cannot be packed": lambda: BadField("x", field=object()),
    "timeout": lambda: gevent.Timeout(1),
    "exit": lambda: gevent.GreenletExit(),
    "defect": lambda: ZeroDivisionError("1/0"),
    "no method of a service": lambda: AttributeError("x"),
    "text that cannot be packed": lambda: Full("\ud800"),
}


@TABLE.on("raise")
def fail(service: Service, what: str) -> None:
    raise ERRORS[what]()


@KERNEL.on("status")
def status(service: Service) -> str:
    return "here"


class Ends:
    """A server and callers over real sockets."""

    def __init__(self, run_dir: Path, **settings: Any) -> None:
        (run_dir / "sock").mkdir(exist_ok=True)
        self.places = Places(Settings(cluster=Cluster(run_dir=str(run_dir))))
        self.service = Service()
        self.server_context, self.context = Context(), Context()
        self.served, self.called = Counters("rpc"), Counters("rpc")
        self.served.declare(rpc.COUNTERS)
        self.called.declare(rpc.COUNTERS)
        self.settings = Rpc(**{"timeout": 1.0, "breaker_rest": 0.05, **settings})
        self.callers = Callers(self.context, self.places, CALLER, self.settings, self.called)
        self.server: RpcServer | None = None
        self.running: gevent.Greenlet[..., None] | None = None

    def serve(self) -> Ends:
        tables = ((TABLE, self.service), (KERNEL, self.service))
        address = self.places.rpc_address(SERVER)
        self.server = RpcServer(self.server_context, address, tables, self.admit, self.served)
        self.running = gevent.spawn(self.server.run)
        return self

    def admit(self, method: str) -> None:
        if self.service.closed is not None and method != "status":
            raise self.service.closed

    def call(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        return self.callers.call(SERVER, method, *args, timeout=timeout)

    def stop_serving(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    def close(self) -> None:
        self.callers.close()
        self.stop_serving()
        for context in (self.context, self.server_context):
            context.destroy(linger=0)


@pytest.fixture
def make_ends(run_dir: Path) -> Iterator[Callable[..., Ends]]:
    """Make ends; keywords are settings of Rpc."""
    made: list[Ends] = []

    def make(**settings: Any) -> Ends:
        made.append(Ends(run_dir, **settings))
        return made[-1]

    yield make
    for ends in made:
        ends.close()


@pytest.fixture
def ends(make_ends: Callable[..., Ends]) -> Ends:
    return make_ends().serve()


VALUES: dict[str, Any] = {
    "nothing": None,
    "bytes": b"\x00\xff",
    "text": "grüß dich",
    "numbers": [0, -1, 2**63, 1.5],
    "a map with other keys": {1: "a", None: "b", b"c": 2.5},
    "nested": {"a": [{"b": [[]]}]},
    "a megabyte": b"x" * 1_000_000,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_value_comes_back_as_it_went(ends: Ends, value: Any):
    assert ends.call("echo", value) == value


def test_several_arguments_arrive_in_order_and_tuples_as_lists(ends: Ends):
    assert ends.call("echo", 1, (2, 3), "x") == [1, [2, 3], "x"]


def test_a_second_table_is_looked_at_after_the_first(ends: Ends):
    assert ends.call("status") == "here"


# trap 1


def test_keyword_arguments_are_refused_in_the_callers_line(ends: Ends):
    with pytest.raises(TypeError, match="unexpected keyword"):
        ends.callers.call(SERVER, "echo", 1, async_=True)  # type: ignore[call-arg]


# trap 2

NO_METHODS = ["secret", "__init__", "_call", "close", "call", "seen", "_zerorpc_list", "_zerorpc_inspect", ""]


@pytest.mark.parametrize("method", NO_METHODS)
def test_only_what_a_table_has_can_be_called(ends: Ends, method: str):
    with pytest.raises(BadField, match="no method") as caught:
        ends.call(method)
    assert caught.value.facts == {"field": "method"}


@pytest.mark.parametrize(
    "method", ["_zerorpc_list", "_zerorpc_name", "_zerorpc_ping", "_zerorpc_inspect", "echo"]
)
def test_a_bare_zerorpc_client_reaches_nothing_but_the_door(ends: Ends, method: str):
    client = zerorpc.Client(context=ends.context, timeout=1, heartbeat=None)
    client.connect(ends.places.rpc_address(SERVER))
    with pytest.raises(zerorpc.RemoteError, match="NameError"):
        client(method)
    client.close()
    assert ends.service.seen == []


# trap 3: two calls may be answered in any order


def test_a_slow_call_does_not_hold_up_another(ends: Ends):
    waiting = gevent.spawn(ends.call, "slow", 0.2, "slow")
    gevent.sleep(0)
    begun = time.monotonic()
    assert ends.call("echo", "fast") == "fast"
    assert time.monotonic() - begun < 0.15
    assert waiting.get() == "slow"


# trap 4

UNPACKABLE = {
    "an object": (object(), TypeError),
    "a set": ({1}, TypeError),
    "a number beyond 64 bits": (2**70, OverflowError),
    "a lone surrogate": ("\ud800", ValueError),
    "deep nesting": ([], ValueError),
}
deep = UNPACKABLE["deep nesting"][0]
for _ in range(2_000):
    deep = [deep]
UNPACKABLE["deep nesting"] = (deep, ValueError)


@pytest.mark.parametrize(("value", "error"), UNPACKABLE.values(), ids=UNPACKABLE.keys())
def test_an_argument_that_cannot_be_packed_fails_in_the_callers_line_and_nothing_else(
    ends: Ends, value: Any, error: type[Exception]
):
    assert ends.call("echo", 1) == 1
    before = living()
    with pytest.raises(error):
        ends.call("echo", value)
    with pytest.raises(error):
        ends.callers.call_each((SERVER,), "echo", value)
    assert living() - before == set()
    assert ends.call("echo", 2) == 2
    assert ends.called.calls == 2


# trap 5


def test_a_call_to_nobody_ends_in_time(make_ends: Callable[..., Ends]):
    ends = make_ends()
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"function-0 did not answer echo in 0\.1 s"):
        ends.call("echo", 1, timeout=0.1)
    assert time.monotonic() - begun < 0.1 + ANSWER_GRACE + 0.2
    assert ends.called.timeouts == 1


def test_more_calls_to_nobody_than_zmq_queues_all_end_in_time(make_ends: Callable[..., Ends]):
    ends = make_ends(in_flight=5_000, breaker_failures=10_000)
    begun = time.monotonic()
    calls = [gevent.spawn(outcome, ends.call, "echo", n, timeout=0.5) for n in range(1_300)]
    gevent.joinall(calls, timeout=6)
    assert {call.value for call in calls} == {"timeout"}
    assert time.monotonic() - begun < 4
    ends.serve()
    until(lambda: outcome(ends.call, "echo", "after") == "after", 20)
    assert set(ends.service.seen) == {("after",)}


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Give what a call returned, or the code of what it raised."""
    try:
        return call(*args, **kwargs)
    except RequestError as error:
        return error.code


def test_calls_on_the_way_to_one_peer_are_bounded(make_ends: Callable[..., Ends]):
    ends = make_ends(in_flight=3).serve()
    calls = [gevent.spawn(ends.call, "slow", 0.1, n) for n in range(3)]
    gevent.sleep(0)
    with pytest.raises(Busy) as caught:
        ends.call("echo", 1)
    assert caught.value.facts == {"limit": 3}
    assert ends.called.busy == 1
    assert sorted(call.get() for call in calls) == [0, 1, 2]
    assert ends.call("echo", 1) == 1


def test_after_a_few_time_outs_calls_are_refused_at_once_until_one_is_answered(
    make_ends: Callable[..., Ends],
):
    ends = make_ends(breaker_failures=3, breaker_rest=0.2)
    for _ in range(3):
        assert outcome(ends.call, "echo", 1, timeout=0.05) == "timeout"
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="function-0 is away"):
        ends.call("echo", 1)
    assert time.monotonic() - begun < 0.05
    assert ends.called.breaker_opens == 1
    ends.serve()
    until(lambda: outcome(ends.call, "echo", 2) == 2)
    assert [outcome(ends.call, "echo", n) for n in range(5)] == list(range(5))


def test_while_one_call_tries_a_dead_peer_the_others_are_refused_at_once(make_ends: Callable[..., Ends]):
    ends = make_ends(breaker_failures=1, breaker_rest=0.05)
    outcome(ends.call, "echo", 1, timeout=0.05)
    pause(0.1)
    probe = gevent.spawn(outcome, ends.call, "echo", 1, timeout=0.3)
    gevent.sleep(0)
    assert outcome(ends.call, "echo", 1) == "unavailable"
    assert probe.get() == "timeout"


def test_a_probe_that_is_killed_leaves_the_place_to_the_next(make_ends: Callable[..., Ends]):
    ends = make_ends(breaker_failures=1, breaker_rest=0.05)
    outcome(ends.call, "echo", 1, timeout=0.05)
    pause(0.1)
    probe = gevent.spawn(ends.call, "echo", 1)
    gevent.sleep(0)
    probe.kill()
    ends.serve()
    until(lambda: outcome(ends.call, "echo", 2) == 2)


def test_an_open_circuit_throws_away_what_zmq_still_held(make_ends: Callable[..., Ends]):
    ends = make_ends(breaker_failures=2, breaker_rest=0.05)
    calls = [gevent.spawn(outcome, ends.call, "echo", n, timeout=30 if n else 0.05) for n in range(20)]
    gevent.sleep(0)
    outcome(ends.call, "echo", "x", timeout=0.05)
    first = ends.callers._callers[SERVER]
    assert first._connection is None
    gevent.killall(calls)
    ends.serve()
    until(lambda: outcome(ends.call, "echo", "after") == "after")
    pause(0.05)
    assert ends.service.seen[-1] == ("after",)
    assert len(ends.service.seen) == 1


def test_a_call_whose_greenlet_is_killed_leaves_nothing_behind(ends: Ends):
    assert ends.call("echo", 1) == 1
    before = living()
    call = gevent.spawn(ends.call, "slow", 0.05, 1)
    gevent.sleep(0.01)
    call.kill()
    caller = ends.callers._callers[SERVER]
    assert caller._in_flight == 0
    assert caller._connection is not None
    assert caller._connection.client._multiplexer.active_channels == {}
    pause(0.1)
    assert living() - before == set()
    assert ends.call("echo", 1) == 1


# trap 6


def test_a_call_nobody_waits_for_any_more_is_not_carried_out(make_ends: Callable[..., Ends]):
    ends = make_ends(breaker_failures=100)
    assert outcome(ends.call, "echo", "late", timeout=0.05) == "timeout"
    ends.serve()
    until(lambda: outcome(ends.call, "echo", "in time") == "in time")
    until(lambda: ends.served.late == 1)
    assert ends.service.seen == [("in time",)]


def raw_call(ends: Ends, blob: bytes) -> Any:
    """Send a request as it is, outside of Callers."""
    client = rpc.Client(context=ends.context, timeout=None, heartbeat=None)
    client.connect(ends.places.rpc_address(SERVER))
    try:
        return open_reply(client.ask(blob))
    finally:
        client.close()


def deadline(seconds: float) -> int:
    return int((time.time() + seconds) * 1000)


def test_a_request_that_comes_twice_is_carried_out_once_and_answered_twice(ends: Ends):
    blob = pack_request("id-1", deadline(5), "me", "echo", ("x",))
    assert [raw_call(ends, blob) for _ in range(3)] == ["x"] * 3
    assert ends.service.seen == [("x",)]
    assert ends.served.repeated == 2


def test_a_repeat_of_a_request_under_way_waits_for_its_answer(ends: Ends):
    blob = pack_request("id-1", deadline(5), "me", "slow", (0.1, "x"))
    calls = [gevent.spawn(raw_call, ends, blob) for _ in range(3)]
    assert [call.get() for call in calls] == ["x"] * 3
    assert ends.service.seen == ["x"]


def test_a_repeat_is_refused_as_the_first_was(ends: Ends):
    blob = pack_request("id-1", deadline(5), "me", "raise", ("conflict",))
    for _ in range(2):
        with pytest.raises(Conflict):
            raw_call(ends, blob)


def test_a_large_answer_is_not_kept_and_yet_not_made_twice(ends: Ends):
    blob = pack_request("id-1", deadline(5), "me", "echo", (b"x" * 100_000,))
    assert len(raw_call(ends, blob)) == 100_000
    with pytest.raises(Unavailable, match="answered already"):
        raw_call(ends, blob)
    assert len(ends.service.seen) == 1


UNREADABLE = {
    "nothing": b"",
    "no msgpack": b"\xc1",
    "a number": msgpack.packb(7),
    "too few fields": msgpack.packb(["id", 1]),
    "a map as id": msgpack.packb([{}, 1, "me", "echo", []]),
    "a text as deadline": msgpack.packb(["id", "soon", "me", "echo", []]),
    "arguments that are no list": msgpack.packb(["id", 1, "me", "echo", 7]),
    "a map with a list as its key": b"\x81\x90\x00",
}


@pytest.mark.parametrize("blob", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_request_is_answered_and_harmless(ends: Ends, blob: bytes):
    with pytest.raises(Internal, match="request"):
        raw_call(ends, blob)
    assert ends.call("echo", 1) == 1


# trap 7

RAISED = {
    "conflict": (Conflict, "taken", {"name": "bob"}),
    "full": (Full, "", {"limit": 7}),
    "with odd facts": (NotFound, "gone", {"self": 1, "code": "x", "message": b"\x00"}),
    "with facts that cannot be packed": (BadField, "unreadable facts", {}),
    "timeout": (DeadlineExceeded, "raise ran out of time", {}),
    "exit": (Unavailable, "raise was ended", {}),
    "defect": (Internal, "raise failed; see the log", {}),
    "no method of a service": (Internal, "raise failed", {}),
    "text that cannot be packed": (Full, "", {}),
}


@pytest.mark.parametrize(("what", "expected"), RAISED.items(), ids=RAISED.keys())
def test_what_a_handler_raises_is_raised_at_the_caller(ends: Ends, what: str, expected: tuple[Any, ...]):
    kind, message, facts = expected
    with pytest.raises(RequestError) as caught:
        ends.call("raise", what)
    assert type(caught.value) is kind
    assert message in caught.value.message
    assert caught.value.facts == facts
    assert ends.call("echo", "the server goes on") == "the server goes on"


@pytest.mark.parametrize("what", ["object", "set", "big number", "lone surrogate", "tuple as a key"])
def test_a_result_that_cannot_be_packed_or_read_is_an_internal_error(ends: Ends, what: str):
    with pytest.raises(Internal):
        ends.call("give", what)
    assert ends.call("echo", 1) == 1


@pytest.mark.parametrize("args", [(), (1, 2, 3)], ids=["too few", "too many"])
def test_arguments_that_do_not_fit_a_handler_are_an_internal_error(ends: Ends, args: tuple[Any, ...]):
    with pytest.raises(Internal):
        ends.call("slow", *args)


def test_a_handler_that_takes_too_long_is_ended_and_the_caller_told_by_the_server(ends: Ends):
    with pytest.raises(DeadlineExceeded, match="slow ran out of time"):
        ends.call("slow", 5, "x", timeout=0.1)
    assert ends.called.timeouts == 0
    assert ends.service.seen == []


def test_a_timeout_of_the_callers_own_is_not_swallowed(ends: Ends):
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        ends.call("slow", 5, "x")
    assert ends.callers._callers[SERVER]._in_flight == 0


# trap 9


def test_keys_that_are_no_strings_pass_and_such_that_cannot_be_read_back_are_refused(ends: Ends):
    assert ends.call("echo", {1: {2: 3}}) == {1: {2: 3}}
    with pytest.raises(Internal, match="cannot be read"):
        ends.call("echo", {(1, 2): 3})


# serving


def test_what_may_not_be_served_now_is_refused_and_not_carried_out(ends: Ends):
    ends.service.closed = Unavailable("stopping")
    with pytest.raises(Unavailable, match="stopping"):
        ends.call("echo", 1)
    assert ends.call("status") == "here"
    assert ends.service.seen == []
    assert (ends.served.served, ends.served.refused) == (1, 1)


def test_calls_to_several_at_once_give_each_its_result_or_error(ends: Ends):
    begun = time.monotonic()
    told = ends.callers.call_each((SERVER, "function-1", "function-2"), "echo", 1, timeout=0.2)
    assert time.monotonic() - begun < 0.2 + ANSWER_GRACE + 0.2
    assert told.pop(SERVER) == 1
    assert {type(error) for error in told.values()} == {DeadlineExceeded}
    assert len(told) == 2


def test_a_dead_greenlet_inside_of_zerorpc_ends_the_server(ends: Ends):
    assert ends.server is not None and ends.running is not None
    ends.server._server._events._recv._recv_task.kill()
    ends.running.join(timeout=1)
    assert ends.running.dead


def test_a_closing_server_answers_what_is_under_way(ends: Ends):
    call = gevent.spawn(outcome, ends.call, "slow", 5, "x", timeout=2)
    until(lambda: ends.served.served or ends.server is not None and len(ends.server._server._task_pool))
    begun = time.monotonic()
    ends.stop_serving()
    assert call.get() == "unavailable"
    assert time.monotonic() - begun < 1


def living() -> set[int]:
    return {id(thing) for thing in gc.get_objects() if isinstance(thing, gevent.Greenlet) and not thing.dead}


def test_a_process_with_calls_on_the_way_on_a_retired_connection_can_end(run_dir: Path):
    script = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from common.net.rpc import Callers, Context
from common.places import Places
from common.settings import Cluster, Rpc, Settings

context = Context()
rpc = Rpc(timeout=0.1, breaker_failures=1)
callers = Callers(context, Places(Settings(cluster=Cluster(run_dir=sys.argv[1]))), "gateway-0", rpc)
gevent.spawn(callers.call, "function-0", "slow", timeout=60.0)
gevent.sleep(0.05)
gevent.spawn(callers.call, "function-0", "echo")
gevent.sleep(0.5)
callers.close()
gevent.spawn(callers.call, "function-0", "late")
gevent.sleep(0.05)
context.destroy(linger=0)
print("ended", flush=True)
"""
    command = [sys.executable, "-c", script, str(run_dir)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.stdout == "ended\n"


def test_close_leaves_no_greenlet(run_dir: Path):
    pause(0.01)
    before = living()
    ends = Ends(run_dir, in_flight=2_000, breaker_failures=1).serve()
    assert ends.call("echo", 1) == 1
    calls = [gevent.spawn(outcome, ends.call, "slow", 3, n, timeout=3) for n in range(5)]
    silent = [
        gevent.spawn(outcome, ends.callers.call, "function-1", "echo", 1, timeout=0.1) for _ in range(5)
    ]
    gevent.joinall(silent)
    ends.close()
    gevent.killall(calls)
    del calls, silent
    until(lambda: living() - before == set())


# a real process at the other end


class RealServer:
    """A process of its own that answers `echo` and `slow`."""

    def __init__(self, run_dir: Path) -> None:
        (run_dir / "sock").mkdir(exist_ok=True)
        self.command = [sys.executable, "-m", "tests.common.net.echo_server", str(run_dir)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def real(run_dir: Path) -> Iterator[RealServer]:
    server = RealServer(run_dir)
    yield server
    server.end()


def test_a_stopped_process_times_out_and_answers_no_late_call_when_it_goes_on(
    make_ends: Callable[..., Ends], real: RealServer
):
    ends = make_ends(breaker_failures=2)
    assert ends.call("echo", 1) == 1
    real.signal(signal.SIGSTOP)
    late = [gevent.spawn(outcome, ends.call, "note", n, timeout=0.2) for n in range(10)]
    assert {call.get() for call in late} == {"timeout"}
    assert outcome(ends.call, "echo", 1) == "unavailable"
    real.signal(signal.SIGCONT)
    until(lambda: outcome(ends.call, "echo", 2) == 2)
    assert ends.call("noted") == []


def test_a_process_killed_in_the_middle_of_a_call_times_out_and_its_next_life_is_found(
    make_ends: Callable[..., Ends], real: RealServer
):
    ends = make_ends(breaker_failures=2)
    call = gevent.spawn(outcome, ends.call, "slow", 5, 1, timeout=0.3)
    until(lambda: ends.call("noted") == ["slow"])
    real.end()
    assert call.get() == "timeout"
    real.start()
    until(lambda: outcome(ends.call, "echo", 2, timeout=0.3) == 2)
    assert ends.call("noted") == []


def test_a_socket_that_waits_in_vain_leaves_nothing_to_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zsocket, "LOOK_SECONDS", 0.01)
    context = Context()
    socket = context.socket(zmq.PULL)
    socket.bind("inproc://nobody")
    waiter = gevent.spawn(socket.recv)
    pause(0.02)
    gc.collect()
    pause(0.1)
    left = gc.collect()
    waiter.kill()
    socket.close()
    context.destroy(linger=0)
    assert left == 0


def test_a_wake_up_that_was_missed_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zsocket, "LOOK_SECONDS", 0.02)
    context = Context()
    receiver, sender = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    receiver.bind("inproc://deaf")
    sender.connect("inproc://deaf")
    received = gevent.spawn(receiver.recv)
    pause(0.001)
    receiver._state_event.stop()
    sender.send(b"missed")
    try:
        assert received.get(timeout=5.0) == b"missed"
    finally:
        received.kill()
        context.destroy(linger=0)
