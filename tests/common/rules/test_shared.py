from __future__ import annotations

from common.rules.shared import Shared


def test_equal_values_become_one_object_up_to_a_limit() -> None:
    share: Shared[tuple[str, ...]] = Shared(2)
    first, second = tuple(["a"]), tuple(["b"])
    assert share(first) is first and share(second) is second
    assert share(tuple(["a"])) is first
    third = tuple(["c"])
    assert share(third) is third
    assert share(tuple(["c"])) is not third
    assert share(tuple(["b"])) is second
