"""`./roost drain gateway-0`: its clients are told to go elsewhere, at a given pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from common.errors import ConfigError
from common.net.rpc import Callers, Context
from common.places import Places
from common.settings import Settings

TURN = 0.5
"""Seconds between two looks at how many are left."""


def drain(settings: Settings, gateway: str, report: Callable[[str], None]) -> int:
    """Ask a gateway to drain and tell how many connections are left until there are none.

    Raises:
        ConfigError: no such gateway.
        RequestError: the gateway does not answer.
    """
    places = Places(settings)
    if gateway not in places.gateways:
        raise ConfigError(f"no gateway {gateway!r}; there are {', '.join(places.gateways)}")
    context = Context()
    callers = Callers(context, places, "roost", settings.rpc)
    try:
        callers.call(gateway, "drain")
        _watch(lambda: callers.call(gateway, "status"), gateway, report)
    except KeyboardInterrupt:
        report(f"{gateway} goes on draining by itself")
    finally:
        callers.close()
        context.destroy(linger=0)
    return 0


def _watch(ask: Callable[[], dict[str, Any]], gateway: str, report: Callable[[str], None]) -> None:
    told = -1
    while told != 0:
        left = ask()["connections"]
        if left != told:
            report(f"{gateway}: {left} connections left")
        told = left
        if told:
            time.sleep(TURN)
