from __future__ import annotations

import signal
import time
from collections.abc import Callable

import gevent
import pytest
from gevent.monkey import get_original

from common.errors import DeadlineExceeded, Internal, RequestError, Unavailable
from common.net.store import Script, Store, value
from common.settings import Redis
from tests.redis_server import RedisServer

MakeStore = Callable[..., Store]
CLAIM = Script("name_claim", ("gs:name:{p}", "gs:claim:{p}"), ("neo", "alice", 1, "", ""))


def until_it_answers(store: Store, seconds: float = 5.0) -> None:
    """Wait until the circuit is closed again."""
    end = time.monotonic() + seconds
    while True:
        try:
            store.call("PING")
            return
        except (Unavailable, DeadlineExceeded):
            assert time.monotonic() < end
            gevent.sleep(0.02)


def test_a_batch_gives_a_reply_for_each_command_in_order(store: Store) -> None:
    assert store.run([("SET", "a", 1), ("GET", "a"), ("GET", "none"), ("INCR", "a")]) == [
        b"OK",
        b"1",
        None,
        2,
    ]


def test_an_empty_batch_asks_nobody(own_redis: RedisServer, make_store: MakeStore) -> None:
    own_redis.kill()
    assert make_store(own_redis).run([]) == []


def test_bytes_and_unicode_pass_unchanged(store: Store) -> None:
    store.call("SET", "käse", b"\x00\xff\r\n")
    assert store.call("GET", "käse") == b"\x00\xff\r\n"


def test_a_refused_command_does_not_spoil_its_neighbours(store: Store) -> None:
    first, refused, last = store.run([("SET", "a", "text"), ("INCR", "a"), ("GET", "a")])
    assert (first, last) == (b"OK", b"text")
    assert isinstance(refused, Internal)
    with pytest.raises(Internal):
        value(refused)


def test_an_argument_redis_cannot_take_is_our_defect_and_spoils_nothing(store: Store) -> None:
    with pytest.raises(Internal):
        store.call("SET", "a", None)  # type: ignore[arg-type]
    assert store.call("ECHO", "b") == b"b"
    assert store.failures == 0


def test_scripts_run_in_the_life_of_the_server_they_are_told(store: Store, redis_server: RedisServer) -> None:
    info = redis_server.command("INFO", "server")
    assert isinstance(info, dict)
    store.script("room_load", ("room:{r}:meta", "room:{r}:log"), "w a 1", 1, 0, 0, 60)
    assert store.call("HGET", "room:{r}:meta", "run_id") == info["run_id"].encode()
    assert store.run_id == info["run_id"]


def test_scripts_the_server_forgot_are_loaded_again_and_run_once(
    store: Store, redis_server: RedisServer
) -> None:
    store.call("PING")
    redis_server.command("SCRIPT", "FLUSH")
    assert store.run([("INCR", "n"), CLAIM, ("INCR", "n"), CLAIM]) == [1, [b"ok"], 2, [b"ok"]]


def test_each_script_says_its_keys_and_arguments(store: Store) -> None:
    assert len(store._sources) >= 8
    for name, source in store._sources.items():
        assert b"-- KEYS  1 " in source and b"-- ARGV  1 run_id" in source, name


def test_no_server_is_unavailable(own_redis: RedisServer, make_store: MakeStore) -> None:
    own_redis.kill()
    with pytest.raises(Unavailable):
        make_store(own_redis).call("PING")


def test_while_the_circuit_is_open_calls_are_refused_at_once(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, timeout=0.1, breaker_rest=60.0)
    own_redis.signal(signal.SIGSTOP)
    with pytest.raises(RequestError):
        store.call("PING")
    begin = time.perf_counter()
    for _ in range(20):
        with pytest.raises(Unavailable):
            store.call("PING")
    assert time.perf_counter() - begin < 0.1
    assert store.failures == 1


def test_after_the_rest_one_call_probes_and_the_others_are_still_refused(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, timeout=0.3, breaker_rest=0.05)
    store.call("PING")
    own_redis.signal(signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded):
        store.call("PING")
    gevent.sleep(0.05)
    probe = gevent.spawn(store.call, "PING")
    gevent.sleep(0.01)
    with pytest.raises(Unavailable):
        store.call("PING")
    assert not probe.ready()
    own_redis.signal(signal.SIGCONT)
    assert probe.get(timeout=2) == b"PONG"
    assert store.call("PING") == b"PONG"


def test_a_server_that_stands_still_is_given_up_in_time_with_unknown_outcome(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, timeout=0.2)
    store.call("PING")
    own_redis.signal(signal.SIGSTOP)
    begin = time.perf_counter()
    with pytest.raises(DeadlineExceeded):
        store.call("SET", "a", 1)
    assert 0.15 < time.perf_counter() - begin < 0.4


def test_a_probe_nobody_answers_gives_up_what_is_under_way(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, timeout=10.0, silent_after=0.1, breaker_rest=60.0)
    store.run_each([[("PING",)]] * 3)
    own_redis.signal(signal.SIGSTOP)
    begin = time.perf_counter()
    waiting = [gevent.spawn(store._outcome, [("SET", "a", n)]) for n in range(6)]
    gevent.sleep(0.01)
    with pytest.raises((Unavailable, DeadlineExceeded)):
        store.probe()
    errors = [one.get(timeout=5) for one in waiting]
    assert time.perf_counter() - begin < 5
    assert {type(error) for error in errors} <= {Unavailable, DeadlineExceeded}
    assert any(isinstance(error, DeadlineExceeded) for error in errors), "what was sent may be done"
    with pytest.raises(Unavailable, match="away"):
        store.call("PING")


def test_a_probe_nobody_answers_gives_up_a_connection_that_logs_in_too(own_redis: RedisServer) -> None:
    store = Store(f"{own_redis.url}?db=1", Redis(timeout=10.0, silent_after=0.1, breaker_rest=60.0))
    try:
        store.call("PING")
        own_redis.signal(signal.SIGSTOP)
        probing = gevent.spawn(store.probe)
        gevent.sleep(0.01)
        begin = time.perf_counter()
        with pytest.raises(Unavailable):
            store.call("SET", "a", 1)
        assert time.perf_counter() - begin < 5
        with pytest.raises((Unavailable, DeadlineExceeded)):
            probing.get(timeout=5)
    finally:
        store.close()


def test_a_probe_that_is_slow_while_others_are_answered_ends_nothing(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, silent_after=0.2)
    store.run_each([[("PING",)]] * 2)
    own_redis.signal(signal.SIGSTOP)
    waiting = gevent.spawn(store.call, "ECHO", "a")
    probing = gevent.spawn(store.probe)
    gevent.sleep(0.02)
    store._heard_at = store._clock()  # somebody else was answered
    probing.get(timeout=5)
    own_redis.signal(signal.SIGCONT)
    assert waiting.get(timeout=5) == b"a"
    assert store.failures == 0


def test_a_probe_given_up_because_this_process_stood_still_says_nothing_of_redis(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, silent_after=0.05)
    store.call("PING")
    own_redis.signal(signal.SIGSTOP)
    gevent.spawn_later(0.01, get_original("time", "sleep"), 0.4)
    store.probe()
    assert store.failures == 0
    with pytest.raises((Unavailable, DeadlineExceeded)):
        store.probe()


def test_a_killed_call_closes_its_connection_and_the_next_reads_its_own_reply(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, connections=1)
    store.call("SET", "a", "old")
    own_redis.signal(signal.SIGSTOP)
    reading = gevent.spawn(store.call, "GET", "a")
    gevent.sleep(0.02)
    reading.kill()
    own_redis.signal(signal.SIGCONT)
    assert store.call("ECHO", "mine") == b"mine"


def test_the_callers_own_timeout_passes_through(own_redis: RedisServer, make_store: MakeStore) -> None:
    store = make_store(own_redis)
    store.call("PING")
    own_redis.signal(signal.SIGSTOP)
    with pytest.raises(gevent.Timeout) as raised, gevent.Timeout(0.05) as own:
        store.call("PING")
    assert raised.value is own
    own_redis.signal(signal.SIGCONT)
    assert store.call("PING") == b"PONG"


def test_more_callers_than_connections_wait_for_their_turn(
    redis_server: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(redis_server, connections=2)
    callers = [gevent.spawn(store.call, "ECHO", number) for number in range(100)]
    assert [caller.get(timeout=5) for caller in callers] == [str(n).encode() for n in range(100)]
    clients = store.call("CLIENT", "LIST").splitlines()
    assert len([line for line in clients if b"cmd=echo" in line]) <= 2


def test_after_a_kill_and_restart_it_goes_on_with_the_new_run_id(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, breaker_rest=0.02)
    store.call("SET", "a", "kept")
    before = store.run_id
    own_redis.kill()
    with pytest.raises(Unavailable):
        store.call("GET", "a")
    own_redis.start()
    until_it_answers(store)
    assert store.call("GET", "a") == b"kept"
    assert store.run_id != before
    assert store.run([CLAIM]) == [[b"ok"]]


def test_a_full_server_is_unavailable_and_does_not_open_the_circuit(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis)
    store.call("SET", "a", "1")
    own_redis.command("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(Unavailable, match="OOM|maxmemory"):
        store.call("SET", "b", "2")
    with pytest.raises(Unavailable, match="OOM|maxmemory"):
        store.script(*CLAIM[:2], *CLAIM.args)
    assert store.call("GET", "a") == b"1"
    assert store.failures == 0


def test_a_wrong_password_is_unavailable_and_is_not_told(own_redis: RedisServer) -> None:
    own_redis.command("CONFIG", "SET", "requirepass", "right")
    store = Store(f"{own_redis.url}?password=hunter2", Redis())
    with pytest.raises(Unavailable) as raised:
        store.call("PING")
    assert "hunter2" not in raised.value.message
    store.close()


def test_many_batches_go_at_the_same_time_and_come_back_in_order(store: Store) -> None:
    batches = [[("ECHO", f"{turn}/{n}") for n in range(3)] for turn in range(40)]
    assert store.run_each(batches) == [[text.encode() for _, text in batch] for batch in batches]
    assert store.run_each([]) == []


def test_a_batch_that_failed_is_told_once_all_have_ended(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, timeout=0.2)
    store.call("PING")
    own_redis.signal(signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded):
        store.run_each([[("PING",)], [("PING",)]])


def test_a_script_has_the_text_it_includes(store: Store) -> None:
    assert b"local function read_slot" in store._sources["mail_load"]
    assert not any(b"-- include" in source for source in store._sources.values())
