"""Runs once, when the plugin is loaded."""

from mldb import mldb

mldb.plugin.serve_static_folder("/static", "static")
mldb.put(
    "/v1/functions/NAME_double",
    {"type": "sql.expression", "params": {"expression": "x * 2 AS doubled"}},
)
mldb.log("NAME is loaded")
