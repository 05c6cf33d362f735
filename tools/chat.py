"""`./roost chat` and `./roost tail`: a room in a terminal, over the Python client."""

from __future__ import annotations

import json
import os
import secrets as random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from common.errors import ConfigError
from common.keys import load_secrets
from common.places import Places
from common.settings import Settings
from common.wire.names import is_room, user_key
from common.wire.tickets import NONCE_BYTES, TICKET_SECONDS, issue_ticket
from roost_client import (
    Client,
    ClientClosed,
    Event,
    Gap,
    Joined,
    Kicked,
    Left,
    Message,
    Missed,
    Rejoined,
    RoostError,
    StateChanged,
)
from tools.tokens import DAY, make_token

LOST = {"recovering": "connection lost, coming back", "offline": "still trying"}
PUBLISH_SECONDS = 15.0
"""How long a line is tried again before it is given up, and that is said."""


def address(places: Places, host: str, gateway: int | None) -> str:
    """Give where to connect: the shared port, or one gateway's own.

    Raises:
        ConfigError: no such gateway.
    """
    here = "127.0.0.1" if host == "0.0.0.0" else host
    if gateway is None:
        return f"{here}:{places.port}"
    if not 0 <= gateway < len(places.gateways):
        raise ConfigError(f"no gateway {gateway}; there are 0 to {len(places.gateways) - 1}")
    return f"{here}:{places.tcp_port(gateway)}"


def tickets(settings: Settings, secret: str, user: str) -> dict[str, Callable[[], str]]:
    """Give for each gateway's own address what makes a ticket of a user (product/uid) for it."""
    places, host = Places(settings), settings.cluster.host

    def one(gateway: str) -> str:
        end, nonce = int(time.time()) + TICKET_SECONDS, random.token_bytes(NONCE_BYTES)
        return issue_ticket(secret.encode(), user, gateway, end, nonce)

    return {address(places, host, index): partial(one, name) for index, name in enumerate(places.gateways)}


def _connected(settings: Settings, uid: str, product: str, gateway: int | None) -> Client:
    """Log in as `uid` with a token of the cluster's own key, and where that is required with a ticket."""
    places = Places(settings)
    where = [address(places, settings.cluster.host, gateway)]
    secrets = load_secrets(places.run_dir)
    ways: dict[str, Callable[[], str]] = {}
    if settings.gateway.ticket_required:
        ways = tickets(settings, secrets.resume_key, user_key(product, uid))
        where = where if gateway is not None else list(ways)
    client = Client(
        where,
        lambda: make_token(secrets.token_key, uid, product, time.time(), DAY, {}),
        device=f"terminal-{os.getpid()}",
        client_info={"name": "roost", "version": "0.1.0"},
        ticket=lambda at: ways[at]() if ways else None,
    )
    try:
        client.connect()
    except OSError as error:
        raise ConfigError(
            f"nobody answers at {', '.join(where)} ({error}); is the cluster up? `make run` starts it"
        ) from None
    except RoostError as error:
        raise ConfigError(f"{', '.join(where)} refused: {error}") from None
    return client


def _check_room(room: str) -> None:
    if not is_room(room):
        raise ConfigError(f"{room!r} is no room; rooms are map/name, e.g. plaza/lobby")


def chat(settings: Settings, room: str, uid: str, product: str, gateway: int | None) -> int:
    """Publish each line of standard input into a room and print what is said there, until either ends."""
    _check_room(room)
    client = _connected(settings, uid, product, gateway)
    try:
        reply = client.join(room, presence=True)
        _print(
            f"* in {room} as {uid} on {client.welcome['gateway']}, {reply.count} here; a line is a message"
        )
        threading.Thread(target=_publish_all, args=(client, room, _typed(0)), daemon=True).start()
        return _print_all(client.events())
    except (RoostError, KeyboardInterrupt) as error:
        return _ended(error)
    finally:
        client.close()


def tail(settings: Settings, room: str, uid: str, product: str, gateway: int | None, last: int) -> int:
    """Print the last messages of a room and what is said from then on."""
    _check_room(room)
    client = _connected(settings, uid, product, gateway)
    try:
        past = client.history(room)
        reply = client.join(room, since=(past.epoch, past.offset))
        shown = past.messages[-last:] if last else []
        return _print_all([*shown, *reply.messages], client.events())
    except (RoostError, KeyboardInterrupt) as error:
        return _ended(error)
    finally:
        client.close()


def _ended(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 0
    print(f"roost: {error}", file=sys.stderr)
    return 1


def _typed(descriptor: int) -> Iterator[str]:
    """Give the lines read from a descriptor; unbuffered, so that no lock is held at the end."""
    rest = b""
    while chunk := os.read(descriptor, 65_536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")


def _publish_all(client: Client, room: str, lines: Iterable[str]) -> None:
    """Publish lines until they end, then leave; a line that failed is said."""
    for line in lines:
        if not line.strip():
            continue
        try:
            client.publish_surely(room, line, PUBLISH_SECONDS)
        except ClientClosed:
            return
        except RoostError as error:
            _print(f"* not sent: {line!r}: {error}")
    client.close()


def _print_all(*sources: Iterable[Event]) -> int:
    """Print events until there are no more; 1 if the server ended it for good."""
    code, lost = 0, False
    for event in chain(*sources):
        text = line_of(event)
        if text is not None:
            _print(text)
        if isinstance(event, Kicked) and not event.reconnect:
            code = 1
        if isinstance(event, StateChanged):
            if lost and event.state == "live":
                _print("* connected again")
            lost = event.state in LOST or (lost and event.state == "connecting")
    return code


def _print(text: str) -> None:
    print(text, flush=True)


LINES: dict[type[Event], Callable[[Any], str | None]] = {
    Message: lambda it: f"{it.uid or 'server'}: {text_of(it.data)}",
    Joined: lambda it: f"* {it.uid} came, {it.count} here",
    Left: lambda it: f"* {it.uid} left, {it.count} here",
    Gap: lambda it: "* the room began anew" if it.reason == "epoch" else None,
    Missed: lambda it: f"* messages {it.first} to {it.last} are gone",
    Rejoined: lambda it: None if it.recovered else "* back; what was said meanwhile is gone",
    Kicked: lambda it: f"* {it.code}: {text_of(it.reason)}",
    StateChanged: lambda it: f"* {LOST[it.state]}" if it.state in LOST else None,
}


def line_of(event: Event) -> str | None:
    """Give the line that tells an event; None for one that needs none."""
    tell = LINES.get(type(event))
    return tell(event) if tell else None


def text_of(data: Any) -> str:
    """Give data on one line, with nothing in it that could steer the terminal."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, default=repr)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
