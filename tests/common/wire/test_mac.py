from __future__ import annotations

import hmac

from hypothesis import given
from hypothesis import strategies as st

from common.wire.mac import BLOCK_BYTES, mac_under


@given(st.binary(max_size=2 * BLOCK_BYTES + 1), st.lists(st.binary(max_size=300), min_size=2, max_size=4))
def test_it_is_the_mac_of_the_standard_library_each_time(secret: bytes, messages: list[bytes]) -> None:
    mac = mac_under(secret)
    assert [mac(message) for message in messages] == [hmac.digest(secret, m, "sha256") for m in messages]


def test_a_key_of_a_whole_block_is_taken_as_it_is_and_a_longer_one_is_hashed() -> None:
    for size in (BLOCK_BYTES, BLOCK_BYTES + 1):
        assert mac_under(b"k" * size)(b"m") == hmac.digest(b"k" * size, b"m", "sha256")
