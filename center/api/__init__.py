"""The API of application servers: install(app, door) puts it on an application.

    push.py      /v1/push/…                      users.py     /v1/users/…
    rooms.py     /v1/rooms                       reports.py   /v1/stats, /v1/messages
    dispatch.py  /v1/dispatch                    page.py      /docs

A request passes: size limit → key, rate and scope (door.py, keyring.py) → fields
(fields.py) → handler; whatever refuses it becomes a problem document (problems.py).

Source: docs/api.md.
"""

from __future__ import annotations

from typing import Any

from apiflask import APIFlask, HTTPError

from center.api import dispatch, problems
from center.api.door import NAME, Door
from center.api.page import page
from center.api.push import push
from center.api.reports import reports
from center.api.rooms import rooms
from center.api.users import users
from common.errors import RequestError

TITLE = "Roost center"
VERSION = "1"
DESCRIPTION = (
    "For application servers and operators. Keys travel as `Authorization: Bearer rk_…` and belong to one "
    "product; `./roost apikey` makes them. Errors are application/problem+json."
)
SETTINGS = {
    "AUTO_404_RESPONSE": False,
    "AUTO_AUTH_ERROR_RESPONSE": False,
    "AUTO_VALIDATION_ERROR_RESPONSE": False,
    "VALIDATION_ERROR_STATUS_CODE": 400,
    "AUTO_OPERATION_ID": True,
}
SECURITY = {
    "ApiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "rk_<id>_<secret>"},
    "ClientToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
}
IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "the same as the field `key`",
    "schema": {"type": "string", "pattern": r"^[A-Za-z0-9._:@-]{1,64}$"},
}


def install(app: APIFlask, door: Door) -> None:
    """Put the API on an application."""
    app.extensions[NAME] = door
    app.extensions[dispatch.NAME] = dispatch.Dispatcher(door)
    app.config.update(SETTINGS)
    app.config["MAX_CONTENT_LENGTH"] = door.settings.center.request_bytes
    app.description = DESCRIPTION
    app.servers = [{"url": "/"}]
    app.security_schemes = SECURITY
    app.spec_processor(_with_problems)
    for blueprint in (push, users, rooms, reports, dispatch.dispatch, page):
        app.register_blueprint(blueprint)
    app.register_error_handler(RequestError, problems.of_request)
    app.register_error_handler(HTTPError, problems.of_fields)


def _with_problems(spec: Any) -> Any:
    """Say in the document what APIFlask cannot know: problems, required bodies, Idempotency-Key."""
    spec["components"].setdefault("schemas", {})["Problem"] = problems.SCHEMA
    content = {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            operation["responses"]["default"] = {"description": "refused", "content": content}
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
            if path.startswith("/v1/push/"):
                operation["parameters"] = [*operation.get("parameters", []), IDEMPOTENCY]
    return spec
