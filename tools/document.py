"""`make docs`: docs/configuration.md from common/sections.py, and the examples in docs/capacity.md."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import io
import json
import re
import shlex
from typing import Any, get_args, get_type_hints

from common.settings import ROOT, SECTIONS, SHORTCUTS
from tools import capacity

PAGE = ROOT / "docs" / "configuration.md"
CAPACITY = ROOT / "docs" / "capacity.md"
EXAMPLE = re.compile(r"(```\n\$ \./roost capacity (.*?)\n)(?!    ).*?(?=```)", re.S)
HEAD = """\
# Configuration

<!-- Made by `make docs` from common/sections.py; change it there. A test compares. -->

Layers, later ones win: the default, `conf/roost.toml` (or the file `ROOST_CONF` names), the
environment (`ROOST_<SECTION>_<KEY>`, lists and tables as JSON), arguments. An unknown name, a wrong
type or a value out of bounds stops a process before any socket is opened, and says which.

Seconds and bytes everywhere, unless the unit says otherwise.
"""


def page() -> str:
    """Give the whole page."""
    shortcuts = "\n".join(f"* `{name}` is `{target}`." for name, target in SHORTCUTS.items())
    parts = [HEAD, f"Shortcuts:\n\n{shortcuts}\n"]
    for name, kind in SECTIONS.items():
        parts.append(_section(name, kind))
    return "\n".join(parts)


def _section(name: str, kind: Any) -> str:
    nested = [inner for inner in map(_nested, get_type_hints(kind).values()) if inner is not None]
    parts = [f"## {name}\n\n{inspect.getdoc(kind)}\n\n{_table(kind, f'ROOST_{name.upper()}_')}"]
    parts += [
        f"Each entry, {inner.__name__}: {inspect.getdoc(inner)}\n\n{_table(inner, '')}" for inner in nested
    ]
    return "\n".join(parts)


def _nested(hint: Any) -> Any:
    """Give the dataclass a list setting is made of, or None."""
    return next((inner for inner in get_args(hint) if dataclasses.is_dataclass(inner)), None)


def _table(kind: Any, prefix: str) -> str:
    variable = "| variable " if prefix else ""
    lines = [
        f"| key | default | what it is | bounds {variable}|",
        f"|---|---|---|---|{'---|' if prefix else ''}",
    ]
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        cells = [
            f"`{field.name}`",
            _default(field, hints[field.name]),
            field.metadata["help"],
            _bounds(field),
        ]
        if prefix:
            cells.append(f"`{prefix}{field.name.upper()}`")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _default(field: dataclasses.Field[Any], hint: Any) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        value = field.default_factory() if field.default_factory is not dataclasses.MISSING else ""
    if _nested(hint) is not None:
        return f"{len(value)} entries" if value else "none"
    if isinstance(value, dict | list | tuple | bool):
        return f"`{json.dumps(value)}`"
    unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
    number = f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 and unit else f"{value}"
    return f"`{number}`{unit}" if value != "" else "empty"


def _bounds(field: dataclasses.Field[Any]) -> str:
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    if low is not None:
        return f"at least {low:,}"
    return f"at most {high:,}" if high is not None else ""


def with_examples(text: str) -> str:
    """Give a page with what `./roost capacity` says behind each call of it; one that goes on is indented."""
    parser = argparse.ArgumentParser()
    capacity.add_arguments(parser)

    def said(example: re.Match[str]) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as told:
            capacity.show(parser.parse_args(shlex.split(example[2].replace("\\\n", " "))))
        return example[1] + told.getvalue()

    return EXAMPLE.sub(said, text)


def main() -> None:
    """Write the pages."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    CAPACITY.write_text(with_examples(CAPACITY.read_text()))


if __name__ == "__main__":
    main()
