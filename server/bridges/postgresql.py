"""PostgreSQL: connections, and values both ways. Needs the extra ``postgresql``.

Where MLDB's parameters name no user, one comes from the stored credentials (resource type ``postgresql``, resource
``postgresql://host:port/database``), else from libpq's own environment and password file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from server.declarations import Params, Services
from server.errors import MldbError
from server.extras import extra
from server.transfer.addresses import checked_addresses
from server.transfer.pythonvalues import cells_of_python, python_of
from server.values.atoms import NEVER, Atom, Interval, Timestamp
from server.values.paths import Path

_CONNECT_SECONDS = 10  # no setting: a database that has not answered by then is not there
_BLOCK_ROWS = 2000


class Place(Params):
    """Where a database is."""

    databaseName: str = Field(description="Name of the database")
    host: str = Field("localhost", description="Host of the server; private addresses need the setting fetch_private")
    port: int = Field(5432, ge=1, le=65535, description="Port of the server")


@contextmanager
def connected(services: Services, place: Any, *, read_only: bool = True) -> Iterator[Any]:
    """A connection (psycopg's) in one transaction, committed at the end; PostgreSQL's errors become ``MldbError``.

    ``place`` has ``databaseName``, ``host`` and ``port``.
    """
    psycopg = extra("psycopg", "postgresql", "PostgreSQL")
    try:
        with psycopg.connect(**_arguments(services, place)) as connection:
            connection.read_only = read_only
            yield connection
    except psycopg.Error as error:
        raise MldbError(f"PostgreSQL: {str(error).strip()}") from None


def _arguments(services: Services, place: Any) -> dict[str, Any]:
    address = checked_addresses(place.host, place.port, private=services.settings.fetch_private)[0]
    url = f"postgresql://{place.host}:{place.port}/{place.databaseName}"
    stored = services.urls.credential("postgresql", url) or {}
    return {
        "dbname": place.databaseName,
        "host": place.host,
        "hostaddr": address,  # the one that was checked
        "port": place.port,
        "user": stored.get("id") or None,
        "password": stored.get("secret") or None,
        "connect_timeout": _CONNECT_SECONDS,
        "application_name": "mldb",
        "client_encoding": "utf-8",
    }


def table_name(text: str) -> Any:
    """A table's name as SQL: ``name`` or ``schema.name``."""
    sql = extra("psycopg.sql", "postgresql", "PostgreSQL")
    return sql.Identifier(*text.split(".", 1))


def selected(connection: Any, query: Any, parameters: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a query, fetched block by block from a cursor of the server."""
    rows = extra("psycopg.rows", "postgresql", "PostgreSQL")
    with connection.cursor(name="mldb", row_factory=rows.dict_row) as cursor:
        cursor.itersize = _BLOCK_ROWS
        yield from cursor.execute(query, parameters)


def cells_of(row: Mapping[str, Any], time: float) -> list[tuple[Path, Atom, float]]:
    """The cells of an SQL row, all at one time: columns are single path elements, JSON and arrays go deeper."""
    return [
        (path, atom, time) for name, value in row.items() for path, atom in cells_of_python((name,), value)
    ]  # fmt: skip


# ── writing ──

_TYPES = {str: "TEXT", bytes: "BYTEA", Timestamp: "TIMESTAMPTZ", Interval: "INTERVAL"}


def sql_type(values: Iterable[Atom]) -> str:
    """The type of a column that takes all these values; TEXT when they are of several kinds."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float}:
        wide = any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values)
        return "NUMERIC" if wide else "BIGINT" if kinds == {int} else "DOUBLE PRECISION"
    return _TYPES.get(kinds.pop(), "TEXT") if len(kinds) == 1 else "TEXT"


def sql_value(value: Atom, type_: str | None) -> Any:
    """A value as a parameter for a column of a type; a text where the column is made of several kinds."""
    if isinstance(value, Timestamp) and value.seconds in (NEVER, -NEVER):
        return "-infinity" if value.seconds == NEVER else "infinity"
    plain = python_of(value)
    return str(value) if type_ == "TEXT" and plain is not None and not isinstance(plain, str) else plain
