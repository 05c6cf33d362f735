"""`./roost status`: every process of the cluster, live or as JSON."""

from __future__ import annotations

import json
import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from common.errors import RequestError
from common.places import Places
from common.settings import Settings
from tools import center, cluster
from tools.control import Supervisor

FIELDS = (
    "group",
    "index",
    "pid",
    "state",
    "incarnation",
    "uptime",
    "connections",
    "lag_p99_ms",
    "rss",
    "queues",
)
REFRESH = 1.0
"""Seconds between two looks of the live table."""
COLOURS = {"ready": "green", "starting": "yellow", "draining": "yellow", "stopping": "yellow"}


def gather(settings: Settings, places: Places) -> dict[str, Any]:
    """Give `{ready, processes: [{group, index, pid, state, …}]}` from center, or without it."""
    told = center.status(settings, places) if cluster.runs(places.run_dir) else None
    if told is None:  # or another cluster's center would answer on this port
        told = without_center(settings, places)
    return {"ready": told["ready"], "processes": [_row(row) for row in told["processes"]]}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {field: row.get(field) for field in FIELDS}


def without_center(settings: Settings, places: Places) -> dict[str, Any]:
    """Put the same together from supervisord and from each process itself."""
    supervised = {row["name"]: row for row in Supervisor(places.run_dir).processes()}
    answers = _ask_all(settings, places) if supervised else {}
    names = (*places.processes, places.center)
    rows = [_merge(name, answers.get(name), supervised.get(name)) for name in names]
    return {"ready": False, "processes": rows}


def _ask_all(settings: Settings, places: Places) -> dict[str, Any]:
    """Call `status` of every process; those that do not answer are left out."""
    from common.net.rpc import Callers, Context  # zerorpc is slow to import: only when center is down

    context = Context()
    callers = Callers(context, places, "roost", settings.rpc)
    answers = callers.call_each(places.processes, "status", timeout=settings.center.timeout)
    callers.close()
    context.destroy(linger=0)
    return {name: row for name, row in answers.items() if not isinstance(row, RequestError)}


def _merge(name: str, answer: Any, supervised: dict[str, Any] | None) -> dict[str, Any]:
    """Give one row: the process's own words, else what supervisord knows of it."""
    if answer is not None:
        return dict(answer)
    group, _, index = name.rpartition("-")
    row: dict[str, Any] = dict.fromkeys(FIELDS)
    row |= {"group": group, "index": int(index), "state": "down"}
    if supervised is not None:
        row["pid"] = supervised["pid"] or None
    return row


def as_table(told: dict[str, Any]) -> Table:
    """Draw what `gather` gave."""
    title = "ready" if told["ready"] else "not ready"
    nothing = all(row["state"] == "down" for row in told["processes"])
    table = Table(
        title=f"Roost: {title}",
        title_style="bold green" if told["ready"] else "bold red",
        caption=f"nothing runs: {cluster.CURE}" if nothing else None,
    )
    table.add_column("process")
    table.add_column("state")
    for heading in ("pid", "up", "connections", "lag p99", "rss", "queues"):
        table.add_column(heading, justify="right")
    for row in told["processes"]:
        table.add_row(*_cells(row))
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    colour = COLOURS.get(row["state"], "red")
    waiting = {key: value for key, value in (row["queues"] or {}).items() if value}
    return [
        f"{row['group']}-{row['index']}",
        f"[{colour}]{row['state']}[/]",
        str(row["pid"] or "–"),
        span(row["uptime"] or 0.0),
        f"{row['connections'] or 0:,}",
        f"{row['lag_p99_ms'] or 0.0:.1f} ms",
        f"{(row['rss'] or 0) / 1_048_576:.0f} MiB",
        " ".join(f"{key} {value:,}" for key, value in waiting.items()) or "–",
    ]


def span(seconds: float) -> str:
    """Give a time in its two largest units: 12 s, 3 m 05 s, 2 h 10 m, 4 d 03 h."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02} h"


def show(settings: Settings, as_json: bool) -> int:
    """Print the state of the cluster; on a terminal the table stays live until Ctrl-C.

    Returns:
        0 if all is ready, else 1.
    """
    places = Places(settings)
    told = gather(settings, places)
    console = Console()
    if as_json:
        print(json.dumps(told))
    elif console.is_terminal:
        told = _live(settings, places, console, told)
    else:
        console.print(as_table(told))
    return 0 if told["ready"] else 1


def _live(settings: Settings, places: Places, console: Console, told: dict[str, Any]) -> dict[str, Any]:
    with Live(as_table(told), console=console, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(REFRESH)
                told = gather(settings, places)
                live.update(as_table(told), refresh=True)
        except KeyboardInterrupt:
            return told
