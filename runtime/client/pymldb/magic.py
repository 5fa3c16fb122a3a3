"""The magics ``%mldb`` and ``%%mldb``."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from .connection import Connection
from .frames import to_pandas

USAGE: Final = """\
Line magics:

  %mldb help                       print this
  %mldb init <url> [<token>]       the server that the magics call (MLDB_SERVER, else http://localhost)
  %mldb doc <kind>/<type>          the documentation of a type, as in datasets/tabular
  %mldb query <sql>                the result of a query as a DataFrame
  %mldb loadcsv <dataset> <url>    a dataset from a CSV file, which the server reads from the URL
  %mldb py <uri> [<json args>]     run a Python script on the server (js: a JavaScript one)
  %mldb pyplugin <name> <uri>      load a Python plugin, in place of one of that name
  %mldb GET <route> [<json>]       a request; the members of the object become query parameters
  %mldb DELETE <route>
  %mldb PUT <route> <json>         a request with a JSON body
  %mldb POST <route> <json>

Cell magics, which take from the cell what stands last above:

  %%mldb query                     SQL
  %%mldb loadcsv <dataset>         CSV
  %%mldb py [<json args>]          Python code (js: JavaScript)
  %%mldb GET|PUT|POST <route>      JSON
"""

_PLUGIN_TYPES = {"py": "python", "js": "javascript"}
_ROWS_AT_ONCE = 10_000

connection = Connection()


def dispatcher(line: str, cell: str | None = None) -> Any:
    """Run a magic: ``line`` is what stands behind ``%mldb``, ``cell`` the text below ``%%mldb``."""
    command, _, rest = line.strip().partition(" ")
    handler = _COMMANDS.get(command)
    if handler is None:
        print(f"There is no magic {command!r}.\n" if command else "")  # noqa: T201
        return _help("", None)
    return handler(rest.strip(), cell)


def _help(_: str, __: str | None) -> None:
    print(USAGE)  # noqa: T201


def _init(rest: str, _: str | None) -> None:
    global connection
    url, *token = rest.split()
    connection = Connection(url, token=token[0] if token else None)
    print(f"%mldb calls {connection.uri}")  # noqa: T201


def _doc(rest: str, _: str | None) -> Any:
    from IPython.display import IFrame

    return IFrame(src=f"{connection.uri}/v1/types/{rest}/doc", width=900, height=500)


def _query(rest: str, cell: str | None) -> Any:
    answer = connection.request("GET", "/v1/query", json={"q": cell or rest, "format": "table"})
    return to_pandas(answer.json()) if answer.ok else answer


def _script(language: str) -> Callable[[str, str | None], Any]:
    def run(rest: str, cell: str | None) -> Any:
        if cell is not None:
            payload, args = {"source": cell}, rest
        else:
            address, _, args = rest.partition(" ")
            payload = {"address": address}
        if args.strip():
            payload["args"] = json.loads(args)
        return _script_output(
            connection.request("POST", f"/v1/types/plugins/{_PLUGIN_TYPES[language]}/routes/run", json=payload)
        )

    return run


def _script_output(answer: Any) -> Any:
    """Print what the script printed, and what it raised; its return value."""
    try:
        result = answer.json()
    except ValueError:
        return answer
    if not isinstance(result, dict) or not result.keys() & {"result", "exception", "logs"}:
        return answer
    for line in result.get("logs", ()):
        print(line.get("c", ""))  # noqa: T201
    if "exception" in result:
        raised = result["exception"]
        for frame in raised.get("stack", ()):
            print(frame.get("where", frame) if isinstance(frame, dict) else frame)  # noqa: T201
        print(f"{raised.get('type', '')}: {raised.get('message', '')}")  # noqa: T201
    return result.get("result")


def _plugin(rest: str, _: str | None) -> Any:
    name, uri = shlex.split(rest)
    path = f"/v1/plugins/{quote(name, safe='')}"
    connection.request("DELETE", path)
    return connection.request("PUT", path, json={"type": "python", "params": {"address": uri}})


def _request(verb: str) -> Callable[[str, str | None], Any]:
    def run(rest: str, cell: str | None) -> Any:
        route, _, text = rest.partition(" ")
        given = json.loads(cell or text) if (cell or text).strip() else None
        if verb != "GET":
            return connection.request(verb, route, json=given)
        params = {
            name: json.dumps(value) if isinstance(value, dict) else value for name, value in (given or {}).items()
        }
        return connection.request("GET", route, params=params)

    return run


def _loadcsv(rest: str, cell: str | None) -> Any:
    if cell is not None:
        return _load_rows(rest, cell)
    dataset, url = shlex.split(rest)
    params = {"dataFileUrl": url, "outputDataset": {"id": dataset, "type": "tabular"}}
    answer = connection.request("POST", "/v1/procedures", json={"type": "import.text", "params": params})
    return _loaded(dataset) if answer.ok else answer


def _load_rows(dataset: str, text: str) -> Any:
    """Record the lines of a CSV text; the column without a name holds the row names, else lines are counted."""
    path = f"/v1/datasets/{quote(dataset, safe='')}"
    connection.put(path, {"type": "tabular"})
    rows = []
    for number, line in enumerate(csv.DictReader(io.StringIO(text.lstrip()))):
        name = line.pop("", None) or str(number)
        rows.append([name, [[column, _cell(value), 0] for column, value in line.items() if value not in ("", None)]])
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        connection.post(f"{path}/multirows", rows[start : start + _ROWS_AT_ONCE])
    connection.post(f"{path}/commit")
    return _loaded(dataset)


def _loaded(dataset: str) -> None:
    count = connection.get(f"/v1/datasets/{quote(dataset, safe='')}").json()["status"]["rowCount"]
    print(f"{dataset}: {count} rows")  # noqa: T201


def _cell(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


_COMMANDS: dict[str, Callable[[str, str | None], Any]] = {
    "help": _help,
    "init": _init,
    "doc": _doc,
    "query": _query,
    "loadcsv": _loadcsv,
    "py": _script("py"),
    "js": _script("js"),
    "pyplugin": _plugin,
    **{verb: _request(verb) for verb in ("GET", "PUT", "POST", "DELETE")},
}
