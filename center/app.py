"""The application factory: routes of operators, the API, and errors as problem+json.

GET /              what is there
GET /healthz       200 when the whole cluster is ready, else 503 saying what is missing
GET /metrics       all processes, for Prometheus
GET /v1/status     all processes, a row each
GET /openapi.json  the whole API; /docs shows it (center/api)
"""

from __future__ import annotations

from typing import Any

from apiflask import APIFlask
from flask import Response, jsonify
from flask.signals import got_request_exception
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from center.api import TITLE, VERSION, install, problems
from center.api.door import Door
from center.status import Board
from common.net.log import Logger

ROUTES = {
    "/healthz": "200 when every configured process is ready and Redis answers, else 503",
    "/metrics": "metrics of all processes, for Prometheus",
    "/v1/status": "state of all processes",
    "/openapi.json": "the API of application servers, for machines",
    "/docs": "the same, for people",
}

NO_FILES: dict[str, Any] = {"static_folder": None}
"""Flask takes None where APIFlask's annotation does not know it."""


def create_app(board: Board, log: Logger, door: Door) -> APIFlask:
    """Give the application.

    Args:
        board: answers for the cluster.
        log: gets one event for each request that met a defect.
        door: the API's way into the cluster.
    """
    app = APIFlask("center", title=TITLE, version=VERSION, docs_path=None, json_errors=False, **NO_FILES)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.logger.disabled = True

    @app.get("/")
    def index() -> dict[str, Any]:
        """Say what is there."""
        return {"name": "roost center", "routes": ROUTES}

    @app.get("/healthz")
    def healthz() -> tuple[dict[str, Any], int]:
        """Tell whether the whole cluster is ready."""
        missing = board.missing()
        if missing:
            return {"ready": False, "missing": missing}, 503
        return {"ready": True}, 200

    @app.get("/metrics")
    @app.doc(hide=True)
    def metrics() -> Response:
        """Give the page for Prometheus."""
        return Response(board.metrics(), content_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/status")
    def status() -> Response:
        """Give a row for each process."""
        return jsonify(ready=not board.missing(), processes=board.rows())

    install(app, door)

    @app.errorhandler(HTTPException)
    def problem(error: HTTPException) -> Response:
        """Answer an error as application/problem+json."""
        return problems.of_http(error)

    @app.after_request
    def never_stored(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        return response

    def report(_sender: Any, exception: BaseException, **_: Any) -> None:
        log.error("request failed", exc_info=exception)

    got_request_exception.connect(report, app, weak=False)
    return app
