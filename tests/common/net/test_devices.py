from __future__ import annotations

from common.net.devices import Device, read_meta


def test_a_hash_is_read_with_all_its_devices() -> None:
    flat = [
        *(b"seq", b"12", b"bytes", b"34", b"dropped", b"5", b"run_id", b"abc", b"x/11", b"phone"),
        *(b"p/phone", b"1:2:3:4", b"s/phone", b"5:6:7:8:9", b"t/phone", b"ios v2", b"e/phone", b"77"),
        *(b"p/s/", b"1:0:1:0", b"s/s/", b"9:9:1:0:0", b"t/gone", b"web"),
    ]
    meta = read_meta(flat)
    assert (meta.seq, meta.bytes, meta.dropped) == (12, 34, 5)
    assert meta.devices == {
        "phone": Device(1, 2, 3, 4, 5, 6, 7, 8, 9, ("ios", "v2"), 77),
        "s/": Device(1, 0, 1, 0, 9, 9, 1, 0, 0),
    }


def test_no_hash_is_an_empty_mailbox() -> None:
    assert read_meta([]) == (0, 0, 0, {})
