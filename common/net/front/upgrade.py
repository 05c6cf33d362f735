"""WebSocket: the opening, on `/ws`, and an echo for conformance tools, on `/echo`.

The opening is `websockets`' business; after it the socket is a connection like any
other, whose form is WebSocket's.

Source: RFC 6455, section 4; docs/protocol.md, section 2.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any, NamedTuple

from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.http11 import Request as Opening
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from common.errors import Forbidden, NotFound
from common.net.front.form import Deflate
from common.net.front.origins import may
from common.net.front.web import ROUTES, WebConnection
from common.wire import websocket
from common.wire.http import Request, Response

JSON = Subprotocol("roost.v1.json")
MSGPACK = Subprotocol("roost.v1.msgpack")
WINDOW_BITS = 12
"""Window of compression, both ways: 4 KiB of what was said, and no memory of earlier messages."""
ECHO_BYTES = 16_777_216
"""Largest message it sends back."""
ECHO_SECONDS = 60.0
"""How long the echo waits for the next message."""


@ROUTES.on("GET /ws")
def open_websocket(web: WebConnection, request: Request) -> Response | None:
    """Make a connection of a request."""
    front = web.front
    if not may(front.settings.origins, request.headers):
        raise Forbidden("pages of this origin may not connect; see gateway.origins", field="origin")
    agreed = _accept(web, request, [JSON, MSGPACK], front.settings.compress)
    if agreed is None:
        return None
    form = front.forms.websocket(agreed.subprotocol != MSGPACK, agreed.deflate)
    address, rest = web.address, web.rest
    connection = front.accepted(web.take_socket(), address, form)
    if rest:
        connection.begin_later(rest)
    return None


@ROUTES.on("GET /echo")
def echo(web: WebConnection, request: Request) -> Response | None:
    """Send back what comes, for tools that test the protocol; `gateway.echo` switches it on.

    Raises:
        NotFound: it is off.
    """
    if not web.front.settings.echo:
        raise NotFound("the echo is off; see gateway.echo")
    agreed = _accept(web, request, None, web.front.settings.compress)
    if agreed is None:
        return None
    extensions = [PerMessageDeflate(*agreed.deflate)] if agreed.deflate else []
    with closing(websocket.Reader(ECHO_BYTES, extensions)) as reader:
        _echo(web, reader)
    if not web.gone:
        web.let_go()
    return None


def _echo(web: WebConnection, reader: websocket.Reader) -> None:
    data = web.rest
    while not reader.over:
        messages = reader.take(data)
        for message in messages:
            opcode = Opcode.TEXT if message.text else Opcode.BINARY
            web.stream(websocket.frame(opcode, message.data))
        web.stream(reader.replies())
        if messages and not web.gone:
            data = b""
            continue
        if web.gone or reader.over:
            return
        data = web.receive(time.monotonic() + ECHO_SECONDS)
        if not data:
            return


class Agreed(NamedTuple):
    """What the opening agreed on."""

    subprotocol: Subprotocol | None
    deflate: Deflate | None


def _accept(
    web: WebConnection, request: Request, subprotocols: list[Subprotocol] | None, compress: bool
) -> Agreed | None:
    """Answer the opening; None when it was refused."""
    factory = ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=WINDOW_BITS,
        client_max_window_bits=WINDOW_BITS,
    )
    protocol = ServerProtocol(
        extensions=[factory] if compress else None,
        subprotocols=subprotocols,
        select_subprotocol=_select if subprotocols else None,
    )
    headers = Headers()
    for name, value in request.headers.items():
        headers[name] = value
    response = protocol.accept(Opening(request.target, headers, method=request.method))
    protocol.send_response(response)
    answer, refused = b"".join(protocol.data_to_send()), protocol.handshake_exc
    agreed = Agreed(protocol.subprotocol, _deflate(protocol))
    _free(protocol)
    if web.stream(answer) and refused is None:
        return agreed
    if not web.gone:
        web.let_go()
    return None


def _free(protocol: ServerProtocol) -> None:
    """Cut the ways on which an opening that is over holds itself: only this frees it soon."""
    if protocol.handshake_exc is not None:
        protocol.handshake_exc.__traceback__ = None
    vars(protocol).clear()


def _select(protocol: ServerProtocol, offered: Any) -> Subprotocol | None:
    """Give the first one offered that is known; none offered, or none known: JSON, unsaid."""
    return next((one for one in offered if one in (JSON, MSGPACK)), None)


def _deflate(protocol: ServerProtocol) -> Deflate | None:
    """Give what was agreed about compression, as PerMessageDeflate takes it."""
    for extension in protocol.extensions:
        if isinstance(extension, PerMessageDeflate):
            return (
                extension.remote_no_context_takeover,
                extension.local_no_context_takeover,
                extension.remote_max_window_bits,
                extension.local_max_window_bits,
            )
    return None
