"""The first words of a client: who it is, and the room it joins, written at once.

Source: docs/protocol.md, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.flock.members import Members
from loadtest.flock.packets import HELLO, JOIN, packet
from loadtest.flock.plan import Plan
from loadtest.flock.tokens import Signer


class Greeting:
    """What the clients of a flock say first.

    Args:
        resumes: resume tokens by slot; who has none comes with a token of its own.
        expires: end of those, unix seconds.
    """

    def __init__(self, plan: Plan, members: Members, resumes: Mapping[int, str], expires: int) -> None:
        self._plan = plan
        self._members = members
        self._resumes = resumes
        self._signer = Signer(plan.token_key, plan.product, expires)

    def words(self, slot: int) -> bytes:
        """Give `hello`, and `join` from where the client was."""
        plan, number = self._plan, self._plan.first + slot
        body: dict[str, Any] = {"v": 1, "device": f"d{number}", "kind": "swarm"}
        resume = self._resumes.get(slot)
        if resume is None:
            body["token"] = self._signer.token(f"u{number}")
        else:
            body["resume"] = resume
        words = packet("hello", HELLO, body)
        if plan.joins:
            join: dict[str, Any] = {"room": plan.room_name(plan.room_number(slot))}
            epoch = self._members.epoch[slot]
            if epoch:
                join["since"] = {"epoch": epoch, "offset": self._members.offset[slot]}
            words += packet("join", JOIN, join)
        return words
