from __future__ import annotations

from common.net.idempotency import claim
from common.net.store import Store


def test_a_key_stands_for_the_mid_that_claimed_it_first(store: Store) -> None:
    assert [claim(store, "p/bob", "k", mid, 60) for mid in (2**52 + 1, 2, 3)] == [2**52 + 1] * 3


def test_keys_of_other_senders_and_products_are_others(store: Store) -> None:
    senders = ("p/bob", "p/carol", "q/bob", "p/")
    assert [claim(store, sender, "k", mid, 60) for mid, sender in enumerate(senders)] == [0, 1, 2, 3]


def test_a_key_is_forgotten_a_while_after_its_first_claim(store: Store) -> None:
    claim(store, "p/bob", "k", 1, 60)
    store.call("PEXPIRE", "db_idem:{p/bob}:k", 20_000)
    claim(store, "p/bob", "k", 2, 60)
    assert 0 < store.call("PTTL", "db_idem:{p/bob}:k") <= 20_000
