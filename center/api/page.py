"""/docs: the API as a page, made from the OpenAPI document; nothing is loaded from elsewhere."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint, APIFlask
from flask import Response, current_app, render_template_string

page = APIBlueprint("page", __name__, enable_openapi=False)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
TEMPLATE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ spec.info.title }}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  code, .path { font-family: ui-monospace, monospace; }
  article { border-top: 1px solid #8884; padding: .5rem 0; }
  table { border-collapse: collapse; margin: .5rem 0; }
  td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0; }
  h3 { margin: .5rem 0 0; font-size: 1rem; }
  .method { display: inline-block; min-width: 3.5rem; font-weight: bold; }
  .scope { float: right; font-size: .85rem; opacity: .7; }
</style>
<h1>{{ spec.info.title }} {{ spec.info.version }}</h1>
<p>{{ spec.info.description }} The same for machines: <a href="openapi.json">openapi.json</a>.</p>
{% for group, operations in groups.items() %}
<h2>{{ group }}</h2>
{% for it in operations %}
<article id="{{ it.id }}">
  {% if it.scope %}<span class="scope">scope {{ it.scope }}</span>{% endif %}
  <h3><span class="method">{{ it.method }}</span> <span class="path">{{ it.path }}</span></h3>
  <p>{{ it.summary }}</p>
  {% for title, rows in it.tables.items() if rows %}
  <table>
    <tr><th colspan="3">{{ title }}</th></tr>
    {% for row in rows %}
    <tr><td><code>{{ row.name }}</code></td><td>{{ row.kind }}{{ "" if row.required else ", optional" }}</td>
      <td>{{ row.text }}</td></tr>
    {% endfor %}
  </table>
  {% endfor %}
</article>
{% endfor %}
{% endfor %}
</html>
"""


@page.get("/docs")
def docs() -> Response:
    """Show the API."""
    app = current_app
    assert isinstance(app, APIFlask)
    spec = app._get_spec("json")
    assert isinstance(spec, dict)
    html = render_template_string(TEMPLATE, spec=spec, groups=groups_of(spec))
    return Response(html, headers={"Content-Security-Policy": POLICY})


def groups_of(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Give what the page shows: tag -> operations, each with tables of rows {name, kind, required, text}."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            shown = {
                "id": operation["operationId"],
                "method": method.upper(),
                "path": path,
                "summary": operation.get("summary", ""),
                "scope": operation.get("x-scope", ""),
                "tables": {
                    "parameters": [_parameter(it) for it in operation.get("parameters", [])],
                    "body": _rows(spec, operation.get("requestBody", {})),
                    "answer": _rows(spec, operation["responses"].get("200", {})),
                },
            }
            groups.setdefault(operation.get("tags", ["operators"])[0].lower(), []).append(shown)
    return groups


def _parameter(it: dict[str, Any]) -> dict[str, Any]:
    text = it.get("description", "")
    kind = it["schema"].get("type", "any")
    return {"name": it["name"], "kind": kind, "required": it.get("required", False), "text": text}


def _rows(spec: dict[str, Any], holder: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the fields of a JSON body."""
    schema = _resolved(spec, holder.get("content", {}).get("application/json", {}).get("schema", {}))
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "kind": _kind(spec, field),
            "required": name in required,
            "text": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _kind(spec: dict[str, Any], field: dict[str, Any]) -> str:
    """Say a field's type in words: "array of {device, state, why}"."""
    whole = _resolved(spec, field)
    if whole.get("type") == "array":
        return f"array of {_kind(spec, whole.get('items', {}))}"
    if whole.get("properties"):
        return "{" + ", ".join(whole["properties"]) + "}"
    return str(whole.get("type", "any"))


def _resolved(spec: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Give a schema itself where there is a reference to it."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = spec["components"]["schemas"][reference.rpartition("/")[2]]
    return found
