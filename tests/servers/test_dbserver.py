from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from common.errors import BadField, Conflict, DeadlineExceeded, Internal, Unavailable
from common.keys import make_secrets
from common.net import log as logs
from common.net.dbclient import Dbservers
from common.net.metrics import Metrics
from common.net.rpc import Callers, Context
from common.net.saver import SAVER, mail_send, user_add
from common.net.tasks import Tasks
from common.places import Places
from common.settings import ROOT, Settings, load
from servers.dbserver import (
    RPC,
    Dbserver,
    ids_take,
    profile_get,
    profile_set,
    room_append,
    room_load,
    users_seen,
)
from tests.redis_server import RedisServer

ROOM = "p/plaza/keep.a"
OWNER = "world-0 a 1"
CALLS = {
    "ids_take",
    "users_seen",
    "room_load",
    "room_append",
    "player_load",
    "player_save",
    "player_change",
    "profile_get",
    "profile_set",
}


def settings_for(server: RedisServer, run_dir: Path) -> Settings:
    """Give settings of a cluster in `run_dir` on `server`."""
    values = {"cluster.run_dir": str(run_dir), "redis.url": server.url, "redis.breaker_rest": 0.05}
    return load({}, values)


def make_service(server: RedisServer, run_dir: Path) -> Dbserver:
    """Make a dbserver inside this process, not started."""
    settings = settings_for(server, run_dir)
    logs.setup("error", "dbserver-0")
    log = logs.get()
    process = SimpleNamespace(
        settings=settings,
        places=Places(settings),
        secrets=make_secrets(run_dir),
        metrics=Metrics("dbserver-0"),
        log=log,
        tasks=Tasks(log),
        index=0,
    )
    return Dbserver(process)  # type: ignore[arg-type]


def end(service: Dbserver) -> None:
    service.stop()
    assert service.process.tasks.stop(3.0) == []
    service.ids.close()


@pytest.fixture
def service(redis_server: RedisServer, tmp_path: Path) -> Iterator[Dbserver]:
    """A started dbserver on an empty Redis."""
    service = make_service(redis_server, tmp_path)
    service.start()
    yield service
    end(service)


def until(true: Any, seconds: float = 10.0) -> None:
    """Wait until `true()`."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        gevent.sleep(0.01)


def test_the_table_has_the_calls_others_make() -> None:
    assert set(RPC) == CALLS


def test_the_savers_calls_are_served_too(service: Dbserver) -> None:
    assert (SAVER, service.saver) in service.tables()
    assert not set(RPC) & set(SAVER)
    user_add(service.saver, "p/alice")
    assert mail_send(service.saver, "p", "bob", "", 1, b"x", ["p/alice"])[0] == 1


def test_it_is_ready_when_redis_answered_and_the_ids_are_open(service: Dbserver) -> None:
    assert len(service.missing()) == 2
    until(lambda: not service.missing())


def test_without_redis_it_says_what_is_missing_and_gives_ids_all_the_same(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    first = make_service(own_redis, tmp_path)
    first.start()
    given = ids_take(first, 1_000)
    end(first)
    own_redis.kill()
    second = make_service(own_redis, tmp_path)
    second.start()
    assert ids_take(second, 1_000) >= given + 1_000
    assert [reason for reason in second.missing() if "Redis" in reason] == second.missing() != []
    with pytest.raises(Unavailable):
        room_load(second, ROOM, OWNER, 10, 0)
    own_redis.start()
    until(lambda: not second.missing())
    end(second)


def test_rooms_are_loaded_and_appended_with_plain_lists(service: Dbserver) -> None:
    epoch, offset, entries = room_load(service, ROOM, OWNER, 10, 0)
    assert (offset, entries) == (0, [])
    batch = [
        [ROOM, 0, [["alice", "k", b"data", 5]], 10],
        ["p/plaza/keep.b", 0, [["bob", "", b"", 6]], 10, 0, 60],
    ]
    assert room_append(service, OWNER, batch) == [["ok", 1], ["moved", 0]]
    assert room_load(service, ROOM, OWNER, 10, 0, 0, epoch, 1) == [epoch, 1, [[1, "alice", "k", b"data", 5]]]
    assert service.process.metrics.counters.appends == 1


def test_a_fenced_load_is_a_conflict_and_a_fenced_append_a_status(service: Dbserver) -> None:
    room_load(service, ROOM, "world-0 b 1", 10, 0)
    with pytest.raises(Conflict):
        room_load(service, ROOM, OWNER, 10, 0)
    assert room_append(service, OWNER, [[ROOM, 0, [["alice", "", b"x", 5]], 10]]) == [["fenced", 0]]


def test_profiles_are_given_as_plain_lists(service: Dbserver) -> None:
    assert profile_set(service, "p/alice", "Neo", {"level": 3}) == ["Neo", {"level": 3}]
    with pytest.raises(Conflict):
        profile_set(service, "p/bob", "Neo", {})
    with pytest.raises(BadField):
        profile_set(service, "p/bob", None, {"text": "x" * 5_000})
    assert profile_get(service, ["p/bob", "p/alice"]) == [
        ["p/bob", None, {}],
        ["p/alice", "Neo", {"level": 3}],
    ]


def test_users_are_noted_once(service: Dbserver) -> None:
    for _ in range(2):
        users_seen(service, [["p/alice", 1, 900], ["q/alice", 1, 1]])
    assert service.store.call("HGETALL", "db_online:{p}") == [b"alice", b"900"]
    assert service.store.call("HGETALL", "db_online:{q}") == [b"alice", b"1"]


def test_equal_names_in_two_products_never_share_a_key(service: Dbserver) -> None:
    for product in ("p", "q"):
        room = f"{product}/plaza/keep.a"
        room_load(service, room, OWNER, 10, 0)
        room_append(service, OWNER, [[room, 0, [["alice", "k", product.encode(), 5]], 10]])
        profile_set(service, f"{product}/alice", "Neo", {"in": product})
        users_seen(service, [[f"{product}/alice", 1, 1]])
    keys = {key.decode() for key in service.store.call("KEYS", "*")} - {"db_shard:0"}
    of_p = {key for key in keys if "{p}" in key or "{p/" in key}
    of_q = {key for key in keys if "{q}" in key or "{q/" in key}
    assert of_p | of_q == keys
    assert not of_p & of_q
    assert len(of_p) == len(of_q) >= 9
    assert room_load(service, "p/plaza/keep.a", OWNER, 10, 0)[2] == [[1, "alice", "k", b"p", 5]]


class Cluster:
    """Real dbserver processes, started and killed at will, and the way to call them."""

    def __init__(self, server: RedisServer) -> None:
        self.run_dir = Path(tempfile.mkdtemp(prefix="roost-db-"))
        make_secrets(self.run_dir)
        settings = settings_for(server, self.run_dir)
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("ROOST_")}
        self._environment |= {"ROOST_RUN_DIR": str(self.run_dir), "ROOST_REDIS_URL": server.url}
        self._context = Context()
        self.callers = Callers(self._context, Places(settings), "world-0", settings.rpc)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.dbservers = Dbservers(self.callers, Places(settings))

    def start(self, index: int, *arguments: str) -> None:
        """Start dbserver `index`."""
        with (self.run_dir / f"dbserver-{index}.log").open("ab") as log:
            self._processes[index] = subprocess.Popen(
                [sys.executable, "-m", "servers.dbserver", str(index), *arguments],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, index: int) -> None:
        """End dbserver `index` as `kill -9` does."""
        process = self._processes.pop(index)
        process.kill()
        process.wait()

    def call(self, method: str, *args: Any) -> Any:
        """Call any dbserver; repeat until one answers."""
        limit = time.monotonic() + 40
        while True:
            try:
                return self.dbservers.call(method, *args, timeout=1.0)
            except (Unavailable, DeadlineExceeded):
                assert time.monotonic() < limit
                gevent.sleep(0.02)

    def close(self) -> None:
        for index in list(self._processes):
            self.kill(index)
        self.callers.close()
        self._context.destroy(linger=0)
        shutil.rmtree(self.run_dir, ignore_errors=True)


@pytest.fixture
def cluster(redis_server: RedisServer) -> Iterator[Cluster]:
    """Two real dbservers."""
    cluster = Cluster(redis_server)
    try:
        for index in (0, 1):
            cluster.start(index)
        yield cluster
    finally:
        cluster.close()


def test_killed_dbservers_lose_and_double_no_append_and_repeat_no_id(cluster: Cluster) -> None:
    rng = random.Random(5)
    epoch = cluster.call("room_load", ROOM, OWNER, 10_000, 0)[0]
    stored = 0
    firsts: list[int] = []

    def publish() -> None:
        nonlocal stored
        while True:
            texts = [str(stored + n).encode() for n in range(rng.randrange(1, 6))]
            messages = [["alice", text.decode(), text, 5] for text in texts]
            ((status, offset),) = cluster.call("room_append", OWNER, [[ROOM, stored, messages, 10_000]])
            assert (status, offset) == ("ok", stored + len(texts))
            stored = offset

    def take() -> None:
        while True:
            firsts.append(cluster.call("ids_take", 1_000))

    workers = [gevent.spawn(publish), gevent.spawn(take)]
    for turn in range(4):
        before = stored, len(firsts)
        until(lambda before=before: stored > before[0] + 20 and len(firsts) > before[1] + 20, 40)
        gevent.sleep(rng.uniform(0, 0.04))
        cluster.kill(turn % 2)
        cluster.start(turn % 2)
    gevent.killall(workers)
    assert [worker.exception for worker in workers] == [None, None]
    _, offset, entries = cluster.call("room_load", ROOM, OWNER, 10_000, 0, 0, epoch, stored)
    assert stored <= offset <= stored + 5
    assert [(entry[0], entry[3]) for entry in entries] == [(n + 1, str(n).encode()) for n in range(offset)]
    firsts.sort()
    assert len(firsts) > 80
    assert all(later - earlier >= 1_000 for earlier, later in zip(firsts, firsts[1:], strict=False))


def test_errors_come_through_a_call_as_what_they_are(cluster: Cluster) -> None:
    cluster.call("profile_set", "p/alice", "Neo", {})
    with pytest.raises(Conflict):
        cluster.call("profile_set", "p/bob", "Neo", {})
    cluster.call("room_load", ROOM, "world-0 b 1", 10, 0)
    with pytest.raises(Conflict) as raised:
        cluster.call("room_load", ROOM, OWNER, 10, 0)
    assert raised.value.facts["owner"] == "world-0 b 1"


def test_killed_dbservers_lose_and_double_no_kept_message(cluster: Cluster) -> None:
    rng = random.Random(7)
    users = [f"p/u{n}" for n in range(40)]
    cluster.call("users_seen", [[user, 1, 0] for user in users])
    sent = 0

    def send() -> None:
        nonlocal sent
        while True:
            body, key = str(sent).encode(), f"k{sent}"
            while not _is_kept(cluster, key, body, users):
                gevent.sleep(0.01)
            sent += 1

    sender = gevent.spawn(send)
    for turn in range(6):
        before = sent
        until(lambda before=before: sent > before + 15, 40)
        gevent.sleep(rng.uniform(0, 0.02))
        cluster.kill(turn % 2)
        cluster.start(turn % 2)
    sender.kill()
    assert sender.exception is None
    for user in users[::8]:
        page = cluster.call("mail_load", user, "phone", None, None, 500, 1_000_000, True)
        numbers, bodies = [seq for seq, _, _ in page[0]], [body for _, _, body in page[0]]
        assert numbers == sorted(set(numbers))
        assert bodies[:sent] == [str(n).encode() for n in range(sent)]
        assert len(bodies) <= sent + 1


def _is_kept(cluster: Cluster, key: str, body: bytes, users: list[str]) -> bool:
    """Send as a client does: a new id each time, the same key."""
    try:
        mid = cluster.dbservers.call("ids_take", 1, timeout=1.0)
        cluster.dbservers.call("mail_send", "p", "bob", key, mid, body, users, None, key, timeout=1.0)
    except (Unavailable, DeadlineExceeded):
        return False
    return True


def test_a_dbserver_that_meets_an_id_given_twice_ends(cluster: Cluster) -> None:
    cluster.call("users_seen", [["p/alice", 1, 0]])
    letter = ("", 5, b"x", ["p/alice"], None, "digest")
    cluster.call("mail_send", "p", "bob", *letter)
    process = cluster._processes[0]
    with pytest.raises((Internal, Unavailable, DeadlineExceeded)):
        cluster.callers.call("dbserver-0", "mail_send", "p", "carol", *letter, timeout=5.0)
    assert process.wait(20) == 1
    assert b"given twice" not in (cluster.run_dir / "dbserver-1.log").read_bytes()
    assert b"message id 5" in (cluster.run_dir / "dbserver-0.log").read_bytes()


def test_a_second_process_of_one_index_does_not_start(cluster: Cluster) -> None:
    cluster.call("ids_take", 1)
    command = [sys.executable, "-m", "servers.dbserver", "0"]
    second = subprocess.run(
        command, cwd=ROOT, env=cluster._environment, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 2
    assert "runs already in this run folder" in second.stderr


def test_a_damaged_state_file_is_told_and_init_at_is_the_way_out(cluster: Cluster) -> None:
    cluster.call("ids_take", 1)
    for index in (0, 1):
        cluster.kill(index)
        (cluster.run_dir / "ids" / f"shard-{index}").write_bytes(b"garbage")
    cluster.start(0)
    until(lambda: "damaged" in _refusal(cluster, 0), 30)
    assert "--init-at" in _refusal(cluster, 0)
    cluster.kill(0)
    cluster.start(0, "--init-at", str(2**30))
    assert cluster.call("ids_take", 1) == 2**30


def _refusal(cluster: Cluster, index: int) -> str:
    """Say why a dbserver gives no ids."""
    with pytest.raises((Unavailable, DeadlineExceeded)) as raised:
        cluster.callers.call(f"dbserver-{index}", "ids_take", 1, timeout=1.0)
    return str(raised.value)
