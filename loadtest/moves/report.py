"""What a run of moves says at the end: figures for machines, a page to be kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.flock.histogram import Histogram
from loadtest.moves.judge import FAULTS, KINDS, Verdict
from loadtest.moves.plan import Plan


def gather(
    plan: Plan,
    verdict: Verdict,
    kills: Mapping[str, int],
    counts: Counter[str],
    took: Mapping[str, Histogram],
    machine: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Give all figures of a run."""
    return {
        "passed": verdict.passed,
        "failures": verdict.failures,
        "machine": machine,
        "seed": plan.seed,
        "seconds": round(seconds, 1),
        "players": verdict.players,
        "moves_each_at_least": plan.moves,
        "moves": verdict.moves,
        **{fault.replace(" ", "_"): verdict.faults[fault] for fault in FAULTS},
        "examples": verdict.examples,
        "kills": {kind: kills.get(kind, 0) for kind in KINDS},
        **{f"{name}_ms": histogram.summary() for name, histogram in took.items()},
        "counts": dict(sorted(counts.items())),
    }


def write(folder: Path, figures: dict[str, Any]) -> None:
    """Write both forms."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(figures, indent=1) + "\n")
    (folder / "report.md").write_text(markdown(figures))


def markdown(figures: dict[str, Any]) -> str:
    """Give the report as a page."""
    machine = figures["machine"]
    result = "passed" if figures["passed"] else "FAILED"
    changed = machine["changed_files"]
    lines = [
        f"# Moves between two maps while processes are killed: {result}",
        "",
        f"Commit `{machine['commit']}`"
        + (f" with {changed} changed files" if changed else "")
        + f"; {machine['cores']} cores, {machine['ram_mib'] // 1024} GiB, Linux {machine['kernel']}, "
        f"CPython {machine['python']}. Seed {figures['seed']}.",
        "",
        "| what | figure |",
        "|---|---|",
        f"| players × moves, at least | {figures['players']} × {figures['moves_each_at_least']} |",
        f"| moves | {figures['moves']:,} in {figures['seconds']:.0f} s |",
    ]
    lines += [f"| {fault} | {figures[fault.replace(' ', '_')]} |" for fault in FAULTS]
    lines += [
        "| killed | " + ", ".join(f"{kind} {times}" for kind, times in figures["kills"].items()) + " |",
        f"| from asking to `entered`, ms | {_listed(figures['move_ms'])} |",
        f"| from `away` to `entered`, ms | {_listed(figures['back_ms'])} |",
    ]
    lines += [f"| {name} | {times:,} |" for name, times in figures["counts"].items()]
    lines.append("")
    if not figures["passed"]:
        lines += ["## Why it failed", ""]
        lines += [f"* {words}" for words in (*figures["failures"], *figures["examples"])]
        lines.append("")
    return "\n".join(lines)


def _listed(summary: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,.0f}" for name, value in summary.items())
