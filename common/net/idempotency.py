"""A sender's idempotency keys: the same key stands for the same message.

    db_idem:{product/sender}:<key>   string   mid; claimed before body and slots

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

from common.net.store import Store, value


def claim(store: Store, sender: str, key: str, mid: int, seconds: float) -> int:
    """Give the mid that stands for this key: `mid`, or the one that claimed it before.

    Args:
        sender: product/uid.
        seconds: how long a new claim is remembered.

    Raises:
        Unavailable, DeadlineExceeded: it may be claimed; repeat, with any mid.
    """
    name = f"db_idem:{{{sender}}}:{key}"
    claimed, first = store.run([("SET", name, mid, "NX", "PX", int(seconds * 1000)), ("GET", name)])
    return mid if value(claimed) else int(value(first) or mid)
