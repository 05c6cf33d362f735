"""All settings of the system: read in layers, checked as a whole, handed down.

The single settings are declared in common/sections.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from common.config import build, layers
from common.errors import ConfigError
from common.sections import (
    Auth,
    Center,
    Cluster,
    Dbserver,
    Gateway,
    Lease,
    Lines,
    Link,
    Log,
    Mailbox,
    Matches,
    Redis,
    RoomRule,
    Rpc,
    Session,
    TokenKey,
    World,
)
from common.wire.names import is_name

__all__ = [
    "Auth",
    "Center",
    "Cluster",
    "Dbserver",
    "Gateway",
    "Lease",
    "Lines",
    "Link",
    "Log",
    "Mailbox",
    "Matches",
    "NOT_SETTINGS",
    "ROOT",
    "Redis",
    "RoomRule",
    "Rpc",
    "SECTIONS",
    "SHORTCUTS",
    "Session",
    "Settings",
    "TokenKey",
    "World",
    "load",
]

ROOT = Path(__file__).resolve().parent.parent
SHORTCUTS = {"ROOST_PORT": "cluster.port", "ROOST_RUN_DIR": "cluster.run_dir"}
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
NOT_SETTINGS = ("ROOST_CONF",)
"""Variables with our prefix that are not settings: ROOST_CONF names the TOML file."""


@dataclass(frozen=True)
class Settings:
    """All sections, as handed to a process at start."""

    cluster: Cluster = field(default_factory=Cluster)
    gateway: Gateway = field(default_factory=Gateway)
    session: Session = field(default_factory=Session)
    world: World = field(default_factory=World)
    lines: Lines = field(default_factory=Lines)
    matches: Matches = field(default_factory=Matches)
    lease: Lease = field(default_factory=Lease)
    link: Link = field(default_factory=Link)
    rpc: Rpc = field(default_factory=Rpc)
    dbserver: Dbserver = field(default_factory=Dbserver)
    mailbox: Mailbox = field(default_factory=Mailbox)
    redis: Redis = field(default_factory=Redis)
    auth: Auth = field(default_factory=Auth)
    center: Center = field(default_factory=Center)
    log: Log = field(default_factory=Log)


SECTIONS: dict[str, Any] = {f.name: f.default_factory for f in fields(Settings)}


def load(
    environment: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Settings:
    """Read all layers and give the checked settings.

    Args:
        environment: os.environ unless given; ROOST_CONF names another TOML file.
        arguments: "section.key" -> value, the last word.

    Raises:
        ConfigError: naming key and value. Nothing has been opened yet.
    """
    environment = os.environ if environment is None else environment
    path = Path(environment.get("ROOST_CONF", ROOT / "conf" / "roost.toml"))
    named = {k: v for k, v in environment.items() if k not in NOT_SETTINGS}
    plain = layers(SECTIONS, path, named, arguments or {}, SHORTCUTS)
    settings = Settings(**{name: build(SECTIONS[name], plain[name], name) for name in SECTIONS})
    _check_whole(settings)
    return settings


def _check_whole(settings: Settings) -> None:
    """Check what no single key can tell.

    Raises:
        ConfigError: naming the keys that do not fit each other.
    """
    for product, policy in settings.session.policies.items():
        if policy not in ("all", "newest", "per_kind", "refuse"):
            raise ConfigError(
                f"session.policies.{product} = {policy!r}: must be all, newest, per_kind or refuse"
            )
    for name, count in settings.cluster.maps.items():
        if not is_name(name):
            raise ConfigError(f"cluster.maps.{name}: the name must be 1 to 64 of A-Z a-z 0-9 . _ - : @")
        if not 1 <= count <= 512:
            raise ConfigError(f"cluster.maps.{name} = {count}: must be 1 to 512 processes")
    for name, target in settings.world.maps.items():
        if not _CLASS.fullmatch(target):
            raise ConfigError(
                f"world.maps.{name} = {target!r}: must be module:Class, as worlds.meadow:Meadow"
            )
    _check_pairs(settings)


def _check_pairs(settings: Settings) -> None:
    """Check numbers that must not pass each other."""
    if settings.mailbox.known_mids < settings.mailbox.items:
        raise ConfigError(
            f"mailbox.known_mids = {settings.mailbox.known_mids}: must not be below "
            f"mailbox.items = {settings.mailbox.items}"
        )
    if settings.link.silent_after < 2 * settings.link.idle_every:
        raise ConfigError(
            f"link.silent_after = {settings.link.silent_after}: must be at least twice "
            f"link.idle_every = {settings.link.idle_every}, or idle peers seem silent"
        )
    if settings.lease.suspect_after <= settings.lease.renew_every:
        raise ConfigError(
            f"lease.suspect_after = {settings.lease.suspect_after}: must be above "
            f"lease.renew_every = {settings.lease.renew_every}, or living processes seem silent"
        )
    if settings.lease.gone_after < settings.lease.suspect_after:
        raise ConfigError(
            f"lease.gone_after = {settings.lease.gone_after}: must not be below "
            f"lease.suspect_after = {settings.lease.suspect_after}"
        )
    if settings.world.presence_return > settings.world.presence_members:
        raise ConfigError(
            f"world.presence_return = {settings.world.presence_return}: must not be above "
            f"world.presence_members = {settings.world.presence_members}"
        )
