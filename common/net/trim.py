"""Giving back to the system what the C library keeps of freed memory.

A greenlet's saved stack comes from malloc, among blocks that stay; when thousands of
greenlets have ended, their memory is whole pages of holes that glibc would keep for
ever. `malloc_trim` gives those back: 1–3 ms for a heap of 100 MB, 12 ms at worst seen.
"""

from __future__ import annotations

import ctypes
from typing import Any


def _find() -> Any:
    """Give glibc's malloc_trim, or None under another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None


_malloc_trim = _find()


def trim_heap() -> bool:
    """Give free pages back to the system; False when this C library cannot, or had none. Does not switch."""
    return bool(_malloc_trim is not None and _malloc_trim(0))
