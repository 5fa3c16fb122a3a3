"""Where a model comes from: what its file says of the training, and what ``details`` of its function show.

    procedure   the type of the procedure that trained it
    params      its parameters, defaults included
    query       the training query
    datasets    what the query read, views and the datasets below them: id, type, rows and version of each
    functions   the functions that it called: id, type, and the digest of the model where there is one
    libraries   versions of what trained it

The version of a dataset names its content: it changes with every commit, and comes back with a restart.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from server import __version__
from server.declarations import ProcedureParams, QueryResult, Services
from server.errors import MldbError
from server.learning.archive import ModelFile, is_archive, unpack
from server.learning.saved import model_content
from server.sql.render import render
from server.sql.tree import Select

Origin = dict[str, Any]
_Model = TypeVar("_Model")
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "lightgbm", "opentsne", "duckdb", "pyarrow")


def training_rows(
    services: Services,
    procedure: str,
    params: ProcedureParams,
    query: Select,
    *,
    read: Select | None = None,
    timestamps: bool = False,
    whole: bool = False,
) -> tuple[QueryResult, Origin]:
    """A training query ready to run, and the origin of the model that its rows will make.

    ``read`` is what is run where that is more than the query (further columns); ``whole``: see ``Services.query``.
    """
    with services.sources() as sources:
        result = services.query(read or query, timestamps=timestamps, whole=whole)
    return result, {
        "procedure": procedure,
        "params": params.model_dump(mode="json", by_alias=True),
        "query": render(query),
        "datasets": sources.datasets,
        "functions": sources.functions,
        "libraries": library_versions(),
    }


@cache
def library_versions() -> Mapping[str, str]:
    """Versions of Python, of this server and of the libraries that train."""
    versions = {"mldb": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def read_model(services: Services, url: str, read: Callable[[bytes, int], _Model]) -> _Model:
    """The model that a URL holds, decompressed by its extension; errors name the URL.

    ``read`` is given the content, and how many bytes it may unpack to.
    """
    limit = services.settings.model_size << 20
    data = services.urls.read(url, limit=limit, setting="model_size").content
    try:
        with model_content():
            return read(data, limit)
    except MldbError as error:
        raise MldbError(f"The model '{url}' cannot be read. {error.message}") from None


def open_model(
    services: Services,
    url: str,
    kind: str,
    read: Callable[[ModelFile], _Model],
    plain: Callable[[bytes], ModelFile] | None = None,
) -> tuple[_Model, ModelFile]:
    """The model of a kind that a URL holds, and its file; see ``read_model``.

    ``read`` makes the file's content a model; ``plain`` reads what is no archive, where an older format is known.
    """

    def opened(data: bytes, limit: int) -> tuple[_Model, ModelFile]:
        file = unpack(kind, data, limit) if plain is None or is_archive(data) else plain(data)
        return read(file), file

    return read_model(services, url, opened)
