"""From a setting's words to a map's class."""

from __future__ import annotations

from importlib import import_module

from common.errors import ConfigError
from worlds.map import Map
from worlds.rooms import Rooms
from worlds.space import Space


def find(name: str, target: str) -> type[Map]:
    """Give the class of a map.

    Args:
        name: of the map, for the error.
        target: "module:Class"; "" for plain rooms.

    Raises:
        ConfigError: the module cannot be imported, or has no such map.
    """
    if not target:
        return Rooms
    module_name, _, class_name = target.partition(":")
    try:
        found = getattr(import_module(module_name), class_name, None)
    except Exception as error:  # noqa: BLE001 - whatever the module does at import, the operator is told
        raise ConfigError(f"world.maps.{name} = {target!r}: importing it fails: {error!r}") from error
    if not isinstance(found, type) or not issubclass(found, Rooms | Space):
        raise ConfigError(f"world.maps.{name} = {target!r}: no class derived from Rooms or Space")
    return found
