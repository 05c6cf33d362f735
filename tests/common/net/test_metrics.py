from __future__ import annotations

import msgpack
import pytest
from prometheus_client import ProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from common.errors import ConfigError
from common.net.exposition import render
from common.net.metrics import Metrics


def samples_of(page: bytes) -> dict[tuple[str, str, str], float]:
    """Parse a page: (sample name, group, index) -> value, for samples without further labels."""
    return {
        (s.name, s.labels["group"], s.labels["index"]): s.value
        for family in text_string_to_metric_families(page.decode())
        for s in family.samples
        if len(s.labels) == 2
    }


def test_a_counter_is_a_plain_integer_and_shows_as_total():
    metrics = Metrics("gateway-1")
    metrics.counters.declare({"packets_in": "packets read from clients"})
    metrics.counters.packets_in += 3
    assert type(metrics.counters.packets_in) is int
    page = render({"gateway-1": metrics.families()})
    assert samples_of(page)["roost_gateway_packets_in_total", "gateway", "1"] == 3


def test_an_undeclared_counter_is_an_error_at_once():
    with pytest.raises(AttributeError):
        Metrics("gateway-0").counters.typo += 1


@pytest.mark.parametrize("name", ["twice", "declare", "values"])
def test_a_counter_that_hides_another_name_is_refused(name: str):
    counters = Metrics("gateway-0").counters
    counters.declare({"twice": "x"})
    with pytest.raises(ConfigError, match=name):
        counters.declare({name: "x"})


def test_an_area_of_the_kernel_has_its_own_prefix():
    metrics = Metrics("session-0")
    link = metrics.area("link", {"batches": "batches sent"})
    link.batches += 2
    assert metrics.area("link") is link
    page = render({"session-0": metrics.families()})
    assert samples_of(page)["roost_link_batches_total", "session", "0"] == 2


def test_a_gauge_is_read_when_asked_for():
    metrics = Metrics("world-0")
    rooms: list[int] = []
    metrics.gauge("rooms", "rooms in memory", lambda: len(rooms))
    rooms.append(1)
    page = render({"world-0": metrics.families()})
    assert samples_of(page)["roost_world_rooms", "world", "0"] == 1


def test_a_gauge_can_have_one_label():
    metrics = Metrics("world-0")
    metrics.gauge("queue", "bytes", lambda: {"gateway-0": 5, "gateway-1": 7}, area="link", label="peer")
    [family] = [f for f in metrics.families() if f[0] == "roost_link_queue"]
    assert family[3] == [
        ["roost_link_queue", {"peer": "gateway-0"}, 5],
        ["roost_link_queue", {"peer": "gateway-1"}, 7],
    ]


def test_a_gauge_that_has_nothing_to_say_has_no_sample():
    metrics = Metrics("world-0")
    metrics.gauge("age", "s", lambda: None)
    [family] = [f for f in metrics.families() if f[0] == "roost_world_age"]
    assert family[3] == []


def test_a_second_metric_of_one_name_is_refused():
    metrics = Metrics("world-0")
    metrics.gauge("rooms", "x", lambda: 0)
    with pytest.raises(ConfigError, match="roost_world_rooms"):
        metrics.gauge("rooms", "x", lambda: 0)


def test_families_survive_msgpack():
    metrics = Metrics("gateway-0")
    metrics.counters.declare({"packets_in": "packets"})
    metrics.gauge("queue", "bytes", lambda: {"gateway-0": 5}, label="peer")
    families = metrics.families()
    assert msgpack.unpackb(msgpack.packb(families)) == families


def test_families_of_many_processes_stand_once_with_all_samples():
    parts = {}
    for index in range(3):
        metrics = Metrics(f"gateway-{index}")
        metrics.counters.declare({"packets_in": "packets"})
        metrics.counters.packets_in += index
        parts[f"gateway-{index}"] = metrics.families()
    text = render(parts).decode()
    assert text.count("# TYPE roost_gateway_packets_in_total counter") == 1
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    [family] = [f for f in families if f.name == "roost_gateway_packets_in"]
    assert [(s.labels["index"], s.value) for s in family.samples] == [("0", 0), ("1", 1), ("2", 2)]


def test_text_that_needs_escaping_is_still_a_valid_page():
    page = render(
        {"gateway-0": [["roost_x", "gauge", 'help\n"x" \\', [["roost_x", {"peer": 'a"\n\\b'}, 1]]]]}
    )
    [family] = text_string_to_metric_families(page.decode())
    assert family.samples[0].labels == {"peer": 'a"\n\\b', "group": "gateway", "index": "0"}


def test_every_process_tells_its_memory():
    page = render({"center-0": Metrics("center-0").families()})
    assert samples_of(page)["process_resident_memory_bytes", "center", "0"] > 1_000_000


def test_what_the_kernel_says_of_a_process_is_what_prometheus_client_reads_of_it():
    ours = {family[0]: family[3] for family in Metrics("gateway-0").families()}
    theirs = {metric.name: metric.samples for metric in ProcessCollector(registry=None).collect()}
    assert ours.keys() == theirs.keys()
    for name, [sample] in theirs.items():
        [[sample_name, labels, value]] = ours[name]
        assert (sample_name, labels) == (sample.name, {})
        assert value == pytest.approx(sample.value, rel=0.2, abs=2)
