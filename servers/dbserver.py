"""dbserver: durable data and message ids. Every dbserver serves every key.

    world ─── room_load, room_append ──▶ streams of durable rooms, fenced by owner
    world ─── player_load, player_save, player_change ──▶ players of maps, fenced by owner
    function ── profile_get, profile_set ──▶ unique names and profiles
    session ──── users_seen ──▶ join sequence, last seen, time online
    gateway, center ── the saver's calls (common/net/saver.py) ──▶ kept messages, bans, users
    center, tools ── apikey_put … (common/net/apikeys.py) ──▶ API keys, audit log
    anybody ──── ids_take ──▶ ranges of this process's own id region

All calls bear being repeated, at this dbserver or another one.

    python -m servers.dbserver INDEX [--init-at COUNTER]

`--init-at` is for an id region whose state file is lost or damaged (docs/storage.md,
section 1): the operator's word that no counter from there on was ever given.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from common.errors import RequestError
from common.handlers import Handlers
from common.keys import redis_url
from common.net import players, profiles, roomlog, userbook
from common.net.apikeys import APIKEYS
from common.net.idregion import Ids, host_name
from common.net.process import Process, Service, main
from common.net.saver import SAVER, Saver
from common.net.store import Store
from common.rules.route import Change, Save, State

RPC = Handlers("dbserver rpc")
PROBE_SECONDS = 0.25
"""Between two probes. With `redis.silent_after` it says how soon a Redis that stands still is noticed."""


class Dbserver(Service):
    """Holds the way to Redis and the id region of this process."""

    RPC = RPC

    def __init__(self, process: Process, init_at: int | None = None) -> None:
        super().__init__(process)
        settings, places = process.settings, process.places
        self.store = Store(redis_url(settings, places, process.secrets), settings.redis, is_probed=True)
        self.ids = Ids(
            self.store,
            places.run_dir / "ids",
            settings.dbserver.first_shard + process.index,
            host_name(places.run_dir),
            settings.dbserver.id_ahead,
            init_at,
        )
        self.saver = Saver(
            self.store,
            settings.mailbox,
            settings.session.devices_per_user,
            lambda error: process.fail(str(error)),
        )
        self._redis_reason = "Redis has not answered yet"
        process.metrics.counters.declare(
            {"appends": "messages appended to durable rooms", "ids": "message ids given"}
        )
        process.metrics.gauge("redis_failures", "batches to Redis without an answer", self._failures)

    def tables(self) -> tuple[tuple[Handlers, Any], ...]:
        """Serve the saver's calls too, and those about API keys."""
        return (*super().tables(), (SAVER, self.saver), (APIKEYS, self.store))

    def start(self) -> None:
        """Look for Redis and open the id region; both go on in the background."""
        self.process.tasks.spawn("ids", self.ids.run, core=True)
        self.process.tasks.spawn("probe", self._probe)
        self.process.tasks.every("redis", PROBE_SECONDS, self._probe)

    def stop(self) -> None:
        """Let go of Redis; calls under way are answered `timeout`."""
        self.store.close()

    def missing(self) -> list[str]:
        """Say that Redis is away, or why there are no ids."""
        redis = [self._redis_reason] if self._redis_reason else []
        return redis + self.ids.missing()

    def _probe(self) -> None:
        try:
            self.store.probe()
            self._redis_reason = ""
        except RequestError as error:
            self._redis_reason = error.message

    def _failures(self) -> float:
        return self.store.failures


@RPC.on("ids_take")
def ids_take(service: Dbserver, count: int) -> int:
    """Give the first of `count` (1 … 1,000) message ids in a row; works while Redis is away.

    Raises:
        Unavailable: the region is not open, or its bound cannot be moved now.
    """
    first = service.ids.take(count)
    service.process.metrics.counters.ids += count
    return first


@RPC.on("room_load")
def room_load(
    service: Dbserver,
    room: str,
    owner: str,
    keep_items: int,
    keep_bytes: int = 0,
    keep_seconds: float = 0,
    known_epoch: int = 0,
    known_offset: int = 0,
) -> list[Any]:
    """Take ownership of a durable room; contract: common/net/roomlog.py, `load`.

    Returns:
        [epoch, offset, [[offset, uid, key, data, time_ms], …]]

    Raises:
        Conflict: fenced, a newer incarnation or term of this name owns the room.
    """
    limits = (keep_items, keep_bytes, keep_seconds)
    return list(roomlog.load(service.store, room, owner, *limits, known_epoch, known_offset))


@RPC.on("room_append")
def room_append(service: Dbserver, owner: str, appends: list[list[Any]]) -> list[list[Any]]:
    """Append to many durable rooms in one go; contract: common/net/roomlog.py.

    Args:
        appends: [room, expected_offset, [[uid, key, data, time_ms], …], keep_items,
            keep_bytes = 0, keep_seconds = 0] each; a room stands in it once.

    Returns:
        [status, offset] each, in order: "ok", "fenced", "moved" or "unavailable".
    """
    results = roomlog.append(service.store, owner, [roomlog.Append(*one) for one in appends])
    stored = sum(len(one[2]) for one, result in zip(appends, results, strict=True) if result[0] == "ok")
    service.process.metrics.counters.appends += stored
    return [list(result) for result in results]


@RPC.on("player_load")
def player_load(service: Dbserver, users: list[str]) -> list[list[Any]]:
    """Give [owner, place, route_ver, save_ver, input, blob or None] of each player, in order."""
    return [list(record) for record in players.load(service.store, users)]


@RPC.on("player_save")
def player_save(service: Dbserver, rows: list[list[Any]]) -> list[list[Any]]:
    """Store states of players; contract: common/net/players.py.

    Args:
        rows: [user, owner, place, route_ver, save_ver, input, blob] each; a user stands in it once.

    Returns:
        [status, owner, place, route_ver, save_ver, change] as stored now, each, in order;
        "ok", "stale", "not_owner" or "unavailable".

    Raises:
        BadField: a blob is too large (`blob`); nothing was stored.
    """
    return [list(answer) for answer in players.save(service.store, [Save(*row) for row in rows])]


@RPC.on("player_change")
def player_change(service: Dbserver, rows: list[list[Any]]) -> list[list[Any]]:
    """Change the owners of players: claim, move, release; contract: common/net/players.py.

    Args:
        rows: [user, id, owner, route_ver, to_owner, to_place, [save_ver, input, blob] or None] each.

    Returns:
        As `player_save`. Raises as it does.
    """
    changes = [Change._make([*change, state and State(*state)]) for *change, state in rows]
    return [list(answer) for answer in players.change(service.store, changes)]


@RPC.on("profile_get")
def profile_get(service: Dbserver, users: list[str]) -> list[list[Any]]:
    """Give [user, name or None, {field: value}] for each user, in order."""
    return [list(profile) for profile in profiles.get(service.store, users)]


@RPC.on("profile_set")
def profile_set(service: Dbserver, user: str, name: str | None, fields: dict[str, Any]) -> list[Any]:
    """Set the unique name (None: leave it) and fields (None: remove); give [name or None, profile].

    Raises:
        Conflict: the name is taken; nothing was changed.
        BadField: the profile would be too large (`set`), or not a name (`name`).
    """
    _, stored, profile = profiles.change(service.store, user, name, fields)
    return [stored, profile]


@RPC.on("users_seen")
def users_seen(service: Dbserver, rows: list[Any]) -> None:
    """Note [user, seen_ms, online_seconds_added] each; repeat exactly the same rows after a failure."""
    userbook.note(service.store, rows)


def _arguments() -> int | None:
    """Take --init-at off the command line; give its counter, None without it."""
    parser = argparse.ArgumentParser(prog="python -m servers.dbserver")
    parser.add_argument("index", type=int, nargs="?", default=0)
    parser.add_argument("--init-at", type=int, metavar="COUNTER", help="begin ids here; see docs/storage.md")
    init_at: int | None = parser.parse_args(sys.argv[1:]).init_at
    return init_at


if __name__ == "__main__":
    init_at = _arguments()
    main("dbserver", lambda process: Dbserver(process, init_at))
