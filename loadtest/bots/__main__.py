"""A crowd of bots as a process of its own.

    python -m loadtest.bots '{"ports": [7100], "token_key": …}'       Plan in crowd.py

Plays until stdin ends; each line on it is answered with one line of JSON: what was counted since the last.
"""

from __future__ import annotations

import gc
import json
import resource
import select
import sys

from loadtest.bots.crowd import Crowd, Plan


def main(words: str) -> None:
    """Play."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    given = json.loads(words)
    gc.set_threshold(100_000, 20, 100)  # what is heard are many objects, without cycles
    crowd = Crowd(Plan(**given | {"ports": tuple(given["ports"])}))
    try:
        while True:
            crowd.turn()
            if select.select([sys.stdin], [], [], 0)[0]:
                if not sys.stdin.readline():
                    return
                print(json.dumps(crowd.report()), flush=True)
    finally:
        crowd.close()


if __name__ == "__main__":
    main(sys.argv[1])
