from __future__ import annotations

from typing import Any

import pytest

from common.errors import ConfigError, Unavailable
from common.settings import load
from tools import reload as command

NEW = {"version": "b", "before": "a", "lines": 3, "pinned": 0, "error": ""}
ANSWERS: dict[str, tuple[Any, int, str]] = {
    "all have it": (NEW, 0, "a → b; 3 of 3 lines have it"),
    "some lines keep theirs": (
        NEW | {"pinned": 2},
        0,
        "a → b; 3 of 5 lines have it, the others keep theirs until they close",
    ),
    "nothing has changed": (NEW | {"before": "b"}, 0, "has b already"),
    "rolled back": (
        NEW | {"version": "a", "error": "on_tick failed\n  at line 3\n"},
        1,
        "goes on with a; 3 of 3 lines have it. on_tick failed\n  at line 3",
    ),
    "away": (Unavailable("world-2 is away"), 1, "unavailable: world-2 is away"),
}


class FakeCallers:
    answer: Any = None

    def __init__(self, *_: Any) -> None: ...

    def call_each(self, peers: tuple[str, ...], method: str, timeout: float) -> dict[str, Any]:
        assert method == "reload"
        return dict.fromkeys(peers, self.answer)

    def close(self) -> None: ...


@pytest.mark.parametrize(("answer", "code", "words"), ANSWERS.values(), ids=ANSWERS)
def test_the_operator_hears_of_each_world_how_it_went(
    answer: Any, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCallers, "answer", answer)
    monkeypatch.setattr(command, "Callers", FakeCallers)
    said: list[str] = []
    assert command.reload(load({}), "arena", said.append) == code
    assert said == [f"world-2: {words}"]


def test_an_unknown_map_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="moon.*plaza, arena, garden"):
        command.reload(load({}), "moon", print)
