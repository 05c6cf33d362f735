"""`make bench`: each bench prints one JSON object; `make bench ARGS=memory` runs one.

python -m loadtest.bench [NAME [key=value …]]     keys are those of its `measure`
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from loadtest.bench import (
    broadcast,
    carriers,
    echo,
    fanout,
    handshakes,
    keeping,
    links,
    login,
    memory,
    push,
    steady,
    ticks,
)
from loadtest.bench.machine import facts

BENCHES: dict[str, Callable[..., dict[str, Any]]] = {
    "memory": memory.measure,
    "fanout": fanout.measure,
    "echo": echo.measure,
    "login": login.measure,
    "links": links.measure,
    "keeping": keeping.measure,
    "push": push.measure,
    "broadcast": broadcast.measure,
    "carriers": carriers.measure,
    "handshakes": handshakes.measure,
    "steady": steady.measure,
    "ticks": ticks.measure,
}


def run(name: str, sizes: dict[str, Any]) -> dict[str, Any]:
    """Run one bench; give its figures with the machine's facts in front."""
    began = time.monotonic()
    machine = facts()
    figures = BENCHES[name](**sizes)
    return {"bench": name, "machine": machine, **figures, "took_seconds": round(time.monotonic() - began, 1)}


def main(words: list[str]) -> int:
    """Run what is asked for; give the exit code."""
    names = [word for word in words if "=" not in word] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no bench {unknown[0]!r}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    sizes = {
        key: json.loads(value) for key, _, value in (word.partition("=") for word in words if "=" in word)
    }
    for name in names:
        print(json.dumps(run(name, sizes), indent=1), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
