"""Names by pattern: `*` stands for any run of characters, also none, also with `/`.

Used for room rules and for the room rights of a token. A pattern is cut into the
texts between its stars, and these are looked for from left to right, the earliest
place each. That takes no backtracking, so a pattern of many stars from a stranger's
token costs no more than length × length.
"""

from __future__ import annotations

from functools import lru_cache

REMEMBERED = 1_024
"""Patterns kept cut."""


def fits(pattern: str, text: str) -> bool:
    """Tell whether the whole of `text` fits `pattern`; upper and lower case differ."""
    pieces = _cut(pattern)
    if len(pieces) == 1:
        return text == pattern
    head, *inner, tail = pieces
    at, end = len(head), len(text) - len(tail)
    if at > end or not text.startswith(head) or not text.endswith(tail):
        return False
    for piece in inner:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


@lru_cache(maxsize=REMEMBERED)
def _cut(pattern: str) -> tuple[str, ...]:
    first, *rest = pattern.split("*")
    if not rest:
        return (first,)
    return (first, *(piece for piece in rest[:-1] if piece), rest[-1])
