"""The saver of a dbserver in a process of its own, over a Redis of its own with `appendfsync always`.

    python -m loadtest.bench.keeping_end '{"receivers": 10000, "rounds": 5}'

Measures at once and prints one line of JSON.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - patched before anything else is imported
import re  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from common.errors import RequestError  # noqa: E402
from common.net import log, userbook  # noqa: E402
from common.net.saver import Saver  # noqa: E402
from common.net.sending import Letter  # noqa: E402
from common.net.store import Store  # noqa: E402
from common.settings import Mailbox, Redis  # noqa: E402
from tools.bundled import find_server  # noqa: E402

UNICASTS = 1_000
BROADCASTS = 500
LOOKS = ("cmdstat_info", "cmdstat_config", "cmdstat_zremrangebyrank")
"""Commands that are not every message's: memory is looked at by the clock, and a mailbox whose `seq`
is a multiple of 16 forgets old ids, which of many new ones are all or none."""
BODY = b"x" * 100


def measure(receivers: int, rounds: int) -> dict[str, Any]:
    """Give what multicasts and unicasts took, and what they cost Redis."""
    log.setup("error", "bench")
    folder = Path(tempfile.mkdtemp(prefix="roost-keeping-"))
    socket = folder / "redis.sock"
    command = [str(find_server()), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    store = Store(f"unix://{socket}", Redis(timeout=10.0))
    try:
        _wait(store)
        told = _measure(store, receivers, rounds)
        costs = {name: _costs(store, receivers, share) for name, share in (("with", 1.0), ("without", 0.0))}
        return {**told, "cost_in_redis": _compared(costs["with"], costs["without"])}
    finally:
        store.close()
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _measure(store: Store, receivers: int, rounds: int) -> dict[str, Any]:
    saver = Saver(store, Mailbox(receivers=receivers), 16, print)
    users = [f"p/u{n}" for n in range(receivers)]
    userbook.note(store, [[user, 1, 0] for user in users])
    seconds, cpu, bytes_each = [], [], []
    for mid in range(rounds):
        before = _figures(store)
        begin = time.perf_counter()
        saver.sender.send(Letter("p", "bob", "", mid, BODY, None, str(mid)), users, saver.now_ms())
        seconds.append(time.perf_counter() - begin)
        after = _figures(store)
        cpu.append(after[1] - before[1])
        bytes_each.append((after[0] - before[0]) / receivers)
    begin = time.perf_counter()
    for mid in range(rounds, rounds + UNICASTS):
        saver.sender.send(Letter("p", "bob", "", mid, BODY, None, str(mid)), users[:1], saver.now_ms())
    each = (time.perf_counter() - begin) / UNICASTS
    return {
        "receivers_per_second": round(receivers * rounds / sum(seconds)),
        "receivers_per_second_best": round(receivers / min(seconds)),
        "redis_cpu_us_per_receiver": round(1e6 * sum(cpu) / (rounds * receivers), 1),
        "redis_bytes_per_receiver": round(min(bytes_each)),
        "unicast_ms": round(each * 1000, 2),
    }


def _costs(store: Store, receivers: int, ledger_share: float) -> dict[str, tuple[float, float, float]]:
    """Give what a message costs an empty Redis: bytes of memory, of the append-only file, commands.

    Commands within scripts count. The multicast's are those of one of its receivers.
    """
    store.call("FLUSHALL")
    saver = Saver(store, Mailbox(receivers=receivers, ledger_share=ledger_share), 16, print)
    users = [f"p/u{n}" for n in range(2 * receivers)]
    userbook.note(store, [[user, 1, 0] for user in users])
    mids = iter(range(10**9))

    def letter() -> Letter:
        mid = next(mids)
        return Letter("p", "bob", "", mid, BODY, None, str(mid))

    def unicasts() -> int:
        for user in users[:UNICASTS]:
            saver.sender.send(letter(), [user], saver.now_ms())
        return UNICASTS

    def multicast() -> int:
        saver.sender.send(letter(), users[receivers:], saver.now_ms())
        return receivers

    def broadcasts() -> int:
        for _ in range(BROADCASTS):
            saver.sender.broadcast(letter(), saver.now_ms())
        return BROADCASTS

    saver.sender.send(letter(), users[-2:-1], saver.now_ms())
    saver.sender.broadcast(letter(), saver.now_ms())
    costs = {}
    for name, send in (("unicast", unicasts), ("broadcast", broadcasts), ("receiver", multicast)):
        before = _spent(store)
        count = send()
        costs[name] = tuple((late - early) / count for early, late in zip(before, _spent(store), strict=True))
    return costs  # type: ignore[return-value]


def _compared(
    kept: dict[str, tuple[float, float, float]], bare: dict[str, tuple[float, float, float]]
) -> dict[str, Any]:
    """Give for each kind of message [with the ledger, without it, the ledger's part]."""
    units = ("bytes", "file_bytes", "commands")
    return {
        kind: {
            unit: [round(one, 2), round(other, 2), round(one - other, 2)]
            for unit, one, other in zip(units, kept[kind], bare[kind], strict=True)
        }
        for kind in kept
    }


def _spent(store: Store) -> tuple[int, int, int]:
    """Give Redis's memory, the size of its append-only file, and the commands it has carried out."""
    facts = b"".join(store.call("INFO", section) for section in ("memory", "persistence")).decode()
    memory, file = (
        int(re.findall(rf"\b{name}:(\d+)", facts)[0]) for name in ("used_memory", "aof_current_size")
    )
    rows = re.findall(r"(cmdstat_[\w|]+):calls=(\d+)", store.call("INFO", "commandstats").decode())
    return memory, file, sum(int(calls) for name, calls in rows if not name.startswith(LOOKS))


def _figures(store: Store) -> tuple[int, float]:
    """Give Redis's memory in bytes and the CPU seconds it has used."""
    facts: dict[str, str] = {}
    for section in ("memory", "cpu"):
        lines = store.call("INFO", section).decode().splitlines()
        facts |= dict(line.split(":", 1) for line in lines if ":" in line)
    return int(facts["used_memory"]), float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])


def _wait(store: Store) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            store.call("PING")
            return
        except RequestError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))), flush=True)
