from __future__ import annotations

import os

from loadtest.c1000k.sampling import PAGE, by_group, machine, pss_bytes, read_metrics, tcp_bytes

METRICS = """\
# HELP roost_loop_lag_ms lateness of the loop over a minute
# TYPE roost_loop_lag_ms gauge
roost_loop_lag_ms{group="gateway",index="3",quantile="p99.9"} 4.5
# TYPE roost_gc_pause_ms_max gauge
roost_gc_pause_ms_max{group="gateway",index="3"} 12.0
# TYPE roost_gateway_packets counter
roost_gateway_packets_total{group="gateway",index="3"} 7.0
"""


def test_of_centers_page_only_what_is_wanted_is_read() -> None:
    assert read_metrics(METRICS) == {"gateway-3": {"lag_p99.9": 4.5, "gc": 12.0}}


def test_tcp_buffers_are_counted_in_bytes() -> None:
    assert (
        tcp_bytes("sockets: used 9\nTCP: inuse 4 orphan 0 tw 0 alloc 5 mem 11\nUDP: inuse 0 mem 2\n")
        == 11 * PAGE
    )


def test_groups_are_added_up() -> None:
    assert by_group({"gateway-0": 1.0, "gateway-10": 2.0, "world-0": 4.0}) == {"gateway": 3.0, "world": 4.0}


def test_this_machine_and_this_process_can_be_read() -> None:
    now = machine()
    assert now.busy > 0
    assert 0 < now.kernel < now.available * 100
    assert pss_bytes(os.getpid()) > 1_000_000
    assert pss_bytes(2**22 + 1) == 0
