from __future__ import annotations

from typing import Any

import pytest

from common.wire.codec import decode, pack, unpack
from common.wire.framing import SERVER_LIMIT, cut
from common.wire.states import NO_ROWS, Acks, Rows, cell_frame, events_frame, pack_cell, pack_tick


def packets(frames: bytes) -> list[Any]:
    """Give (op, id, body) of framed packets."""
    bodies, rest = cut(frames, SERVER_LIMIT)
    assert rest == b""
    return [tuple(decode(body)) for body in bodies]


def test_a_cells_state_has_what_there_is_and_nothing_empty() -> None:
    frame = cell_frame("meadow", 7, 12, Rows([(1, "ant", 3, 4, None)], [(2, 5, 6)], [3], ["boom"]))
    assert packets(frame) == [
        (
            "state",
            0,
            {
                "map": "meadow",
                "tick": 7,
                "cell": 12,
                "enter": [[1, "ant", 3, 4, None]],
                "move": [[2, 5, 6]],
                "leave": [3],
                "events": ["boom"],
            },
        )
    ]
    assert packets(cell_frame("meadow", 7, 12, NO_ROWS, full=True)) == [
        ("state", 0, {"map": "meadow", "tick": 7, "cell": 12, "full": True})
    ]


NUMBERS = [0, 127, 128, 300, 70_000, 2**53 - 1]


@pytest.mark.parametrize("number", NUMBERS)
def test_an_ack_is_a_state_with_three_fields(number: int) -> None:
    acks = Acks("meadow", 70_000)
    assert packets(acks.frame(number)) == [("state", 0, {"map": "meadow", "tick": 70_000, "ack": number})]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 70_000])
def test_events_are_spliced_in_as_they_were_packed(count: int) -> None:
    frame = events_frame("meadow", 7, [pack({"bell": 1})] * count)
    assert packets(frame) == [("state", 0, {"map": "meadow", "tick": 7, "events": [{"bell": 1}] * count})]


@pytest.mark.parametrize("count", [0, 1, 20, 70_000])
def test_a_tick_is_an_item_like_any_other(count: int) -> None:
    cells = [pack_cell(5, b"frame")] * count
    item = pack_tick("demo/meadow/1", 9, cells, [(7, 5, -1)], cells, [(7, 3)], b"all", [(7, b"one")])
    rows = [[5, b"frame"]] * count
    assert unpack(item) == [
        "tick",
        "demo/meadow/1",
        9,
        rows,
        [[7, 5, -1]],
        rows,
        [[7, 3]],
        b"all",
        [[7, b"one"]],
    ]
