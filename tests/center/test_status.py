from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from prometheus_client.parser import text_string_to_metric_families

from center.status import COLUMNS, Board, Fresh
from common.errors import DeadlineExceeded, Internal, RequestError, Unavailable
from common.net.metrics import Metrics
from common.places import Places
from common.settings import Cluster, Settings

SMALL = Places(Settings(cluster=Cluster(gateways=1, functions=1, sessions=1, dbservers=1, maps={"plaza": 1})))


def row_of(name: str, **changes: Any) -> dict[str, Any]:
    group, _, index = name.rpartition("-")
    row: dict[str, Any] = dict.fromkeys(COLUMNS, 1)
    row.update(group=group, index=int(index), state="ready", queues={}, missing=[])
    return row | changes


class FakeCallers:
    """All processes answer as ready unless told otherwise; counts how often they were asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name.replace("_", "-"): answer for name, answer in answers.items()}
        self.asked = 0
        self.timeout: float | None = None

    def call_each(
        self, peers: tuple[str, ...], method: str, *args: Any, timeout: float | None = None
    ) -> dict[str, Any]:
        self.asked += 1
        self.timeout = timeout
        gevent.sleep(0.001)
        default: Callable[[str], Any] = row_of if method == "status" else lambda name: []
        return {peer: self.answers.get(peer, default(peer)) for peer in peers}


def board(callers: FakeCallers) -> Board:
    metrics = Metrics("center-0")
    return Board(callers, SMALL, 0.7, lambda: row_of("center-0"), metrics.families)


def test_every_configured_process_has_a_row_and_center_is_last():
    callers = FakeCallers()
    rows = board(callers).rows()
    assert [f"{row['group']}-{row['index']}" for row in rows] == [*SMALL.processes, "center-0"]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert callers.timeout == 0.7


def test_a_cluster_where_all_are_ready_misses_nothing():
    assert board(FakeCallers()).missing() == []


SILENT = {"time-out": DeadlineExceeded("slow"), "refused": Unavailable("away"), "no answer at all": None}


@pytest.mark.parametrize("answer", SILENT.values(), ids=SILENT)
def test_a_process_that_does_not_answer_is_down_with_nothing_known(answer: Any):
    it = board(FakeCallers(world_0=answer))
    [row] = [row for row in it.rows() if row["group"] == "world"]
    known = {"group": "world", "index": 0, "state": "down", "missing": ["not answering"]}
    assert row == dict.fromkeys(COLUMNS) | known
    assert it.missing() == ["world-0: not answering"]


NOT_READY: dict[str, tuple[Any, str]] = {
    "starting": (row_of("world-0", state="starting"), "world-0: starting"),
    "draining": (row_of("world-0", state="draining"), "world-0: draining"),
    "ready but missing": (row_of("world-0", missing=["redis unreachable"]), "world-0: redis unreachable"),
    "both": (row_of("world-0", state="starting", missing=["no link with x"]), "world-0: no link with x"),
    "defect": (Internal("status failed"), "world-0: answers internal"),
}


@pytest.mark.parametrize("answer, text", NOT_READY.values(), ids=NOT_READY)
def test_what_is_missing_is_named(answer: dict[str, Any] | RequestError, text: str):
    assert board(FakeCallers(world_0=answer)).missing() == [text]


def test_each_thing_a_process_misses_is_a_line():
    it = board(FakeCallers(world_0=row_of("world-0", missing=["a", "b"])))
    assert it.missing() == ["world-0: a", "world-0: b"]


def test_fields_a_process_does_not_tell_are_null():
    it = board(FakeCallers(world_0={"group": "world", "index": 0, "state": "ready", "surprise": 1}))
    [row] = [row for row in it.rows() if row["group"] == "world"]
    assert tuple(row) == COLUMNS
    assert row["rss"] is None


def test_many_who_ask_at_once_cause_one_round():
    callers = FakeCallers()
    it = board(callers)
    readers = [gevent.spawn(it.rows) for _ in range(20)]
    gevent.joinall(readers, timeout=1, raise_error=True)
    assert callers.asked == 1


def test_a_fresh_value_is_given_again_and_an_old_one_is_made_anew():
    now, made = [0.0], iter("abc")
    fresh = Fresh(0.5, lambda: next(made), lambda: now[0])
    assert (fresh.get(), fresh.get()) == ("a", "a")
    now[0] = 0.5
    assert fresh.get() == "a"
    now[0] = 0.6
    assert fresh.get() == "b"


def test_a_value_that_could_not_be_made_is_tried_again():
    answers: Iterator[Any] = iter([Unavailable("away"), "there"])

    def make() -> str:
        answer = next(answers)
        if isinstance(answer, RequestError):
            raise answer
        return str(answer)

    fresh = Fresh(0.5, make)
    with pytest.raises(Unavailable):
        fresh.get()
    assert fresh.get() == "there"


def test_the_metrics_of_all_stand_on_one_page_and_silent_ones_are_marked():
    gateway = Metrics("gateway-0")
    gateway.counters.declare({"packets_in": "packets"})
    gateway.counters.packets_in = 9
    callers = FakeCallers(gateway_0=gateway.families(), world_0=DeadlineExceeded("slow"))
    page = board(callers).metrics().decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    up = {(s.labels["group"], s.labels["index"]): s.value for s in families["roost_up"].samples}
    assert up["world", "0"] == 0
    assert up["gateway", "0"] == 1
    assert up["center", "0"] == 1
    assert families["roost_gateway_packets_in"].samples[0].value == 9
