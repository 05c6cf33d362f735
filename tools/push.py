"""`./roost push`, `./roost user`, `./roost message`: what the API does, from a terminal. Answers are JSON."""

from __future__ import annotations

import argparse
import json
from typing import Any
from urllib.parse import quote, urlencode

from tools.api import Operator
from tools.tokens import add_product, listed, name, seconds

KINDS = ("unicast", "multicast", "broadcast", "room")


def data(text: str) -> Any:
    """Read what is to be sent: JSON, or else the text itself ("NaN" is text, JSON has no such number)."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(name: str) -> None:
    raise ValueError(name)


def add_arguments(push: argparse.ArgumentParser) -> None:
    """Declare the arguments of `./roost push`."""
    kinds = push.add_subparsers(dest="kind", metavar="KIND", required=True)
    for kind, words in (
        ("unicast", "to a user"),
        ("multicast", "to users, or to those online with tags"),
        ("broadcast", "to all of the product"),
        ("room", "into a room, as the server"),
    ):
        it = kinds.add_parser(kind, help=words, description=words)
        if kind == "unicast":
            it.add_argument("to", metavar="UID", type=name)
        if kind == "multicast":
            it.add_argument("to", metavar="UID,UID…", type=listed, help="or - with --tags")
        if kind == "room":
            it.add_argument("room", metavar="ROOM", help="map/name")
        it.add_argument("data", metavar="DATA", type=data, help="JSON, or else text")
        it.add_argument("--key", type=name, help="the same again is the same message")
        add_product(it)
        if kind in ("multicast", "broadcast"):
            it.add_argument("--tags", metavar="LIST", type=listed)
        if kind != "room":
            it.add_argument("--keep", action="store_true", help="store it until each device has it")
            it.add_argument("--ttl", type=seconds, help="how long: 90, 15m, 8h, 30d; with --keep")
            it.add_argument("--receipt", action="store_true", help="devices tell when they have it")
        if kind == "broadcast":
            it.add_argument("--rate", type=int, help="connections a second")


def body_of(given: argparse.Namespace) -> dict[str, Any]:
    """Give the body of the request."""
    names = ("to", "room", "key", "tags", "keep", "ttl", "receipt", "rate")
    body = {key: value for key in names if (value := getattr(given, key, None)) not in (None, False)}
    if body.get("to") == ["-"]:
        del body["to"]
    return {**body, "data": given.data}


def push(operator: Operator, given: argparse.Namespace) -> int:
    """Send, and print what came of it."""
    print(json.dumps(operator.call("POST", f"/v1/push/{given.kind}", body_of(given))))
    return 0


def user(operator: Operator, uid: str) -> int:
    """Print what is known of a user."""
    print(json.dumps(operator.call("GET", f"/v1/users/{quote(uid)}"), indent=2))
    return 0


def message(operator: Operator, mid: int, uid: str | None) -> int:
    """Print what became of a kept message: head first, then a line for each receiver, page by page."""
    after = None
    while True:
        query = urlencode({key: value for key, value in (("uid", uid), ("after", after)) if value})
        page = operator.call("GET", f"/v1/messages/{mid}{query and f'?{query}'}")
        receivers, next_page = page.pop("receivers"), page.pop("after")
        if after is None:
            print(json.dumps(page))
        for row in receivers:
            print(json.dumps(row))
        if next_page is None:
            return 0
        after = next_page
