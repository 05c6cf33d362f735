"""From the files of a run to what the judge is told, and from there to the report."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

from loadtest.torture import counts, evidence, report
from loadtest.torture.journal import Journal
from loadtest.torture.judge import FAULTS, Judge, Message, Receipt
from loadtest.torture.killer import victims
from loadtest.torture.plan import KINDS, Plan, read

MACHINE = {"commit": "abc", "changed_files": 0, "cores": 2, "ram_mib": 2048, "kernel": "6", "python": "3.11"}


def small(tmp_path: Path) -> Plan:
    plan = Plan(folder=str(tmp_path), seconds=60, users=1, senders=1, servers=1, hosts=1)
    plan.make_folders()
    return plan


def test_journals_of_senders_give_messages_with_their_answers(tmp_path: Path) -> None:
    plan = small(tmp_path)
    client, server = (Journal(plan.sent_journal(name)) for name in ("s0", "h0"))
    client.append(["u0", 1, 1_000])
    client.append(["u0", 1, 1_050, 0, 2])
    client.append(["u0", 2, 1_100])
    server.append(["u0", 1, 1_000])
    assert list(evidence.sent(plan)) == [
        Message("s0", "u0", 1, 1_000, 0, 1_050, 2, "s0"),
        Message("s0", "u0", 2, 1_100, None, 0, 0, "s0"),
        Message("h0", "u0", 1, 1_000, None, 0, 0, ""),
    ]


def test_a_device_s_journal_gives_receipts_and_what_is_no_message_has_no_name(tmp_path: Path) -> None:
    plan = small(tmp_path)
    journal = Journal(plan.journal("u0", "a"))
    journal.append([10, 7, "s0", ["s0", "u0", 1, "xx"], False, 1_500])
    journal.append([11, 8, "s0", "what?", False, 1_600])
    journal.append([None, 0, "", None, True, 1_700])
    assert list(evidence.received(plan, "u0", "a")) == [
        Receipt(10, 7, "s0", ("s0", "u0", 1), False, 1_500),
        Receipt(11, 8, "s0", None, False, 1_600),
        Receipt(None, 0, "", None, True, 1_700),
    ]


def test_a_run_is_complete_when_each_device_has_as_many_as_were_begun(tmp_path: Path) -> None:
    plan = small(tmp_path)
    Journal(plan.sent_journal("s0")).append(["u0", 1, 1_000])
    Journal(plan.journal("u0", "a")).append([10])
    assert not evidence.is_complete(plan)
    Journal(plan.journal("u0", "b")).append([10])
    assert evidence.is_complete(plan)


def test_counters_add_up_over_processes_and_their_lives(tmp_path: Path) -> None:
    for name in ("one", "one", "two"):
        counter = counts.Counts(tmp_path / f"{name}.jsonl")
        counter.add("seen", 2)
        counter.add("nothing", 0)
        counter.flush()
        counter.flush()
    assert counts.total(tmp_path) == Counter(seen=6)


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    plan = small(tmp_path).write(proxy_port=7, gateways=[["127.0.0.1", 1]])
    assert read(str(plan.path)) == plan


def test_victims_are_of_all_kinds_before_any_kind_comes_again() -> None:
    names = [f"{kind}-{index}" for kind in KINDS for index in range(2)]
    walk = list(islice(victims(names, Random(1)), 60))
    for begin in range(0, 60, len(KINDS)):
        assert {name.split("-")[0] for name in walk[begin : begin + len(KINDS)]} == set(KINDS)
    assert set(walk) == set(names)


def test_the_report_has_every_fault_and_says_why_it_failed(tmp_path: Path) -> None:
    plan = small(tmp_path)
    judge = Judge([Message("s0", "u0", 1, 1_000, 7, 1_001, 1, "s0")])
    judge.device("u0", "a", [Receipt(10, 7, "s0", ("s0", "u0", 1), False, 3_500)])
    judge.device("u0", "b", [])
    verdict = judge.run(60, {"world": 1}, 1, 0, 5, 10)
    sums = Counter({"repeats": 12, "again timeout": 3, "dropped": 4})
    figures = report.gather(plan, verdict, {"world": 1}, 1, 2, sums, MACHINE, 60.0, 1.5)
    report.write(tmp_path, figures)
    assert json.loads((tmp_path / "report.json").read_text()) == figures
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("# Torture of kept messages, 1 minutes: FAILED\n")
    assert all(f"| {fault} | " in page for fault in FAULTS)
    assert "| missing | 1 |" in page and "u0.b has no ('s0', 'u0', 1)" in page
    assert "longest 2.5 s" in page and "no gateway was killed" in page
    assert "| repeats on the wire, dropped by number | 12 |" in page
