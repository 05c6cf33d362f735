from __future__ import annotations

import ctypes
import platform

import pytest

from common.net.process import rss_bytes
from common.net.trim import trim_heap

BLOCK = 3000
"""Bytes: from malloc, as Python's own allocator stops at 512."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps and trims")
def test_holes_between_blocks_that_stay_go_back_to_the_system() -> None:
    blocks = [ctypes.create_string_buffer(BLOCK) for _ in range(20_000)]
    stay = blocks[::8]
    before = rss_bytes()
    del blocks
    held = rss_bytes()
    assert trim_heap()
    assert rss_bytes() < held - 20_000 * BLOCK // 2
    assert held <= before
    assert len(stay) == 2500
