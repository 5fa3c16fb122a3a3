"""``GET /openapi.json``: the API as OpenAPI 3.1, from the resource table, declared types and plugins' routes."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from server import __version__
from server.entities.configs import encode_id
from server.entities.json_answers import FreeForm
from server.entities.parameters import Param, boolean, integer, text
from server.entities.route_notes import path_parameters
from server.entities.routes import Call, Route
from server.entities.types import PLURALS
from server.http.answers import ERROR, OBJECT, REF, SCHEMAS, answers
from server.http.host import Host

log = logging.getLogger("mldb.server")

_TYPES: Final[dict[Any, str]] = {text: "string", boolean: "boolean", integer: "integer"}
_SAID: Final = {201: "made", 202: "being made", 204: "done, no body", 301: "elsewhere", 307: "elsewhere"}
_ERROR: Final[dict[str, Any]] = {"description": "an error", "content": {"application/json": {"schema": ERROR}}}
_TAIL: Final = "/{*}"


class _Lenient(GenerateJsonSchema):
    """What has no JSON form (Python objects that only the server makes) is any value."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """Defaults that JSON has no word for (None for what may be left out, infinity) are not shown."""
        made = super().default_schema(schema)
        if made.get("default") is None or made["default"] in (math.inf, -math.inf):
            made.pop("default", None)
        return made


def register(host: Host) -> None:
    host.resources.add(
        "GET",
        "/openapi.json",
        partial(_openapi, host),
        summary="This API as OpenAPI 3.1",
        replies=answers(OBJECT),
        result="an OpenAPI document",
    )


def _openapi(host: Host, _: Call) -> FreeForm:
    return FreeForm(document(host))


def document(host: Host) -> dict[str, Any]:
    """The document; it loads every declared type at its first call."""
    paths: dict[str, dict[str, Any]] = {}
    for route in host.resources.routes:
        paths.setdefault(_template(route.template), {})[route.verb.lower()] = _operation(route)
    for id, items in plugin_routes(host):
        for path, item in items.items():
            paths[f"/v1/plugins/{encode_id(id)}/routes{path}"] = item
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MLDB",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **_configs(host)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _template(template: str) -> str:
    return template.removesuffix(_TAIL) + "/{path}" if template.endswith(_TAIL) else template


def _operation(route: Route) -> dict[str, Any]:
    path = _template(route.template)
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.verb.lower()}_{route.template}").strip("_"),
        "summary": route.summary,
        "tags": [_tag(path)],
        "parameters": [*path_parameters(path), *map(_parameter, filter(_in_query, route.params))],
        "responses": {**_replies(route), "default": _ERROR},
    }
    body = _body(route)
    return operation | ({"requestBody": {"content": _json(body)}} if body else {})


def _replies(route: Route) -> dict[str, Any]:
    """Good answers by status; those of one status differ by media type."""
    shown: dict[str, Any] = {}
    for reply in route.replies:
        each = shown.setdefault(str(reply.status), {"description": route.result or _SAID.get(reply.status, "done")})
        if reply.status >= 400:
            each.update(_ERROR | {"content": {**_ERROR["content"], **each.get("content", {})}})
        if reply.media:
            media = {} if reply.schema is None else {"schema": reply.schema}
            each.setdefault("content", {})[reply.media] = media
    return shown


def _tag(path: str) -> str:
    """What a route is about: the collection, or the server itself."""
    parts = path.split("/")
    return (
        parts[2] if parts[1] == "v1" and parts[2] in {*PLURALS.values(), "types", "query", "credentials"} else "server"
    )


def _in_query(param: Param) -> bool:
    return param.where != "body"


def _parameter(param: Param) -> dict[str, Any]:
    return {"name": param.name, "in": "query", "description": param.help, "schema": _schema(param)}


def _schema(param: Param) -> dict[str, Any]:
    kind = _TYPES.get(param.parse)
    schema: dict[str, Any] = {"type": kind} if kind else {}
    if param.default is not None and isinstance(param.default, str | int | float | bool):
        schema["default"] = param.default
    return schema


def _body(route: Route) -> dict[str, Any] | None:
    """The JSON body: an entity's configuration, or the parameters that may stand in it."""
    kinds = [
        kind
        for kind, plural in PLURALS.items()
        if route.template.rstrip("/") in (f"/v1/{plural}", f"/v1/{plural}/{{{kind}}}")
    ]
    if kinds and route.verb in ("PUT", "POST"):
        return {"$ref": f"#/components/schemas/{kinds[0].capitalize()}Config"}
    members = [param for param in route.params if param.where != "query"]
    if not members:
        return None
    return {
        "type": "object",
        "properties": {each.name: {**_schema(each), "description": each.help} for each in members},
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _configs(host: Host) -> dict[str, Any]:
    """A schema per kind, which is one of those of its types, and the schemas of all parameters."""
    declared = [host.types.get(kind, name) for kind in PLURALS for name in host.types.names(kind)]
    models = list({each.params: None for each in declared})
    names, defined = models_json_schema(
        [(model, "validation") for model in models], ref_template=REF, schema_generator=_Lenient
    )
    schemas: dict[str, Any] = dict(defined.get("$defs", {}))
    for kind in PLURALS:
        options = [
            {
                "type": "object",
                "title": each.name,
                "description": each.summary,
                "required": ["type"],
                "properties": {
                    "id": {"type": "string"},
                    "type": {"const": each.name},
                    "params": names[(each.params, "validation")],
                },
            }
            for each in declared
            if each.kind == kind
        ]  # fmt: skip
        schemas[f"{kind.capitalize()}Config"] = {"oneOf": options}
    return schemas


def plugin_routes(host: Host) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Id and path items of each plugin that tells of its routes."""
    for entry in host.registry.entries("plugin"):
        describe = getattr(entry.ready.entity, "described_routes", None) if entry.ready is not None else None
        if describe is not None:
            try:
                items = describe()
            except (ValueError, OSError) as error:
                log.warning("the routes of plugin %s are not described: %s", entry.id, error)
                continue
            tag = {"tags": [f"plugin {entry.id}"]}
            yield (
                entry.id,
                {path: {verb: {**tag, **each} for verb, each in item.items()} for path, item in items.items()},
            )
