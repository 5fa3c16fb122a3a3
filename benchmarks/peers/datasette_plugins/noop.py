"""The same no-op route as a Datasette plugin."""

from datasette import Response, hookimpl


async def noop() -> Response:
    return Response.json({"hello": "world"})


@hookimpl
def register_routes() -> list[tuple[str, object]]:
    return [(r"^/noop$", noop)]
