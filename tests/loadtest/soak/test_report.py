from __future__ import annotations

from typing import Any

import pytest

from loadtest.soak.report import MIB, failures, rule_of, shown, verdicts
from loadtest.soak.sampling import Sample, kind_of

WELL: dict[str, Any] = {"reconnects_per_second": 199.0, "errors": {}}


def samples(growth: float, quantity: str = "rss") -> list[tuple[float, Sample]]:
    """Give the samples of one process whose quantity grows by so much an hour."""
    return [
        (at * 10.0, {"world-0": {quantity: 50 * MIB + growth * at / 360}, "redis-0": {"clients": 7.0}})
        for at in range(361)
    ]


def judged(growth: float, quantity: str = "rss") -> list[str]:
    return failures(verdicts(samples(growth, quantity), 600, 3600), WELL, 200, 1_000_000)


def test_a_flat_run_at_its_rate_and_without_errors_passes() -> None:
    assert judged(0) == judged(5 * MIB) == []


def test_a_process_that_grows_fails_the_run_by_name() -> None:
    (said,) = judged(20 * MIB)
    assert said.startswith("world-0: rss is not flat: 55.0 MiB → 67.5 MiB, allowed + 4.0 MiB")


def test_what_is_only_shown_may_grow() -> None:
    assert rule_of("objects") is None
    assert judged(1e9, "objects") == []


def test_every_queue_has_the_rule_of_queues() -> None:
    assert rule_of("queue seen") is rule_of("queue links") is rule_of("queue") is not None


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "too slow": ({"reconnects_per_second": 150.0}, "150.0 reconnects a second instead of 200"),
    "errors": ({"errors": {"kick internal": 50}}, "50 errors in 1,000,000 answers"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_run_that_did_not_do_its_work_fails(name: str) -> None:
    change, words = BAD[name]
    assert failures({}, WELL | change, 200, 1_000_000) == [words]


KINDS = {
    "db_slots:{soak/u1}": "db_slots",
    "db_ledger:17592186044417": "db_ledger",
    "room:{soak/plaza/keep.soak.1}:log": "room log",
    "room:{soak/plaza/keep:soak}:meta": "room meta",
    "gs:profile:{soak/u1}": "gs profile",
}


@pytest.mark.parametrize("key", KINDS)
def test_keys_are_told_by_kind(key: str) -> None:
    assert kind_of(key) == KINDS[key]


def test_memory_is_shown_in_mib_and_numbers_as_they_are() -> None:
    assert (shown("rss", 1.5 * MIB), shown("keys", 12_345.0)) == ("1.5 MiB", "12,345")
