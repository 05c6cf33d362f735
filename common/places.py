"""Names and addresses of the configured processes.

A process is `group-index` ("gateway-0"). World processes are numbered through all
maps in the order of the configuration: with maps {plaza: 2, arena: 1}, world-2 is
arena's first. Placement goes over configured indexes, never over who is alive.
"""

from __future__ import annotations

from pathlib import Path

from common.errors import ConfigError, NotFound
from common.rules.placement import choose
from common.settings import ROOT, Settings
from common.wire.lines import Line
from common.wire.names import map_of

GROUPS = ("gateway", "function", "session", "dbserver", "world", "center")
SOCKET_PATH_LIMIT = 107
"""Bytes a unix socket's path may have (Linux, sockaddr_un)."""


class Places:
    """Where everybody is; made once per process from the settings."""

    def __init__(self, settings: Settings) -> None:
        cluster = settings.cluster
        self.run_dir = (ROOT / cluster.run_dir).resolve()
        self.port = cluster.port
        self.host = cluster.host
        self.gateways = tuple(f"gateway-{i}" for i in range(cluster.gateways))
        self.functions = tuple(f"function-{i}" for i in range(cluster.functions))
        self.sessions = tuple(f"session-{i}" for i in range(cluster.sessions))
        self.dbservers = tuple(f"dbserver-{i}" for i in range(cluster.dbservers))
        self.center = "center-0"
        self._worlds: dict[str, tuple[str, ...]] = {}
        self._map_of: dict[str, str] = {}
        for name, count in cluster.maps.items():
            first = len(self._map_of)
            self._worlds[name] = tuple(f"world-{first + i}" for i in range(count))
            self._map_of.update(dict.fromkeys(self._worlds[name], name))
        self.worlds = tuple(self._map_of)

    @property
    def processes(self) -> tuple[str, ...]:
        """Every configured process but center."""
        return self.functions + self.dbservers + self.sessions + self.worlds + self.gateways

    def map_of(self, world: str) -> str:
        """Give the map a world process belongs to."""
        return self._map_of[world]

    @property
    def maps(self) -> dict[str, tuple[str, ...]]:
        """Give each map's world processes, in the order of their indexes."""
        return dict(self._worlds)

    def host_of(self, area: str, line: Line) -> str:
        """Give the world process of a copy of a map ("product/map").

        Raises:
            NotFound: no such map, or it has no such process.
        """
        map_name = map_of(area)
        worlds = self._worlds.get(map_name)
        if worlds is None:
            raise NotFound(f"no map {map_name!r}", field="map")
        if line.host >= len(worlds):
            raise NotFound("no such line", field="line")
        return worlds[line.host]

    def home_of(self, area: str) -> str:
        """Give the world process that makes the matches of a map ("product/map").

        Raises:
            NotFound: no such map is configured.
        """
        return self.world_of(f"{area}/matches")

    def session_of(self, user: str) -> str:
        """Give the session process that owns a user ("product/uid")."""
        return self.sessions[choose(user, len(self.sessions))]

    def world_of(self, room: str) -> str:
        """Give the world process that owns a room ("product/map/name").

        Raises:
            NotFound: no such map is configured.
        """
        map_name = map_of(room)
        worlds = self._worlds.get(map_name)
        if worlds is None:
            raise NotFound(f"no map {map_name!r}", field="room")
        return worlds[choose(room, len(worlds))]

    def function_of(self, user: str) -> str:
        """Give the function process that answers for a user's global info, or for the lines of a map."""
        return self.functions[choose(user, len(self.functions))]

    def rpc_address(self, name: str) -> str:
        """Give where a process answers calls."""
        return f"ipc://{self.run_dir}/sock/{name}.rpc"

    def link_address(self, name: str) -> str:
        """Give where a process takes link batches."""
        return f"ipc://{self.run_dir}/sock/{name}.link"

    def tcp_port(self, gateway_index: int) -> int:
        """Give a gateway's own TCP port; all gateways share `port` as well."""
        return self.port + 100 + gateway_index

    @property
    def web_port(self) -> int:
        """Port of HTTP, shared by all gateways."""
        return self.port + 1

    def own_web_port(self, gateway_index: int) -> int:
        """Give a gateway's own HTTP port."""
        return self.port + 200 + gateway_index

    @property
    def tls_port(self) -> int:
        """Port of TCP with TLS, shared by all gateways."""
        return self.port + 443

    @property
    def tls_web_port(self) -> int:
        """Port of HTTP with TLS, shared by all gateways."""
        return self.port + 444

    def web_socket(self, gateway_index: int) -> str:
        """Give the path of the unix socket on which a gateway takes other gateways' requests."""
        return f"{self.run_dir}/sock/gateway-{gateway_index}.web"

    @property
    def center_port(self) -> int:
        """Port of center."""
        return self.port + 2

    def check_configured(self, name: str) -> None:
        """Refuse a process that no configuration names.

        Raises:
            ConfigError: naming the processes of its group.
        """
        if name not in self.processes:
            group = name.rpartition("-")[0]
            known = [other for other in self.processes if other.startswith(f"{group}-")]
            raise ConfigError(f"{name}: no such process is configured; known: {', '.join(known) or 'none'}")

    def check_socket_paths(self) -> None:
        """Refuse a run folder whose sockets would not fit.

        Raises:
            ConfigError: naming the folder, the length and the cure.
        """
        longest = f"{self.run_dir}/sock/function-0.link.xxxx"
        if len(longest.encode()) > SOCKET_PATH_LIMIT:
            room = SOCKET_PATH_LIMIT - len("/sock/function-0.link.xxxx")
            raise ConfigError(
                f"run folder {self.run_dir} is too long for unix sockets "
                f"({len(str(self.run_dir).encode())} bytes, at most {room}); "
                f"set ROOST_RUN_DIR to a shorter path, e.g. ROOST_RUN_DIR=/tmp/roost"
            )


def secrets_path(run_dir: Path) -> Path:
    """Give where the secrets of a run folder are kept."""
    return run_dir / "secrets.toml"
