"""What the gateway serves to browsers: the demo pages with the JavaScript client, and its health."""

from __future__ import annotations

from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from common.errors import NotFound
from common.net.front.web import ROUTES, WebConnection
from common.settings import ROOT
from common.wire.http import Request, Response, as_json

FOLDER: Final = ROOT / "clients" / "js"
FILES: Final = {
    "/": ("demo/index.html", "text/html; charset=utf-8"),
    "/demo.css": ("demo/demo.css", "text/css; charset=utf-8"),
    "/demo.js": ("demo/demo.js", "text/javascript; charset=utf-8"),
    "/arena": ("arena/index.html", "text/html; charset=utf-8"),
    "/arena.css": ("arena/arena.css", "text/css; charset=utf-8"),
    "/arena.js": ("arena/arena.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("demo/icon.svg", "image/svg+xml"),
    "/roost.js": ("roost.js", "text/javascript; charset=utf-8"),
}
"""Path -> file below clients/js, and its type."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


def page(name: str, content_type: str, web: WebConnection, request: Request) -> Response:
    """Give a file.

    Raises:
        NotFound: this installation comes without it.
    """
    try:
        body = _read(FOLDER / name)
    except OSError:
        raise NotFound(f"{name} is not installed here") from None
    return Response(HTTPStatus.OK, body, content_type, HEADERS)


for _path, (_name, _type) in FILES.items():
    ROUTES.on(f"GET {_path}")(partial(page, _name, _type))


@ROUTES.on("GET /healthz")
def healthz(web: WebConnection, request: Request) -> Response:
    """Say whether this gateway takes clients; for balancers."""
    front = web.front
    state, held = front.process.state, front.held()
    if state == "ready" and held >= front.settings.max_connections:
        state = "full"
    status = HTTPStatus.OK if state == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
    return as_json({"gateway": front.process.name, "state": state, "connections": held}, status)
