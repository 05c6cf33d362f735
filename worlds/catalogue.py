"""From a setting's words to a map's class, and to the class its file has by now."""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType

from common.errors import ConfigError
from worlds.map import Map
from worlds.rooms import Rooms
from worlds.space import Space

VERSION_LETTERS = 8


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
    module_name = target.partition(":")[0]
    try:
        module = import_module(module_name)
    except Exception as error:  # noqa: BLE001 - whatever the module does at import, the operator is told
        raise _wrong(name, target, f"importing it fails: {error!r}") from error
    return _class_of(module, name, target)


def find_anew(name: str, target: str) -> tuple[type[Map], str]:
    """Give the class as its module's file has it now, whatever was imported before, and the version's name.

    Only that module is read; what it imports from others stays as it is.

    Raises:
        ConfigError: as `find`; then the module that was imported before is there still.
    """
    module_name = target.partition(":")[0]
    before = sys.modules.get(module_name)
    try:
        spec = _spec_of(module_name)
        source = _source_of(spec)
        module = module_from_spec(spec)
        sys.modules[module_name] = module
        exec(compile(source, str(spec.origin), "exec"), module.__dict__)
        return _class_of(module, name, target), _name_of(source)
    except Exception as error:  # noqa: BLE001 - as above
        if before is not None:
            sys.modules[module_name] = before
        if isinstance(error, ConfigError):
            raise
        raise _wrong(name, target, f"importing it fails: {error!r}") from error


def version_of(target: str) -> str:
    """Name what a map's file holds: equal words for equal bytes. Raises OSError, ImportError."""
    return _name_of(_source_of(_spec_of(target.partition(":")[0])))


def _spec_of(module_name: str) -> ModuleSpec:
    spec = find_spec(module_name)
    if spec is None or spec.origin is None:
        raise ImportError(f"{module_name} has no file")
    return spec


def _source_of(spec: ModuleSpec) -> bytes:
    return Path(str(spec.origin)).read_bytes()


def _name_of(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()[:VERSION_LETTERS]


def _class_of(module: ModuleType, name: str, target: str) -> type[Map]:
    found = getattr(module, target.partition(":")[2], None)
    if not isinstance(found, type) or not issubclass(found, Rooms | Space):
        raise _wrong(name, target, "no class derived from Rooms or Space")
    return found


def _wrong(name: str, target: str, why: str) -> ConfigError:
    return ConfigError(f"world.maps.{name} = {target!r}: {why}")
