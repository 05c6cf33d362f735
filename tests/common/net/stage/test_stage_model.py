from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.common.net.stage.playing import SIZE, Client, Play
from worlds.space import Entity

PLAYERS = 5
GATEWAYS = ("gateway-0", "gateway-1")
WHO = st.integers(0, PLAYERS - 1)
COORDINATE = st.integers(0, SIZE)
STEP = st.one_of(
    st.tuples(st.just("go"), WHO, COORDINATE, COORDINATE),
    st.tuples(st.just("step"), WHO, st.integers(-9, 9), st.integers(-9, 9)),
    st.tuples(st.just("enter"), WHO, COORDINATE, COORDINATE, st.sampled_from(GATEWAYS)),
    st.tuples(st.just("exit"), WHO),
    st.tuples(st.just("lose"), WHO),
    st.tuples(st.just("slow"), WHO),
    st.tuples(st.just("read"), WHO),
    st.tuples(st.just("full"), st.sampled_from(GATEWAYS)),
    st.tuples(st.just("space"), st.sampled_from(GATEWAYS)),
    st.tuples(st.just("cut"), st.sampled_from(GATEWAYS)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("add"), COORDINATE, COORDINATE),
    st.tuples(st.just("tick")),
    st.tuples(st.just("tick")),
)


class Model:
    """Players that come, walk, read slowly and break off, over gateways that fill up and lose touch."""

    def __init__(self) -> None:
        self.play = Play(idle=1e9)
        self.clients: dict[int, tuple[str, Client]] = {}
        self.numbers = 0

    def step(self, what: str, *rest: Any) -> None:
        of_gateways: dict[str, Callable[..., None]] = {
            "tick": self.tick,
            "restart": self.restart,
            "add": self.add,
            "full": self.play.full.add,
            "space": self.play.full.discard,
            "cut": self.cut,
            "enter": self.enter,
        }
        if what in of_gateways:
            of_gateways[what](*rest)
        elif rest[0] in self.clients:
            self.client_step(what, *rest)

    def restart(self) -> None:
        play = self.play
        for views in play.views.values():
            views.away("world-0")
        play.full.clear()
        play.stage = play.new_stage()
        for views in play.views.values():
            views.announce("world-0")

    def add(self, x: int, y: int) -> None:
        for line in self.play.stage.lines.values():
            line.space.add(Entity("ant", x, y))

    def cut(self, gateway: str) -> None:
        """A stream begins anew: what was in its queue is gone, so there is space."""
        play = self.play
        play.full.discard(gateway)
        play.stage.seats.link_down(gateway)
        play.views[gateway].away("world-0")
        play.views[gateway].announce("world-0")

    def enter(self, who: int, x: int, y: int, gateway: str) -> None:
        if who not in self.clients and gateway not in self.play.full:
            self.numbers += 1
            self.clients[who] = (gateway, self.play.enter(f"u{who}", [x, y], gateway, self.numbers))

    def client_step(self, what: str, who: int, *rest: int) -> None:
        gateway, client = self.clients[who]
        play = self.play
        player = play.space.players[f"u{who}"]
        if what in ("go", "step"):
            x, y = rest if what == "go" else (player.x + rest[0], player.y + rest[1])
            n = max(player.inputs.newest, 0) + 1
            play.input(client, n, {"do": "go", "x": x, "y": y}, gateway)
        elif what == "slow":
            client.slow = True
        elif what == "read":
            client.catch_up()
        else:
            del self.clients[who]
            play.views[gateway].lost(client, what == "exit")  # type: ignore[arg-type]

    def tick(self) -> None:
        self.play.tick()
        for who, (gateway, client) in self.clients.items():
            seat = client.seat
            fed = gateway not in self.play.full and not client.slow and not seat.stale
            if fed and not client.missed(seat):
                assert client.eyes.seen() == self.play.truth(f"u{who}")

    def settle(self) -> None:
        self.play.full.clear()
        for _, client in self.clients.values():
            client.catch_up()
        self.play.tick()
        for _, client in self.clients.values():
            assert not client.seat.stale
        self.tick()


@given(st.lists(STEP, max_size=60))
@settings(max_examples=300, deadline=None)
def test_what_clients_know_is_what_is_around_them_whatever_went_wrong_on_the_way(
    steps: list[tuple[Any, ...]],
) -> None:
    model = Model()
    for step in steps:
        model.step(*step)
    model.settle()
