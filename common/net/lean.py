"""Libraries that import what no process here uses, imported without it: 5 MB in each process.

While such a library is imported an empty module stands for what it does not get. Whoever
imports that later gets the real one.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

UNUSED = {
    "structlog": ("asyncio", "rich"),
    "websockets.version": ("importlib.metadata",),
}
"""Library -> what it has for loggers that are awaited, for coloured consoles, for its version from git."""


def import_without(library: str, unused: tuple[str, ...]) -> None:
    """Import a library without modules that are not there already."""
    withheld = [name for name in unused if name not in sys.modules]
    sys.modules.update({name: ModuleType(name) for name in withheld})
    try:
        import_module(library)
    finally:
        for name in withheld:
            del sys.modules[name]


for library, unused in UNUSED.items():
    import_without(library, unused)
