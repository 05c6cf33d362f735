"""The saver of a dbserver in a process of its own, over a Redis of its own with `appendfsync always`.

    python -m loadtest.bench.keeping_end '{"receivers": 10000, "rounds": 5}'

Measures at once and prints one line of JSON.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - patched before anything else is imported
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
        return _measure(store, receivers, rounds)
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
    ledger = store.call("MEMORY", "USAGE", "db_ledger:0", "SAMPLES", 0) / receivers
    begin = time.perf_counter()
    for mid in range(rounds, rounds + UNICASTS):
        saver.sender.send(Letter("p", "bob", "", mid, BODY, None, str(mid)), users[:1], saver.now_ms())
    each = (time.perf_counter() - begin) / UNICASTS
    return {
        "receivers_per_second": round(receivers * rounds / sum(seconds)),
        "receivers_per_second_best": round(receivers / min(seconds)),
        "redis_cpu_us_per_receiver": round(1e6 * sum(cpu) / (rounds * receivers), 1),
        "redis_bytes_per_receiver": round(min(bytes_each)),
        "ledger_bytes_per_receiver": round(ledger),
        "ledger_bytes_per_unicast": store.call("MEMORY", "USAGE", f"db_ledger:{rounds}"),
        "unicast_ms": round(each * 1000, 2),
    }


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
