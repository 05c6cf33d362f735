"""How many objects a process holds, by type: what a leak shows itself by.

It walks all that the garbage collector tracks and has not been frozen (`freeze_heap`),
so what every process holds from its start on is left out. About 0.1 s for a million
objects, in which the loop stands still: it is asked for by hand and by the soak, never
by a timer.
"""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

from gevent.libev.corecext import watcher
from greenlet import greenlet

MOST = 40
"""Types named, the most frequent ones."""


def census() -> dict[str, Any]:
    """Give {objects, greenlets, watchers, types: {name: count}}; dead greenlets are not counted.

    Watchers are io watchers and timers, started or not. Does not switch greenlets.
    """
    counts: Counter[type] = Counter()
    greenlets = watchers = 0
    for thing in gc.get_objects():
        kind = type(thing)
        counts[kind] += 1
        if issubclass(kind, greenlet):
            greenlets += not thing.dead
        elif issubclass(kind, watcher):
            watchers += 1
    types = {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in counts.most_common(MOST)}
    return {"objects": counts.total(), "greenlets": greenlets, "watchers": watchers, "types": types}
