"""Settings: declared once, checked before any socket opens, frozen afterwards.

A section is a frozen dataclass whose fields are made by `option`; common/settings.py
declares them all. Layers, later ones win: default < conf/roost.toml <
ROOST_<SECTION>_<KEY> in the environment < arguments. Lists and tables travel in
the environment as JSON.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from common.errors import ConfigError

Section = TypeVar("Section")


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare one setting.

    Args:
        default: used when no layer names the key; a list or table is copied.
        help: one sentence for docs/configuration.md.
        unit: what a number counts (s, ms, bytes, connections …).
        low, high: inclusive bounds of a number.
        choices: the values a string may take; () for any.
    """
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices}
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: default.copy(), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _fail(name: str, value: object, wanted: str) -> ConfigError:
    return ConfigError(f"{name} = {value!r}: {wanted}")


def _unknown(what: str, name: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(name.split(".")[-1], known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}"
    return ConfigError(f"{name}: no such {what}{hint}")


def _check_type(name: str, value: Any, kind: Any) -> Any:
    """Give `value` as `kind`, or raise ConfigError naming key and value."""
    origin = get_origin(kind)
    if origin is dict:
        if not isinstance(value, dict):
            raise _fail(name, value, "must be a table")
        inner = get_args(kind)[1]
        return {str(k): _check_type(f"{name}.{k}", v, inner) for k, v in value.items()}
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _fail(name, value, "must be a list")
        inner = get_args(kind)[0]
        return tuple(_check_type(f"{name}[{i}]", v, inner) for i, v in enumerate(value))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise _fail(name, value, "must be a table")
        return build(kind, value, name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise _fail(name, value, f"must be of type {kind.__name__}")
    return value


def _check_bounds(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _fail(name, value, "must be a finite number")
        low, high = metadata.get("low"), metadata.get("high")
        if low is not None and value < low:
            raise _fail(name, value, f"must be at least {low} {metadata['unit']}".rstrip())
        if high is not None and value > high:
            raise _fail(name, value, f"must be at most {high} {metadata['unit']}".rstrip())
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise _fail(name, value, f"must be one of {', '.join(choices)}")


def build(kind: type[Section], values: Mapping[str, Any], name: str) -> Section:
    """Make one frozen section from plain values.

    Args:
        kind: a dataclass whose fields were made by `option`.
        values: key -> value as read; missing keys take their default.
        name: what to call the section in errors.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of bounds.
    """
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    checked: dict[str, Any] = {}
    for key, value in values.items():
        full = f"{name}.{key}"
        if key not in fields:
            raise _unknown("setting", full, list(fields))
        checked[key] = _check_type(full, value, hints[key])
        _check_bounds(full, checked[key], fields[key].metadata)
    try:
        return kind(**checked)
    except TypeError as error:
        raise ConfigError(f"{name}: {error}") from None


def _from_text(name: str, text: str, kind: Any) -> Any:
    """Read a value of the environment or the command line as `kind`."""
    if kind is str:
        return text
    if kind is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise _fail(name, text, "must be true or false")
    try:
        return json.loads(text)
    except ValueError:
        shape = kind.__name__ if isinstance(kind, type) else "JSON"
        raise _fail(name, text, f"must be of type {shape}") from None


def layers(
    sections: Mapping[str, Any],
    path: Path | None,
    environment: Mapping[str, str],
    arguments: Mapping[str, Any],
    shortcuts: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Gather what each layer says: section -> key -> plain value.

    Args:
        sections: section name -> dataclass.
        path: the TOML file, or None; a missing file is an error.
        environment: only names that begin with ROOST_ are looked at.
        arguments: "section.key" -> value, the last word.
        shortcuts: other environment names, e.g. ROOST_PORT -> "cluster.port".

    Raises:
        ConfigError: unreadable file, unknown section or variable.
    """
    gathered: dict[str, dict[str, Any]] = {name: {} for name in sections}
    if path is not None:
        for name, values in _read(path).items():
            if name not in sections:
                raise _unknown("section", name, list(sections))
            if not isinstance(values, dict):
                raise _fail(name, values, "must be a table")
            gathered[name].update(values)
    known = {
        f"ROOST_{s.upper()}_{f.name.upper()}": (s, f.name)
        for s, kind in sections.items()
        for f in dataclasses.fields(kind)
    }
    known |= {name: _split(target) for name, target in shortcuts.items()}
    for variable, text in environment.items():
        if not variable.startswith("ROOST_"):
            continue
        if variable not in known:
            raise _unknown("variable", variable, list(known))
        section, key = known[variable]
        kind = get_type_hints(sections[section])[key]
        gathered[section][key] = _from_text(variable, text, kind)
    for target, value in arguments.items():
        section, key = _split(target)
        gathered[section][key] = value
    return gathered


def _split(target: str) -> tuple[str, str]:
    section, key = target.split(".")
    return section, key


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None


def describe(sections: Mapping[str, Any]) -> Iterator[tuple[str, dataclasses.Field[Any], str]]:
    """Walk all declarations: (section, field, type as text), in declared order."""
    for name, kind in sections.items():
        hints = get_type_hints(kind)
        for field in dataclasses.fields(kind):
            hint = hints[field.name]
            text = hint.__name__ if isinstance(hint, type) else str(hint)
            yield name, field, text
