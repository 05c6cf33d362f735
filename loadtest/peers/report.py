"""From repetitions to figures: medians for each server, who was the limit, and a page to read.

Deliveries a second are what subscribers received; CPU is of all processes of a server. Losses,
repeats and what came in another order are sums over all phases and rounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

from loadtest.c1000k.sampling import by_group
from loadtest.flock.bottleneck import Load, judge
from loadtest.peers.size import Size
from loadtest.plots import bars

Told = Mapping[str, Any]
KEEPS_UP = 0.98
"""Share of the steady rate below which a server did not keep up."""
WRONG = ("lost", "repeats", "misordered")
LAYOUTS = {"rooms": "rooms of {room:,}", "one": "one of {subscribers:,}"}


def figures(found: Told, size: Size) -> dict[str, Any]:
    """Give each server's figures, by name; one that did not run has none."""
    return {name: _figures(peer["rounds"], size) for name, peer in found.items() if peer["rounds"]}


def _figures(rounds: list[Told], size: Size) -> dict[str, Any]:
    layouts = {layout.name: _layout([told[layout.name] for told in rounds]) for layout in size.layouts}
    first = size.layouts[0].name
    return {
        "rounds": len(rounds),
        "saturate": layouts,
        "steady": {
            str(rate): _steady([told[first]["steady"][str(rate)] for told in rounds], rate)
            for rate in size.rates
        },
        "rss_per_connection": round(median(sum(told[first]["rss"].values()) for told in rounds)),
        "rss_per_connection_by_group": _by_group(told[first]["rss"] for told in rounds),
        **{name: sum(phase[name] for phase in _phases(rounds)) for name in WRONG},
        "errors": dict(sum((Counter(phase["errors"]) for phase in _last(rounds)), Counter())),
    }


def _phases(rounds: Iterable[Told]) -> list[Told]:
    layouts = [layout for told in rounds for layout in told.values()]
    return [phase for one in layouts for phase in (*one.get("steady", {}).values(), one["saturate"])]


def _last(rounds: Iterable[Told]) -> list[Told]:
    """Give the last phase of each client: its errors are all of the client's."""
    return [layout["saturate"] for told in rounds for layout in told.values()]


def _layout(rounds: list[Told]) -> dict[str, Any]:
    taken = [told["saturate"] for told in rounds]
    return _shares(taken) | {
        "messages_per_read": round(_median(taken, lambda one: one["deliveries"] / max(1, one["reads"])), 1),
        "enter_seconds": round(median(told["enter"] for told in rounds), 2),
    }


def _steady(taken: list[Told], rate: int) -> dict[str, Any]:
    p99 = _median(taken, lambda one: one["times"]["p99"])
    late = _median(taken, lambda one: one["late"]["p99"])
    shares = _shares(taken, late, p99)
    return shares | {
        "keeps_up": shares["deliveries_per_second"] >= KEEPS_UP * rate,
        "p50_ms": round(_median(taken, lambda one: one["times"]["p50"]), 2),
        "p99_ms": round(p99, 2),
        "late_p99_ms": round(late, 2),
    }


def _shares(taken: list[Told], lag_ms: float = 0.0, delivery_ms: float = 0.0) -> dict[str, Any]:
    """Give rates, who used how much of the machine, and who was the limit."""
    cores = _by_group({name: used / one["seconds"] for name, used in one["cpu"].items()} for one in taken)
    client = _median(taken, lambda one: one["client_cores"])
    idle = _median(taken, lambda one: one["idle"])
    busiest = max(cores, key=lambda name: cores[name])
    return {
        "deliveries_per_second": round(_median(taken, lambda one: one["deliveries"] / one["seconds"])),
        "deliveries_per_cpu_second": round(
            _median(taken, lambda one: one["deliveries"] / max(0.01, sum(one["cpu"].values())))
        ),
        "server_cores": round(_median(taken, lambda one: sum(one["cpu"].values()) / one["seconds"]), 2),
        "cores_by_group": cores,
        "client_cores": round(client, 2),
        "idle": round(idle, 2),
        "limit": judge(
            Load(("the client", client), (busiest, cores[busiest]), idle, lag_ms, delivery_ms)
        )._asdict(),
    }


def _median(taken: list[Told], value: Callable[[Told], float]) -> float:
    return median(value(one) for one in taken)


def _by_group(rounds: Iterable[Mapping[str, float]]) -> dict[str, float]:
    groups = [by_group(dict(values)) for values in rounds]
    return {name: round(median(values.get(name, 0.0) for values in groups), 3) for name in groups[0]}


def ratios(made: Told, over: str = "nats") -> dict[str, float]:
    """Give Roost's deliveries a second as a share of another server's, by layout; {} without both."""
    if "roost" not in made or over not in made:
        return {}
    ours, theirs = made["roost"]["saturate"], made[over]["saturate"]
    return {
        name: round(ours[name]["deliveries_per_second"] / max(1, theirs[name]["deliveries_per_second"]), 2)
        for name in ours
    }


# to read

BEGIN, END = "<!-- make bench-peers -->\n", "<!-- end of make bench-peers -->"


def placed(text: str, words: str) -> str:
    """Give a text with other words between the two marks."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError(f"no {BEGIN.strip()} … {END}")
    return f"{head}{begin}\n{words}\n{end}{tail}"


def page(report: Told, size: Size) -> str:
    """Give the page, as Markdown without a title."""
    machine, peers, made = report["machine"], report["peers"], report["figures"]
    changed = f" with {machine['changed_files']} changed files" if machine["changed_files"] else ""
    words = [
        f"{report['began']}, commit `{machine['commit']}`{changed}; {machine['cores']} cores, "
        f"{machine['ram_mib'] / 1024:.0f} GiB, Linux {machine['kernel']}, CPython {machine['python']}; "
        f"load before {machine['load'][0]}. {size.subscribers:,} connections, payloads of {size.bytes} B, "
        f"{size.rounds} round(s) in turn, medians; at most {size.window} messages of a topic under way. "
        f"{report['took_seconds']:.0f} s.",
        table(made, peers, size),
        "Who used what under pressure, in cores; `messages/read`: how many a subscriber found at once.",
        limits(made, peers, size),
    ]
    words += [
        f"{peers[name]['title']} at {int(rate):,}/s: {taken['limit']['why']}."
        for name, one in made.items()
        for rate, taken in one["steady"].items()
        if taken["limit"]["who"] == "client"
    ]
    here = [peer for peer in peers.values() if peer["rounds"]]
    words.append("\n".join(f"* {peer['title']} {peer['version']}: {peer['setting']}." for peer in here))
    for name, peer in peers.items():
        words += [f"{peer['title']} is not here: `{peer['install']}`."] if not peer["version"] else []
        words += [f"{peer['title']} failed: {failure}" for failure in peer["failed"]]
        errors = made.get(name, {}).get("errors", {})
        words += [f"{peer['title']}: {error} ({count})" for error, count in errors.items()]
    words += [
        f"Roost gives {ratio:.2f} of nats-server's deliveries a second, {_named(layout, size)}."
        for layout, ratio in report["of_nats"].items()
    ]
    return "\n\n".join(words) + "\n"


def table(made: Told, peers: Told, size: Size) -> str:
    """Give the table of figures."""
    heads = ["server"]
    for layout in size.layouts:
        heads += [f"deliveries/s, {_named(layout.name, size)}", "per CPU second"]
    heads += [f"p50, p99 at {rate:,}/s, ms" for rate in size.rates]
    heads += ["RSS a connection", "lost", "doubled, misplaced"]
    rows = []
    for name, one in made.items():
        row = [peers[name]["title"]]
        for taken in one["saturate"].values():
            row += [f"{taken['deliveries_per_second']:,}", f"{taken['deliveries_per_cpu_second']:,}"]
        row += [_times(taken) for taken in one["steady"].values()]
        row += [f"{one['rss_per_connection']:,} B", f"{one['lost']:,}"]
        rows.append([*row, f"{one['repeats'] + one['misordered']:,}"])
        if name == "roost":
            rows.append(_gateway(one, len(size.rates)))
    return _table(heads, rows)


def _times(taken: Told) -> str:
    if not taken["keeps_up"]:
        return f"– ({taken['deliveries_per_second']:,}/s)"
    return f"{taken['p50_ms']:.1f}, {taken['p99_ms']:.1f}"


def _gateway(one: Told, rates: int) -> list[str]:
    """Give the row of the gateway alone."""
    row = ["… its gateway alone"]
    for taken in one["saturate"].values():
        cores = max(0.01, taken["cores_by_group"].get("gateway", 0.0))
        row += ["", f"{taken['deliveries_per_second'] / cores:,.0f}"]
    return [*row, *[""] * rates, f"{one['rss_per_connection_by_group'].get('gateway', 0):,.0f} B", "", ""]


def limits(made: Told, peers: Told, size: Size) -> str:
    """Give the table of who was the limit."""
    rows = []
    for name, one in made.items():
        for layout, taken in one["saturate"].items():
            groups = taken["cores_by_group"]
            parts = ", ".join(f"{group} {cores:.2f}" for group, cores in groups.items() if cores >= 0.02)
            rows.append(
                [
                    peers[name]["title"],
                    _named(layout, size),
                    f"{taken['server_cores']:.2f}" + (f" ({parts})" if len(groups) > 1 else ""),
                    f"{taken['client_cores']:.2f}",
                    f"{taken['idle']:.0%}",
                    f"{taken['messages_per_read']}",
                    taken["limit"]["who"],
                ]
            )
    return _table(["server", "topics", "server", "client", "idle", "messages/read", "limit"], rows)


def _named(layout: str, size: Size) -> str:
    return LAYOUTS[layout].format(room=size.room, subscribers=size.subscribers)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plots(made: Told, peers: Told, size: Size) -> dict[str, str]:
    """Give the plots: name of a file -> SVG."""

    def rows(quantity: str) -> dict[str, dict[str, float]]:
        return {
            peers[name]["title"]: {
                _named(layout, size): taken[quantity] for layout, taken in one["saturate"].items()
            }
            for name, one in made.items()
        }

    return {
        "peers-deliveries.svg": bars("Deliveries a second", "under pressure", rows("deliveries_per_second")),
        "peers-per-cpu.svg": bars(
            "Deliveries per CPU second", "of all processes of a server", rows("deliveries_per_cpu_second")
        ),
    }
