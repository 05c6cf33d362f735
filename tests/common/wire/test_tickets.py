from __future__ import annotations

import pytest

from common.errors import Unauthorized
from common.wire.tickets import issue_ticket, read_ticket

SECRET = b"s" * 32
NONCE = bytes(range(12))
TICKET = issue_ticket(SECRET, "p/alice", "gateway-0", 1000, NONCE)


def test_a_ticket_is_good_until_its_end_and_has_its_nonce():
    ticket = read_ticket(SECRET, TICKET, "p/alice", "gateway-0", 999.9)
    assert ticket.exp == 1000
    other = issue_ticket(SECRET, "p/alice", "gateway-0", 1000, NONCE[::-1])
    assert ticket.nonce != read_ticket(SECRET, other, "p/alice", "gateway-0", 0).nonce


WRONG = {
    "expired": (SECRET, TICKET, "p/alice", "gateway-0", 1000),
    "another user": (SECRET, TICKET, "p/bob", "gateway-0", 0),
    "another product": (SECRET, TICKET, "q/alice", "gateway-0", 0),
    "another gateway": (SECRET, TICKET, "p/alice", "gateway-1", 0),
    "another cluster": (b"t" * 32, TICKET, "p/alice", "gateway-0", 0),
    "a later end": (SECRET, TICKET.replace("1000", "2000"), "p/alice", "gateway-0", 0),
    "cut short": (SECRET, TICKET[:-1], "p/alice", "gateway-0", 0),
    "a line more": (SECRET, f"{TICKET}\n", "p/alice", "gateway-0", 0),
    "other digits": (SECRET, TICKET.replace("1000", "١٠٠٠"), "p/alice", "gateway-0", 0),
    "nothing": (SECRET, "", "p/alice", "gateway-0", 0),
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_any_other_ticket_is_refused(given: tuple[bytes, str, str, str, float]):
    with pytest.raises(Unauthorized):
        read_ticket(*given)


def test_every_changed_character_is_noticed():
    for place in range(len(TICKET)):
        changed = TICKET[:place] + ("A" if TICKET[place] != "A" else "B") + TICKET[place + 1 :]
        with pytest.raises(Unauthorized):
            read_ticket(SECRET, changed, "p/alice", "gateway-0", 0)
