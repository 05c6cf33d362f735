"""Who plays in the lines of a world process: the map's side of what storage has of them.

    claimed ─▶ on_load, on_enter ─▶ in play ─▶ frozen: taken out, with the state it has then
                                       ▲            │
                                       └── thawed ──┴─▶ ended: on_leave, forgotten

A player that is frozen is in no cell, so nothing in the map can change it. A map that does
not let a claimed player in gives it back: it leaves again with the state it came with.

What is stored is a map of names to what maps have kept under them; a map sees its own.

Source: docs/storage.md, section 5; docs/worlds.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgpack import unpackb

from common.errors import RequestError
from common.net.stage.line import Line
from common.net.travel.keeper import Keeper
from common.rules.entity import Player
from common.rules.route import Record
from common.rules.stay import Stay
from common.wire.codec import pack

Kept = dict[str, Any]


class Role:
    """The part of one user.

    Attributes:
        key: "product/map/line" where it is.
        player: None: the map did not let it in.
        blob: its state while it is out of play; None while it plays.
        others: what other maps have kept of it.
        counted: its line has kept a place for it.
        gateway, number: the connection it is played by; "" and 0: none.
        leaves: it is to go as soon as it can.
        travels: it is on its way to another map, or asked for one.
        to: "product/map/line" it is on its way to.
        ended: what to call once it is gone.
    """

    __slots__ = (
        "blob",
        "counted",
        "ended",
        "gateway",
        "key",
        "leaves",
        "line",
        "number",
        "others",
        "player",
        "stay",
        "to",
        "travels",
    )

    def __init__(self, stay: Stay, line: Line | None, player: Player | None, others: Kept) -> None:
        self.stay = stay
        self.key = stay.place
        self.line = line
        self.player = player
        self.others = others
        self.blob: bytes | None = None
        self.gateway = self.to = ""
        self.number = 0
        self.counted = self.leaves = self.travels = False
        self.ended: list[Callable[[], None]] = []

    @property
    def user(self) -> str:
        """Give whose it is, "product/uid"."""
        return self.stay.user

    @property
    def plays(self) -> tuple[Line, Player] | None:
        """Give its line and player while it is in play."""
        if self.blob is not None or self.line is None or self.player is None:
            return None
        return self.line, self.player

    def answer_ended(self) -> None:
        """Tell all who waited for its end."""
        ended, self.ended = self.ended, []
        for done in ended:
            done()


class Audience(Protocol):
    """What the cast tells of."""

    def thawed(self, role: Role) -> None:
        """A player goes on where it was."""

    def ended(self, role: Role) -> None:
        """A player is gone; `role.stay.reason` says why."""


class Cast:
    """All roles of a world process; what the keeper calls (`Logic`).

    Args:
        open_line: gives the line of a key, made if there is none.

    Attributes:
        roles: user -> role, of all that are claimed.
        keeper: set before anybody comes.
        audience: the same.
    """

    keeper: Keeper
    audience: Audience

    def __init__(self, open_line: Callable[[str], Line]) -> None:
        self.roles: dict[str, Role] = {}
        self._open_line = open_line

    def come(self, stay: Stay, record: Record, data: Any) -> Role:
        """Let a claimed player in.

        Raises:
            RequestError: the map does not; the player leaves again.
        """
        try:
            kept: Kept = unpackb(record.blob, strict_map_key=False) if record.blob else {}
            line = self._open_line(stay.place)
            player = line.enter(stay, data, kept.pop(_name(line), None))
        except RequestError:
            self.give_back(stay, record)
            raise
        role = self.roles[stay.user] = Role(stay, line, player, kept)
        return role

    def give_back(self, stay: Stay, record: Record) -> Role:
        """Let a claimed player go with the state it came with; its map has no place for it."""
        role = self.roles[stay.user] = Role(stay, None, None, {})
        role.blob = record.blob or pack({})
        self.keeper.leave(stay)
        return role

    def seat(self, role: Role, gateway: str, number: int) -> None:
        """A player is played by a connection from now on."""
        role.gateway, role.number = gateway, number
        role.stay.back()
        playing = role.plays
        if playing is not None:
            playing[0].seat(playing[1], gateway, number)

    def unseat(self, role: Role) -> None:
        """A player's connection is no more; the player stays for a while."""
        role.gateway, role.number = "", 0
        playing = role.plays
        if playing is not None:
            playing[0].unseat(playing[1])

    def leave(self, role: Role, done: Callable[[], None]) -> None:
        """Let a player go; `done()` when it is stored, or was lost or moved meanwhile."""
        role.ended.append(done)
        if role.stay.live:
            self.keeper.leave(role.stay)
        else:
            role.leaves = True

    # what the keeper calls

    def snapshot(self, stay: Stay) -> bytes | None:
        """Give a player's state."""
        return self._state(self.roles[stay.user])

    def frozen(self, stay: Stay) -> None:
        """Take a player out of play, with the state it has now."""
        role = self.roles[stay.user]
        playing = role.plays
        if playing is not None:
            state = self._state(role)
            playing[0].take_out(playing[1])
            role.blob = b"" if state is None else state

    def thawed(self, stay: Stay) -> None:
        """Put a player back; one that was to leave meanwhile, or has no place, leaves."""
        role = self.roles[stay.user]
        if role.line is None or role.player is None:
            self.keeper.leave(stay)
            return
        role.blob = None
        role.line.put_back(role.player, stay.input)
        if role.leaves:
            role.leaves = False
            self.keeper.leave(stay)
            return
        if role.gateway:
            role.line.seat(role.player, role.gateway, role.number)
        self.audience.thawed(role)

    def ended(self, stay: Stay) -> None:
        """Forget a player."""
        role = self.roles.pop(stay.user)
        playing = role.plays
        if playing is not None:
            playing[0].take_out(playing[1])
        if role.line is not None and role.player is not None:
            role.line.gone(role.player)
        self.audience.ended(role)
        role.answer_ended()

    def _state(self, role: Role) -> bytes | None:
        if role.blob is not None:
            return role.blob or None
        playing = role.plays
        assert playing is not None
        line, player = playing
        try:
            value = line.save(player)
        except RequestError:
            return None
        return pack(role.others if value is None else {**role.others, _name(line): value})


def _name(line: Line) -> str:
    """Give the name under which a line's map keeps what it has of players."""
    return line.space.keeps or line.map_name
