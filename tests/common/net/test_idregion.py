from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from common.errors import BadField, ConfigError, Unavailable
from common.net import idregion
from common.net.idregion import Ids, host_name
from common.net.store import Store
from common.rules.ids import COUNTER_BITS, REDIS_AHEAD, shard_of
from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[3]
MakeIds = Callable[..., Ids]


@pytest.fixture
def make_ids(tmp_path: Path) -> Iterator[MakeIds]:
    """Make regions of shard 3 in one folder; their greenlets and locks end afterwards."""
    made: list[tuple[Ids, gevent.Greenlet]] = []

    def make(store: Store, host: str = "here", folder: str = "ids", **options: Any) -> Ids:
        ids = Ids(store, tmp_path / folder, 3, host, **{"ahead": 2_000, **options})
        made.append((ids, gevent.spawn(ids.run)))
        return ids

    def end() -> None:
        for ids, greenlet in made:
            greenlet.kill()
            ids.close()
        made.clear()

    make.end = end  # type: ignore[attr-defined]
    yield make
    end()


def end_all(make_ids: MakeIds) -> None:
    """End all regions as a kill does: nothing is written any more."""
    make_ids.end()  # type: ignore[attr-defined]


def mark(store: Store) -> tuple[str, int]:
    """Give owner and bound in Redis."""
    owner, bound = store.call("HMGET", "db_shard:3", "owner", "bound")
    return owner.decode(), int(bound)


def test_the_first_ids_of_a_shard_begin_at_zero_and_follow_each_other(
    store: Store, make_ids: MakeIds
) -> None:
    ids = make_ids(store)
    first = ids.take(1)
    assert first == 3 << COUNTER_BITS
    assert [ids.take(1_000), ids.take(5), ids.take(1)] == [first + 1, first + 1_001, first + 1_006]
    assert ids.missing() == []


def test_redis_gets_owner_and_a_bound_far_ahead(store: Store, make_ids: MakeIds) -> None:
    make_ids(store).take(1)
    owner, bound = mark(store)
    assert owner.startswith("here/")
    assert bound == REDIS_AHEAD


def test_a_restart_goes_on_at_the_bound_and_repeats_nothing(store: Store, make_ids: MakeIds) -> None:
    last = make_ids(store).take(1_000) + 999
    end_all(make_ids)
    first = make_ids(store).take(1)
    assert last < first <= last + 5_000
    assert mark(store)[1] == REDIS_AHEAD


def test_many_takers_at_once_never_share_an_id(store: Store, make_ids: MakeIds) -> None:
    ids = make_ids(store)
    takers = [gevent.spawn(ids.take, 700) for _ in range(80)]
    firsts = sorted(taker.get(timeout=10) for taker in takers)
    assert all(b - a >= 700 for a, b in zip(firsts, firsts[1:], strict=False))


@pytest.mark.parametrize("count", [0, -1, 1_001])
def test_a_range_has_1_to_1000_ids(store: Store, make_ids: MakeIds, count: int) -> None:
    with pytest.raises(BadField):
        make_ids(store).take(count)


def test_a_second_process_of_this_host_is_kept_out(store: Store, make_ids: MakeIds) -> None:
    make_ids(store)
    with pytest.raises(ConfigError, match="in use by the process"):
        make_ids(store)


def test_another_host_waits_for_the_lease_and_then_begins_beyond_redis_bound(
    store: Store, make_ids: MakeIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idregion, "MOVE_SECONDS", 0.02)
    ours = make_ids(store).take(1_000)
    theirs = make_ids(store, host="there", folder="theirs")
    with pytest.raises(Unavailable, match="shard 3 belongs to here/"):
        theirs.take(1)
    assert "shard 3 belongs to here/" in theirs.missing()[0]
    store.call("HSET", "db_shard:3", "lease", 1)
    assert shard_of(theirs.take(1)) == 3
    assert theirs.take(1) > ours + REDIS_AHEAD - 1_000
    assert theirs.missing() == []


def test_who_lost_its_shard_to_another_host_gives_no_more(
    store: Store, make_ids: MakeIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idregion, "MOVE_SECONDS", 0.02)
    monkeypatch.setattr(idregion, "RENEW_SECONDS", 0.04)
    ids = make_ids(store)
    ids.take(1)
    later = int(time.time() * 1000) + 60_000
    store.call("HSET", "db_shard:3", "owner", "there/abc", "lease", later)
    until = time.monotonic() + 5
    while not ids.missing():
        assert time.monotonic() < until
        gevent.sleep(0.02)
    with pytest.raises(Unavailable, match="there/abc"):
        ids.take(1)
    assert mark(store)[0] == "there/abc"


class Stalling:
    """A store whose next claim of a shard waits while something else happens."""

    def __init__(self, store: Store, meanwhile: Callable[[], object]) -> None:
        self._store = store
        self._meanwhile: Callable[[], object] | None = meanwhile

    def call(self, *command: Any) -> Any:
        return self._store.call(*command)

    def script(self, name: str, keys: tuple[str, ...], *args: Any) -> Any:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return self._store.script(name, keys, *args)


@pytest.mark.parametrize("host", ["there", "here"])
def test_who_stalled_before_its_claim_does_not_begin_at_a_bound_that_has_moved(
    store: Store, tmp_path: Path, host: str
) -> None:
    store.call("HSET", "db_shard:3", "owner", "here/abc", "bound", 1_000, "lease", 1)
    moved = 1_000 + REDIS_AHEAD
    stalling = Stalling(store, lambda: store.call("HSET", "db_shard:3", "bound", moved, "lease", 1))
    ids = Ids(stalling, tmp_path, 3, host, ahead=2_000)  # type: ignore[arg-type]
    ids.step()
    assert mark(store) == ("here/abc", moved)
    assert "shard 3 belongs to here/abc" in ids.missing()[0]
    ids.step()
    with gevent.Timeout(2):
        assert ids.take(1) & ((1 << COUNTER_BITS) - 1) == moved
    ids.close()


def test_a_mark_that_vanished_before_the_claim_is_not_taken_for_a_free_shard(
    store: Store, tmp_path: Path
) -> None:
    store.call("HSET", "db_shard:3", "owner", "here/abc", "bound", 1_000, "lease", 1)
    ids = Ids(Stalling(store, lambda: store.call("DEL", "db_shard:3")), tmp_path, 3, "there", ahead=2_000)  # type: ignore[arg-type]
    ids.step()
    assert "shard 3 belongs to nobody" in ids.missing()[0]
    ids.close()


def test_an_outage_of_redis_does_not_stop_ids(
    own_redis: RedisServer, make_store: Callable[..., Store], make_ids: MakeIds
) -> None:
    store = make_store(own_redis, timeout=0.3)
    ids = make_ids(store)
    ids.take(1)
    own_redis.kill()
    given = [ids.take(1_000) for _ in range(50)]
    assert given == sorted(set(given))
    end_all(make_ids)
    again = make_ids(store)
    assert again.take(1_000) >= given[-1] + 1_000
    assert again.missing() == []


def test_what_redis_allowed_before_does_not_wait_for_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idregion, "RENEW_SECONDS", 0.0)
    ids = Ids(store, tmp_path, 3, "here", ahead=2_000)
    ids.step()
    ids.take(1_000)
    ids.take(1_000)
    taken_while_redis_was_asked = []
    monkeypatch.setattr(ids, "_mark", lambda *_: taken_while_redis_was_asked.append(ids.take(1_000)))
    with gevent.Timeout(2):
        ids.step()
    assert len(taken_while_redis_was_asked) == 1
    ids.close()


def test_without_file_and_without_redis_ids_wait_and_say_why_until_redis_comes(
    own_redis: RedisServer,
    make_store: Callable[..., Store],
    make_ids: MakeIds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idregion, "MOVE_SECONDS", 0.02)
    own_redis.kill()
    ids = make_ids(make_store(own_redis, breaker_rest=0.01))
    with pytest.raises(Unavailable, match="--init-at"):
        ids.take(1)
    assert "--init-at" in ids.missing()[0]
    own_redis.start()
    until = time.monotonic() + 5
    while ids.missing():
        assert time.monotonic() < until
        gevent.sleep(0.02)
    assert ids.take(1) == 3 << COUNTER_BITS


def test_a_damaged_file_is_refused_and_init_at_is_the_way_out(
    store: Store, make_ids: MakeIds, tmp_path: Path
) -> None:
    make_ids(store).take(10)
    end_all(make_ids)
    (tmp_path / "ids" / "shard-3").write_bytes(b"roost-ids 1 3 garbage")
    with pytest.raises(Unavailable, match=f"damaged.*--init-at {REDIS_AHEAD}"):
        make_ids(store).take(1)
    end_all(make_ids)
    assert make_ids(store, init_at=REDIS_AHEAD + 7).take(1) & ((1 << COUNTER_BITS) - 1) == REDIS_AHEAD + 7
    end_all(make_ids)
    assert make_ids(store).take(1) & ((1 << COUNTER_BITS) - 1) > REDIS_AHEAD + 7


def test_a_lost_file_goes_on_at_the_mark(store: Store, make_ids: MakeIds, tmp_path: Path) -> None:
    make_ids(store).take(10)
    end_all(make_ids)
    (tmp_path / "ids" / "shard-3").unlink()
    assert make_ids(store).take(1) & ((1 << COUNTER_BITS) - 1) == REDIS_AHEAD


def test_a_redis_that_forgot_the_mark_gets_it_back(
    store: Store, make_ids: MakeIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idregion, "MOVE_SECONDS", 0.02)
    monkeypatch.setattr(idregion, "RENEW_SECONDS", 0.0)
    ids = make_ids(store)
    ids.take(1)
    before = mark(store)
    store.call("DEL", "db_shard:3")
    until = time.monotonic() + 5
    while not store.call("EXISTS", "db_shard:3"):
        assert time.monotonic() < until
        gevent.sleep(0.02)
    assert mark(store) == before


def test_a_disk_that_refuses_stops_ids_before_the_bound_and_says_why(
    store: Store, make_ids: MakeIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda *_: None)
    ids = make_ids(store)
    ids.take(1)

    def refuse(_state: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(ids._file, "write", refuse)
    given = 1
    with pytest.raises(Unavailable, match="no space left"):
        while given < 50_000:
            ids.take(1_000)
            given += 1_000
    assert given <= 4_000
    monkeypatch.undo()
    ids.take(1_000)
    assert ids.missing() == []


def test_the_host_names_machine_and_run_folder_without_a_slash(tmp_path: Path) -> None:
    assert "/" not in host_name(tmp_path)
    assert host_name(tmp_path) != host_name(tmp_path / "other")


TAKER = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from pathlib import Path
from common.net import log
from common.net.idregion import Ids
from common.net.store import Store
from common.settings import Redis
log.setup("error", "taker")
url, folder, host = sys.argv[1:]
ids = Ids(Store(url, Redis(breaker_rest=0.02, timeout=0.5)), Path(folder), 3, host, ahead=2_000)
gevent.spawn(ids.run)
from common.errors import Unavailable
count = 1
while True:
    try:
        first = ids.take(count)
    except Unavailable:
        gevent.sleep(0.01)
        continue
    sys.stdout.write(f"{first} {count}\\n")
    sys.stdout.flush()
    count = count % 997 + 13
"""


def test_a_process_killed_at_random_instants_never_repeats_an_id(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    rng = random.Random(11)
    given: list[tuple[int, int]] = []
    for life in range(8):
        if life == 3:
            own_redis.kill()
        if life == 5:
            own_redis.start()
        if life == 6:
            (tmp_path / "ids" / "shard-3").unlink()
        given += _ranges_until_killed(own_redis.url, tmp_path / "ids", rng.uniform(0.0, 0.25))
    given.sort()
    assert len(given) > 100
    assert all(first + count <= later for (first, count), (later, _) in zip(given, given[1:], strict=False))


def _ranges_until_killed(url: str, folder: Path, seconds: float) -> list[tuple[int, int]]:
    """Run a process that takes ids, kill it `seconds` after its first; give (first, count) of all it said."""
    command = [sys.executable, "-c", TAKER, url, str(folder), "here"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            with gevent.Timeout(15):
                first_line = process.stdout.readline()
                until = time.monotonic() + seconds
                lines = [first_line]
                while time.monotonic() < until:
                    lines.append(process.stdout.readline())
        finally:
            process.kill()
        lines += process.stdout.readlines()
    whole = [line.split() for line in lines if line.endswith(b"\n")]
    return [(int(first), int(count)) for first, count in whole]
