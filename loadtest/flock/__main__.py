"""A flock as a process of its own.

    python -m loadtest.flock '{"port": …, "count": …}'       loadtest/flock/plan.py

Told what to do by lines of JSON on stdin, `{"do": "begin"}`; answers each with one line of
JSON on stdout. Between orders, and while most of them are carried out, it goes on reading, pinging
and publishing; `login`, `rounds`, `echo`, `hear` and `rest` (drills.py) answer when they are done.
It ends when stdin does.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from typing import Any

from loadtest.flock import drills
from loadtest.flock.flock import Flock
from loadtest.flock.members import DESCRIPTORS
from loadtest.flock.plan import Plan

ORDERS: dict[str, Callable[..., Any]] = {
    "begin": Flock.begin,
    "publish": Flock.publish,
    "storm": Flock.storm,
    "expect_death": Flock.expect_death,
    "alive": Flock.alive,
    "behind": lambda flock, newest: flock.ledger.behind(newest),
    "uneven": lambda flock: flock.ledger.uneven(),
    "report": Flock.report,
    "login": drills.login,
    "rounds": drills.rounds,
    "echo": drills.echo,
    "hear": drills.hear,
    "rest": drills.rest,
}


def main(words: str) -> None:
    """Carry out orders until stdin ends; one that fails is answered with `error`, and is the last."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
    flock = Flock(Plan(**json.loads(words)))
    while True:
        flock.listen()
        line = sys.stdin.readline()
        if not line:
            return
        order = json.loads(line)
        try:
            told = ORDERS[order.pop("do")](flock, **order)
        except (OSError, ValueError) as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            return
        print(json.dumps(told if isinstance(told, dict) else {"told": told}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
