from __future__ import annotations

import pytest

from common.errors import BadField
from common.wire.apikeys import check_scopes, hash_of, make_key, same_hash, split_key

MADE = make_key(bytes(range(8)), bytes(range(32)))


def test_a_key_has_its_id_and_the_hash_of_its_secret():
    assert MADE.text == f"rk_{MADE.id}_{bytes(range(32)).hex()}"
    assert split_key(MADE.text) == (MADE.id, MADE.hash)
    assert MADE.hash == hash_of(bytes(range(32)).hex())
    assert bytes(range(32)).hex() not in MADE.hash


def test_only_equal_hashes_are_the_same():
    assert same_hash(MADE.hash, MADE.hash)
    assert not same_hash(MADE.hash, hash_of("other"))
    assert not same_hash(MADE.hash, "")


NO_KEYS = {
    "empty": "",
    "a token": "eyJhbGciOiJIUzI1NiJ9.e30.x",
    "short secret": f"rk_{'0' * 16}_{'0' * 63}",
    "long id": f"rk_{'0' * 17}_{'0' * 64}",
    "upper case": f"rk_{'A' * 16}_{'0' * 64}",
    "a line more": f"rk_{'0' * 16}_{'0' * 64}\n",
    "other digits": f"rk_{'٣' * 16}_{'0' * 64}",
}


@pytest.mark.parametrize("text", NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_key_has_no_parts(text: str):
    assert split_key(text) is None


@pytest.mark.parametrize("scopes", [[], ["push", "all"], [""]], ids=["none", "unknown", "empty"])
def test_wrong_scopes_are_refused(scopes: list[str]):
    with pytest.raises(BadField) as caught:
        check_scopes(scopes)
    assert caught.value.facts["field"] == "scopes"


def test_known_scopes_pass():
    check_scopes(["push", "admin"])
