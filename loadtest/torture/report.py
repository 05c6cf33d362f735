"""What a run says at the end: report.json for machines, report.md to be kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.torture.judge import FAULTS, Verdict
from loadtest.torture.plan import KINDS, Plan

NETWORK = ("dropped", "silent", "moved", "closed", "ended by the server")


def gather(
    plan: Plan,
    verdict: Verdict,
    kills: Mapping[str, int],
    redis: int,
    hosts_killed: int,
    counts: Counter[str],
    machine: dict[str, Any],
    seconds: float,
    drained: float,
) -> dict[str, Any]:
    """Give all figures of a run."""
    minutes = seconds / 60
    each_host = plan.users * plan.devices_each // plan.hosts
    reconnects = {kind: counts[kind] for kind in NETWORK}
    reconnects["client killed"] = hosts_killed * each_host
    return {
        "passed": verdict.passed,
        "failures": verdict.failures,
        "machine": machine,
        "seed": plan.seed,
        "seconds": round(seconds, 1),
        "drained_after_seconds": round(drained, 1),
        "users": plan.users,
        "devices": plan.users * plan.devices_each,
        "messages": verdict.messages,
        "messages_per_minute": round(verdict.messages / minutes),
        "acknowledged": verdict.acknowledged,
        "received": verdict.received,
        **{fault.replace(" ", "_"): verdict.faults[fault] for fault in FAULTS},
        "examples": verdict.examples,
        "kills": {kind: kills.get(kind, 0) for kind in KINDS},
        "kills_per_minute": round(sum(kills.values()) / minutes, 1),
        "redis_restarts": redis,
        "client_processes_killed": hosts_killed,
        "reconnects": reconnects,
        "connections": counts["connections"],
        "clients_ended_by_the_server": counts["clients ended by the server"],
        "kicks": {name: number for name, number in sorted(counts.items()) if name.startswith("kicked ")},
        "logins_failed": {name[6:]: n for name, n in sorted(counts.items()) if name.startswith("login ")},
        "repeats_on_the_wire": counts["repeats"],
        "sent_again": {name[6:]: n for name, n in sorted(counts.items()) if name.startswith("again ")},
        "refused": {name[8:]: n for name, n in sorted(counts.items()) if name.startswith("refused ")},
        "delay_seconds": _delays(verdict.delays_ms),
    }


def _delays(delays_ms: list[int]) -> dict[str, float]:
    """Give how long messages took, offline times included."""
    if not delays_ms:
        return {}
    ordered = sorted(delays_ms)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {name: ordered[int(share * (len(ordered) - 1))] / 1000 for name, share in at.items()}
    return found | {"longest": ordered[-1] / 1000}


def write(folder: Path, figures: dict[str, Any]) -> None:
    """Write both forms."""
    (folder / "report.json").write_text(json.dumps(figures, indent=1) + "\n")
    (folder / "report.md").write_text(markdown(figures))


def markdown(figures: dict[str, Any]) -> str:
    """Give the report as a page."""
    machine = figures["machine"]
    result = "passed" if figures["passed"] else "FAILED"
    lines = [
        f"# Torture of kept messages, {figures['seconds'] / 60:.3g} minutes: {result}",
        "",
        f"Commit `{machine['commit']}`"
        + (f" with {machine['changed_files']} changed files" if machine["changed_files"] else "")
        + f"; {machine['cores']} cores, {machine['ram_mib'] // 1024} GiB, Linux {machine['kernel']}, "
        f"CPython {machine['python']}. Seed {figures['seed']}.",
        "",
        "| what | figure |",
        "|---|---|",
        f"| users × devices | {figures['users']} × {figures['devices'] // figures['users']} |",
        f"| messages sent | {figures['messages']:,} ({figures['messages_per_minute']:,} a minute) |",
        f"| acknowledged | {figures['acknowledged']:,} |",
        f"| received by devices, repeats dropped | {figures['received']:,} |",
    ]
    lines += [f"| {fault} | {figures[fault.replace(' ', '_')]} |" for fault in FAULTS]
    delays = figures["delay_seconds"]
    lines += [
        f"| processes killed | {_listed(figures['kills'])}; {figures['kills_per_minute']} a minute |",
        f"| Redis killed and restarted | {figures['redis_restarts']} |",
        f"| client processes killed | {figures['client_processes_killed']} |",
        f"| connections made | {figures['connections']:,} |",
        f"| connections ended | {_listed(figures['reconnects'])} |",
        f"| clients told not to come back | {_listed(figures['kicks'])} |",
        f"| repeats on the wire, dropped by number | {figures['repeats_on_the_wire']:,} |",
        f"| sends repeated | {_listed(figures['sent_again'])} |",
        "| delivery delay, absences included | "
        + ", ".join(f"{name} {value:.3g} s" for name, value in delays.items())
        + " |",
        f"| all delivered after the last message | {figures['drained_after_seconds']} s |",
        "",
    ]
    if not figures["passed"]:
        lines += ["## Why it failed", ""]
        lines += [f"* {words}" for words in (*figures["failures"], *figures["examples"])]
        lines.append("")
    return "\n".join(lines)


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items()) or "none"
