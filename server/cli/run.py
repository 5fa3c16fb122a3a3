"""``mldb run`` and ``mldb import``: procedures with their progress; Ctrl-C cancels the work, not only the command."""

from __future__ import annotations

import argparse
import json
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from server.cli.client import Server, ServerError, add_server_flags
from server.cli.completion import complete_ids
from server.cli.entities import read_json
from server.cli.output import add_json_flag, say, show

_NOT_READABLE = "outside the folders that may be accessed"
_JSON_NAMES = (".json", ".jsonl", ".ndjson")


def add(commands: Any) -> None:
    run = commands.add_parser("run", help="run a procedure, with its progress")
    name = run.add_argument("procedure", help='its name; or JSON such as {"type": …}, a file with it, or - to read it')
    name.completer = complete_ids("procedure")
    run.add_argument("--params", type=json.loads, default={}, metavar="JSON", help="merged over its parameters")
    _finish(run, _run)
    load = commands.add_parser("import", help="import a file or a URL into a dataset, with its progress")
    load.add_argument("source", help="a file or a URL: CSV, or JSON by its name")
    load.add_argument("dataset", help="the dataset to make")
    load.add_argument("--type", help="the procedure type to use, such as import.text")
    load.add_argument(
        "--param", action="append", default=[], type=_pair, metavar="NAME=VALUE", help="a parameter of that type"
    )
    _finish(load, _import)


def _finish(parser: argparse.ArgumentParser, run: Any) -> None:
    add_server_flags(parser)
    add_json_flag(parser)
    parser.set_defaults(run=run)


def _pair(text: str) -> tuple[str, Any]:
    """``name=value``, where the value is JSON, or a text that is none."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _run(options: argparse.Namespace) -> int:
    if options.procedure == "-" or options.procedure.lstrip().startswith("{") or Path(options.procedure).is_file():
        config = read_json(options.procedure)
        config["params"] = {**(config.get("params") or {}), **options.params}
        finished = tracked(options, config)
    else:
        finished = tracked(options, {"params": options.params}, options.procedure)
    if options.json:
        show(finished)
    else:
        say(f"run {finished['id']}: {finished['state']}", options)
        if finished.get("status") is not None:
            show(finished["status"])
    return 0


def _import(options: argparse.Namespace) -> int:
    kind = options.type or ("import.json" if _is_json(options.source) else "import.text")
    source = options.source if "://" in options.source else Path(options.source).resolve(strict=True).as_uri()
    try:
        _import_from(options, kind, source)
    except ServerError as error:
        if not source.startswith("file://") or _NOT_READABLE not in str(error):
            raise
        _upload_and_import(options, kind)
    status = Server(options).json("GET", f"/v1/datasets/{quote(options.dataset, safe='')}")
    count = (status.get("status") or {}).get("rowCount")
    say(f"{options.dataset}: {count} rows", options, **status)
    return 0


def _import_from(options: argparse.Namespace, kind: str, url: str) -> None:
    target = {"id": options.dataset, "type": "tabular"}
    tracked(options, {"type": kind, "params": {"dataFileUrl": url, "outputDataset": target, **dict(options.param)}})


def _upload_and_import(options: argparse.Namespace, kind: str) -> None:
    """For files that the server may not, or cannot, read where they lie."""
    file = Path(options.source)
    server = Server(options)
    path = f"/v1/uploads/{quote(f'{secrets.token_hex(4)}-{file.name}', safe='')}"
    url = server.upload(path, file)["url"]
    try:
        _import_from(options, kind, url)
    finally:
        server.text("DELETE", path)


def _is_json(source: str) -> bool:
    return any(suffix in _JSON_NAMES for suffix in Path(urlsplit(source).path).suffixes)


def tracked(options: argparse.Namespace, config: dict[str, Any], procedure: str = "") -> dict[str, Any]:
    """The finished run of a procedure, by its config or by the name of one that is there."""
    from pymldb import Connection, ResourceError
    from pymldb.connection import generated_run_id
    from requests import RequestException

    from runtime.calls import run_path

    connection = Connection(options.server, notebook=False, token=options.token)
    try:
        if not procedure:
            finished = connection.post_and_track_procedure(config)
        else:
            finished = connection.put_and_track(run_path(procedure, generated_run_id()), config)
    except ResourceError as error:
        raise ServerError(_reason(error.result)) from None
    except RequestException as error:
        raise ServerError(f"{options.server} does not answer: {error}") from None
    run: dict[str, Any] = finished.json()
    return run


def _reason(answer: Any) -> str:
    try:
        body = answer.json()
    except ValueError:
        return str(answer.text)
    first = (body.get("details") or {}).get("runError") if isinstance(body.get("details"), dict) else None
    return str((first or body).get("error", body))
