"""A player's stay in a map: from its claim to its end, when it is saved, which inputs count.

    ENTERING ─ claimed ─▶ IN ◀─ back ── LINKDEAD         its connection is lost: stays a while
                          │  ── lost ─▶    │
       thaw ▲             ├────────────────┤
            │             ▼                ▼
            └── LEAVING  MOVING  DOUBT                    frozen: the world and storage may differ
                   │       │       │
                   ▼       ▼       ▼
                  GONE: "left" "moved" "lost"

Frozen, nothing may change a player: what will be stored, or may be stored already, is what
it was at the freeze. It goes on only when storage has said that this owner still has it
(or that nothing had been sent to storage). From every state storage may say that another
owner has it: GONE, "lost".

Time is passed in, in seconds of one clock.

Source: docs/storage.md, section 5; docs/decisions/a-move-given-up-is-a-change-too.md.
"""

from __future__ import annotations

from hashlib import blake2b
from zlib import crc32

from common.rules.route import NO_INPUT, Save

ENTERING, IN, LINKDEAD, LEAVING, MOVING, DOUBT, GONE = (
    "entering",
    "in",
    "linkdead",
    "leaving",
    "moving",
    "doubt",
    "gone",
)
LIVE = frozenset({IN, LINKDEAD})
"""States in which the map's logic may change the player, and it is saved from time to time."""
FROZEN = frozenset({LEAVING, MOVING, DOUBT})
REASONS = frozenset({"left", "moved", "lost"})

BACKOFF = 0.25
BACKOFF_MOST = 8.0


def phase(user: str) -> float:
    """Give where in a period something of this user is done: 0 … 1, the same everywhere."""
    return crc32(user.encode()) / 2**32


def next_save(user: str, now: float, every: float) -> float:
    """Give when a player is saved next: once a period, players spread over it; never at once again."""
    left = every - (now - phase(user) * every) % every
    return now + left + (every if left < every / 100 else 0.0)


def backoff(user: str, failures: int) -> float:
    """Give how long to wait after so many failures in a row: doubling, players spread over the last half."""
    longest: float = min(BACKOFF_MOST, BACKOFF * 2.0 ** min(failures, 16))
    return longest * (1 + phase(user)) / 2


class Stay:
    """One player in one map, as its world process knows it.

    Args:
        user: product/uid.
        place: product/map/line.
        linkdead: seconds it stays without a connection.
        every: seconds between two saves.

    Attributes:
        state: one of the seven above; changed by the methods only.
        reason: why it is GONE.
        owner, route_ver: what storage must name for a save to be taken.
        save_ver: the highest number a save was given; storage has this one or an earlier.
        input: number of the last input applied.
        connected: there is a client.
        linkdead_until, save_at: deadlines; save_at is put off after a failure.
        failures: of saves, in a row.
    """

    __slots__ = (
        "_every",
        "_linkdead",
        "_saved",
        "connected",
        "failures",
        "input",
        "linkdead_until",
        "owner",
        "place",
        "reason",
        "route_ver",
        "save_at",
        "save_ver",
        "state",
        "user",
    )

    def __init__(self, user: str, place: str, linkdead: float, every: float) -> None:
        self.user = user
        self.place = place
        self._linkdead = linkdead
        self._every = every
        self._saved = b""
        self.state = ENTERING
        self.reason = ""
        self.owner = ""
        self.route_ver = 0
        self.save_ver = 0
        self.input = NO_INPUT
        self.connected = True
        self.linkdead_until = self.save_at = 0.0
        self.failures = 0

    @property
    def live(self) -> bool:
        """Tell whether the map's logic may change the player now."""
        return self.state in LIVE

    @property
    def frozen(self) -> bool:
        """Tell whether it waits for storage."""
        return self.state in FROZEN

    def claimed(self, owner: str, route_ver: int, save_ver: int, number: int, now: float) -> None:
        """The owner is stored: it is in, or linkdead if its connection went meanwhile."""
        self.owner, self.route_ver, self.save_ver, self.input = owner, route_ver, save_ver, number
        self._begin(now)

    def lost(self, now: float) -> None:
        """Its connection is gone."""
        if self.connected:
            self.connected = False
            self.linkdead_until = now + self._linkdead
            if self.state == IN:
                self.state = LINKDEAD

    def back(self) -> None:
        """It has a connection again."""
        self.connected = True
        if self.state == LINKDEAD:
            self.state = IN

    def expired(self, now: float) -> bool:
        """Tell whether it was without a connection for so long that it has to leave."""
        return self.state == LINKDEAD and now >= self.linkdead_until

    def freeze(self, state: str) -> None:
        """Let nothing change it: LEAVING, MOVING, or DOUBT.

        Raises:
            ValueError: it is neither in nor linkdead (or frozen, for DOUBT).
        """
        if state not in FROZEN or not (self.live or (state == DOUBT and self.frozen)):
            raise ValueError(f"a player {self.state} cannot be {state}")
        self.state = state

    def thaw(self, now: float) -> None:
        """Go on: storage has nothing of the change, and cannot get it any more."""
        if not self.frozen:
            raise ValueError(f"a player {self.state} is not frozen")
        self._begin(now)

    def end(self, reason: str) -> None:
        """It is not here any more; "lost" from any state, the others from what they end."""
        proper = {"left": (LEAVING, DOUBT), "moved": (MOVING, DOUBT)}
        if reason not in REASONS or self.state not in proper.get(reason, (self.state,)):
            raise ValueError(f"a player {self.state} cannot be gone: {reason}")
        self.state, self.reason = GONE, reason

    def applies(self, number: int) -> bool:
        """Count an input as applied; False where it must not be: a repeat, or the player is not live.

        To be asked at the moment it is applied. The number is saved with the state, so it holds
        over moves, and over the death of the world for all that was saved.
        """
        if not self.live or number <= self.input:
            return False
        self.input = number
        return True

    def due(self, now: float) -> bool:
        """Tell whether it is to be saved now."""
        return self.live and now >= self.save_at

    def save(self, blob: bytes) -> Save | None:
        """Give the next save of what it is now; None where that is stored already."""
        if self._digest(blob) == self._saved:
            return None
        self.save_ver += 1
        return Save(self.user, self.owner, self.place, self.route_ver, self.save_ver, self.input, blob)

    def stored(self, save: Save, now: float) -> None:
        """A save was stored."""
        if save.route_ver == self.route_ver:
            self._saved = self._digest(save.blob, save.input)
        self.failures = 0
        self.save_at = next_save(self.user, now, self._every)

    def unsaved(self, now: float) -> None:
        """A save was not stored, or nobody knows: again soon, with what the player is then."""
        self._saved = b""
        self.save_at = now + backoff(self.user, self.failures)
        self.failures += 1

    def skip(self, now: float) -> None:
        """Nothing was to be saved: at the next regular time again."""
        self.failures = 0
        self.save_at = next_save(self.user, now, self._every)

    def _begin(self, now: float) -> None:
        self.state = IN if self.connected else LINKDEAD
        self.skip(now)

    def _digest(self, blob: bytes, number: int | None = None) -> bytes:
        stated = self.input if number is None else number
        return blake2b(b"%d " % stated + blob, digest_size=16).digest()
