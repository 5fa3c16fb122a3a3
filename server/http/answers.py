"""What routes answer with, as JSON schemas: one place for the shapes that several routes share.

A route names its replies where it is declared; ``/openapi.json`` shows them, and a test holds real answers against
them. ``SCHEMAS`` are the named ones, which others refer to.
"""

from __future__ import annotations

from typing import Any, Final

from server.entities.routes import Reply

Schema = dict[str, Any]

REF: Final = "#/components/schemas/{model}"


def ref(name: str) -> Schema:
    return {"$ref": REF.format(model=name)}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def pair(first: Schema, second: Schema) -> Schema:
    return {"type": "array", "prefixItems": [first, second], "minItems": 2, "maxItems": 2}


def members(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these members and no others."""
    shown: Schema = {"type": "object", "properties": required | (optional or {}), "additionalProperties": False}
    return shown | ({"required": list(required)} if required else {})


def note(schema: Schema, description: str) -> Schema:
    return schema | {"description": description}


TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
INTEGER: Final[Schema] = {"type": "integer"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
OBJECT: Final[Schema] = {"type": "object"}
ANY: Final[Schema] = {}
IDS: Final = array(TEXT)
TIME: Final[Schema] = {"type": ["string", "null"], "description": "ISO 8601, or a date that ISO 8601 has no word for"}

_TYPED_VALUE: Final[Schema] = {
    "description": "null, a number, a text, {ts}, {interval}, {blob}, {path}, {num} for infinities, a row or embedding"
}
_CELL: Final[Schema] = {
    "type": "array", "prefixItems": [TEXT, ref("Value"), TIME], "minItems": 3, "maxItems": 3,
    "description": "Column, value, timestamp",
}  # fmt: skip
_ROW: Final = members(
    {"columns": array(_CELL)}, {"rowName": TEXT, "rowHash": note(TEXT, "With rowHashes=true")}
)  # fmt: skip
_STEP: Final = members(
    {"name": TEXT, "type": TEXT, "value": NUMBER},
    {"started": TEXT, "ended": TEXT, "subProgress": ref("Progress")},
)
_RUN_STATES: Final[Schema] = {"enum": ["initializing", "executing", "finished", "error", "cancelled"]}
_VALUE_INFO: Final[Schema] = {
    "type": "object",
    "required": ["type", "isConstant"],
    "properties": {
        "type": TEXT,
        "kind": {"enum": ["scalar", "embedding", "row", "any"]},
        "scalar": TEXT,
        "isConstant": BOOLEAN,
        "shape": array(INTEGER),
        "knownColumns": array(
            members({"columnName": TEXT, "valueInfo": ref("ValueInfo"), "sparsity": {"enum": ["dense", "sparse"]}})
        ),
        "hasUnknownColumns": BOOLEAN,
        "hasUnknownColumnsRecursive": BOOLEAN,
    },
}
_ARGUMENT: Final = members({"name": TEXT, "description": TEXT, "location": TEXT, "default": ANY})
_FIELD: Final = members({"name": TEXT, "comment": TEXT, "type": ref("ParameterType")}, {"default": ANY})

SCHEMAS: Final[dict[str, Schema]] = {
    "Error": members(
        {"error": note(TEXT, "What went wrong, and what to do about it"), "httpCode": INTEGER},
        {"details": note(OBJECT, "What is known beside the text: the field, the place in a query, the run")},
    ),
    "Unreachable": members(
        {"error": TEXT, "kind": {"enum": ["dataset", "function", "plugin", "procedure", "run"]}, "resource": TEXT},
        {"state": TEXT, "progress": OBJECT},
    ),
    "Value": _TYPED_VALUE,
    "Row": _ROW,
    "Progress": members({}, {"steps": array(_STEP), "exception": ref("Error")}),
    "EntityStatus": members(
        {"id": TEXT, "state": {"enum": ["initializing", "ok", "error"]}, "config": OBJECT},
        {
            "type": TEXT,
            "progress": note(OBJECT, "While it is made; {exception} when that failed"),
            "status": note(ANY, "What the type tells; {firstRun} of a procedure that was run"),
        },
    ),
    "RunStatus": members(
        {"id": TEXT, "state": _RUN_STATES},
        {
            "progress": ref("Progress"),
            "status": note(ANY, "What the procedure found"),
            "runStarted": TEXT,
            "runFinished": TEXT,
        },
    ),
    "PluginFailure": members(
        {"message": TEXT, "time": TEXT},
        {"file": TEXT, "line": INTEGER, "request": note(TEXT, "Verb and path below the plugin's routes")},
    ),
    "PluginReport": members(
        {
            "state": {"enum": ["serving", "restarting", "backing off", "stopped", "ended"]},
            "requests": members(
                {"total": INTEGER, "failed": INTEGER, "perSecond": NUMBER}, {"p95": note(NUMBER, "Seconds")}
            ),
            "source": note(OBJECT, "Where the code came from: {address, branch, message, revision, commit}"),
        },
        {
            "generation": INTEGER,
            "restarts": INTEGER,
            "memory": note(INTEGER, "Bytes of its own"),
            "memoryLimit": INTEGER,
            "loaded": TEXT,
            "lastFailure": note(ref("PluginFailure"), "Of the newest version, or of the worker"),
            "lastError": note(ref("PluginFailure"), "The last request that failed since the plugin was loaded"),
            "nextAttempt": TEXT,
            "page": note(TEXT, "Below the plugin's routes"),
        },
    ),
    "RunningQuery": members(
        {
            "id": TEXT,
            "query": note(ANY, "The text, or the object of clauses"),
            "started": TEXT,
            "elapsed": note(NUMBER, "Seconds"),
            "progress": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "rows": INTEGER,
        }
    ),
    "QueryResult": {
        "description": "As the parameter format says",
        "anyOf": [
            note(array(ref("Row")), "full: rows with their cells"),
            note(array({"type": "array"}), "table: rows of values, column names first; sparse: [column, value]"),
            note(array(OBJECT), "aos: a row an object"),
            note(OBJECT, "soa: columns of values"),
            note(ref("Value"), "atom: one value"),
        ],
    },
    "ValueInfo": _VALUE_INFO,
    "FunctionInfo": members({"input": array(ref("ValueInfo")), "output": ref("ValueInfo")}),
    "ColumnProfile": members(
        {
            "name": TEXT,
            "kinds": note(IDS, "Of the values, the most frequent first"),
            "filled": {"type": "number", "minimum": 0, "maximum": 1},
            "distinct": INTEGER,
            "top": note(array(pair(ref("Value"), INTEGER)), "The most frequent values with their number"),
        },
        {"low": NUMBER, "high": NUMBER, "mean": NUMBER, "bins": array(INTEGER)},
    ),
    "ParameterType": {
        "type": "object",
        "required": ["kind", "typeName"],
        "properties": {
            "kind": {
                "enum": ["ATOM", "INTEGER", "FLOAT", "BOOLEAN", "STRING", "ENUM", "OPTIONAL", "ARRAY", "STRUCTURE",
                         "TUPLE", "VARIANT", "MAP", "ANY"],
            },
            "typeName": TEXT,
            "values": IDS,
            "inner": array(ref("ParameterType")),
            "fields": array(_FIELD),
        },
    },
    "TypeInfo": members(
        {"configType": ref("ParameterType"), "description": TEXT, "docRoute": TEXT, "flags": array(ANY)}
    ),
    "RouteHelp": members(
        {"description": TEXT, "arguments": array(_ARGUMENT), "path": TEXT, "verbs": IDS, "filters": array(ANY)}
    ),
    "CredentialStatus": members(
        {"stored": members({"credential": note(ANY, "Never the secret")}, {"resourceType": TEXT, "resource": TEXT})}
    ),
    "Function": members(
        {"name": TEXT, "signature": TEXT, "summary": TEXT, "family": TEXT, "example": ANY, "null": TEXT}
    ),
}  # fmt: skip

# Below an entity that is missing or not made yet, MLDB answers in a shape of its own.
ERROR: Final[Schema] = {"anyOf": [ref("Error"), ref("Unreachable")]}
PLAIN_ERRORS: Final = (Reply(400, None, "text/plain"), Reply(404, None, "text/plain"))  # MLDB's, of two routes
NAMES: Final = (Reply(200, IDS),)
DONE: Final = (Reply(200, None, ""),)
GONE: Final = (Reply(204, None, ""),)
REDIRECT: Final = Reply(307, None, "")
OWN: Final = (Reply(200, ANY, "*/*"),)  # what plugins and types answer on routes of their own
STATUS: Final = (Reply(200, ref("EntityStatus")),)
MADE: Final = (Reply(201, ref("EntityStatus")), Reply(202, note(ref("EntityStatus"), "Of a request with Async: true")))
RUN: Final = (Reply(200, ref("RunStatus")),)
RUN_MADE: Final = (Reply(201, ref("RunStatus")), Reply(202, note(ref("RunStatus"), "Of a PUT with Async: true")))
ARROW: Final = "application/vnd.apache.arrow.stream"
ROWS: Final = (Reply(200, ref("QueryResult")), Reply(200, None, ARROW))


def answers(schema: Schema, status: int = 200) -> tuple[Reply, ...]:
    """One reply, as JSON."""
    return (Reply(status, schema),)


def content(media: str) -> tuple[Reply, ...]:
    """One reply that is no JSON."""
    return (Reply(200, None, media),)
