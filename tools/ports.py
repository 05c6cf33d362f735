"""Whether the cluster's ports are free, and who has them if not."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from common.places import Places
from common.settings import Settings
from tools import processes

LISTENING = "0A"


@dataclass(frozen=True)
class Port:
    """A port the cluster will listen on."""

    host: str
    number: int
    purpose: str
    setting: str


def wanted(settings: Settings, places: Places) -> list[Port]:
    """Give every TCP port a cluster with these settings listens on."""
    host = settings.cluster.host
    numbers = {places.port: "clients, all gateways", places.web_port: "HTTP, all gateways"}
    if settings.gateway.tls_certificate:
        numbers |= {places.tls_port: "TLS, all gateways", places.tls_web_port: "HTTPS, all gateways"}
    for index, name in enumerate(places.gateways):
        numbers |= {places.tcp_port(index): f"clients, {name}", places.own_web_port(index): f"HTTP, {name}"}
    ports = [Port(host, number, purpose, "cluster.host") for number, purpose in numbers.items()]
    return [*ports, Port(settings.center.host, places.center_port, "center", "center.host")]


def check(ports: list[Port]) -> None:
    """Refuse ports that cannot be listened on.

    Raises:
        ConfigError: naming the first such port, who has it and which setting moves it.
    """
    for port in ports:
        try:
            _listen(port)
        except OSError as error:
            raise ConfigError(_explain(port, error)) from None


def _listen(port: Port) -> None:
    family, kind, number, _, address = socket.getaddrinfo(port.host, port.number, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, number) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def _explain(port: Port, error: OSError) -> str:
    what = f"port {port.number} on {port.host} ({port.purpose})"
    if isinstance(error, socket.gaierror) or error.errno == 99:
        return f"cannot listen on {what}: {error.strerror}; check the setting {port.setting}"
    pid = holder(port.number)
    who = f"pid {pid} ({processes.command_of(pid)})" if pid else "another user's process"
    return (
        f"{what} is taken by {who}: {error.strerror}; end that, or move all ports of this cluster, "
        f"e.g. ROOST_PORT={port.number // 1000 * 1000 + 1000} (and ROOST_RUN_DIR, if both shall run)"
    )


def holder(number: int) -> int | None:
    """Give the pid that listens on a TCP port, as far as this user may see; else None."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in _lines(table)[1:]:
            columns = line.split()
            if columns[3] == LISTENING and int(columns[1].rsplit(":", 1)[1], 16) == number:
                inodes.add(f"socket:[{columns[9]}]")
    return next((pid for pid in processes.all_pids() if inodes & processes.open_files(pid)), None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
