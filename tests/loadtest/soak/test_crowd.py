from __future__ import annotations

import select
from unittest.mock import Mock

import pytest

from loadtest.soak.crowd import Crowd, Plan
from loadtest.soak.device import Line


def test_an_answer_that_comes_too_late_is_one_error_and_counts_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(select, "epoll", Mock, raising=False)
    crowd = Crowd(Plan(addresses=[["127.0.0.1", 1]], token_key="k" * 32, devices=2))
    line = Line(crowd.devices[0], 0, None, 0.0)
    line.request("hello", {}, -100.0)
    crowd._lines[-1] = line
    for _ in range(2):
        assert crowd.report()["errors"] == {"hello: no answer": 1}
    crowd._take(line, "ok", 1, {"resume": "r"}, 0.0)
    assert crowd.report()["here"] == 1
    assert crowd.devices[0].resume == "r"
