"""Who owns something in storage: a process, in one life and under one lease term.

    "world-0 0000000000000002-aa 1"     name, incarnation, term

Storage compares owners as text and nothing else; who may take over from whom is decided
here, from the directory. An owner that is *over* will never write again: what it still
sends is refused, for the record names another one by then.

Source: docs/architecture.md, section 4.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

Directory = Mapping[str, Sequence[Any]]
"""Process name -> [incarnation, term, state, age in ms], as function last told."""

FREE = "free"
"""Nobody has it."""
OURS = "ours"
"""The caller has it, or had it in an earlier life or term."""
NEWER = "newer"
"""A newer life or term of the caller's own name has it: the caller is a zombie."""
OVER = "over"
"""Another process had it and is dead: it may be taken over."""
HELD = "held"
"""Another process has it, and lives or may live."""


class Owner(NamedTuple):
    """A process as storage knows it; sorts by age within one name."""

    name: str
    incarnation: str
    term: int

    def __str__(self) -> str:
        return f"{self.name} {self.incarnation} {self.term}"


def parse_owner(text: str) -> Owner:
    """Read what `str` of an owner gave.

    Raises:
        ValueError: it is none.
    """
    name, incarnation, term = text.split(" ")
    return Owner(name, incarnation, int(term))


def stands(text: str, caller: str, directory: Directory, configured: Collection[str]) -> str:
    """Tell how an owner in storage stands to a caller: FREE, OURS, NEWER, OVER or HELD.

    Args:
        text: the recorded owner; "" = nobody.
        caller: who asks, as an owner.
        directory: who lives. A name that is missing is unknown, not dead: a function process
            that has just started knows nobody.
        configured: names of all processes. Who is neither configured nor heard of is dead.
    """
    if not text:
        return FREE
    owner, ours = parse_owner(text), parse_owner(caller)
    if owner.name == ours.name:
        return NEWER if owner > ours else OURS
    told = directory.get(owner.name)
    if told is None:
        return HELD if owner.name in configured else OVER
    incarnation, term, state = str(told[0]), int(told[1]), told[2]
    if (incarnation, term) > (owner.incarnation, owner.term):
        return OVER
    is_same = (incarnation, term) == (owner.incarnation, owner.term)
    return OVER if is_same and state == "gone" else HELD
