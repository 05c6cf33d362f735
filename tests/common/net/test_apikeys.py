from __future__ import annotations

import secrets

import msgpack
import pytest

from common.errors import BadField, NotFound
from common.net import apikeys
from common.net.apikeys import apikey_get, apikey_list, apikey_put, apikey_revoke, audit_add
from common.net.store import Store
from common.wire.apikeys import NewKey, make_key, split_key


def put(store: Store, product: str = "p", scopes: str = "push,read", created: int = 5) -> NewKey:
    made = make_key(secrets.token_bytes(8), secrets.token_bytes(32))
    apikey_put(store, product, made.id, made.hash, scopes.split(","), "shop", created)
    return made


def test_a_key_is_found_by_its_text_and_its_secret_is_nowhere_in_redis(store: Store):
    made = put(store)
    assert split_key(made.text) == (made.id, made.hash)
    assert apikey_get(store, made.id) == {
        "id": made.id,
        "product": "p",
        "hash": made.hash,
        "scopes": ["push", "read"],
        "label": "shop",
        "created": 5,
        "revoked": None,
    }
    secret = made.text.split("_")[2].encode()
    for name in store.call("KEYS", "db_apikey:*"):
        assert secret not in b"".join(store.call("HGETALL", name))


def test_an_unknown_key_is_none(store: Store):
    assert apikey_get(store, "0" * 16) is None


def test_an_id_stored_twice_stays_as_it_was_first(store: Store):
    made = put(store)
    apikey_put(store, "p", made.id, "other", ["admin"], "other", 9)
    assert apikey_get(store, made.id)["hash"] == made.hash  # type: ignore[index]
    assert apikey_get(store, made.id)["scopes"] == ["push", "read"]  # type: ignore[index]


@pytest.mark.parametrize("scopes", [[], ["push", "all"], [""]], ids=["none", "unknown", "empty"])
def test_wrong_scopes_are_refused_and_nothing_is_stored(store: Store, scopes: list[str]):
    with pytest.raises(BadField) as caught:
        apikey_put(store, "p", "0" * 16, "hash", scopes, "", 1)
    assert caught.value.facts["field"] == "scopes"
    assert store.call("DBSIZE") == 0


def test_a_list_has_the_keys_of_one_product_oldest_first_and_no_hash(store: Store):
    young, old, other = put(store, created=9), put(store, created=3), put(store, product="q")
    keys = apikey_list(store, "p")
    assert [key["id"] for key in keys] == [old.id, young.id]
    assert [key["id"] for key in apikey_list(store, "q")] == [other.id]
    assert all("hash" not in key for key in keys)
    assert apikey_list(store, "r") == []


def test_a_revoked_key_stays_known_as_of_the_first_time(store: Store):
    made = put(store)
    assert apikey_revoke(store, "p", made.id, 100) is True
    assert apikey_revoke(store, "p", made.id, 200) is False
    assert apikey_get(store, made.id)["revoked"] == 100  # type: ignore[index]


def test_a_key_of_another_product_cannot_be_revoked(store: Store):
    made = put(store)
    with pytest.raises(NotFound):
        apikey_revoke(store, "q", made.id, 100)
    with pytest.raises(NotFound):
        apikey_revoke(store, "p", "0" * 16, 100)
    assert apikey_get(store, made.id)["revoked"] is None  # type: ignore[index]


def test_the_audit_log_is_kept_per_product_and_bounded(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(apikeys, "AUDIT_ROWS", 100)
    audit_add(store, [["p", {"mid": n}] for n in range(1000)] + [["q", {"mid": -1}]])
    assert 100 <= store.call("XLEN", "db_audit:{p}") < 400
    [[_, [_, newest]]] = store.call("XREVRANGE", "db_audit:{p}", "+", "-", "COUNT", "1")
    assert msgpack.unpackb(newest) == {"mid": 999}
    assert store.call("XLEN", "db_audit:{q}") == 1
