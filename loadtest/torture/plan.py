"""What a run does, how hard, and where its files are; every process of it reads the same plan."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

KINDS = ("gateway", "session", "function", "dbserver", "world", "center")
"""Groups whose processes are killed."""
PRODUCT = "torture"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run. Times in seconds.

    Args:
        folder: journals, counts, logs and reports go there.
        seconds: how long is sent and killed.
        users, devices_each: who receives.
        hosts: client processes the devices are spread over.
        senders, servers: senders by client, and by center's push API.
        per_second: messages sent, all senders together.
        hot_users, hot_share: so many users get this share of all messages.
        kill_every: a server process is killed this often.
        host_kill_every: a client process is killed this often, and back within `host_back`.
        close_after, cut_after: mean life of a connection until its client closes it, until the
            network does something to it.
        away, long_away, long_share: mean time a closed device is away; this share stays long.
        silent: how long the network of a device is silent, from and to.
        least_messages, least_kills: a minute, below which the run has failed.
        drain: how long devices may take to get the rest when all is quiet again.
        gateways, center, proxy_port, api_key: of the running cluster.
        tokens: uid -> token, of all users and senders; made once, for signing costs a client
            process that is started again more than all else.
    """

    folder: str
    seconds: float
    seed: int = 1
    users: int = 200
    devices_each: int = 2
    hosts: int = 8
    senders: int = 90
    servers: int = 14
    per_second: float = 130.0
    hot_users: int = 20
    hot_share: float = 0.4
    kill_every: float = 5.0
    host_kill_every: float = 9.0
    host_back: float = 3.0
    close_after: float = 60.0
    cut_after: float = 25.0
    away: float = 3.0
    long_away: float = 25.0
    long_share: float = 0.1
    silent: tuple[float, float] = (1.0, 10.0)
    least_messages: int = 5_000
    least_kills: int = 10
    drain: float = 60.0
    product: str = PRODUCT
    gateways: list[list[Any]] = field(default_factory=list)
    center: str = ""
    proxy_port: int = 0
    tokens: dict[str, str] = field(default_factory=dict)
    api_key: str = ""

    @property
    def path(self) -> Path:
        """Give the plan's own file."""
        return Path(self.folder) / "plan.json"

    @property
    def calm(self) -> Path:
        """Give the file whose existence asks for calm."""
        return Path(self.folder) / "calm"

    def write(self, **running: Any) -> Plan:
        """Write it, with what is known of the running cluster; give the whole."""
        whole = replace(self, **running)
        whole.path.write_text(json.dumps(asdict(whole), indent=1))
        return whole

    # who is who

    def uid(self, user: int) -> str:
        """Give the uid of a receiver."""
        return f"u{user}"

    def devices(self) -> list[tuple[str, str]]:
        """Give (uid, device) of each device; its place in the list is its number."""
        names = "abcdefghijklmnop"[: self.devices_each]
        return [(self.uid(user), name) for user in range(self.users) for name in names]

    def journal(self, uid: str, device: str) -> Path:
        """Give the state of a device on disk."""
        return Path(self.folder) / "devices" / f"{uid}.{device}.jsonl"

    def sender_names(self) -> list[str]:
        """Give the senders by client, then those by HTTP."""
        return [f"s{number}" for number in range(self.senders)] + [f"h{n}" for n in range(self.servers)]

    def sent_journal(self, sender: str) -> Path:
        """Give what a sender has sent and what was acknowledged."""
        return Path(self.folder) / "senders" / f"{sender}.jsonl"

    def counts(self, name: str) -> Path:
        """Give where a process leaves its counters."""
        return Path(self.folder) / "counts" / f"{name}.jsonl"

    def make_folders(self) -> None:
        """Make the folders of all these files."""
        for name in ("devices", "senders", "counts", "states", "logs"):
            (Path(self.folder) / name).mkdir(parents=True, exist_ok=True)


def uid_of(sender: str) -> str:
    """Give the uid receivers see: application servers have none."""
    return "" if sender.startswith("h") else sender


def read(path: str) -> Plan:
    """Read a plan."""
    fields = json.loads(Path(path).read_text())
    return Plan(**{**fields, "silent": tuple(fields["silent"])})
