"""The report of a soak as a page to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.soak.report import RULES, rule_of, shown

SHOWN = ("objects", "connections", "rooms", "users", "audit log")
"""Quantities that are shown without a verdict."""
GREW = 3
"""Types named of each process."""

Report = Mapping[str, Any]


def page(report: Report) -> str:
    """Give the report as Markdown."""
    parts = (_head(report), _traffic(report), _quantities(report), _keys(report), _types(report))
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(report: Report) -> list[str]:
    machine, minutes = report["machine"], report["seconds"] / 60
    changed = f" with {machine['changed_files']} changed files" if machine["changed_files"] else ""
    verdict = "**failed**" if report["failures"] else "**passed**"
    return [
        f"# Soak: {minutes:.0f} minutes at {report['rate']:g} reconnects/s",
        "",
        f"{verdict}, commit `{machine['commit']}`{changed}, {report['began']}. Repeat with "
        f"`make soak MINUTES={minutes:.0f} RATE={report['rate']:g}`.",
        "",
        *(f"* {failure}" for failure in report["failures"]),
        *([""] if report["failures"] else []),
        f"{machine['cores']} cores, {machine['ram_mib'] / 1024:.0f} GiB, Linux {machine['kernel']}, "
        f"CPython {machine['python']}, the crowd on the same machine; load before {machine['load']}, "
        f"after {report['load_after']}; {len(report['unanswered'])} samples missing because somebody did not "
        "answer in time.",
        "",
    ]


def _traffic(report: Report) -> list[str]:
    crowd = report["crowd"]
    counted = {**crowd["counts"], **{f"application server: {k}": v for k, v in report["api"].items()}}
    return [
        "## What went on",
        "",
        f"{report['devices']:,} devices of {report['devices'] // 2:,} users, {crowd['here']:,} of them here "
        f"at the end. {crowd.get('reconnects', 0):,} reconnects while it was measured, "
        f"{crowd['reconnects_per_second']:.1f} a second; in the slowest interval between two samples "
        f"{crowd['slowest_per_second']:.1f}. From the first login on:",
        "",
        "| what | times |",
        "|---|---|",
        *(f"| {name} | {count:,} |" for name, count in sorted(counted.items())),
        *(f"| **error** {name} | {count:,} |" for name, count in sorted(crowd["errors"].items())),
        "",
    ]


def _quantities(report: Report) -> list[str]:
    warm = report["warm_seconds"] / 60
    rules = "; ".join(
        f"{name} {rule.share:.0%} or {shown(name, rule.amount)}" for name, rule in RULES.items()
    )
    rows = [
        _row(process, name, verdict)
        for process, quantities in sorted(report["verdicts"].items())
        for name, verdict in quantities.items()
        if _is_told(name, verdict)
    ]
    return [
        "## Flat?",
        "",
        f"*base*: median of minutes {warm:.3g} to {2 * warm:.3g}. *last*: median of the last quarter. "
        "Flat: the growth from base to last is not above *allowed*, the larger of a share of the base "
        f"and an amount ({rules}). *per hour*: median slope of all pairs of samples after minute "
        f"{warm:.3g} (Theil, Sen); it decides nothing. Rows without a verdict are for information.",
        "",
        f"| process | quantity | minute {warm:.3g} | base | last | growth | allowed | per hour | flat |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "Queues that are not named were empty, by their medians, in the base and at the end.",
        "",
    ]


def _is_told(quantity: str, verdict: Mapping[str, Any]) -> bool:
    empty = quantity.startswith("queue ") and not verdict["base"] and not verdict["last"]
    return not empty and (rule_of(quantity) is not None or quantity in SHOWN)


def _row(process: str, quantity: str, verdict: Mapping[str, Any]) -> str:
    base, last = verdict["base"], verdict["last"]
    cells = [process, quantity]
    cells += [shown(quantity, value) for value in (verdict["at_warm"], base, last, last - base)]
    cells.append("" if rule_of(quantity) is None else shown(quantity, verdict["allowed"]))
    cells.append(shown(quantity, verdict["per_hour"]))
    cells.append("" if rule_of(quantity) is None else "yes" if verdict["flat"] else "**NO**")
    return f"| {' | '.join(cells)} |"


def _keys(report: Report) -> list[str]:
    first, last = report["kinds"]["warm"], report["kinds"]["end"]
    return [
        "## Keys in Redis",
        "",
        f"| kind | minute {report['warm_seconds'] / 60:.3g} | end |",
        "|---|---|---|",
        *(
            f"| `{kind}` | {first.get(kind, 0):,} | {last.get(kind, 0):,} |"
            for kind in sorted({**first, **last})
        ),
        "",
        "What lives for hours or weeks by design (idempotency keys a day, the ledger a week), and bounded "
        "stores that take hours to fill (mids a mailbox knows, histories, a dbserver's cache of bodies, its "
        "connections to Redis), would grow through any run of an hour. So the cluster ran with shorter lives "
        "and smaller bounds, which are reached before the base begins:",
        "",
        "```",
        *(f"{name} = {value}" for name, value in report["settings"].items()),
        "```",
        "",
        f"Kept messages had a ttl of {report['ttl']} s. The audit log (bounded at about 100,000 entries a "
        "product) is left out of `memory` and shown by itself.",
        "",
    ]


def _types(report: Report) -> list[str]:
    lines = [
        "## What grew most",
        "",
        f"Objects by type, from the last census before minute {report['warm_seconds'] / 60:.3g} to the "
        f"last: the {GREW} types of each process that grew most.",
        "",
        "| process | type | before | end |",
        "|---|---|---|---|",
    ]
    for process, types in sorted(report["types"].items()):
        before, end = types["warm"], types["end"]
        grown = sorted((before.get(kind, 0) - count, kind) for kind, count in end.items())[:GREW]
        lines += [f"| {process} | `{kind}` | {before.get(kind, 0):,} | {end[kind]:,} |" for _, kind in grown]
    return lines
