"""A real process that answers calls, for tests: `python -m tests.common.net.echo_server RUN_DIR`."""

from __future__ import annotations

import sys
from typing import Any

import gevent

from common.handlers import Handlers
from common.net import rpc
from common.net.metrics import Counters
from common.places import Places
from common.settings import Cluster, Settings

TABLE = Handlers("echo rpc")


@TABLE.on("echo")
def echo(noted: list[Any], value: Any) -> Any:
    return value


@TABLE.on("note")
def note(noted: list[Any], value: Any) -> None:
    noted.append(value)


@TABLE.on("noted")
def noted(noted: list[Any]) -> list[Any]:
    return noted


@TABLE.on("slow")
def slow(noted: list[Any], seconds: float, value: Any) -> Any:
    noted.append("slow")
    gevent.sleep(seconds)
    return value


def main() -> None:
    counters = Counters("rpc")
    counters.declare(rpc.COUNTERS)
    places = Places(Settings(cluster=Cluster(run_dir=sys.argv[1])))
    address = places.rpc_address("function-0")
    server = rpc.RpcServer(rpc.Context(), address, ((TABLE, []),), lambda method: None, counters)
    print("ready", flush=True)
    server.run()


if __name__ == "__main__":
    main()
