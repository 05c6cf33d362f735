"""A load client as a process of its own.

    python -m loadtest.peers.client '{"peer": …, "port": …}'       loadtest/peers/plan.py

Told what to do by lines of JSON on stdin, `{"do": "enter"}`; answers each with one line of
JSON on stdout. It ends when stdin does.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from loadtest.peers import phases
from loadtest.peers.crowd import Crowd
from loadtest.peers.plan import Plan
from loadtest.peers.table import PEERS


def enter(crowd: Crowd) -> dict[str, Any]:
    """Have all come in."""
    began = time.monotonic()
    crowd.enter()
    gc.freeze()
    return {"seconds": time.monotonic() - began}


ORDERS: dict[str, Callable[..., dict[str, Any]]] = {
    "enter": enter,
    "rest": phases.rest,
    "hello": phases.hello,
    "steady": phases.steady,
    "saturate": phases.saturate,
}


def main(words: str) -> None:
    """Carry out orders until stdin ends; one that fails is answered with `error`, and is the last."""
    plan = Plan(**json.loads(words))
    crowd = Crowd(plan, PEERS[plan.peer](**plan.options))
    for line in sys.stdin:
        order = json.loads(line)
        try:
            told = ORDERS[order.pop("do")](crowd, **order)
        except (OSError, ValueError) as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            return
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
