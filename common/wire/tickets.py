"""Tickets of the dispatcher: which user may come to which gateway, once, for a short time.

    ticket   exp.nonce.mac
             exp     unix seconds, decimal
             nonce   NONCE_BYTES random bytes, base64
             mac     HMAC-SHA256 over user, gateway, exp and nonce, 18 bytes, base64

User and gateway are not in the ticket but covered by its mac: it is worth nothing for
anybody else or anywhere else. That it is used once only is for whoever takes it to see,
by its nonce, until `exp`.

Source: docs/api.md, dispatch.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final, NamedTuple

from common.errors import Unauthorized
from common.wire.mac import mac_under

TICKET_SECONDS: Final = 30
NONCE_BYTES: Final = 12
_MAC_BYTES: Final = 18
_ticket = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{24})").fullmatch


class Ticket(NamedTuple):
    """A ticket whose mac holds: its nonce, and until when (unix seconds) that must be remembered."""

    nonce: str
    exp: int


def issue_ticket(secret: bytes, user: str, gateway: str, exp: int, nonce: bytes) -> str:
    """Give a ticket.

    Args:
        secret: what all processes know, `Secrets.resume_key`.
        user: product/uid.
        gateway: process name, "gateway-0".
        exp: unix seconds; now + TICKET_SECONDS.
        nonce: NONCE_BYTES fresh random bytes.
    """
    text = base64.urlsafe_b64encode(nonce).decode()
    return f"{exp}.{text}.{_mac(secret, user, gateway, str(exp), text)}"


def read_ticket(secret: bytes, text: str, user: str, gateway: str, now: float) -> Ticket:
    """Give a ticket's nonce and end once its mac holds for this user at this gateway.

    Args:
        now: unix seconds.

    Raises:
        Unauthorized: no ticket, another user's, for another gateway, or expired.
    """
    match = _ticket(text)
    if match is None:
        raise Unauthorized("this is no ticket")
    exp, nonce, mac = match.groups()
    if not hmac.compare_digest(mac, _mac(secret, user, gateway, exp, nonce)):
        raise Unauthorized("the ticket is not for this user at this gateway")
    if int(exp) <= now:
        raise Unauthorized("the ticket is expired")
    return Ticket(nonce, int(exp))


def _mac(secret: bytes, user: str, gateway: str, exp: str, nonce: str) -> str:
    """Give the mac; what it covers begins with a word, so it is never one of another kind of token."""
    covered = "|".join(("ticket", user, gateway, exp, nonce)).encode()
    return base64.urlsafe_b64encode(mac_under(secret)(covered)[:_MAC_BYTES]).decode()
