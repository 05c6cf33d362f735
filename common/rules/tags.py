"""Tags of connections: at most 16 names each, one copy for all connections that have the same.

A connection has the tags of its token, or those that were set for its device. Most of
a product's connections have one of a few sets (platform, version, region), so each
connection holds a reference to a shared tuple.

Source: docs/protocol.md, section 9; docs/architecture.md, section 9.
"""

from __future__ import annotations

from collections.abc import Iterable

from common.errors import BadField
from common.wire.names import is_name

TAGS_LIMIT = 16
SETS_SHARED = 10_000
"""Sets of tags of which all connections share one copy."""
JUDGED = 1_000
"""Different sets of tags of which a push remembers whether it is for them."""

Tags = tuple[str, ...]


class Wanted:
    """Tells whether a connection is one that a push is for: it has all the tags named."""

    def __init__(self, tags: Iterable[str]) -> None:
        self._tags = frozenset(tags)
        self._judged: dict[Tags, bool] = {}

    def fits(self, tags: Tags) -> bool:
        """Tell whether all that is wanted is among these; no tags wanted: everybody fits."""
        fits = self._judged.get(tags)
        if fits is None:
            fits = self._tags.issubset(tags)
            if len(self._judged) < JUDGED:
                self._judged[tags] = fits
        return fits


def as_tags(tags: Iterable[str]) -> Tags:
    """Give tags in the one form that equal sets of them have: sorted, each once."""
    return tuple(sorted(set(tags)))


def check_tags(tags: object) -> Tags:
    """Give a list of tags as `as_tags` does.

    Raises:
        BadField: no list of at most 16 names; field is "tags".
    """
    if not isinstance(tags, list | tuple) or len(tags) > TAGS_LIMIT or not all(map(is_name, tags)):
        raise BadField(f"tags is a list of at most {TAGS_LIMIT} names", field="tags")
    return as_tags(tags)
