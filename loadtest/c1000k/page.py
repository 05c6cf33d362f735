"""The report of a run as a page to read: one file of HTML, plots in it, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from loadtest.c1000k import report as reports
from loadtest.c1000k.sampling import by_group, group_of, samples_of
from loadtest.plots import chart

MIB = 1_048_576
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --dim: #6e7781; --line: #d0d7de; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --dim: #8b949e; --line: #30363d; --page: #0d1117; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 800px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; width: 100%; }
td, th { border-bottom: 1px solid var(--line); padding: 0.25rem 0.5rem; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
small, .dim { color: var(--dim); font-weight: normal; }
svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
svg text[fill] { fill: revert-layer; }
svg .axis { fill: var(--dim); font-size: 10px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .mark { stroke: var(--dim); stroke-dasharray: 2 3; fill: none; }
svg polyline { fill: none; stroke-width: 1.6; }
.bad { color: #c2341b; } .good { color: #3d8b40; }
"""

Run = Mapping[str, Any]
Cells = list[tuple[Any, ...]]


def page(run: Run, report: Mapping[str, Any]) -> str:
    """Give the page."""
    parts = [_head(run, report), _figures(report), _plots(run), _phases(run), _memory(run), _processes(run)]
    title = f"{run['connections']:,} connections"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _head(run: Run, report: Mapping[str, Any]) -> str:
    machine, failed = run["machine"], reports.failures(report, run)
    words = [f'<li class="bad">{escape(one)}' for one in failed]
    words += [f"<li>not reached: {escape(one)}" for one in reports.missed(report, run)]
    changed = f" with {machine['changed_files']} changed files" if machine["changed_files"] else ""
    verdict = '<b class="bad">failed</b>' if failed else '<b class="good">passed</b>'
    return (
        f"<h1>{report['connections']:,} connections held</h1><p>{verdict}, commit "
        f"<code>{escape(machine['commit'])}</code>{changed}, {run['began']}; {machine['cores']} cores, "
        f"{machine['ram_mib'] / 1024:.0f} GiB, Linux {escape(machine['kernel'])}, "
        f"CPython {machine['python']}; clients on the same machine; load before "
        f"{machine['load']}.</p><ul>{''.join(words)}</ul>"
    )


def _table(heads: tuple[str, ...], rows: Cells) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f'<td class="n">{value:,.1f}'
        return f'<td class="n">{value:,}' if isinstance(value, int) else f"<td>{escape(str(value))}"

    body = "".join(f"<tr>{''.join(map(cell, row))}" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(head)}' for head in heads)}{body}</table>"


def _figures(report: Mapping[str, Any]) -> str:
    rows: Cells = []
    for name, value in report.items():
        goal = reports.GOALS.get(name)
        bound = "" if goal is None else f"{'≥' if goal.least else '≤'} {goal.bound:,.0f}"
        rows.append((name, value, bound))
    return f"<h2>Figures</h2>{_table(('figure', 'measured', 'goal'), rows)}"


def _plots(run: Run) -> str:
    samples = [sample for sample in run["samples"] if sample["processes"]]
    marks = {name: phase["from"] for name, phase in run["phases"].items()}
    counted = {name: _rate(samples, count) for name, count in RATES.items()}
    memory = _lines(
        samples, lambda sample: {k: v / MIB for k, v in by_group(samples_of(sample, "rss")).items()}
    )
    memory["kernel"] = [
        (sample["at"], (sample["machine"]["kernel"] - run["base"]["machine"]["kernel"]) / MIB)
        for sample in samples
    ]
    lag = _lines(samples, lambda sample: _worst(samples_of(sample, "lag_p99.9")))
    pauses = _lines(samples, lambda sample: _worst(samples_of(sample, "gc")))
    busy = [
        (now["at"], 100 * _busy(before["machine"], now["machine"]))
        for before, now in zip(samples, samples[1:], strict=False)
    ]
    here = {"here": [(sample["at"], sample["here"]) for sample in samples]}
    return (
        "<h2>Over time</h2>"
        + chart("Connections", "logged in and joined", here, marks)
        + chart("Logins", "a second", {"logins": counted.pop("logins"), "back": counted.pop("back")}, marks)
        + chart("Heartbeats", "answered a second", {"heartbeats": counted.pop("heartbeats")}, marks)
        + chart("Deliveries", "a second", counted, marks)
        + chart("Memory", "MiB, by group; the kernel's growth", memory, marks)
        + chart("Lateness", "p99.9 of the last minute, ms, worst process of each group", lag, marks)
        + chart("Garbage collection", "longest pause so far, ms, worst process of each group", pauses, marks)
        + chart("Processors", "% of all", {"busy": busy}, marks)
    )


RATES = {
    "logins": "logins",
    "back": "reconnects",
    "heartbeats": "pongs",
    "room messages": "messages",
    "broadcasts": "broadcasts",
    "unicasts": "unicasts",
}


def _rate(samples: list[dict[str, Any]], count: str) -> list[tuple[float, float]]:
    return [
        (
            now["at"],
            max(0, now["counts"].get(count, 0) - before["counts"].get(count, 0)) / (now["at"] - before["at"]),
        )
        for before, now in zip(samples, samples[1:], strict=False)
        if now["at"] > before["at"]
    ]


def _lines(
    samples: list[dict[str, Any]], values: Callable[[dict[str, Any]], dict[str, float]]
) -> dict[str, list[tuple[float, float]]]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for sample in samples:
        for name, value in sorted(values(sample).items()):
            lines.setdefault(name, []).append((sample["at"], value))
    return lines


def _worst(values: dict[str, float]) -> dict[str, float]:
    worst: dict[str, float] = {}
    for name, value in values.items():
        worst[group_of(name)] = max(worst.get(group_of(name), 0.0), value)
    return worst


def _busy(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    busy, idle = now["busy"] - before["busy"], now["idle"] - before["idle"]
    return busy / (busy + idle) if busy + idle else 0.0


def _phases(run: Run) -> str:
    parts = ["<h2>Phases</h2>"]
    for name, phase in run["phases"].items():
        limit = phase["limit"]
        facts = {
            key: phase[key] for key in ("gone", "presence", "right", "missing", "behind") if key in phase
        }
        words = "".join(f"; {key}: {value:,.4g}" for key, value in facts.items())
        rows: Cells = [
            (what, int(times["count"]), times["p50"], times["p99"], times["p99.9"], times["max"])
            for what, times in phase["times"].items()
        ]
        parts.append(
            f"<h3>{name} <small>{phase['to'] - phase['from']:.1f} s{words}</small></h3>"
            f"<p>Limit: <b>{limit['who']}</b>. {escape(limit['why'])}.</p>"
            + _table(("ms", "count", "p50", "p99", "p99.9", "max"), rows)
        )
    errors: Cells = list(run["errors"].items()) or [("none", 0)]
    return "".join(parts) + f"<h2>Errors</h2>{_table(('what', 'times'), errors)}"


def _memory(run: Run) -> str:
    rows: Cells = sorted(
        ((name, float(held)) for name, held in reports.memory_each(run).items()), key=lambda r: -r[1]
    )
    return (
        "<h2>Memory of a connection</h2><p>Growth from before the first client to the end of the hold, by "
        "connection; <i>flock</i> is the load client, whole.</p>" + _table(("who", "bytes"), rows)
    )


def _processes(run: Run) -> str:
    memory, cores = run["phases"]["hold"]["memory"], run["phases"]["hold"]["cores"]
    rows: Cells = [
        (
            name,
            values.get("rss", 0.0) / MIB,
            values.get("pss", 0.0) / MIB,
            100 * cores.get(name, 0.0),
            values.get("lag_p99", 0.0),
            values.get("lag_p99.9", 0.0),
            values.get("gc", 0.0),
        )
        for name, values in memory["processes"].items()
        if not name.startswith("flock-")
    ]
    heads = (
        "at the end of the hold",
        "RSS MiB",
        "PSS MiB",
        "CPU %",
        "lag p99",
        "lag p99.9",
        "longest gc, ms",
    )
    return f"<h2>Processes</h2>{_table(heads, rows)}"
