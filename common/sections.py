"""The sections of the settings: every setting, with its unit, bounds and reason.

docs/configuration.md is made from this page (`make docs`), and a test compares
conf/roost.toml with it. How they are read: common/settings.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.config import option


@dataclass(frozen=True)
class Cluster:
    """How many processes of each group, and where they live."""

    port: int = option(
        7000,
        "base of all ports: TCP = base, HTTP = base+1, center = base+2, TLS = base+443 and base+444, "
        "each gateway's own TCP = base+100+index, HTTP = base+200+index",
        low=1024,
        high=64_000,
    )
    host: str = option("127.0.0.1", "address the gateways listen on; 0.0.0.0 for all")
    run_dir: str = option("run", "folder of all state: sockets, logs, ids, Redis data, secrets")
    gateways: int = option(2, "gateway processes", unit="processes", low=1, high=200)
    functions: int = option(
        1, "function processes (each holds the whole registry)", unit="processes", low=1, high=8
    )
    sessions: int = option(
        2, "session processes (users are spread by hash)", unit="processes", low=1, high=64
    )
    dbservers: int = option(2, "dbserver processes (any serves any key)", unit="processes", low=1, high=64)
    maps: dict[str, int] = option(
        {"plaza": 2, "arena": 1, "garden": 1}, "map name -> world processes that share its rooms and places"
    )


@dataclass(frozen=True)
class Gateway:
    """Sockets: limits of a connection and of the process."""

    max_connections: int = option(19_000, "stop accepting above this", unit="connections", low=1)
    accept_per_second: int = option(5_000, "pause accepting above this rate", unit="connections/s", low=1)
    half_open: int = option(
        4_000, "connections without a finished login, all together", unit="connections", low=1
    )
    half_open_per_address: int = option(
        1_200,
        "of one address; above it that address's oldest is closed. "
        "As many HTTP connections of it may rest between two requests",
        unit="connections",
        low=1,
    )
    ticket_required: bool = option(
        False, "take a token with a ticket of the dispatcher only; `resume` needs none"
    )
    hello_timeout: float = option(8.0, "time from accept to `hello`", unit="s", low=0.1, high=60)
    ping: int = option(120, "how often the server must hear a client", unit="s", low=1, high=300)
    park_after: float = option(
        1.5, "quiet time after which a connection gives its greenlet back", unit="s", low=0.05, high=60
    )
    look_every_ms: float = option(
        0.0, "pause between two looks at the sockets: a delay that saves CPU", unit="ms", low=0, high=100
    )
    packet_bytes: int = option(65_536, "largest packet from a client", unit="bytes", low=1024, high=786_432)
    packets_per_second: int = option(
        1_000, "packets a connection may send, sustained; twice that in a burst", unit="packets/s", low=1
    )
    bytes_per_second: int = option(
        1_048_576, "bytes a connection may send, sustained; twice that in a burst", unit="bytes/s", low=1024
    )
    publishes_per_second: int = option(
        500, "publishes and sends of one user on this gateway, sustained", unit="publishes/s", low=1
    )
    input_bytes: int = option(
        1_024, "largest input, and largest data of `enter`", unit="bytes", low=64, high=65_536
    )
    rooms_per_connection: int = option(100, "rooms one connection may be in", unit="rooms", low=1)
    watches_per_connection: int = option(200, "users one connection may watch", unit="users", low=1)
    requests_in_flight: int = option(
        2_000, "unanswered requests of one connection; above it: busy", unit="requests", low=1
    )
    outbox_bytes: int = option(
        262_144,
        "what may wait for a slow client; above it room messages are skipped (gap)",
        unit="bytes",
        low=4096,
    )
    slow_timeout: float = option(
        15.0, "an outbox that stays full this long ends the connection (slow)", unit="s", low=0.1
    )
    request_timeout: float = option(
        10.0, "a request without an answer gets `timeout` after this", unit="s", low=0.1, high=10
    )
    fanout_slice_ms: float = option(
        2.0, "fan-out yields to other work after this", unit="ms", low=0.1, high=100
    )
    broadcast_per_second: int = option(20_000, "pace of a broadcast", unit="connections/s", low=1)
    drain_per_second: int = option(
        500, "connections told to leave while draining, unless a stop needs more", unit="connections/s", low=1
    )
    door_wait: float = option(
        10.0,
        "a gateway that starts lets clients in without the processes it needs after this",
        unit="s",
        low=0,
        high=300,
    )
    stop_timeout: float = option(
        3.0,
        "time to leave at a planned stop; all are told in its first half, who is left is kicked",
        unit="s",
        low=0,
        high=60,
    )
    origins: tuple[str, ...] = option(
        (), "web pages that may connect, besides those served here: scheme://host[:port], or * for all"
    )
    compress: bool = option(False, "offer permessage-deflate to WebSocket clients (4 KiB window, no memory)")
    echo: bool = option(False, "serve /echo, a WebSocket echo for conformance tools")
    trusted_proxies: tuple[str, ...] = option(
        (), "addresses or networks whose X-Forwarded-For, or PROXY header, names the client"
    )
    proxy_protocol: bool = option(
        False, "connections from trusted proxies begin with a PROXY protocol v2 header"
    )
    tls_certificate: str = option(
        "", "PEM file with the certificate and its chain; empty: no TLS. Read again when it changes"
    )
    tls_key: str = option("", "PEM file with its key; empty: it is in the certificate's file")
    retry_base: float = option(0.5, "first reconnect delay told to clients", unit="s", low=0)
    retry_factor: float = option(2.0, "growth of the reconnect delay", low=1)
    retry_max: float = option(20.0, "largest reconnect delay", unit="s", low=0)


@dataclass(frozen=True)
class Session:
    """Presence."""

    policies: dict[str, str] = option(
        {}, "product -> device policy: all, newest, per_kind, refuse; others have `all`"
    )
    devices_per_user: int = option(
        16,
        "devices remembered for a user; the one longest away is forgotten",
        unit="devices",
        low=1,
        high=64,
    )
    offline_after: float = option(15.0, "absence after which a user is announced offline", unit="s", low=0)
    seen_every: float = option(
        1.0, "how often db_seen, db_users and db_online are written", unit="s", low=0.05
    )
    online_every: float = option(
        900.0, "how often online time of a connected user is added up", unit="s", low=1
    )
    bans_every: float = option(60.0, "how often the bans of a product are read again", unit="s", low=1)


@dataclass(frozen=True)
class RoomRule:
    """How rooms whose `map/name` fits `pattern` (with *) behave. The first fitting rule wins."""

    pattern: str = option("*", "map/name with *")
    durable: bool = option(False, "keep messages in Redis")
    history_items: int = option(2_000, "messages a room can replay", unit="messages", low=0, high=100_000)
    history_bytes: int = option(1_048_576, "their size", unit="bytes", low=0)
    history_seconds: float = option(3600.0, "their age", unit="s", low=1)
    member_limit: int = option(1_000_000, "connections in one room", unit="connections", low=1)
    idle_seconds: float = option(600.0, "how long an empty room lives", unit="s", low=0)


@dataclass(frozen=True)
class World:
    """Rooms, and maps with places."""

    rooms: tuple[RoomRule, ...] = option(
        (
            RoomRule(
                pattern="plaza/keep.*",
                durable=True,
                history_items=10_000,
                history_bytes=8_388_608,
                history_seconds=604_800.0,
            ),
            RoomRule(),
        ),
        "rules by name pattern, first fit wins",
    )
    publishes_per_second: int = option(
        10_000, "publishes into one room, sustained; twice that in a burst", unit="publishes/s", low=1
    )
    memory_bytes: int = option(
        536_870_912,
        "history of all rooms of one process; the rooms idle longest give way",
        unit="bytes",
        low=1_048_576,
    )
    presence_members: int = option(
        200, "up to this many members a room names them", unit="members", low=1, high=2_000
    )
    presence_return: int = option(
        150, "a room that grew too large names its members again at this size", unit="members", low=1
    )
    append_bytes: int = option(
        4_194_304, "durable publishes that may wait for Redis; above it: busy", unit="bytes", low=65_536
    )
    maps: dict[str, str] = option(
        {"arena": "worlds.arena:Arena", "garden": "worlds.arena:Garden"},
        "map name -> its class, module:Class; others have plain rooms. Without processes it is not played",
    )
    input_queue: int = option(
        16, "inputs of one player that may wait for a tick; above it they are dropped", unit="inputs", low=1
    )
    linkdead: float = option(30.0, "how long a player without a connection stays in its map", unit="s", low=0)
    save_every: float = option(30.0, "how often each player of a map is stored", unit="s", low=0.5)


@dataclass(frozen=True)
class Lines:
    """Copies of maps: lines, filled by load, and instances, made on demand."""

    copies: int = option(200, "lines and instances one world process hosts", unit="copies", low=1, high=5_000)
    report_every: float = option(
        1.0, "how often a world tells function how full its copies are", unit="s", low=0.05
    )
    hold: float = option(
        15.0,
        "how long a place is held for a player on the way, and an instance for its world to come back",
        unit="s",
        low=0.1,
    )
    idle: float = option(30.0, "a copy that is empty this long closes", unit="s", low=0)


@dataclass(frozen=True)
class Matches:
    """Matchmaking; which matches there are is said by the map."""

    tickets: int = option(
        1_000, "parties that wait in one map of a product; above it: full", unit="parties", low=2, high=10_000
    )
    wait: float = option(600.0, "a party waits for a match this long at most", unit="s", low=1)
    accept: float = option(15.0, "time all players have to accept a match", unit="s", low=1, high=300)
    remember: float = option(
        60.0, "how long those of a match can ask where it is played", unit="s", low=1, high=3_600
    )
    step_every: float = option(0.25, "how often matches are made", unit="s", low=0.02, high=10)


@dataclass(frozen=True)
class Lease:
    """Who is alive (docs/architecture.md, leases)."""

    renew_every: float = option(2.0, "how often a process renews at function", unit="s", low=0.05)
    frozen_after: float = option(6.0, "a process that stood still this long fences itself", unit="s", low=0.2)
    suspect_after: float = option(
        6.0, "silence after which function calls a process suspect", unit="s", low=0.2
    )
    gone_after: float = option(12.0, "silence after which function calls a process gone", unit="s", low=0.4)


@dataclass(frozen=True)
class Link:
    """The one-way streams between processes."""

    queue_bytes: int = option(16_777_216, "what may wait for one peer", unit="bytes", low=524_288)
    gather_ms: float = option(1.0, "how long a batch may gather", unit="ms", low=0, high=100)
    batch_bytes: int = option(262_144, "a batch is cut at this size", unit="bytes", low=1024)
    idle_every: float = option(1.0, "an idle link sends an empty batch this often", unit="s", low=0.05)
    silent_after: float = option(3.5, "a peer not heard this long is taken for down", unit="s", low=0.2)


@dataclass(frozen=True)
class Rpc:
    """Request and reply between processes."""

    timeout: float = option(3.0, "deadline of a call unless the caller says otherwise", unit="s", low=0.05)
    in_flight: int = option(256, "calls on the way to one peer; above it: busy", unit="calls", low=1)
    breaker_failures: int = option(3, "time-outs in a row that open the circuit", unit="calls", low=1)
    breaker_rest: float = option(0.5, "how long an open circuit refuses at once", unit="s", low=0.01)


@dataclass(frozen=True)
class Dbserver:
    """Ids and storage."""

    id_ahead: int = option(100_000, "ids the bound on disk is moved ahead by", unit="ids", low=2_000)
    first_shard: int = option(
        0, "id shard of dbserver 0 of this host; each host has its own range", low=0, high=511
    )


@dataclass(frozen=True)
class Mailbox:
    """Kept messages: mailboxes of users, broadcasts of products, and the ledger of both."""

    items: int = option(
        500,
        "messages a mailbox keeps; newer ones push the oldest out (gap)",
        unit="messages",
        low=1,
        high=5_000,
    )
    bytes: int = option(262_144, "their size; the newest always stays", unit="bytes", low=1024)
    ttl: float = option(
        2_592_000.0, "default and longest life of a kept message, and of an unused mailbox", unit="s", low=1
    )
    broadcasts: int = option(1_000, "kept broadcasts of a product", unit="messages", low=1, high=100_000)
    known_mids: int = option(
        1_000,
        "newest messages a mailbox recognises when they are sent again",
        unit="messages",
        low=1,
        high=10_000,
    )
    key_seconds: float = option(86_400.0, "how long a `key` stands for its message", unit="s", low=1)
    device_away: float = option(
        604_800.0, "a device away this long no longer holds messages back from being dropped", unit="s", low=1
    )
    head_loads: int = option(
        5,
        "connections a device may leave its first message unacked; then it is passed over (gap)",
        unit="connections",
        low=1,
    )
    head_seconds: float = option(
        60.0, "a connection shorter than this does not count for that", unit="s", low=0
    )
    dead_items: int = option(
        100, "messages given up that a mailbox remembers", unit="messages", low=1, high=1_000
    )
    receivers: int = option(10_000, "users one message may go to", unit="users", low=1, high=100_000)
    batch: int = option(500, "mailboxes written in one round trip", unit="users", low=1, high=2_000)
    ledger: float = option(604_800.0, "how long the delivery ledger knows a message", unit="s", low=1)
    ledger_share: float = option(
        0.6, "above this share of Redis's maxmemory new messages get no ledger", low=0, high=1
    )
    full_share: float = option(
        0.8, "above this share of Redis's maxmemory `keep` answers `unavailable`", low=0.01, high=1
    )
    body_cache_bytes: int = option(
        33_554_432, "message bodies a dbserver keeps in memory", unit="bytes", low=0
    )


@dataclass(frozen=True)
class Redis:
    """The store."""

    url: str = option("", "unix:// or redis:// address of your own Redis; empty: the bundled one is started")
    fsync: str = option("always", "appendfsync of the bundled server", choices=("always", "everysec"))
    maxmemory_mb: int = option(1024, "maxmemory of the bundled server (noeviction)", unit="MiB", low=16)
    timeout: float = option(2.0, "time-out of one call", unit="s", low=0.05)
    silent_after: float = option(
        0.5, "said nothing at all, also to a probe, for this long: taken for away", unit="s", low=0.05
    )
    breaker_rest: float = option(
        0.5, "after a failure calls are refused at once for this long", unit="s", low=0.01
    )
    connections: int = option(16, "connections of one dbserver to Redis", unit="connections", low=1, high=256)


@dataclass(frozen=True)
class TokenKey:
    """A key client tokens may be signed with."""

    kid: str = option("", "value of the token header's kid; empty: used when a token has none")
    algorithm: str = option("HS256", "how it signs", choices=("HS256", "RS256", "EdDSA"))
    key: str = option("", "the secret (HS256) or the public key as PEM")


@dataclass(frozen=True)
class Auth:
    """Who may come in. The first run makes run/secrets.toml with a key of its own."""

    keys: tuple[TokenKey, ...] = option((), "further keys client tokens may be signed with")


@dataclass(frozen=True)
class Center:
    """The web door for operators and application servers."""

    host: str = option("127.0.0.1", "address center listens on")
    timeout: float = option(1.0, "deadline when asking each process for its state", unit="s", low=0.05)
    api_timeout: float = option(5.0, "deadline of each call made for the API", unit="s", low=0.05, high=60)
    request_bytes: int = option(1_048_576, "largest body of a request", unit="bytes", low=1024)
    requests_per_second: int = option(1_000, "of one API key, twice in a burst", unit="requests/s", low=1)
    key_fresh: float = option(5.0, "a key from storage is used this long unasked", unit="s", low=0, high=300)


@dataclass(frozen=True)
class Log:
    """Logs; supervisord rotates the files."""

    level: str = option("info", "least level written", choices=("debug", "info", "warning", "error"))
    file_bytes: int = option(10_485_760, "a log file is rotated at this size", unit="bytes", low=65_536)
    file_count: int = option(3, "rotated files kept", unit="files", low=1)
