"""How often the loop looks at its sockets at most.

A gateway whose connections are quiet is woken for each single ping: a round of the loop, and two
switches of the processor, for one callback. Looking every few milliseconds it finds several at
a time. That delays what comes by as much at most; timers, and greenlets that are ready, are not
delayed. Network cards do the same to the processor, under the same name.

It is libev that does it; gevent brings the call in its extension, but not into Python.

Source: libev(3), ev_set_io_collect_interval
"""

from __future__ import annotations

import ctypes
from typing import Any

from gevent import get_hub


class Moderation:
    """Keeps a loop from looking again within `seconds` as long as nothing else is due."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def start(self) -> None:
        """Begin; nothing happens where `seconds` is 0, or the loop is not libev's."""
        if self._seconds:
            self._set(self._seconds)

    def stop(self) -> None:
        """End it."""
        if self._seconds:
            self._set(0.0)

    @staticmethod
    def _set(seconds: float) -> None:
        loop: Any = get_hub().loop
        if loop.__class__.__module__ != "gevent.libev.corecext":
            return
        from gevent.libev import corecext

        call = ctypes.CDLL(corecext.__file__).ev_set_io_collect_interval
        call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_double), None
        call(loop.ptr, seconds)
