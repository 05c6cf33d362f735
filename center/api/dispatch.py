"""/v1/dispatch: which gateway to connect to, with tickets. For clients' tokens and for API keys."""

from __future__ import annotations

import secrets
from collections import Counter
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from apiflask import APIBlueprint, Schema, fields
from flask import current_app, g, request

from center.api.door import Door, bearer, door, user_of
from center.api.fields import Name
from center.status import FRESH, Fresh
from common.errors import BadField, RateLimited, RequestError, Unauthorized, Unavailable
from common.rules.limits import RateTable
from common.wire.tickets import NONCE_BYTES, TICKET_SECONDS, issue_ticket
from common.wire.tokens import verify_token

dispatch = APIBlueprint("dispatch", __name__)
NAMED = 3
"""Gateways in an answer, if there are so many with space."""
PER_SECOND, BURST = 2, 10
"""Requests of one user with a client token."""
NAME = "roost.dispatcher"


class Wish(Schema):
    """Whom the tickets are for."""

    uid = Name(load_default=None, metadata={"description": "with an API key; a token names its own"})


class Choice(Schema):
    """A gateway to connect to."""

    gateway = fields.String(required=True)
    address = fields.String(required=True, metadata={"description": "host:port, TCP"})
    ticket = fields.String(required=True, metadata={"description": "for `hello`, once"})


class Choices(Schema):
    """Gateways, least loaded first."""

    gateways = fields.List(fields.Nested(Choice), required=True)
    expires = fields.Integer(required=True, metadata={"description": "the tickets end, unix ms"})


class Dispatcher:
    """Chooses gateways; looks at their load at most each FRESH seconds, and counts what it sent since."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._sent: Counter[str] = Counter()
        self._loads = Fresh(FRESH, self._look)
        self.rates = RateTable(PER_SECOND, BURST)

    def choose(self) -> list[tuple[str, str]]:
        """Give (name, address) of up to NAMED gateways with space, least loaded first.

        Raises:
            Unavailable: none has.
        """
        loads = self._loads.get()
        shares = [
            ((load["connections"] + self._sent[name]) / load["limit"], name) for name, load in loads.items()
        ]
        names = [name for share, name in sorted(shares) if share < 1][:NAMED]
        if not names:
            raise Unavailable("no gateway has space now")
        self._sent[names[0]] += 1
        return [(name, loads[name]["address"] or self._here(name)) for name in names]

    def _here(self, name: str) -> str:
        """Give a gateway's address where it listens on all: the host the client reached center by."""
        host = urlsplit(request.host_url).hostname or "127.0.0.1"
        port = self._door.places.tcp_port(self._door.places.gateways.index(name))
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _look(self) -> dict[str, dict[str, Any]]:
        timeout = self._door.settings.center.timeout
        answers = self._door.callers.call_each(self._door.places.gateways, "load", timeout=timeout)
        self._sent.clear()
        return {
            name: load
            for name, load in answers.items()
            if not isinstance(load, RequestError) and load["state"] == "ready"
        }


@dispatch.get("/v1/dispatch")
@dispatch.input(Wish, location="query", arg_name="given")
@dispatch.output(Choices)
@dispatch.doc(
    security=[{"ApiKey": []}, {"ClientToken": []}], extensions={"x-scope": "users, or a client token"}
)
def choose(given: dict[str, Any]) -> dict[str, Any]:
    """Name gateways with space, least loaded first, each with a ticket for one login there."""
    dispatcher: Dispatcher = current_app.extensions[NAME]
    user = _user(dispatcher, given["uid"])
    exp = int(door().clock()) + TICKET_SECONDS
    secret = door().secrets.ticket_key
    rows = [
        {
            "gateway": name,
            "address": address,
            "ticket": issue_ticket(secret, user, name, exp, secrets.token_bytes(NONCE_BYTES)),
        }
        for name, address in dispatcher.choose()
    ]
    return {"gateways": rows, "expires": exp * 1000}


def _user(dispatcher: Dispatcher, uid: str | None) -> str:
    """Give the user (product/uid) the tickets are for."""
    text = bearer()
    if text.startswith("rk_"):
        g.key = door().keyring.admit(text, "users")
        if uid is None:
            raise BadField("with an API key, uid must be given", field="uid")
        return user_of(uid)
    if not text:
        raise Unauthorized("neither a client token nor an API key")
    claims = verify_token(text, door().secrets.token_keys, door().clock())
    if uid not in (None, claims.uid):
        raise BadField("the token is another user's", field="uid")
    wait = dispatcher.rates.take(claims.user, monotonic())
    if wait:
        raise RateLimited("too many requests with this token", after=max(int(wait * 1000), 1))
    return claims.user
