"""The floor: Starlette under uvicorn, one JSON route that does nothing, and one that runs a DuckDB query."""

import os

import anyio.to_thread
import duckdb
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

database = duckdb.connect(os.environ.get("PEER_DATABASE", ":memory:"))
database.execute("CREATE TABLE IF NOT EXISTS small AS SELECT range AS x FROM range(100)")


def answer(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


async def noop(request: Request) -> Response:
    return answer({"hello": "world"})


async def add(request: Request) -> Response:
    given = orjson.loads(request.query_params["input"])
    return answer({"output": {"sum": given["x"] + given["y"]}})


def rows(query: str) -> list[tuple[object, ...]]:
    cursor = database.cursor()
    try:
        return cursor.execute(query).fetchall()
    finally:
        cursor.close()


async def small(request: Request) -> Response:
    return answer(await anyio.to_thread.run_sync(rows, "SELECT sum(x) FROM small"))


async def query(request: Request) -> Response:
    return answer(await anyio.to_thread.run_sync(rows, request.query_params["q"]))


app = Starlette(routes=[Route("/noop", noop), Route("/add", add), Route("/small", small), Route("/query", query)])
