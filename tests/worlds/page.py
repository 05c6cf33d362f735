"""The code that docs/worlds.md shows."""

from __future__ import annotations

import re

from common.settings import ROOT

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks() -> list[str]:
    return _BLOCK.findall((ROOT / "docs" / "worlds.md").read_text())


def map_code() -> str:
    """Give the example map."""
    return _blocks()[0]


def client_code() -> str:
    """Give the example client."""
    return _blocks()[1]
