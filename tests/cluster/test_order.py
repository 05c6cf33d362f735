from __future__ import annotations

from tests.cluster.conftest import MakeCluster
from tests.cluster.traffic import Traffic

FREE = {"gateway.publishes_per_second": 100_000, "world.publishes_per_second": 100_000}


def test_twenty_clients_on_four_gateways_see_the_same_ten_thousand_messages_in_the_same_order(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster({"cluster.gateways": 4, "gateway.packets_per_second": 100_000, **FREE})
    traffic = Traffic(cluster, "plaza/order", clients=20, gateways=4)
    traffic.start(count=500, pause=0.0)
    traffic.finish()
    traffic.settle()
    traffic.check()
    heard = [list(witness.heard.items()) for witness in traffic.witnesses]
    traffic.close()
    assert len(heard[0]) == 10_001
    assert all(other == heard[0] for other in heard)
    assert traffic.ok_share == 1.0
