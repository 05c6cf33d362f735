"""Coming in: `hello`, `refresh`, `ping`, `bye`.

Token and ticket are verified here; session opens the login (policies, bans, login epoch,
whether the ticket was used).
The answer is taken in session's stream, so a `kick` right behind it finds the
connection logged in; one nobody waits for any more is closed again.

Source: docs/protocol.md, sections 3, 4 and 9.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from gevent.event import Event

from common.errors import BadField, Conflict, RequestError, Unauthorized
from common.net.front.connection import Connection
from common.net.front.front import OPS, Front
from common.net.front.requests import Request, item
from common.rules.rights import rights_of
from common.rules.tags import as_tags
from common.wire.codec import encode
from common.wire.ops import VERSION
from common.wire.tickets import read_ticket
from common.wire.tokens import SKEW_SECONDS, Claims, Resume, issue_resume, read_resume, verify_token

MAILBOX_SECONDS = 3.0
"""How long the welcome of an opened login waits for its mailbox; then it says that storage is away."""


class Login:
    """A login whose answer is awaited.

    Attributes:
        answered: set once session has opened or refused it.
        ended: set once the client has been told.
    """

    __slots__ = ("answered", "claims", "device", "ended", "kind")

    def __init__(self, claims: Claims, device: str, kind: str) -> None:
        self.claims = claims
        self.device = device
        self.kind = kind
        self.answered = Event()
        self.ended = Event()


@OPS.on("hello")
def hello(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Log in; what follows waits. A refused one is told why and ended.

    A client that has given up on this connection may be in by another one already, at another
    gateway: opened only now, the login would replace that one, and end the client for good.
    """
    if connection.user:
        raise Conflict("logged in already")
    if connection.is_left():
        connection.close("left")
        return
    login, epoch = _read(front, fields)
    user = login.claims.user
    deadline = int((time.time() + front.settings.request_timeout) * 1000)
    tags, ticket = list(login.claims.tags), _ticket(front, fields, user)
    opening = item("open", connection.number, user, login.device, login.kind, epoch, deadline, tags, ticket)
    session = front.process.places.session_of(user)
    front.forward(connection, number, session, _opened, opening, _refused, login)
    login.answered.wait()
    if not login.ended.wait(MAILBOX_SECONDS):
        _welcome(connection, number, login, None)


def _read(front: Front, fields: dict[str, Any]) -> tuple[Login, int]:
    """Give who this is and the login epoch to resume (0: by token).

    Raises:
        Unauthorized: the token or resume token is worth nothing.
    """
    process, device = front.process, fields["device"]
    if fields["token"] is not None:
        claims = verify_token(fields["token"], front.token_keys, time.time())
        return Login(claims, device, sys.intern(fields["kind"])), 0
    resume = read_resume(process.secrets.resume_key.encode(), fields["resume"], device, time.time())
    return Login(resume.claims, device, sys.intern(resume.kind)), resume.epoch


def _ticket(front: Front, fields: dict[str, Any], user: str) -> list[Any]:
    """Give nonce and end of the ticket that goes with a token; [] where there is none and need not be.

    Raises:
        Unauthorized: it is worth nothing here, or it is missing.
    """
    if fields["token"] is None:
        return []
    if fields["ticket"] is not None:
        secret = front.process.secrets.resume_key.encode()
        return list(read_ticket(secret, fields["ticket"], user, front.process.name, time.time()))
    if front.settings.ticket_required:
        raise Unauthorized("a token is taken with a ticket only; ask the dispatcher for one")
    return []


def _opened(request: Request, value: list[Any]) -> None:
    """Session has opened the login: the connection has a user from here on."""
    login: Login = request.subject
    connection, claims = request.connection, login.claims
    front = connection.front
    epoch, _since = value
    connection.user, connection.device, connection.kind = claims.user, login.device, login.kind
    connection.session = request.peer
    connection.epoch, connection.exp = epoch, last_second(claims)
    connection.rights = rights_of(claims.rooms, claims.scopes)
    connection.tags = front.tags(as_tags(claims.tags))
    login.answered.set()
    if connection.closed:
        login.ended.set()
        front.close_login(connection, False)
        return
    front.logged_in(connection)
    if connection.exp - time.time() < front.settings.hello_timeout:
        front.clock.watch_expiry(connection)
    front.mail.begin(connection, partial(_welcome, connection, request.number, login))


def _welcome(connection: Connection, number: int, login: Login, inbox: dict[str, Any] | None) -> None:
    """The mailbox was read, or cannot be now: the client hears that it is in, once."""
    if not login.ended.is_set():
        login.ended.set()
        connection.front.entrance.welcome(connection, number, _welcome_body(connection, login.claims, inbox))


def _refused(request: Request, error: RequestError) -> None:
    """Session refused, or did not answer: whatever it may have opened is closed again."""
    login: Login = request.subject
    connection, front = request.connection, request.connection.front
    connection.user, connection.device = login.claims.user, login.device
    connection.session = request.peer
    front.close_login(connection, False)
    connection.user = ""
    front.refuse_login(connection, request.number, error)
    login.answered.set()
    login.ended.set()


def _welcome_body(connection: Connection, claims: Claims, inbox: dict[str, Any] | None) -> dict[str, Any]:
    front = connection.front
    settings = front.settings
    retry = {"base": settings.retry_base, "factor": settings.retry_factor, "max": settings.retry_max}
    return {
        "v": VERSION,
        "uid": claims.uid,
        "product": claims.product,
        "device": connection.device,
        "session": f"{connection.epoch:x}",
        "gateway": front.process.name,
        "ping": settings.ping,
        "resume": _resume(front, connection, claims),
        "exp": claims.exp * 1000,
        "retry": retry,
        "inbox": inbox,
        "time": int(time.time() * 1000),
    }


def last_second(claims: Claims) -> int:
    """Give when the connection must end: at `exp`, or, if only skew let the token in, after the skew."""
    return claims.exp if claims.exp > time.time() else claims.exp + SKEW_SECONDS


def _resume(front: Front, connection: Connection, claims: Claims) -> str:
    resume = Resume(
        connection.user,
        connection.device,
        connection.kind,
        connection.epoch,
        claims.exp,
        claims.rooms,
        claims.scopes,
        claims.tags,
    )
    return issue_resume(front.process.secrets.resume_key.encode(), resume)


@OPS.on("refresh")
def refresh(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Go on under a newer token of the same user."""
    claims = verify_token(fields["token"], front.token_keys, time.time())
    if claims.user != connection.user:
        raise BadField("the token is another user's", field="token")
    sooner = last_second(claims) < connection.exp
    connection.exp = last_second(claims)
    connection.rights = rights_of(claims.rooms, claims.scopes)
    if sooner:
        front.clock.watch_expiry(connection)
    return {"exp": claims.exp * 1000, "resume": _resume(front, connection, claims)}


@OPS.on("ping")
def ping(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Answer a ping that came among other packets."""
    if number:
        connection.send(encode("pong", number, {}))


@OPS.on("bye")
def bye(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """End the login: its resume token is dead."""
    connection.finish(b"", "bye")


def restart(connection: Connection) -> None:
    """End a connection whose login is no longer accepted after this gateway stood still."""
    connection.kick("restart", "the gateway was away; come back")
