"""`make soak`: a cluster under constant coming and going, and whether anything in it grows.

    python -m loadtest.soak [--minutes 60] [--rate 200] [--devices 2400] [--out build/soak]

Starts its own cluster on free ports in a folder of its own, and ends it. Leaves
report.json, report.md and samples.jsonl in `--out`. Exit code 1 when a quantity is not
flat, a process died, reconnects fell behind or requests failed.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402 - patched before anything else is imported
import json  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from common.net import log  # noqa: E402
from common.settings import ROOT  # noqa: E402
from loadtest.bench.commands import Commanded  # noqa: E402
from loadtest.bench.machine import facts  # noqa: E402
from loadtest.soak.application import Application  # noqa: E402
from loadtest.soak.page import page  # noqa: E402
from loadtest.soak.report import MIB, failures, shown, verdicts  # noqa: E402
from loadtest.soak.sampling import NoAnswer, Sample, Sampler  # noqa: E402
from tests.cluster.cluster import Cluster  # noqa: E402

SETTINGS: dict[str, Any] = {
    "mailbox.ledger": 120,
    "mailbox.key_seconds": 120,
    "mailbox.items": 30,
    "mailbox.known_mids": 30,
    "mailbox.broadcasts": 10,
    "mailbox.body_cache_bytes": 262_144,
    "redis.connections": 6,
    "center.timeout": 5.0,
    "world.rooms": [
        {"pattern": "plaza/keep.*", "durable": True, "history_items": 200},
        {"pattern": "*", "history_items": 50},
    ],
}
"""Lives and bounds that are hours or thousands by default, so that all is full before it is judged."""
TTL = 120
WARM_SECONDS = 600.0
WARM_SHARE = 1 / 6
"""Of shorter runs than an hour."""
SAMPLE_SECONDS = 10.0
SAMPLES = 24
"""At least so many in a short run."""
LOOK_SECONDS = 0.1
UNANSWERED = 6
"""Samples in a row without an answer of somebody that end the run."""


class Soak:
    """One run.

    Args:
        seconds: how long, from the moment all devices are here.
        say: takes a line of progress.
    """

    def __init__(
        self, seconds: float, rate: float, devices: int, out: Path, say: Callable[[str], None]
    ) -> None:
        self._seconds = seconds
        self._rate = rate
        self._devices = devices
        self._out = out
        self._say = say
        self._warm = min(WARM_SECONDS, seconds * WARM_SHARE)
        self._every = min(SAMPLE_SECONDS, seconds / SAMPLES)
        self._samples: list[tuple[float, Sample]] = []
        self._kinds: dict[str, Any] = {}
        self._types: dict[str, Any] = {}
        self._rates: list[float] = []
        self._unanswered: list[str] = []
        self._in_a_row = 0
        self._crowd: dict[str, Any] = {"here": 0, "counts": {}, "errors": {}}
        self._api: dict[str, int] = {}

    def run(self) -> dict[str, Any]:
        """Run it all; give the report, which stands in the folder then."""
        self._out.mkdir(parents=True, exist_ok=True)
        machine, began = facts(), time.strftime("%Y-%m-%d %H:%M")
        cluster = Cluster(SETTINGS)
        stopped = ""
        try:
            cluster.wait_ready()
            addresses = [list(cluster.tcp(index)) for index in range(cluster.settings.cluster.gateways)]
            plan = {"addresses": addresses, "token_key": cluster.secrets.token_key, "rate": self._rate}
            plan |= {"devices": self._devices, "ttl": TTL}
            with Sampler(cluster) as sampler, Commanded("loadtest.soak.crowd", plan) as people:
                try:
                    self._watch(people, sampler, Application(cluster))
                except (RuntimeError, KeyboardInterrupt) as error:
                    stopped = str(error) or "interrupted"
        finally:
            shutil.copytree(cluster.run_dir / "log", self._out / "log", dirs_exist_ok=True)
            cluster.stop()
        return self._report(machine, began, stopped)

    def _watch(self, people: Commanded, sampler: Sampler, application: Application) -> None:
        """Sample until the time is over.

        Raises:
            RuntimeError: a process or the crowd died.
        """
        while not (crowd := people.order("report"))["settled"]:
            self._say(f"coming in: {crowd['here']:,} of {self._devices:,}")
            time.sleep(min(1.0, self._every))
        began = at = time.monotonic()
        first = before = crowd["counts"].get("reconnects", 0)
        with (self._out / "samples.jsonl").open("w") as file:
            while at < began + self._seconds:
                self._pass(application, min(at + self._every, began + self._seconds))
                self._crowd = crowd = people.order("report")
                earlier, at = at, time.monotonic()
                reconnects = crowd["counts"].get("reconnects", 0)
                self._rates.append((reconnects - before) / (at - earlier))
                before = reconnects
                crowd |= {"seconds": at - began, "reconnects": reconnects - first}
                self._api = dict(application.counts)
                sample = self._sample(sampler)
                if sample is not None:
                    self._note(at - began, sample, sampler)
                    line = {"at": at - began, "processes": sample, "crowd": crowd}
                    print(json.dumps(line), file=file, flush=True)

    def _pass(self, application: Application, until: float) -> None:
        while (now := time.monotonic()) < until:
            application.step(now)
            time.sleep(max(0.0, min(LOOK_SECONDS, until - time.monotonic())))

    def _sample(self, sampler: Sampler) -> Sample | None:
        try:
            sample = sampler.sample()
        except NoAnswer as error:
            self._unanswered.append(str(error))
            self._say(f"no sample: {error}")
            self._in_a_row += 1
            if self._in_a_row >= UNANSWERED:
                raise RuntimeError(str(error)) from None
            return None
        self._in_a_row = 0
        return sample

    def _note(self, at: float, sample: Sample, sampler: Sampler) -> None:
        self._samples.append((at, sample))
        slot = "warm" if at < self._warm or "warm" not in self._kinds else "end"
        self._kinds[slot] = dict(sampler.kinds)
        for process, types in sampler.types.items():
            self._types.setdefault(process, {"warm": types})["warm" if at < self._warm else "end"] = types
        self._say(f"{at / 60:6.1f} min  {self._rates[-1]:6.1f}/s  {_in_short(sample)}")

    def _report(self, machine: dict[str, Any], began: str, stopped: str) -> dict[str, Any]:
        crowd = self._crowd
        seconds = crowd.get("seconds", 0.0)
        crowd["reconnects_per_second"] = crowd.get("reconnects", 0) / max(seconds, 1.0)
        crowd["slowest_per_second"] = min(self._rates, default=0.0)
        judged = verdicts(self._samples, self._warm, self._seconds)
        answers = sum(count for name, count in crowd["counts"].items() if name.startswith("heard: "))
        failed = [f"stopped: {stopped}"] if stopped else failures(judged, crowd, self._rate, answers)
        failed += [f"application server: {name}" for name in self._api if name.startswith("error")]
        for types in self._types.values():
            types.setdefault("end", types["warm"])
        report = {
            "began": began,
            "machine": machine,
            "load_after": [round(value, 2) for value in os.getloadavg()],
            "seconds": seconds,
            "warm_seconds": self._warm,
            "rate": self._rate,
            "devices": self._devices,
            "ttl": TTL,
            "settings": SETTINGS,
            "crowd": crowd,
            "api": self._api,
            "verdicts": {
                process: {name: verdict._asdict() for name, verdict in quantities.items()}
                for process, quantities in judged.items()
            },
            "kinds": {"warm": {}, "end": {}} | self._kinds,
            "types": self._types,
            "unanswered": self._unanswered,
            "failures": failed,
        }
        (self._out / "report.json").write_text(json.dumps(report, indent=1))
        (self._out / "report.md").write_text(page(report))
        return report


def _in_short(sample: Sample) -> str:
    """Give memory of all processes by group, and what Redis holds."""
    groups: dict[str, list[str]] = {}
    for name, values in sorted(sample.items()):
        groups.setdefault(name.partition("-")[0], []).append(f"{values['rss'] / MIB:.1f}")
    rss = "  ".join(f"{group} {' '.join(held)}" for group, held in groups.items())
    redis = sample["redis-0"]
    return f"{redis['keys']:,.0f} keys in {shown('memory', redis['memory'])}; rss in MiB: {rss}"


def main(words: list[str]) -> int:
    """Run what is asked for; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=200.0, help="reconnects a second")
    parser.add_argument("--devices", type=int, default=2_400, help="two a user")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak")
    asked = parser.parse_args(words)
    log.setup("error", "soak")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    soak = Soak(
        asked.minutes * 60, asked.rate, asked.devices, asked.out, lambda line: print(line, flush=True)
    )
    report = soak.run()
    for failure in report["failures"]:
        print(failure)
    print(f"{'failed' if report['failures'] else 'passed'}: {asked.out / 'report.md'}")
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
