"""MongoDB: connections, and documents both ways. Needs the extra ``mongodb``.

A user may be part of the address or come from the stored credentials (resource type ``mongodb``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from server.declarations import Params, Recorded, Services
from server.errors import MldbError
from server.extras import extra
from server.transfer.addresses import checked_addresses
from server.transfer.pythonvalues import cells_of_python, python_of
from server.values.atoms import Atom
from server.values.paths import Path

_SELECTION_MS = 5000  # no settings: what has not answered by then is not there
_CONNECT_MS = 10_000
_BATCH = 1000
_PORT = 27017


class Collection(Params):
    """Where a collection is."""

    uriConnectionScheme: str = Field(
        description="mongodb://host:port/database; private addresses need the setting fetch_private"
    )
    collection: str = Field(min_length=1, description="Name of the collection")


@contextmanager
def collection_of(services: Services, place: Any) -> Iterator[Any]:
    """The collection (pymongo's) that ``uriConnectionScheme`` and ``collection`` name; errors become ``MldbError``."""
    errors = extra("pymongo.errors", "mongodb", "MongoDB")
    parsed = checked_uri(services, place.uriConnectionScheme)
    stored = services.urls.credential("mongodb", place.uriConnectionScheme) or {}
    user, secret = parsed["username"], parsed["password"]
    if stored.get("id"):
        user, secret = stored["id"], stored.get("secret")
    try:
        with _connected(services, parsed, _options(parsed, user, secret)) as client:
            yield client[parsed["database"]][place.collection]
    except errors.PyMongoError as error:
        raise MldbError(f"MongoDB: {error}") from None


def _options(parsed: Mapping[str, Any], user: str | None, secret: str | None) -> dict[str, Any]:
    """What a client is told besides its host."""
    options = {name.lower(): value for name, value in parsed["options"].items()}
    options = {name: value for name, value in options.items() if not name.startswith("srv")}
    if user:
        options |= {"username": user, "password": secret}
        if str(options.get("authmechanism", "SCRAM")).upper().startswith("SCRAM"):
            options.setdefault("authsource", parsed["database"])
    options |= {"serverselectiontimeoutms": _SELECTION_MS, "connecttimeoutms": _CONNECT_MS, "appname": "mldb"}
    return options | {"tz_aware": True, "directconnection": True}


@contextmanager
def _connected(services: Services, parsed: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Any]:
    """A client of the first host that answers, or of the primary that this names.

    The discovery of the driver would connect to all hosts that a member of a replica set lists, which nobody checked.
    """
    pymongo = extra("pymongo", "mongodb", "MongoDB")
    failures: list[Exception] = []
    for host, port in parsed["nodelist"]:
        client = pymongo.MongoClient(host, port, **options)
        try:
            primary = _other_primary(client)
        except pymongo.errors.ConnectionFailure as error:
            client.close()
            failures.append(error)
            continue
        if primary is not None:
            client.close()
            _check_host(services, *primary)
            client = pymongo.MongoClient(*primary, **options)
        try:
            yield client
        finally:
            client.close()
        return
    raise failures[0]


def _other_primary(client: Any) -> tuple[str, int] | None:
    """Host and port of the member that takes writes, where that is not the one connected to."""
    told = client.admin.command("hello")
    if told.get("isWritablePrimary") or not told.get("primary"):
        return None
    host, _, port = str(told["primary"]).rpartition(":")
    return host.strip("[]"), int(port)


def _check_host(services: Services, host: str, port: int | None) -> None:
    checked_addresses(host, port or _PORT, private=services.settings.fetch_private)


def checked_uri(services: Services, uri: str) -> Mapping[str, Any]:
    """The parts of a URI that names a database, after its hosts were checked against the server's policy."""
    errors = extra("pymongo.errors", "mongodb", "MongoDB")
    if not uri.startswith(("mongodb://", "mongodb+srv://")):
        raise MldbError(
            "uriConnectionScheme is a required property and the minimal uriConnectionScheme format is mongodb://<host>"
        )
    try:
        parsed = extra("pymongo.uri_parser", "mongodb", "MongoDB").parse_uri(uri)
    except (errors.PyMongoError, ValueError) as error:
        raise MldbError(f"MongoDB: {error}") from None
    for host, port in parsed["nodelist"]:
        _check_host(services, host, port)
    if not parsed["database"]:
        raise MldbError(f"'{uri}' names no database: mongodb://host:port/database")
    found: Mapping[str, Any] = parsed
    return found


# ── documents ──


class Unreadable(ValueError):
    """Raised by ``row_of`` for a document with a value that has no counterpart."""


def row_of(document: Mapping[str, Any]) -> Recorded:
    """A document as a row: named by its ``_id``, dated by it where it tells, nested members as paths."""
    identity = document.get("_id")
    moment = getattr(identity, "generation_time", None)
    seconds = moment.timestamp() if moment is not None else time.time()
    return (str(identity),), [(path, atom, seconds) for path, atom in cells_of(document)]


def cells_of(document: Mapping[str, Any]) -> list[tuple[Path, Atom]]:
    return list(cells_of_python((), {name: plain(value) for name, value in document.items()}))


def plain(value: Any) -> Any:
    """A BSON value in Python's own types; ``Unreadable`` for code, regular expressions and the like."""
    import bson

    match value:
        case Mapping():
            if isinstance(value, bson.DBRef | bson.Code):
                raise Unreadable(f"a value of type {type(value).__name__}")
            return {str(name): plain(member) for name, member in value.items()}
        case list():
            return [plain(member) for member in value]
        case bson.ObjectId():
            return str(value)
        case bson.Decimal128():
            return value.to_decimal()
        case bson.Timestamp():
            return value.as_datetime()
        case bson.Regex() | bson.Code() | bson.DBRef() | bson.MinKey() | bson.MaxKey():
            raise Unreadable(f"a value of type {type(value).__name__}")
    return value


def found(collection: Any, query: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """The documents that a query finds, fetched batch by batch."""
    return collection.find(query or {}, batch_size=_BATCH, **options)


def document_of(row: Recorded) -> dict[str, Any]:
    """A recorded row as a document: its name is the ``_id``, paths become nested members."""
    name, cells = row
    document: dict[str, Any] = {"_id": ".".join(name)}
    for path, value, _ in cells:
        place = document
        for element in path[:-1]:
            inner = place.setdefault(element, {})
            if not isinstance(inner, dict):
                raise MldbError(f"A document cannot have a value at '{element}' and further ones below it")
            place = inner
        place[path[-1]] = _bson(value)
    return document


def _bson(value: Atom) -> Any:
    """As ``python_of``; whole numbers beyond 64 bits with a sign are floats, as BSON has no others."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    converted = python_of(value)
    return converted.total_seconds() if hasattr(converted, "total_seconds") else converted
