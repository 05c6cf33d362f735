"""What a run must keep to, as options of locust; a breach makes the exit code 1.

    --max-p99 "delivery=250,login=5000"    ms, by row; a row without one measurement is a breach
    --max-lost, --max-repeats, --max-order-errors, --max-error-share

Judged when locust ends, from its own statistics; so it makes no difference whether the users ran in
this process or in distributed workers. With locust's page, `/thresholds` tells how it stands.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import gevent
from locust import events
from locust.runners import STATE_STOPPED, STATE_STOPPING, MasterRunner, WorkerRunner
from locust.stats import RequestStats

from loadtest.feeding import METHOD, OWN
from loadtest.flock.bottleneck import OWN_SHARE

LOST = ("missing", "unanswered", "given_up", "unheard")
"""What failures are called that mean: something did not come."""
ORDER, REPEATS = "order_errors", "repeats"
OWN_ROW = "lag"
WORKER_SECONDS = 10.0
"""Workers that have stopped come back to their master within this, and only then can be told to quit."""

log = logging.getLogger("roost.scenarios")


class Finding(NamedTuple):
    """One threshold: what, how it came out, its bound, and what to know beside it."""

    what: str
    value: float
    bound: float
    note: str = ""

    @property
    def kept(self) -> bool:
        """Tell whether it is kept; what could not be measured is not."""
        return self.value <= self.bound

    def __str__(self) -> str:
        words = f"{self.what}: {self.value:g}, at most {self.bound:g}{self.note}"
        return f"{'kept' if self.kept else 'BREACH'}  {words}"


def limits(text: str) -> dict[str, float]:
    """Read "row=ms,row=ms".

    Raises:
        ValueError: it is not of that form.
    """
    pairs = [part.partition("=") for part in text.replace(" ", "").split(",") if part]
    if not all(row and equals for row, equals, _ in pairs):
        raise ValueError(f"{text!r}: must be like delivery=250,login=5000")
    return {row: float(bound) for row, _, bound in pairs}


def _checked(text: str) -> str:
    limits(text)
    return text


def judge(stats: RequestStats, exceptions: int, options: Any) -> list[Finding]:
    """Give every threshold with what came of it.

    Args:
        exceptions: crashes of the load client itself.
        options: locust's, with ours.
    """
    counts: dict[str, int] = {}
    for error in stats.errors.values():
        counts[str(error.error)] = counts.get(str(error.error), 0) + error.occurrences
    lost = sum(counts.pop(name, 0) for name in LOST)
    order, repeats = counts.pop(ORDER, 0), counts.pop(REPEATS, 0)
    errors = sum(counts.values())
    return [
        *(_latency(stats, row, bound) for row, bound in limits(options.max_p99).items()),
        Finding("lost", lost, options.max_lost),
        Finding("order errors", order, options.max_order_errors),
        Finding("repeats", repeats, options.max_repeats),
        Finding("error share", errors / max(1, errors + stats.total.num_requests), options.max_error_share),
        Finding("crashes of the load client", exceptions, 0),
    ]


def _latency(stats: RequestStats, row: str, bound: float) -> Finding:
    entry = stats.entries.get((row, METHOD))
    if entry is None or not entry.num_requests:
        return Finding(f"{row} p99 ms", float("inf"), bound, " (nothing was measured)")
    value, own = entry.get_response_time_percentile(0.99), stats.entries.get((OWN_ROW, OWN))
    late = own.get_response_time_percentile(0.99) if own is not None and own.num_requests else 0
    note = f" (the load client itself was {late:g} ms late)" if late >= OWN_SHARE * value else ""
    return Finding(f"{row} p99 ms", value, bound, note if value > bound else "")


def watch(max_p99: str, **defaults: Any) -> None:
    """Have the run of this locustfile judged.

    Args:
        max_p99: the default of that option.
        defaults: of options of the flocks, by name.
    """

    @events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
    def add_arguments(parser: Any) -> None:
        parser.add_argument("--max-p99", type=_checked, default=max_p99, help="ms by row of the statistics")
        parser.add_argument("--max-lost", type=int, default=0, help="messages and connections")
        parser.add_argument("--max-order-errors", type=int, default=0)
        parser.add_argument("--max-repeats", type=int, default=0)
        parser.add_argument("--max-error-share", type=float, default=0.0, help="failures / requests")
        parser.set_defaults(**defaults)

    @events.init.add_listener  # type: ignore[untyped-decorator]
    def begin(environment: Any, web_ui: Any, **_: Any) -> None:
        if isinstance(environment.runner, MasterRunner):
            _stop_workers_first(environment.runner)
        if web_ui is not None:
            web_ui.app.route("/thresholds")(lambda: [finding._asdict() for finding in _findings(environment)])

    @events.quitting.add_listener  # type: ignore[untyped-decorator]
    def end(environment: Any, **_: Any) -> None:
        runner = environment.runner
        if isinstance(runner, WorkerRunner):
            return
        if runner.state not in (STATE_STOPPED, STATE_STOPPING):  # a signal: locust would judge first
            runner.quit()
        findings = _findings(environment)
        for finding in findings:
            log.log(logging.INFO if finding.kept else logging.ERROR, "%s", finding)
        environment.process_exit_code = 0 if all(finding.kept for finding in findings) else 1


def _findings(environment: Any) -> list[Finding]:
    crashes = sum(crash["count"] for crash in environment.runner.exceptions.values())
    return judge(environment.stats, crashes, environment.parsed_options)


def _stop_workers_first(master: Any) -> None:
    """Have a master that ends wait for what its workers' users find out at their end.

    Told to quit while users run, workers would be waited for half a second only.
    """
    quit_now = master.quit

    def quit_in_order() -> None:
        workers = len(master.clients.all)
        master.stop()
        with gevent.Timeout(WORKER_SECONDS, False):
            while len(master.clients.all) < workers:
                gevent.sleep(0.05)
        quit_now()

    master.quit = quit_in_order
