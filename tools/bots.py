"""`./roost bots`: bots that play a map, and how the cluster carried them.

The bots are a process of their own (loadtest/bots): a look from outside, by real connections. While
they play, the map's worlds and the gateways are measured: ticks by their own metrics, CPU by /proc.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from common.errors import ConfigError
from common.keys import load_secrets
from common.places import Places
from common.settings import ROOT, Settings
from tools import center

COME_SECONDS = 120.0
"""How long all bots may take to come in."""
LOOK_EVERY = 0.5
TRIES = 10
WATCHERS = 20
METRIC = re.compile(r"^roost_stage_(tick_ms|overruns_total)\{(.*)\} (\S+)$", re.MULTILINE)


class Bots:
    """The process of the bots."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.bots", json.dumps(plan)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def report(self) -> dict[str, Any]:
        """Give what was counted since the last report.

        Raises:
            ConfigError: the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            return dict(json.loads(self._process.stdout.readline()))
        except (OSError, ValueError):
            raise ConfigError("the bots have ended; what went wrong stands above") from None

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def run(settings: Settings, map_name: str, count: int, seconds: float, product: str, as_json: bool) -> int:
    """Have so many bots play for so long, and print how it went.

    Returns:
        0; 1 when bots were told what was not so, or stayed away.

    Raises:
        ConfigError: as `measure` says.
    """
    found = measure(settings, map_name, count, seconds, product)
    print(json.dumps(found) if as_json else _page(found))
    return 0 if is_well(found) else 1


def is_well(found: dict[str, Any]) -> bool:
    """Tell whether all bots were there to the end and were told nothing but the truth."""
    return found["here"] == found["bots"] and not found["wrong"]


def measure(settings: Settings, map_name: str, count: int, seconds: float, product: str) -> dict[str, Any]:
    """Have so many bots play for so long; give how it went.

    Raises:
        ConfigError: there is no such map, or they could not come in.
    """
    places = Places(settings)
    worlds = places.maps.get(map_name)
    if worlds is None:
        raise ConfigError(f"no map {map_name!r}; configured: {', '.join(places.maps)}")
    console = Console(stderr=True)
    bots = Bots(plan(settings, places, map_name, count, product))
    try:
        _gather(bots, count, console)
        before, began = _figures(settings, places, worlds), time.monotonic()
        time.sleep(seconds)
        told, after = bots.report(), _figures(settings, places, worlds)
        took = time.monotonic() - began
    finally:
        bots.close()
    return _result(count, told, before, after, took)


def plan(settings: Settings, places: Places, map_name: str, count: int, product: str) -> dict[str, Any]:
    """Give what the process of the bots is told: Plan in loadtest/bots/crowd.py."""
    host = center.WILDCARDS.get(settings.cluster.host, settings.cluster.host)
    return {
        "host": host,
        "ports": [places.tcp_port(index) for index in range(settings.cluster.gateways)],
        "map": map_name,
        "count": count,
        "watchers": min(WATCHERS, count),
        "product": product,
        "token_key": load_secrets(places.run_dir).token_key,
    }


def _gather(bots: Bots, count: int, console: Console) -> None:
    """Wait until all bots are in the map, and have walked apart for a moment."""
    deadline = time.monotonic() + COME_SECONDS
    with console.status(f"0 of {count} bots are in the map") as status:
        while True:
            time.sleep(LOOK_EVERY)
            told = bots.report()
            status.update(f"{told['here']} of {count} bots are in the map")
            if told["here"] == count:
                return
            if time.monotonic() > deadline:
                raise ConfigError(f"{told['here']} of {count} bots came in; errors: {told['errors']}")


def _figures(settings: Settings, places: Places, worlds: tuple[str, ...]) -> dict[str, Any]:
    """Give ticks of the worlds of a map, and CPU seconds of those and of the gateways."""
    told = center.status(settings, places)
    if told is None:
        raise ConfigError("center does not answer; is the cluster ready? ./roost status")
    ticks = _ticks(settings, places, worlds)
    pids = {f"{row['group']}-{row['index']}": row["pid"] for row in told["processes"]}
    return {
        "ticks": {world: ticks[world] for world in worlds},
        "cpu": {name: _cpu_seconds(pids.get(name)) for name in (*worlds, *places.gateways)},
    }


def _ticks(settings: Settings, places: Places, worlds: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Give what each world says of its ticks; one that has no time to say it is asked again.

    Raises:
        ConfigError: it, or center, says nothing at all.
    """
    for _ in range(TRIES):
        page = center.get(f"{center.base_url(settings, places)}/metrics")
        ticks: dict[str, dict[str, float]] = {}
        for name, labels, value in METRIC.findall(page[1] if page is not None else ""):
            label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            quantity = "overruns" if name == "overruns_total" else f"tick_{label['quantile']}"
            ticks.setdefault(f"{label['group']}-{label['index']}", {})[quantity] = float(value)
        silent = [world for world in worlds if world not in ticks]
        if not silent:
            return ticks
        time.sleep(LOOK_EVERY)
    raise ConfigError(f"{', '.join(silent)} did not say how its ticks went; has it too much to do?")


def _cpu_seconds(pid: int | None) -> float:
    """Give the CPU seconds a process has used; 0 when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100


def _result(
    count: int, told: dict[str, Any], before: dict[str, Any], after: dict[str, Any], took: float
) -> dict[str, Any]:
    counts, ticks = told["counts"], after["ticks"]
    cpu = {name: max(0.0, used - before["cpu"][name]) / took for name, used in after["cpu"].items()}
    overruns = [row["overruns"] - before["ticks"][name]["overruns"] for name, row in ticks.items()]
    return {
        "bots": count,
        "here": told["here"],
        "in_view_mean": round(counts.get("in_view", 0) / max(1, counts.get("looks", 0)), 1),
        "tick_p99_ms": max(row["tick_p99"] for row in ticks.values()),
        "overruns": int(sum(overruns)),
        "input_to_state_p99_ms": told["input_to_state_ms"]["p99"],
        "cpu": {name: round(cores, 3) for name, cores in cpu.items()},
        "inputs_per_second": round(counts.get("inputs", 0) / took, 1),
        "looks": counts.get("looks", 0),
        "compared": counts.get("compared", 0),
        "wrong": counts.get("wrong", 0),
        "examples": told["wrong"],
        "errors": told["errors"],
        "bots_lag_p99_ms": told["lag_ms"]["p99"],
        "seconds": round(took, 1),
    }


def _page(found: dict[str, Any]) -> str:
    cpu = ", ".join(f"{name} {cores:.2f}" for name, cores in found["cpu"].items())
    lines = [
        f"{found['here']} of {found['bots']} bots, each with {found['in_view_mean']} others in view",
        f"tick p99 {found['tick_p99_ms']} ms (of the last 200), {found['overruns']} overruns",
        f"input to state p99 {found['input_to_state_p99_ms']} ms (the bots' own lateness: "
        f"{found['bots_lag_p99_ms']} ms)",
        f"processors: {cpu}",
        f"{found['looks']} looks of watchers, {found['compared']} places compared, {found['wrong']} wrong",
    ]
    lines += [f"  {example}" for example in found["examples"]]
    lines += [f"  {times} × {error}" for error, times in found["errors"].items()]
    return "\n".join(lines)
