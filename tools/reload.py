"""`./roost reload arena`: the worlds of a map go on with the code its file has now, or say why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.errors import ConfigError, RequestError
from common.net.rpc import Callers, Context
from common.places import Places
from common.settings import Settings

TIMEOUT = 15.0
"""Seconds a world may take to read the code and to try it."""


def reload(settings: Settings, map_name: str, report: Callable[[str], None]) -> int:
    """Have all worlds of a map read its code anew, at once, and tell how it went with each.

    Returns:
        0 when all have it; else 1: those of which an error is told go on with what they had.

    Raises:
        ConfigError: no such map.
    """
    places = Places(settings)
    worlds = places.maps.get(map_name)
    if worlds is None:
        raise ConfigError(f"no map {map_name!r}; configured: {', '.join(places.maps)}")
    context = Context()
    callers = Callers(context, places, "roost", settings.rpc)
    try:
        answers = callers.call_each(worlds, "reload", timeout=TIMEOUT)
    finally:
        callers.close()
        context.destroy(linger=0)
    for world, answer in sorted(answers.items()):
        report(f"{world}: {_words(answer)}")
    return 1 if any(isinstance(one, RequestError) or one["error"] for one in answers.values()) else 0


def _words(answer: dict[str, Any] | RequestError) -> str:
    if isinstance(answer, RequestError):
        return f"{answer.code}: {answer.message}"
    lines = f"{answer['lines']} of {answer['lines'] + answer['pinned']} lines have it"
    if answer["pinned"]:
        lines += ", the others keep theirs until they close"
    if answer["error"]:
        return f"goes on with {answer['version']}; {lines}. {answer['error'].strip()}"
    if answer["version"] == answer["before"]:
        return f"has {answer['version']} already"
    return f"{answer['before']} → {answer['version']}; {lines}"
