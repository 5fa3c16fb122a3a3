"""The folder of a new plugin: a page, a route and a function, ready to be edited."""

from __future__ import annotations

import re
from pathlib import Path

from server.entities.plugin_drafts import draft

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_PYTHON = {
    "main.py": '''"""Runs once, when the plugin is loaded."""

from mldb import mldb

mldb.plugin.serve_static_folder("/static", "static")
mldb.put(
    "/v1/functions/NAME_double",
    {"type": "sql.expression", "params": {"expression": "x * 2 AS doubled"}},
)
mldb.log("NAME is loaded")
''',
    "routes.py": '''"""Runs for every request below /v1/plugins/NAME/routes/."""

from mldb import mldb

if request.verb == "GET" and request.remaining == "/double":
    x = float(dict(request.rest_params).get("x", "1"))
    answer = mldb.get("/v1/functions/NAME_double/application", input={"x": x}).json()
    request.set_return(answer["output"])
else:
    request.set_return({"error": "there is no such route"}, 404)
''',
}

_JAVASCRIPT = {
    "main.js": """// Runs once, when the plugin is loaded. Its handler answers what comes to /v1/plugins/NAME/routes/.
plugin.serveStaticFolder('/static', 'static');
mldb.put('/v1/functions/NAME_double', {type: 'sql.expression', params: {expression: 'x * 2 AS doubled'}});

plugin.setRequestHandler((path, verb, resource, params) => {
  if (verb != 'GET' || path != '/double') throw new Error(`there is no such route: ${path}`);
  const x = Number(Object.fromEntries(params).x || 1);
  return mldb.get('/v1/functions/NAME_double/application', {input: {x}}).json.output;
});

mldb.log('NAME is loaded');
""",
}

_SHARED = {
    "test_plugin.py": '''"""Run by ``mldb plugin test NAME``, inside the server."""

from mldb import MldbUnitTest, mldb


class PluginTest(MldbUnitTest):
    def test_route(self):
        self.assertEqual(mldb.get("/v1/plugins/NAME/routes/double", x="4").json(), {"doubled": 8})

    def test_function(self):
        self.assertTableResultEquals(
            mldb.query('SELECT "NAME_double"({x: 2}) AS *'), [["_rowName", "doubled"], ["result", 4]]
        )
''',
    "static/index.html": """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>NAME</title>
<link rel="stylesheet" href="style.css">
<main>
<h1>NAME</h1>
<label>A number <input id="number" type="number" value="21"></label>
<output id="doubled"></output>
</main>
<script src="page.js"></script>
</html>
""",
    "static/page.js": """const number = document.getElementById("number");
const doubled = document.getElementById("doubled");

async function show() {
  const answer = await fetch(`../double?x=${encodeURIComponent(number.value)}`);
  const body = await answer.json();
  doubled.textContent = answer.ok ? `doubled: ${body.doubled}` : body.error;
}

number.addEventListener("input", show);
show();
""",
    "static/style.css": """:root {
  color-scheme: light dark;
}
body {
  font: 16px/1.5 system-ui, sans-serif;
  margin: 3rem auto;
  max-width: 40rem;
  padding: 0 1rem;
}
""",
}

FILES = {"python": _PYTHON | _SHARED, "javascript": _JAVASCRIPT | _SHARED}  # by the plugin's type


def create_plugin(plugins: Path, name: str, type: str = "python") -> Path:
    """Make ``plugins/name``; ValueError when name or type will not do, FileExistsError when the folder is there.

    The folder appears at once and complete: a server that watches sees no half of it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} will not do: a plugin's name has letters, digits, - and _")
    if type not in FILES:
        raise ValueError(f"{type!r} will not do: new plugins are of type {' or '.join(FILES)}")
    folder = plugins / name
    if folder.exists():
        raise FileExistsError(f"{folder} is there already")
    plugins.mkdir(parents=True, exist_ok=True)
    with draft(plugins) as made:
        content = made / "content"
        for file, text in FILES[type].items():
            (content / file).parent.mkdir(parents=True, exist_ok=True)
            (content / file).write_text(text.replace("NAME", name))
        content.rename(folder)
    return folder
